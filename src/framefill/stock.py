"""Commands about data: what it is like, what published sets look like, a store to train from."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import Positional

from framefill.config import Config
from framefill.data.benchmarks.registry import BENCHMARKS
from framefill.data.collection import PARTS
from framefill.data.footage import Layout
from framefill.data.pack_write import pack as write_store
from framefill.data.videos import VideosConfig
from framefill.doctor import Asked, print_report
from framefill.doctor import doctor as examine
from framefill.errors import InputError, suggestion
from framefill.options import say
from framefill.parsing import named_config


def data(name: Positional[str] = "", path: Positional[Path | None] = None) -> None:
    """Say where a published data set is from and what it has to look like, or check a copy.

    Args:
        name: Of the data set; none: list them.
        path: A copy of it: say what it holds of each split.
    """
    if not name:
        for each in BENCHMARKS.values():
            print(f"{each.name:14} {each.summary} (splits: {', '.join(each.splits) or 'none'})")
        return
    if name not in BENCHMARKS:
        raise InputError(
            f"no data set {name!r}{suggestion(name, BENCHMARKS)}; there are: "
            f"{', '.join(BENCHMARKS)}. For your own data see the README"
        )
    benchmark = BENCHMARKS[name]
    if path is None:
        print(benchmark.guide)
        return
    for split in benchmark.splits:
        counts = [len(benchmark.find(path, split, part, Layout())) for part in PARTS]
        print(f"split {split}: {counts[0]} videos to train, {counts[1]} to test")
        print(f"  {benchmark.note(path, split)}")


def doctor(
    data: Positional[Path],
    out: Path,
    config: Annotated[Config, tyro.conf.arg(name="")],
    recipe: str = "small-st",
    full: bool = False,
    overfit: bool = False,
    minutes: float = 3.0,
    device: str = "auto",
) -> None:
    """Look at data, and at what a recipe would make of it; ends with the commands to go on with.

    Args:
        data: A file or a folder, as for training.
        out: New folder for report.json and sheet.png, a picture of what the network will see.
        config: The recipe's settings.
        recipe: What is to be trained.
        full: Read all frames of all videos instead of a sample.
        overfit: Train on a single clip, to see whether it can be learned.
        minutes: That this may take.
        device: auto, cpu, cuda or mps.
    """
    asked = Asked(data=data, recipe=recipe, plain=named_config(recipe), config=config)
    report = examine(
        asked, out=out, full=full, overfit=overfit, minutes=minutes, device=device, say=say
    )
    print_report(report, out, Console())


def pack(
    data: Positional[Path],
    out: Path,
    config: Annotated[Config, tyro.conf.arg(name="")],
    recipe: str = "small-st",
) -> None:
    """Write data as a packed store: memory-mapped, of the size to train on, fast to read.

    Args:
        data: A file or a folder, as for training.
        out: New folder, to be given to train as --data.
        config: The recipe's settings; those of --data are read.
        recipe: What is to be trained.
    """
    if not isinstance(config.data, VideosConfig):
        raise InputError(f"recipe {recipe} makes its own data: choose another, such as small-st")
    videos = replace(config.data, path=data)
    write_store(videos, out, progress=sys.stderr.isatty(), say=say)
