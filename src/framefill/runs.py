"""The commands of trainings: before, while and after they run."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import Positional

from framefill.averaging import average_into
from framefill.config import Config
from framefill.estimate import SECONDS, plan_into
from framefill.fill import load
from framefill.info import info_data, info_into, info_of
from framefill.options import say
from framefill.run import train as run_training


def train(
    recipe: Positional[str],
    out: Path,
    config: Annotated[Config, tyro.conf.arg(name="")],
    data: Path | None = None,
    device: str = "auto",
) -> None:
    """Train a model; the same command again goes on where it stopped.

    Args:
        recipe: A recipe (`framefill recipes`), the config.json of a run, a config.yml of MCVD's
            code, or a text file NAME.flags with the flags of RaMViD's; or a model folder, whose
            training goes on with other data, at other sizes if asked for (fine-tuning).
        out: The run folder.
        config: The recipe's settings.
        data: Folder of the training data; for digits one with MNIST's IDX files, or none for the
            digits that framefill carries.
        device: auto, cpu, cuda or mps.
    """
    run_training(config, out=out, data=data, name=recipe, device=device, say=say)
    if os.environ.get("RANK", "0") == "0":
        say(f"model: {out / 'model'}")


def plan(
    recipe: Positional[str],
    config: Annotated[Config, tyro.conf.arg(name="")],
    data: Path | None = None,
    device: str = "auto",
    memory: float | None = None,
    price: float | None = None,
    seconds: float = SECONDS,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Say what a training will take, measured in a few real steps, and what makes it fit.

    Given a row of K, T and - instead of a recipe (framefill plan KKKKTTTT --draw), it prints which
    of these frames a model fills when: framefill plan KKKKTTTT --help.

    Args:
        recipe: As for train.
        config: The recipe's settings.
        data: Folder of the training data; none: where the recipe says, or else made-up clips.
        device: auto, cpu, cuda or mps.
        memory: GiB that the training may take; none: what is free.
        price: Of an hour of the machine, for the cost; none: no cost.
        seconds: That trying may take, roughly.
        as_json: Print JSON instead.
    """
    plan_into(
        config,
        name=recipe,
        data=data,
        device=device,
        memory_limit=memory,
        price_per_hour=price,
        seconds=seconds,
        as_json=as_json,
        progress=sys.stderr.isatty(),
        say=say,
        console=Console(),
    )


def plan_row(
    roles: Positional[str],
    model: str = "digits",
    advance: int | None = None,
    slide: int | None = None,
    draw: bool = False,
) -> None:
    """Print which frames a model fills when, and from which: one JSON object for each window.

    Args:
        roles: One letter per frame: K given, T to be filled in, - neither.
        model: See predict.
        advance: Frames kept of each window, 1 for one frame at a time; none: all.
        slide: Frames given to each window of RaMViD's scheme; none: as trained.
        draw: Draw it instead, one line for each window under that of the video.
    """
    windows = load(model).model.plan(roles, advance=advance, slide=slide)
    if draw:
        print(f"      {roles}")
    for number, window in enumerate(windows):
        print(f"{number:4}  {window.draw(len(roles))}" if draw else json.dumps(asdict(window)))


def info(
    run: Positional[Path],
    plot: bool = True,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Show where a run stands, and draw its curves.

    Args:
        run: The run folder.
        plot: Draw the curves into the folder curves of the run.
        as_json: Print JSON instead; no curves are drawn.
    """
    if as_json:
        print(json.dumps(info_data(info_of(run)), indent=2))
        return
    info_into(run, plot=plot, say=print)


def average(run: Positional[Path], out: Path, width: float, step: int | None = None) -> None:
    """Make a model of a run's average of any width, from its snapshots.

    Args:
        run: The run folder, trained with --optim.ema-widths and --log.snapshot-every.
        out: The new model folder.
        width: Relative width of the average, between 0.01 and 0.28 of the steps taken.
        step: One of which there are snapshots; none: the newest.
    """
    average_into(run, out, width=width, step=step, say=say)
    say(f"model: {out}")
