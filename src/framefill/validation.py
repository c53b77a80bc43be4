"""The look at fixed held-out clips that a training takes now and then: loss, scores, pictures.

The clips, their roles, levels and noise, and the noise that they are filled from, depend on the
seed alone. So all numbers are comparable from look to look, and between runs of one seed and data.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8

from framefill.comparison import Comparison, shown_rows, ssim_convention
from framefill.config import Clips, Config
from framefill.data.sample import Sample
from framefill.data.sheet import SheetRow, contact_sheet
from framefill.data.write import write
from framefill.device import autocast
from framefill.errors import InputError
from framefill.files import replacing
from framefill.gaps import without_gaps
from framefill.model import Model
from framefill.nn.denoisers import telling
from framefill.panels import comparison_video, sheet_rows
from framefill.randomness import generator_for
from framefill.roles import Role, having

LOSS_CLIPS, PREVIEW_CLIPS = 16, 3
SEARCHED = 50  # clips that are read at most, to find these
STREAM_HELD_OUT = 7  # what a key of randomness is for


class Numbered(NamedTuple):
    """A held-out clip and its number, by which all randomness goes."""

    number: int
    sample: Sample


@dataclass(frozen=True, eq=False)
class FixedClips:
    """The held-out clips that every look is at, in memory.

    Attributes:
        measured: Of these the loss is computed; each has a target frame that isn't missing. Where
            there is less data, clips occur several times, with other roles and other noise.
        shown: These are filled, and no two are equal. Nothing is missing from them, unless there
            are none of which nothing is.
        note: What to tell the user about them, or nothing.
    """

    measured: list[Numbered]
    shown: list[Numbered]
    note: str

    @classmethod
    def of(cls, config: Config, clips: Clips) -> "FixedClips":
        """Read the first 16 held-out clips for the loss, and the first 3 without gaps to be shown.

        Args:
            config: The run's, measured on its data (`Config.measured`).
            clips: The held-out data.

        Raises:
            InputError: the data can't be read, or there is nothing in it to learn to fill.
        """
        measured: list[Numbered] = []
        shown: list[Numbered] = []
        gappy: list[Numbered] = []
        for number in range(SEARCHED):
            if len(measured) == LOSS_CLIPS and len(shown) == PREVIEW_CLIPS:
                break
            found = Numbered(number, clips.clip(number))
            if len(measured) < LOSS_CLIPS and _has_target(config, found):
                measured.append(found)
            chosen = shown if _is_whole(found) else gappy
            if len(chosen) < PREVIEW_CLIPS and _begins_and_is_new(found, chosen):
                chosen.append(found)
        if not measured:
            raise InputError(
                f"of the first {SEARCHED} held-out clips none has a frame to fill that isn't "
                "missing: look at the data with framefill doctor"
            )
        note = (
            f"each of the first {SEARCHED} held-out clips has gaps: their loss is computed, and "
            "some are drawn, but they have no scores"
        )
        return cls(measured, shown or gappy, "" if shown else note)


@dataclass(frozen=True, eq=False)
class Look:
    """What one look found. All numbers are finite floats.

    Attributes:
        loss: Mean of the training's loss over fixed held-out clips, at fixed levels and noise.
        rows: Means over the shown clips: task ("predict", "interpolate", or else "rewind"), then
            "model", "copy_last", "nearest" or "linear", then "psnr", "mse" and "ssim"; without
            what `Comparison.scores` leaves out.
        sheet: The contact sheet; None if nothing could be shown.
        videos: By task; also of "generate", which has no scores.
        pixels: The frames of these, before they were compressed.
        sheet_pixels: Of the sheet.
    """

    loss: float
    rows: dict[str, dict[str, dict[str, float]]]
    sheet: Path | None
    videos: dict[str, Path]
    pixels: dict[str, UInt8[np.ndarray, "_ _ _ 3"]]
    sheet_pixels: UInt8[np.ndarray, "_ _ 3"] | None


def look(config: Config, model: Model, fixed: FixedClips, folder: Path, step: int) -> Look:
    """Compute the loss of held-out clips, fill some of them, score them and draw them.

    STEP.png is a contact sheet: the truth, the model's filling and the best baseline's, each with
    its PSNR. STEP-TASK.mp4 shows the same side by side. Those of the same step are replaced.

    Args:
        config: The run's, measured on its data.
        model: The averaged model.
        fixed: The clips to look at.
        folder: Where the files go.
        step: Steps taken so far.

    Raises:
        InputError: the clips are not like the training data, the model gives no numbers any more,
            or a file can't be written.
    """
    loss = held_out_loss(config, model, fixed)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    sheet: list[SheetRow] = []
    pixels: dict[str, UInt8[np.ndarray, "_ _ _ 3"]] = {}
    for task, row in shown_rows(config.masks).items() if fixed.shown else ():
        comparison = Comparison.of(
            _frames(fixed.shown),
            _filled(config, model, fixed.shown, row),
            row,
            config.normaliser,
            ssim_convention(model.config, config.data),
        )
        if scores := comparison.scores():
            rows[task] = scores
        panels = comparison.panels()
        sheet += sheet_rows(panels, comparison.remark)
        pixels[task] = comparison_video(panels, comparison.remark)
    videos = {task: folder / f"{step:08d}-{task}.mp4" for task in pixels}
    for task, path in videos.items():
        write(path, pixels[task], fps=None, overwrite=True)
    if not sheet:
        return Look(loss, rows, None, videos, pixels, None)
    image, path = contact_sheet(sheet), folder / f"{step:08d}.png"
    with replacing(path, overwrite=True) as draft:
        image.save(draft, format="PNG")
    return Look(loss, rows, path, videos, pixels, np.asarray(image))


@torch.no_grad()
def held_out_loss(config: Config, model: Model, fixed: FixedClips) -> float:
    """Return the mean loss of the fixed clips, as the training computes it.

    But nothing that the network is told is hidden, nothing is dropped out, and levels are drawn
    evenly also where the training draws them by their losses.

    Args:
        config: The run's, measured on its data.
        model: Its network is in evaluation mode.
        fixed: The clips.

    Raises:
        InputError: the clips are not like the training data, or the loss is no number any more.
    """
    total = sum(
        _losses(config, model, part).double().sum().item()
        for part in _parts(config, fixed.measured)
    )
    loss = total / len(fixed.measured)
    if not math.isfinite(loss):
        raise InputError(
            f"the loss of held-out clips is {loss}: the training diverged; resume with a smaller "
            "--optim.lr in a new folder"
        )
    return loss


def _has_target(config: Config, clip: Numbered) -> bool:
    frames = np.moveaxis(clip.sample["frames"], -1, 1).astype(np.float32)
    roles = config.masks.sample(1, _generator(config, clip))
    _, roles, valid = without_gaps(torch.from_numpy(frames)[None], roles)
    return valid is None or bool((valid & having(roles, Role.TARGET)).any())


def _is_whole(clip: Numbered) -> bool:
    frames = clip.sample["frames"]
    return frames.dtype.kind != "f" or not np.isnan(frames).any()


def _begins_and_is_new(clip: Numbered, shown: Sequence[Numbered]) -> bool:
    """Say whether there is something in the first and last frames, and it wasn't shown yet."""
    frames = clip.sample["frames"]
    if frames.dtype.kind == "f" and any(np.isnan(frames[place]).all() for place in (0, -1)):
        return False
    return not any(
        np.array_equal(frames, other.sample["frames"], equal_nan=frames.dtype.kind == "f")
        for other in shown
    )


def _parts(config: Config, clips: list[Numbered]) -> Iterator[list[Numbered]]:
    """Yield as many clips at once as a training step holds."""
    size = config.optim.microbatch or config.optim.batch
    for start in range(0, len(clips), size):
        yield clips[start : start + size]


def _told(model: Model, clips: Sequence[Numbered]) -> Model:
    """Return a model that is told the classes and the conditions of some clips."""
    samples = [sample for _, sample in clips]
    conditions = {
        name: np.stack([sample["conditions"][name] for sample in samples])
        for name in samples[0].get("conditions", {})
    }
    labels = [sample.get("label") for sample in samples]
    return model.of_class(labels).given(conditions, len(samples[0]["frames"]))


def _generator(config: Config, clip: Numbered) -> torch.Generator:
    return generator_for(config.seed, STREAM_HELD_OUT, clip.number)


def _frames(clips: Sequence[Numbered]) -> Shaped[np.ndarray, "n f h w c"]:
    return np.stack([sample["frames"] for _, sample in clips])


def _losses(config: Config, model: Model, clips: Sequence[Numbered]) -> Float[torch.Tensor, " b"]:
    """Return the losses of some clips, each with randomness of its own."""
    generators = [_generator(config, clip) for clip in clips]
    roles = torch.cat([config.masks.sample(1, generator) for generator in generators])
    clip, roles, valid = without_gaps(config.normaliser.to_clip(_frames(clips)), roles)
    draws = [
        config.loss.draw(config.diffusion, clip[n : n + 1], roles[n : n + 1], generator)
        for n, generator in enumerate(generators)
    ]
    levels = torch.cat([each.levels for each in draws])
    noise = torch.cat([each.noise for each in draws])
    device = model.device
    told = replace(_told(model, clips).told, valid=valid).to(device)
    with autocast(device, config.precision):
        return config.loss.at(
            telling(model.network, told),
            config.diffusion,
            clip.to(device),
            roles.to(device),
            levels.to(device),
            noise.to(device),
            told.valid,
        )


def _filled(
    config: Config, model: Model, clips: list[Numbered], row: str
) -> Shaped[np.ndarray, "n f h w c"]:
    """Return clips whose targets the model filled, as floats in the user's units."""
    windows, filled = model.plan(row), []
    for part in _parts(config, clips):
        clip = _told(model, part).fill_video(
            config.normaliser.to_clip(_frames(part)).to(model.device),
            windows,
            [generator_for(config.seed, number) for number, _ in part],
            guidance=1.0,
            precision=config.precision,
        )
        filled.append(config.normaliser.to_frames(clip, np.dtype(np.float32)))
    joined = np.concatenate(filled)
    whole = all(_is_whole(clip) for clip in clips)
    if np.isnan(joined).any() if whole else np.isnan(joined).all():
        raise InputError(
            "the model fills held-out clips with what is no number: the training diverged; resume "
            "with a smaller --optim.lr in a new folder"
        )
    return joined
