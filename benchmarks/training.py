"""What the parts of a training step cost: two ways to do the same, in one run, and their ratio.

The network is RaMViD's, small enough for a CPU; --device cuda compares on a GPU. Times are the
median of several, in turns, so that what else the machine does falls on both.
"""

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from framefill.checkpoint import save_checkpoint
from framefill.config import Config, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.device import Precision, choose_device
from framefill.masks import RandomMasks
from framefill.nn.config import VolumeConfig
from framefill.recipes import recipe
from framefill.training import TrainState, train_steps
from framefill.training.spread import own


def config_of(precision: Precision = "auto") -> Config:
    """Return a training of RaMViD's network on moving digits."""
    return replace(
        recipe("bair-ramvid"),
        precision=precision,
        data=DigitsConfig(size=16, glyph=8, speed=1),
        masks=RandomMasks(frames=6, max_known=2),
        network=VolumeConfig(width=32, multipliers=(1, 2), blocks=1, attention=(1,)),
        optim=OptimConfig(steps=10_000, batch=4, warmup=0),
    )


def one_by_one(average: nn.Module, network: nn.Module) -> None:
    """Move an average weight by weight."""
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.mul_(0.999).add_(new, alpha=0.001)


def all_at_once(average: nn.Module, network: nn.Module) -> None:
    """Move an average with one call, as trainings do."""
    with torch.no_grad():
        torch._foreach_lerp_(
            own(list(average.parameters())), own(list(network.parameters())), 0.001
        )


def compared(first: Callable[[], object], second: Callable[[], object], times: int) -> list[float]:
    """Return the median seconds of two things, done in turns after one of each."""
    taken: list[list[float]] = [[], []]
    for _ in range(times + 1):
        for place, action in enumerate((first, second)):
            started = time.perf_counter()
            action()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken[place].append(time.perf_counter() - started)
    return [statistics.median(each[1:]) for each in taken]


def row(name: str, first: str, second: str, seconds: list[float]) -> None:
    """Print a row of the table."""
    before, after = seconds
    left, right = (f"{1e3 * value:.2f}" for value in seconds)
    print(f"| {name} | {first} | {left} | {second} | {right} | {before / after:.2f} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--times", type=int, default=9)
    asked = parser.parse_args()
    device = choose_device(asked.device)
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else ""
    kind = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    print(f"{kind}, {os.cpu_count()} processors, {threads}, torch {torch.__version__}, ", end="")
    print(f"{datetime.date.today()}; medians of {asked.times}, in ms\n")
    print("| what | one way | ms | the other | ms | ratio |\n|---|---|---|---|---|---|")
    state = TrainState.start(config_of(), device)
    seconds = compared(
        lambda: one_by_one(state.average, state.network),
        lambda: all_at_once(state.average, state.network),
        10 * asked.times,
    )
    row("moving an average", "weight by weight", "all at once", seconds)
    plain = config_of(precision="float32")
    for word, other in (
        ("recompute", replace(plain, recompute=True)),
        ("bfloat16", replace(plain, precision="bfloat16")),
        ("microbatch 1 of 4", replace(plain, optim=replace(plain.optim, microbatch=1))),
    ):
        steps = [
            train_steps(each, TrainState.start(each, device), each.clips("train"))
            for each in (plain, other)
        ]
        seconds = compared(partial(next, steps[0]), partial(next, steps[1]), asked.times)
        row("a step", "float32, whole batch", word, seconds)
    with tempfile.TemporaryDirectory() as folder:
        steps = train_steps(config_of(), state, config_of().clips("train"))

        def save() -> None:
            save_checkpoint(Path(folder), state)

        seconds = compared(save, lambda: next(steps), asked.times)
        row("beside a step", "saving a checkpoint", "the step", seconds)


if __name__ == "__main__":
    main()
