"""What training would see: the data as it is prepared, and pictures of it."""

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from framefill.config import Clips, Config
from framefill.data.clips import VideoClips, class_name
from framefill.data.examine import Gathered, Look, looked_at
from framefill.data.sheet import SheetRow
from framefill.data.videos import ALL_CLASSES, VideosConfig
from framefill.diffusion import compose
from framefill.doctor.few_clips import STREAM_DOCTOR
from framefill.gaps import without_gaps
from framefill.randomness import generator_for
from framefill.roles import row_of
from framefill.scaling import measured_conditions

SHEET_CLIPS = 4  # shown
MAGENTA, PLUM = (255, 0, 255), (110, 0, 110)  # hatching of what is missing


def prepared(config: Config, gathered: Gathered, look: Look) -> tuple[Config, VideoClips]:
    """Return a configuration that is measured, on what is looked at, and its training clips.

    Raises:
        InputError: training would refuse the data.
    """
    data = cast(VideosConfig, config.data)
    if data.classes == ALL_CLASSES:
        names = {class_name(each) for each in gathered.found["train"]}
        data = replace(data, classes=tuple(sorted(names)))
        config = replace(config, data=data)
    frames, seed = config.masks.frames, config.seed
    clips = gathered.clips(data, "train", frames=frames, seed=seed)
    if config.log.sample_every:
        gathered.clips(data, "test", frames=frames, seed=seed)
    sample = looked_at(clips.footage, look, data.channels)
    normaliser = config.normaliser
    if config.scaling.measures(clips.footage):
        normaliser = config.scaling.normaliser(sample)
        if sum(each.length for each in sample) < sum(each.length for each in clips.footage):
            # What wasn't looked at may reach farther, which isn't to be refused here.
            normaliser = replace(normaliser, clip=True)
    conditions = measured_conditions(data.conditions, data.condition_dropout, sample)
    config = config.scaled(normaliser, conditions)
    normaliser.to_clip(clips[0])
    return config, clips


def sheet_rows(config: Config, clips: Clips) -> list[SheetRow]:
    """Return rows of what the network sees: clips in model range, and with their roles and noise.

    What is missing is hatched in magenta. Of other channels than 1 or 3 the first is shown.

    Args:
        config: Measured.
        clips: The training clips.
    """
    rows = []
    for number in range(SHEET_CLIPS):
        generator = generator_for(config.seed, STREAM_DOCTOR, number)
        clip = config.normaliser.to_clip(clips.clip(number)["frames"])[None]
        missing = clip[0].isnan().any(dim=1).numpy()
        roles = config.masks.sample(1, generator)
        known, roles, _ = without_gaps(clip, roles)
        level = config.diffusion.schedule.draw(999, generator).median()
        drawn = config.loss.draw_levels(config.diffusion, len(roles), roles.shape[1], generator)
        levels = drawn._replace(target=level[None]).levels(roles)
        noise = torch.randn(clip.shape, generator=generator)
        noisy = config.diffusion.noisy(known, noise, levels)
        canvas = compose(noisy, noisy, roles)
        limits, row = config.normaliser.limits, row_of(roles)
        shown = "" if clip.shape[2] in (1, 3) else ", channel 0"
        rows += [
            SheetRow(f"clip {number}{shown}", _picture(known[0], missing, limits), "R" * len(row)),
            SheetRow(f"with noise of level {level:.2g}", _picture(canvas[0], missing, limits), row),
        ]
    return rows


def _picture(
    frames: Float[torch.Tensor, "f c h w"],
    missing: Bool[np.ndarray, "f h w"],
    limits: tuple[float, float],
) -> UInt8[np.ndarray, "f h w 3"]:
    """Draw frames in model range, the ends of the range black and white."""
    shown = frames if frames.shape[1] == 3 else frames[:, :1].expand(-1, 3, -1, -1)
    share = ((shown - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
    pixels = (share * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy().copy()
    rows, columns = np.indices(missing.shape[1:])
    stripes = np.where(((rows + columns) // 2 % 2 == 0)[..., None], MAGENTA, PLUM)
    pixels[missing] = np.broadcast_to(stripes, pixels.shape)[missing]
    return pixels
