"""Scores of a model on held-out clips, beside those of fillings that need no model."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from rich.console import Console
from rich.table import Table

from framefill.config import DataConfig, read_config
from framefill.data.sheet import SheetRow, save_sheet
from framefill.data.videos import VideosConfig
from framefill.data.write import to_pixels
from framefill.device import choose_device
from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.masks import BlockMasks, ContextMasks, Masks
from framefill.metrics.baselines import copy_last, linear_blend, nearest_known
from framefill.metrics.frames import FrameMetric
from framefill.metrics.scores import (
    MetricName,
    Scores,
    SsimConvention,
    Summary,
    measure,
    summarise,
)
from framefill.model import Model, ModelConfig
from framefill.randomness import generator_for
from framefill.roles import check_row
from framefill.run import Run
from framefill.serialise import to_data, write_json
from framefill.settings import Settings

Clips = Shaped[np.ndarray, "n f h w c"]
Values = dict[MetricName, Float64[np.ndarray, "_ _"]]
BASELINES: Mapping[str, Callable[[Clips, str], Clips]] = {
    "copy last": copy_last,
    "nearest": nearest_known,
    "linear": linear_blend,
}
STREAM_EVALUATE = 3  # what a key of randomness is for
SHOWN = 4  # clips on a sheet


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one row of roles came to.

    Args:
        row: The roles of each clip's frames: K given, T filled in and scored.
        model: Of the model.
        baselines: Of fillings that need no model, by name.
        seconds: Per filled clip.
    """

    row: str
    model: Scores
    baselines: dict[str, Scores]
    seconds: float


def example_rows(masks: Masks) -> dict[str, str]:
    """Return one row for each task that a model trained with these masks can do."""
    if isinstance(masks, BlockMasks | ContextMasks):
        past, target, future = "K" * masks.past, "T" * masks.target, "K" * masks.future
    else:
        third = max(1, masks.frames // 3)
        past, target, future = "K" * third, "T" * (masks.frames - 2 * third), "K" * third
    return {
        "predict": past + target,
        "rewind": target + future,
        "interpolate": past + target + future,
        "generate": "T" * masks.frames,
    }


def data_of(source: Path, data: Path | None, config: ModelConfig) -> DataConfig:
    """Return where a model's held-out clips come from.

    Args:
        source: The model; a run folder knows its data.
        data: Folder to take them from instead; without a run, one with videos in test/.
        config: The model's configuration.

    Raises:
        InputError: there is neither a run nor a folder.
    """
    run = Run(source)
    if run.config.is_file() and run.model.is_dir():
        trained_on = read_config(run.config).data
        return trained_on if data is None else replace(trained_on, path=data)
    if data is None:
        raise InputError(f"{source} is no run, which knows its data: give a folder with --data")
    return VideosConfig(
        path=data, height=config.height, width=config.width, channels=config.channels
    )


def ssim_for(config: ModelConfig) -> SsimConvention:
    """Return what SSIM is computed of, unless told otherwise."""
    pictures = config.normaliser.dtype == "uint8" and config.channels in (1, 3)
    return "grey_bytes" if pictures else "channels"


def evaluate(
    model: Model,
    data: DataConfig,
    row: str,
    *,
    clips: int = 64,
    settings: Settings = Settings(samples=4),
    ssim: SsimConvention | None = None,
    lpips: FrameMetric | None = None,
) -> Evaluation:
    """Fill a row's targets in held-out clips and score them.

    Args:
        model: The model; it is moved to the device of the settings.
        data: Where the clips come from; those of its split "test".
        row: The roles of each clip's frames, with frames that are given.
        clips: Number of clips.
        settings: How to fill; `samples` trajectories of each clip.
        ssim: See `framefill.metrics.scores.score`; None: "grey_bytes" for 8-bit frames of 1 or 3
            channels, "channels" for others.
        lpips: See there.

    Raises:
        InputError: the row gives nothing to compare with, or the model can't fill it.
    """
    check_row(row)
    if "K" not in row:
        raise InputError(f"{row} has no given frames: what comes from nothing has no true frames")
    if clips < 1:
        raise InputError(f"clips {clips} must be at least 1")
    normaliser = model.config.normaliser
    target = [letter == "T" for letter in row]
    span, ssim = normaliser.high - normaliser.low, ssim or ssim_for(model.config)
    parts: dict[str, list[Values]] = {name: [] for name in ("model", *BASELINES)}
    seconds = 0.0
    for truth, filled, took in _filled(model, data, row, clips, settings):
        seconds += took
        fillings = {"model": filled} | {
            name: baseline(truth, row)[:, None] for name, baseline in BASELINES.items()
        }
        for name, videos in fillings.items():
            pair = truth[:, target], videos[:, :, target]
            values = measure(*pair, data_range=span, ssim=ssim, lpips=lpips)
            parts[name].append(values)
    scores = {name: summarise(_joined(values)) for name, values in parts.items()}
    own = scores.pop("model")
    return Evaluation(
        row=row, model=own, baselines=scores, seconds=seconds / (clips * settings.samples)
    )


def _filled(
    model: Model, data: DataConfig, row: str, clips: int, settings: Settings
) -> Iterator[tuple[Clips, Shaped[np.ndarray, "n k f h w c"], float]]:
    """Yield some clips, their trajectories and the seconds that these took.

    A trajectory depends on its clip's number and its own alone, not on how many there are.
    """
    model = Model(model.network.to(choose_device(settings.device)), model.config, model.card)
    normaliser, samples = model.config.normaliser, settings.samples
    source = data.clips(frames=len(row), split="test", seed=settings.seed)
    windows = model.plan(row, advance=settings.advance)
    at_once = max(1, settings.batch // samples)
    for first in range(0, clips, at_once):
        numbers = range(first, min(first + at_once, clips))
        truth = np.stack([source[number] for number in numbers])
        started = time.perf_counter()
        clip = normaliser.to_clip(truth).to(model.device)
        generators = [
            generator_for(settings.seed, STREAM_EVALUATE, number, sample)
            for number in numbers
            for sample in range(samples)
        ]
        filled = model.fill_video(
            clip.repeat_interleave(samples, dim=0),
            windows,
            generators,
            sampler=settings.sampler_for(model),
            guidance=settings.guidance,
            precision=settings.precision,
        )
        frames = normaliser.to_frames(filled, truth.dtype)
        yield (
            truth,
            frames.reshape(len(truth), samples, *truth.shape[1:]),
            time.perf_counter() - started,
        )


def _joined(parts: list[Values]) -> Values:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draw(model: Model, data: DataConfig, row: str, path: Path, settings: Settings) -> None:
    """Write a sheet of the first held-out clips and one filling of each.

    Frames of other than 1 or 3 channels can't be drawn, and are not.
    """
    if model.config.channels not in (1, 3):
        return
    low, high = model.config.normaliser.low, model.config.normaliser.high
    rows = []
    one = replace(settings, samples=1)
    for truth, filled, _ in _filled(model, data, row, SHOWN, one):
        for video, filling in zip(truth, filled[:, 0], strict=True):
            if "K" in row:
                rows.append(SheetRow("true", to_pixels(video, (low, high)), "R" * len(row)))
            rows.append(SheetRow("filled", to_pixels(filling, (low, high)), row))
    save_sheet(path, rows)


def evaluate_into(
    folder: Path,
    model: Model,
    data: DataConfig,
    rows: list[str],
    *,
    clips: int,
    settings: Settings,
    ssim: SsimConvention | None,
    lpips: FrameMetric | None,
    say: Callable[[str], None],
) -> list[Evaluation]:
    """Evaluate rows into a new folder: scores.json, and a sheet for each row.

    Rows without given frames get a sheet only.

    Raises:
        InputError: as `evaluate`, or the folder exists already.
    """
    if folder.exists():
        raise InputError(f"{folder} exists: choose another folder for --out")
    for row in rows:
        model.plan(row, advance=settings.advance)  # refuses before the work, not after
    evaluations = []
    with atomic_folder(folder) as draft:
        for row in rows:
            draw(model, data, row, draft / f"{row}.png", settings)
            if "K" in row:
                say(f"{row}: {clips} clips, {settings.samples} trajectories each")
                evaluations.append(
                    evaluate(
                        model, data, row, clips=clips, settings=settings, ssim=ssim, lpips=lpips
                    )
                )
        sampler = settings.sampler_for(model)
        write_json(
            draft / "scores.json",
            {
                "data": to_data(data, DataConfig),
                "settings": {**asdict(settings), "sampler": to_data(sampler)},
                "sampler": type(sampler).__name__,
                "ssim": ssim or ssim_for(model.config),
                "torch": torch.__version__,
                "rows": [to_data(evaluation) for evaluation in evaluations],
            },
        )
    return evaluations


def print_evaluations(evaluations: list[Evaluation], console: Console) -> None:
    """Print a table: for each row, the model's best and mean trajectory and the baselines."""
    metrics = list(evaluations[0].model.best) if evaluations else []
    table = Table()
    table.add_column("frames", overflow="fold")
    table.add_column("filled by")
    for metric in metrics:
        table.add_column(metric.upper(), justify="right")
    for evaluation in evaluations:
        count = evaluation.model.trajectories
        lines = {f"model, best of {count}": evaluation.model.best}
        lines["model, mean"] = evaluation.model.average
        lines |= {name: scores.best for name, scores in evaluation.baselines.items()}
        for number, (name, summaries) in enumerate(lines.items()):
            cells = [_cell(metric, summaries[metric]) for metric in metrics]
            table.add_row(evaluation.row if number == 0 else "", name, *cells)
        table.add_section()
    console.print(table)


def _cell(metric: MetricName, summary: Summary) -> str:
    if summary.mean is None:
        return "infinite"
    digits = {"psnr": 2, "mse": 4}.get(metric, 3)
    spread = "" if summary.confidence is None else f" ± {summary.confidence:.{digits}f}"
    return f"{summary.mean:.{digits}f}{spread}"
