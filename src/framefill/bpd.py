"""Bits per dimension of a model on held-out clips."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from rich.console import Console
from rich.table import Table
from torch import Tensor

from framefill.completion import noise_like
from framefill.config import DataConfig
from framefill.device import autocast, choose_device
from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.held_out import held_out
from framefill.masks import Masks, RandomMasks
from framefill.metrics.bits import Bits, bits_per_dimension
from framefill.metrics.scores import Summary, summary
from framefill.model import Model
from framefill.model_config import SamplerConfig
from framefill.nn.denoisers import telling
from framefill.planning import can_fill, plan
from framefill.randomness import generator_for
from framefill.roles import roles_from
from framefill.sampling import Ddpm
from framefill.serialise import to_data, write_json
from framefill.settings import Settings
from framefill.windows import Window

STREAM_BPD = 4  # what a key of randomness is for


@dataclass(frozen=True, kw_only=True)
class BpdScore:
    """What one row of roles came to, in bits per value of the frames that are filled.

    Args:
        row: The roles of each clip's frames: K given, T coded.
        clips: Number of clips.
        bits: The upper bound on the bits that a value of a TARGET frame takes.
        prior: The part of it that is the noisiest frames' distance from pure noise.
        steps: Mean of each step's part, noisiest first.
        clean_mse: Mean squared error of the clean frames that the network sees at each step, in
            model range.
        noise_mse: The same of the noise.
    """

    row: str
    clips: int
    bits: Summary
    prior: Summary
    steps: list[float]
    clean_mse: list[float]
    noise_mse: list[float]


def whole_rows(masks: Masks, rows: Sequence[str]) -> list[str]:
    """Return rows whose windows keep every target, for bits per dimension.

    Args:
        masks: Of the model's training.
        rows: One row for each task; of random masks, rows as long as the clips take their place.
    """
    if isinstance(masks, RandomMasks):
        total = masks.frames
        rows = ["K" + "T" * (total - 1), "K" + "T" * (total - 2) + "K", "T" * total]
    return [row for row in rows if can_fill(row, masks) and _keeps_all(plan(row, masks))]


def evaluate_bpd(
    model: Model, data: DataConfig, row: str, *, clips: int, settings: Settings = Settings()
) -> BpdScore:
    """Bound the bits that a model needs for the targets of a row, given its given frames.

    Rows longer than the model's clips go window by window, each from true frames.

    Args:
        model: The model; it is moved to the device of the settings.
        data: Where the clips come from; those of its split "test".
        row: The roles of each clip's frames.
        clips: How many of them.
        settings: The sampler, whose steps and variance are those of the bound, device and batch.

    Raises:
        InputError: the sampler is not DDPM, the data are floats, or the model can't fill the row
            in windows of which every target is kept.
    """
    model = replace(model, network=model.network.to(choose_device(settings.device)))
    windows, sampler = _windows(model, row, settings), _sampler(model, settings)
    parts = list(_parts(model, data, row, windows, sampler, clips, settings))

    def joined(name: str) -> Float64[np.ndarray, "_ ..."]:
        return np.concatenate([getattr(part, name).double().cpu().numpy() for part in parts])

    return BpdScore(
        row=row,
        clips=clips,
        bits=summary(joined("total")),
        prior=summary(joined("prior")),
        steps=joined("steps").mean(0).tolist(),
        clean_mse=joined("clean_mse").mean(0).tolist(),
        noise_mse=joined("noise_mse").mean(0).tolist(),
    )


def evaluate_bpd_into(
    folder: Path,
    model: Model,
    data: DataConfig,
    rows: Sequence[str],
    *,
    clips: int,
    settings: Settings,
    say: Callable[[str], None],
) -> list[BpdScore]:
    """Bound the bits of some rows into a new folder: bits.json.

    Raises:
        InputError: as `evaluate_bpd`, or the folder exists already.
    """
    if folder.exists():
        raise InputError(f"{folder} exists: choose another folder for --out")
    if clips < 1:
        raise InputError(f"clips {clips} must be at least 1")
    sampler = _sampler(model, settings)
    for row in rows:  # refuses before the work, not after
        _windows(model, row, settings)
        data.clips(frames=len(row), split="test", seed=settings.seed)
    scores = []
    for row in rows:
        say(f"{row}: {clips} clips")
        scores.append(evaluate_bpd(model, data, row, clips=clips, settings=settings))
    with atomic_folder(folder) as draft:
        write_json(
            draft / "bits.json",
            {
                "data": to_data(data, DataConfig),
                "seed": settings.seed,
                "precision": settings.precision,
                "sampler": to_data(sampler, SamplerConfig),
                "torch": torch.__version__,
                "rows": [to_data(score) for score in scores],
            },
        )
    return scores


def print_bpd(scores: Sequence[BpdScore], console: Console) -> None:
    """Print a table of bits per value."""
    table = Table()
    table.add_column("frames", overflow="fold")
    table.add_column("bits per value, at most", justify="right")
    for score in scores:
        spread = score.bits.confidence
        mean = "infinite" if score.bits.mean is None else f"{score.bits.mean:.4f}"
        table.add_row(score.row, mean if spread is None else f"{mean} ± {spread:.4f}")
    console.print(table)


def _sampler(model: Model, settings: Settings) -> Ddpm:
    sampler = settings.sampler_for(model)
    if isinstance(sampler, Ddpm) and not sampler.as_published and sampler.repeats == 1:
        return sampler
    raise InputError(
        f"bits per dimension are a bound of plain ddpm, not of {sampler}: pass --sampler ddpm"
    )


def _windows(model: Model, row: str, settings: Settings) -> list[Window]:
    windows = model.plan(row, advance=settings.advance, slide=settings.slide)
    if _keeps_all(windows):
        return windows
    raise InputError(
        f"{row} needs a window with targets of which some are dropped: bits per dimension count "
        "whole windows; give rows as long as the model's clips"
    )


def _keeps_all(windows: Sequence[Window]) -> bool:
    return all(len(window.fills) == window.row.count("T") for window in windows)


def _parts(
    model: Model,
    data: DataConfig,
    row: str,
    windows: Sequence[Window],
    sampler: Ddpm,
    clips: int,
    settings: Settings,
) -> Iterator[Bits]:
    found = held_out(data, frames=len(row), seed=settings.seed, clips=clips, at_once=settings.batch)
    for held in found:
        clip = model.config.normaliser.to_clip(held.truth).to(model.device)
        bound = held.told(model, settings.label, list(range(len(clip))))
        generators = [generator_for(settings.seed, STREAM_BPD, number) for number in held.numbers]
        coded = []
        for window in windows:
            part = clip[:, torch.tensor(window.frames).clamp(0, len(row) - 1)]
            coded.append(_window(bound, part, window, sampler, generators, settings))
        yield _together(coded, [len(window.fills) / row.count("T") for window in windows])


def _window(
    model: Model,
    clip: Tensor,
    window: Window,
    sampler: Ddpm,
    generators: Sequence[torch.Generator],
    settings: Settings,
) -> Bits:
    roles = roles_from(window.row).expand(len(clip), -1).to(clip.device)
    with autocast(clip.device, settings.precision):
        return bits_per_dimension(
            telling(model.network, model.told.at(window.frames)),
            model.config.diffusion,
            clip,
            roles,
            sampler=sampler,
            width=model.config.normaliser.bin_width,
            fresh=noise_like(clip, generators),
        )


def _together(coded: Sequence[Bits], shares: Sequence[float]) -> Bits:
    """Return the bound of several windows: bits add up, each by its share of the values."""

    def mean(name: str) -> Tensor:
        terms = [share * getattr(bits, name) for bits, share in zip(coded, shares, strict=True)]
        return torch.stack(terms).sum(0)

    return Bits(*(mean(name) for name in ("total", "prior", "steps", "clean_mse", "noise_mse")))
