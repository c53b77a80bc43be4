"""The demo: all six tasks on held-out digits, with scores beside those of copying."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from rich.console import Console
from rich.table import Table

from framefill.config import Config
from framefill.data.sheet import SheetRow, save_sheet
from framefill.data.video import Video
from framefill.errors import InputError
from framefill.fill import Filler
from framefill.filled import Filled
from framefill.metrics.baselines import copy_last
from framefill.metrics.frames import psnr, ssim
from framefill.randomness import generator_for
from framefill.serialise import to_data, write_json

Clip = UInt8[np.ndarray, "f h w c"]
Clips = UInt8[np.ndarray, "n f h w c"]
TEST_SEED = 1  # of the held-out clips; training uses the seed of its config
FPS = 4.0
SHOWN = 4  # the clip of the pictures; its digits stay apart


@dataclass(frozen=True)
class Task:
    """One of the six tasks.

    Args:
        name: The verb.
        row: What it makes of a clip: K given, T to be filled in.
        ask: Asks a model for it, given the known frames.
    """

    name: str
    row: str
    ask: Callable[[Filler, Video], Filled]


TASKS = (
    Task("predict", "KKKKKTTTTT", lambda filler, video: filler.predict(video, frames=5)),
    Task("rewind", "TTTTTKKKKK", lambda filler, video: filler.rewind(video, frames=5)),
    Task("interpolate", "KTTKTTKTTK", lambda filler, video: filler.interpolate(video, between=2)),
    Task("fill", "KKTTKTTTKK", lambda filler, video: filler.fill(video, roles="KKTTKTTTKK")),
    Task("upsample", "KTKTKTKTK", lambda filler, video: filler.upsample(video, factor=2)),
    Task("generate", "TTTTTTTTTT", lambda filler, video: filler.generate(frames=10)),
)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one task came to: means over the clips, of the frames that were filled in.

    Args:
        task: The verb.
        row: The roles of the clips' frames.
        clips: How many clips.
        psnr: Of the model, in dB; None where there is no truth.
        ssim: Of the model.
        copy_psnr: Of copying the last known frame, in dB.
        copy_ssim: Of copying the last known frame.
        seconds: Per clip.
    """

    task: str
    row: str
    clips: int
    seconds: float
    psnr: float | None = None
    ssim: float | None = None
    copy_psnr: float | None = None
    copy_ssim: float | None = None


def run_demo(
    filler: Filler, config: Config, out: Path, *, clips: int, say: Callable[[str], None]
) -> list[Score]:
    """Do all six tasks on held-out clips; write videos, contact sheets and scores.

    Args:
        filler: A model of digits.
        config: Where its clips come from.
        out: A new folder, or an empty one.
        clips: Number of clips that are scored; one of them is shown.
        say: Takes messages for the user.

    Returns:
        One score for each task.

    Raises:
        InputError: the folder holds something already.
    """
    check_folder(out)
    longest = max(len(task.row) for task in TASKS)
    source = config.data.clips(frames=longest, split="test", seed=TEST_SEED)
    truth = np.stack([source[i] for i in range(clips)])
    shown = min(SHOWN, clips - 1)
    scores, rows = [], []
    for task in TASKS:
        asked = truth[:, : len(task.row)]
        show(filler, task, asked[shown], out)
        score, filled = measure(filler, task, asked)
        scores.append(score)
        rows += _rows(task, asked[shown], filled[shown])
        say(f"{task.name:12} {task.row:10}  {score.seconds:.2f} s per clip")
    save_sheet(out / "tasks.png", rows)
    write_json(out / "scores.json", [to_data(score) for score in scores])
    return scores


def check_folder(out: Path) -> None:
    """Refuse a place where the demo would mix with other files; worth asking before training.

    Raises:
        InputError: `out` is a folder that holds something, or a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose a folder for --out")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} holds files already: choose another folder for --out")


def free_folder(wanted: Path) -> Path:
    """Return the first of NAME, NAME-2, NAME-3 and so on that does not exist."""
    names = itertools.chain([wanted], (Path(f"{wanted}-{i}") for i in itertools.count(2)))
    return next(name for name in names if not name.exists())


def show(filler: Filler, task: Task, truth: Clip, out: Path) -> None:
    """Ask for one task as a user would, and write what comes back."""
    filled = replace(task.ask(filler, Video(_asked(task, truth), fps=FPS)), fps=FPS)
    for suffix in (".mp4", ".gif"):
        filled.save(out / f"{task.name}{suffix}")
    has_truth = "K" in task.row
    filled.contact_sheet(out / f"{task.name}.png", truth=truth if has_truth else None)


def measure(filler: Filler, task: Task, truth: Clips) -> tuple[Score, Clips]:
    """Score one task on all clips at once, and return what was filled in."""
    model, row = filler.model, task.row
    started = time.perf_counter()
    clip = model.config.normaliser.to_clip(truth).to(model.device)
    generators = [generator_for(TEST_SEED, number) for number in range(len(truth))]
    filled = model.config.normaliser.to_frames(
        model.fill_video(clip, model.plan(row), generators), np.dtype(np.uint8)
    )
    seconds = (time.perf_counter() - started) / len(truth)
    score = Score(task=task.name, row=row, clips=len(truth), seconds=seconds)
    if "K" not in row:
        return score, filled
    target = [letter == "T" for letter in row]

    def means(frames: Clips) -> tuple[float, float]:
        pair = truth[:, target], frames[:, target]
        ratio, similarity = psnr(*pair, data_range=255), ssim(*pair, data_range=255)
        return float(ratio.mean()), float(similarity.mean())

    (ours, our_ssim), (copied, copied_ssim) = means(filled), means(copy_last(truth, row))
    score = replace(score, psnr=ours, ssim=our_ssim, copy_psnr=copied, copy_ssim=copied_ssim)
    return score, filled


def print_scores(scores: list[Score], console: Console) -> None:
    """Print the scores as a table."""
    table = Table(title=f"filled frames of {scores[0].clips} held-out clips, one sample each")
    for name in ("task", "frames", "PSNR", "copy last", "SSIM", "copy last", "s / clip"):
        table.add_column(name, justify="left" if name in ("task", "frames") else "right")
    for score in scores:
        table.add_row(score.task, score.row, *_cells(score))
    console.print(table)


def _cells(score: Score) -> Iterator[str]:
    values = (score.psnr, score.copy_psnr), (score.ssim, score.copy_ssim)
    for pair, digits in zip(values, (2, 3), strict=True):
        for value in pair:
            yield "" if value is None else f"{value:.{digits}f}"
    yield f"{score.seconds:.2f}"


def _asked(task: Task, truth: Clip) -> UInt8[np.ndarray, "asked h w c"]:
    """Return what the verb takes: all frames for `fill`, else the known ones."""
    if task.name == "fill":
        return truth
    return truth[[letter == "K" for letter in task.row]]


def _rows(task: Task, truth: Clip, filled: Clip) -> list[SheetRow]:
    shown = [SheetRow("truth", truth, "R" * len(truth))] if "K" in task.row else []
    return [*shown, SheetRow(task.name, filled, task.row)]
