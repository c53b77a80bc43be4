"""Any data into packed stores, at the size and rate of a training, a few frames at a time."""

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from framefill.data.formats import SUFFIXES, suffix_of
from framefill.data.pack_plan import PackPlan
from framefill.data.sample import Split
from framefill.data.videos import ALL_CLASSES, VideosConfig
from framefill.errors import InputError
from framefill.files import replacing

FILE_BYTES = 2**32  # of an array file, unless a single video is larger
SPLITS: tuple[Split, ...] = ("train", "test")
SIZE = ("height", "width", "channels")
DONE = (  # settings that are in the store, or have no meaning for it
    *("path", "fit", "resize", "fps", "variables", "axes", "missing"),
    *("benchmark", "split", "holdout"),
)


def pack(
    config: VideosConfig,
    out: Path,
    *,
    splits: Sequence[Split] = SPLITS,
    file_bytes: int = FILE_BYTES,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Write the videos of a configuration as packed stores, out/train.pack and out/test.pack.

    Training from them gives the clips that training from the source gives, to the bit. Frames are
    resized, cropped and taken at `fps` already; mirroring, turning, padding and `every` are left to
    the training. Frames that are missing take no space.

    Args:
        config: The data, and the size of the frames to train on.
        out: A new folder, which appears when all is written.
        splits: What to pack; data of which nothing is held out has only "train".
        file_bytes: Largest size of an array file, unless a single video is larger.
        progress: Show a progress bar, if there is a terminal.
        say: Takes messages for the user.

    Raises:
        InputError: the folder can't be written, there is too little space, or the data can't be
            read or trained on.
    """
    _check_target(out, config.path)
    # All classes are kept anyway.
    source = replace(config, classes=()) if config.classes == ALL_CLASSES else config
    plans = {}
    for split in splits:
        # No video is shorter than a clip of one frame, so none is left out.
        clips = source.clips(frames=1, split=split, seed=0)
        plans[split] = PackPlan.of(config, clips.footage, clips.dtype, file_bytes)
    _check_space(out, sum(plan.bytes for plan in plans.values()))
    console = Console(stderr=True)
    hidden = not progress or not console.is_terminal
    with (
        replacing(out, overwrite=False, folder=True) as draft,
        Progress(console=console, disable=hidden, transient=True) as bar,
    ):
        task = bar.add_task("packing", total=sum(plan.frames for plan in plans.values()))
        for split, plan in plans.items():
            folder = draft / f"{split}.pack"
            folder.mkdir(parents=True)
            plan.write(folder, lambda frames: bar.advance(task, frames))
    for split, plan in plans.items():
        say(f"{out / split}.pack: {plan.summary}, {_size(plan.bytes)}")
    say(f"to train on it: framefill train RECIPE --out RUN --data {_words(out, config)}")


def _check_target(out: Path, source: Path | None) -> None:
    if out.exists():
        raise InputError(f"{out} exists: choose another folder")
    if suffix_of(out) in SUFFIXES:
        raise InputError(
            f"{out} is to be a folder, which holds train.pack and test.pack: choose a name without "
            f"{suffix_of(out)}"
        )
    if source is not None and out.resolve().is_relative_to(source.resolve()):
        raise InputError(
            f"{out} is inside the data, {source}, and would become part of it: choose a folder "
            "elsewhere"
        )


def _check_space(out: Path, needed: int) -> None:
    there = next(each for each in out.absolute().parents if each.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise InputError(
            f"{out} needs {_size(needed)} and its disk has {_size(free)} left: choose a folder on "
            "another, or smaller frames"
        )


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _words(out: Path, config: VideosConfig) -> str:
    """Return the store and all settings that training from it still needs."""
    words = [str(out)]
    for each in fields(VideosConfig):
        value = getattr(config, each.name)
        needed = each.name in SIZE or (each.name not in DONE and value != each.default)
        if needed or (each.name == "fit" and value == "pad"):
            words.append(f"--data.{each.name.replace('_', '-')}")
            if not isinstance(value, bool):
                words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return shlex.join(words)
