"""What the command does: make a plan, and print it."""

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from framefill.config import Config
from framefill.estimate.planner import SECONDS, make_plan
from framefill.estimate.result import Plan
from framefill.estimate.show import print_plan
from framefill.serialise import to_data


def plan_into(
    config: Config,
    *,
    name: str,
    data: Path | None = None,
    device: str = "auto",
    memory_limit: float | None = None,
    price_per_hour: float | None = None,
    seconds: float = SECONDS,
    as_json: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
    console: Console,
) -> Plan:
    """Make a plan and print it; see `framefill.estimate.make_plan`.

    Args:
        config: What is to be trained.
        name: Of the recipe, or the file that the config is from.
        data: Where the training data is; None: where the config says, or else made-up clips.
        device: "auto", "cpu", "cuda" or "mps".
        memory_limit: GiB that the training may take; None: what is free.
        price_per_hour: Of the machine; None: no cost is computed.
        seconds: That the trials may take together, roughly.
        as_json: Print JSON instead of words.
        progress: Show a progress bar while data is measured.
        say: Takes messages for the user.
        console: Where the plan is printed.

    Raises:
        InputError: as `make_plan`.
    """
    plan = make_plan(
        config,
        name=name,
        data=data,
        device=device,
        memory_limit=memory_limit,
        price_per_hour=price_per_hour,
        seconds=seconds,
        progress=progress,
        say=say,
    )
    if as_json:
        derived = {"seconds": plan.seconds, "step_seconds": plan.step_seconds, "cost": plan.cost}
        console.out(json.dumps({**to_data(plan), **derived}, indent=2), highlight=False)
    else:
        print_plan(plan, console)
    return plan
