"""Scores of a model on held-out clips, beside those of fillings that need no model."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from rich.console import Console
from rich.table import Table

from framefill.comparison import BASELINES as FILLINGS
from framefill.comparison import ssim_convention
from framefill.config import DataConfig, read_config
from framefill.data.own import OwnConfig
from framefill.data.videos import Fit, VideosConfig
from framefill.device import choose_device
from framefill.errors import InputError
from framefill.evidence import SHOWN_CLIPS, Clips, Kept, Samples, Sheet
from framefill.files import atomic_folder
from framefill.held_out import held_out
from framefill.masks import BlockMasks, ContextMasks, Masks
from framefill.metrics.frames import FrameMetric
from framefill.metrics.scores import (
    MetricName,
    Scores,
    SsimConvention,
    Summary,
    measure,
    summarise,
)
from framefill.model import Model
from framefill.model_config import ModelConfig, SamplerConfig
from framefill.planning import tasks
from framefill.randomness import generator_for
from framefill.roles import check_row
from framefill.run_folder import Run
from framefill.serialise import to_data, write_json
from framefill.settings import Settings

Values = dict[MetricName, Float64[np.ndarray, "_ _"]]
BASELINES = {name.replace("_", " "): baseline for name, baseline in FILLINGS.items()}
STREAM_EVALUATE = 3  # what a key of randomness is for


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


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What is scored, and how.

    Args:
        clips: Number of held-out clips.
        ssim: See `framefill.metrics.scores.score`; None: "binary_bytes" for moving digits, as in
            MCVD's evaluation, "grey_bytes" for other 8-bit frames, "channels" for the rest.
        lpips: See there.
    """

    clips: int = 64
    ssim: SsimConvention | None = None
    lpips: FrameMetric | None = None

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise InputError(f"clips {self.clips} must be at least 1")

    def ssim_for(self, config: ModelConfig, data: DataConfig) -> SsimConvention:
        """Return what SSIM is computed of."""
        return self.ssim or ssim_convention(config, data)


def example_rows(masks: Masks) -> dict[str, str]:
    """Return one row for each task that a model trained with these masks can do."""
    if isinstance(masks, BlockMasks | ContextMasks):
        past, target, future = "K" * masks.past, "T" * masks.target, "K" * masks.future
    else:
        third = max(1, masks.frames // 3)
        past, target, future = "K" * third, "T" * max(1, masks.frames - 2 * third), "K" * third
    rows = {
        "predict": past + target,
        "rewind": target + future,
        "interpolate": past + target + future,
        "generate": "T" * masks.frames,
    }
    return {task: row for task, row in rows.items() if task in tasks(masks)}


def data_of(
    source: Path, data: Path | None, config: ModelConfig, *, fit: Fit = "none"
) -> DataConfig:
    """Return where a model's held-out clips come from.

    Args:
        source: The model; a run folder knows its data.
        data: Folder to take them from instead; without a run, one with videos in test/.
        config: The model's configuration.
        fit: For videos of another size than the model's.

    Raises:
        InputError: there is neither a run nor a folder.
    """
    run = Run(source)
    if run.config.is_file() and run.model.is_dir():
        found = read_config(run.config).data
        if isinstance(found, VideosConfig) and fit != "none":
            found = replace(found, fit=fit)
        if data is None:
            return found
        if not isinstance(found, OwnConfig):
            return replace(found, path=data)
    if data is None:
        raise InputError(f"{source} is no run, which knows its data: give a folder with --data")
    return VideosConfig(
        path=data,
        height=config.height,
        width=config.width,
        channels=config.channels,
        fit=fit,
        classes=config.classes,
    )


def evaluate(
    model: Model,
    data: DataConfig,
    row: str,
    *,
    scoring: Scoring = Scoring(),
    settings: Settings = Settings(samples=4),
    show: Callable[[Clips, Samples], None] = lambda truth, filled: None,
) -> Evaluation:
    """Fill a row's targets in held-out clips and score them.

    Args:
        model: The model; it is moved to the device of the settings.
        data: Where the clips come from; those of its split "test".
        row: The roles of each clip's frames, with frames that are given.
        scoring: How many clips, and what of.
        settings: How to fill; `samples` trajectories of each clip, `batch` of them at once.
        show: Called with some clips and their trajectories, floats in the user's units.

    Raises:
        InputError: the row gives nothing to compare with, or the model can't fill it.
    """
    check_row(row)
    if "K" not in row:
        raise InputError(f"{row} has no given frames: what comes from nothing has no true frames")
    normaliser, target = model.config.normaliser, [letter == "T" for letter in row]
    parts: dict[str, list[Values]] = {name: [] for name in ("model", *BASELINES)}
    seconds = 0.0
    for truth, filled, took in _filled(model, data, row, scoring.clips, settings):
        seconds += took
        show(truth, filled)
        fillings = {"model": filled} | {
            name: baseline(truth, row)[:, None] for name, baseline in BASELINES.items()
        }
        for name, videos in fillings.items():
            values = measure(
                truth[:, target],
                videos[:, :, target],
                data_range=normaliser.high - normaliser.low,
                ssim=scoring.ssim_for(model.config, data),
                lpips=scoring.lpips,
            )
            parts[name].append(values)
    scores = {name: summarise(_joined(values)) for name, values in parts.items()}
    return Evaluation(
        row=row,
        model=scores["model"],
        baselines={name: scores[name] for name in BASELINES},
        seconds=seconds / (scoring.clips * settings.samples),
    )


def _filled(
    model: Model, data: DataConfig, row: str, clips: int, settings: Settings
) -> Iterator[tuple[Clips, Samples, float]]:
    """Yield some clips, their trajectories and the seconds that these took.

    A trajectory depends on its clip's number and its own alone, not on how many there are.
    """
    model = Model(model.network.to(choose_device(settings.device)), model.config, model.card)
    windows = model.plan(row, advance=settings.advance, slide=settings.slide)
    normaliser, samples, batch = model.config.normaliser, settings.samples, settings.batch
    found = held_out(
        data, frames=len(row), seed=settings.seed, clips=clips, at_once=max(1, batch // samples)
    )
    for held in found:
        started = time.perf_counter()
        clip = normaliser.to_clip(held.truth)
        pairs = [(n, sample) for n in range(len(clip)) for sample in range(samples)]
        frames = []
        for start in range(0, len(pairs), batch):
            now = pairs[start : start + batch]
            places = [n for n, _ in now]
            filled = held.told(model, settings.label, places).fill_video(
                clip[places].to(model.device),
                windows,
                [generator_for(settings.seed, STREAM_EVALUATE, held.numbers[n], s) for n, s in now],
                sampler=settings.sampler_for(model),
                guidance=settings.guidance,
                precision=settings.precision,
            )
            # Floats: MCVD's scores are of what the model gave, not of what a file would hold.
            frames.append(normaliser.to_frames(filled, np.dtype(np.float32)))
        joined = np.concatenate(frames).reshape(len(clip), samples, *held.truth.shape[1:])
        yield held.truth, joined, time.perf_counter() - started


def _joined(parts: list[Values]) -> Values:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def evaluate_into(
    folder: Path,
    model: Model,
    data: DataConfig,
    rows: Sequence[str],
    *,
    scoring: Scoring,
    settings: Settings,
    say: Callable[[str], None],
    keep: bool = False,
) -> list[Evaluation]:
    """Evaluate rows into a new folder: scores.json, and a numbered sheet for each row.

    Rows without given frames get a sheet only. With `keep` the frames are written too, for scores
    that are computed elsewhere: NUMBER-ROW.npz with `truth` [n f h w c] and `filled`
    [n k f h w c], in the units and the type of the model's data.

    Raises:
        InputError: as `evaluate`, or the folder exists already.
    """
    if folder.exists():
        raise InputError(f"{folder} exists: choose another folder for --out")
    for row in rows:  # refuses before the work, not after
        check_row(row)
        model.plan(row, advance=settings.advance, slide=settings.slide)
        data.clips(frames=len(row), split="test", seed=settings.seed)
    evaluations = []
    with atomic_folder(folder) as draft:
        for number, row in enumerate(rows):
            sheet, kept = Sheet(model.config, row), Kept(model.config.normaliser)
            show = kept.also(sheet.add) if keep else sheet.add
            if "K" in row:
                say(f"{row}: {scoring.clips} clips, {settings.samples} trajectories each")
                evaluations.append(
                    evaluate(model, data, row, scoring=scoring, settings=settings, show=show)
                )
            else:
                for truth, filled, _ in _filled(
                    model,
                    data,
                    row,
                    scoring.clips if keep else SHOWN_CLIPS,
                    settings if keep else replace(settings, samples=1),
                ):
                    show(truth, filled)
            sheet.save(draft / f"{number}-{row[:40]}.png")
            if keep:
                kept.save(draft / f"{number}-{row[:40]}.npz")
        write_json(
            draft / "scores.json",
            {
                "data": to_data(data, DataConfig),
                "settings": asdict(replace(settings, sampler=None)),
                "sampler": to_data(settings.sampler_for(model), SamplerConfig),
                "ssim": scoring.ssim_for(model.config, data),
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
