"""Making a plan: what a training will take on this machine, and what makes it fit."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from framefill.config import Config
from framefill.costs import Cost, cost
from framefill.data.digits import DigitsConfig
from framefill.data.own import OwnConfig
from framefill.device import choose_device
from framefill.errors import InputError
from framefill.estimate.made_up import lacks_data, with_made_up
from framefill.estimate.memory import parts_of
from framefill.estimate.result import Divided, Plan
from framefill.estimate.search import Search
from framefill.intake import take_in

SECONDS = 120.0  # that a plan may take by default, roughly
DIVISIONS = (2, 4, 8)  # numbers of processes that are spoken of, where nothing else fits
WORTH = 0.25  # of the limit: only if the state takes as much, dividing it is worth a word


def make_plan(
    config: Config,
    *,
    name: str,
    data: Path | None = None,
    device: str = "auto",
    memory_limit: float | None = None,
    price_per_hour: float | None = None,
    seconds: float = SECONDS,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Measure what a training will take, by a few real steps in processes of their own.

    What doesn't fit is tried with other settings, in the order in which they change the training:
    fewer clips at once, bfloat16 (on CUDA), activations computed again, a smaller batch.

    Args:
        config: What is to be trained.
        name: Of the recipe, or the file that the config is from.
        data: Where the training data is; None: where the config says, or else made-up clips.
        device: "auto", "cpu", "cuda" or "mps".
        memory_limit: GiB that the training may take; None: what is free.
        price_per_hour: Of the machine; None: no cost is computed.
        seconds: That the trials may take together, roughly; reading the data comes first.
        progress: Show a progress bar while data is measured.
        say: Takes messages for the user.

    Raises:
        InputError: there is no such device, a number is out of range, or the data can't be read or
            doesn't suit the config.
    """
    _check(memory_limit=memory_limit, price_per_hour=price_per_hour, seconds=seconds)
    place = choose_device(device)
    config, source, made_up = _with_data(config, data, progress, say)
    price = cost(config.model())
    limit = None if memory_limit is None else int(memory_limit * 2**30)
    search = Search(config, place, price, limit, seconds, say)
    search.run()
    found = search.measured
    return Plan(
        recipe=name,
        data=source,
        made_up=made_up,
        device=next((each.device for each in found if each.device), str(place)),
        workers=config.workers,
        parameters=price.parameters,
        parts=parts_of(config, price),
        limit_bytes=search.allowed,
        limit_from=_limit_from(search),
        base_bytes=found[0].base_peak,
        tried=tuple(search.tried),
        untried=tuple(" ".join(each.flags) for each in search.untried),
        read_seconds=None
        if made_up
        else next((s for each in found if (s := each.read_seconds) is not None), None),
        filling=search.filling,
        steps=config.optim.steps,
        price_per_hour=price_per_hour,
        divided=_divided(search, price),
        devices=_devices(place),
        notes=tuple(_notes(search)),
    )


def _check(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} {value} must be a number above 0")


def _with_data(
    config: Config, data: Path | None, progress: bool, say: Callable[[str], None]
) -> tuple[Config, str, bool]:
    """Return the config measured on its data, what that is in words, and whether it's made up."""
    if data is None and lacks_data(config):
        shape = f"{config.masks.frames} frames of {config.data.height} x {config.data.width}"
        return with_made_up(config), f"made-up clips of {shape}: give yours with --data", True
    say("reading the data")
    started = time.monotonic()
    intake = take_in(config, data, None, known=None, held_out=False, progress=progress, say=say)
    say(f"read and measured in {time.monotonic() - started:.0f} s")
    own = intake.config.data
    if isinstance(own, DigitsConfig) and own.path is None:
        return intake.config, "digits that framefill carries", False
    return intake.config, "" if isinstance(own, OwnConfig) else str(own.path), False


def _limit_from(search: Search) -> str:
    if search.limit is not None and search.allowed >= search.limit:
        return "as asked for"
    return "what is free on the GPU" if search.device.type == "cuda" else "95 % of what is free"


def _notes(search: Search) -> Iterator[str]:
    if search.limit is not None and search.allowed < search.limit:
        yield f"{search.limit / 2**30:.2f} GiB were allowed, and that much isn't free here"
    if search.config.compile:
        yield "measured without --compile, which takes minutes at first and makes steps faster"
    if search.config.shard:
        yield "measured in one process, where --shard divides nothing"


def _devices(place: torch.device) -> int:
    return torch.cuda.device_count() if place.type == "cuda" else 1


def _divided(search: Search, price: Cost) -> tuple[Divided, ...]:
    """Return what several processes would mean: as many as GPUs are here, or as could help."""
    last, here = search.tried[-1], _devices(search.device)
    numbers = [here] if here > 1 else []
    state = parts_of(search.config, price).state
    if not last.fits and state > WORTH * search.allowed:
        numbers = sorted({*numbers, *DIVISIONS})
    return tuple(
        Divided(
            processes=number,
            clips=None if last.batch % number else last.batch // number,
            step_seconds=None if last.step_seconds is None else last.step_seconds / number,
            state_bytes=state // number,
        )
        for number in numbers
    )
