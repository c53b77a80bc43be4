"""A plan in words."""

import shlex
from collections.abc import Iterator
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from framefill.estimate.result import Plan, Tried

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def print_plan(plan: Plan, console: Console) -> None:
    """Print what a training would take, and last what to do."""
    for line in _lines(plan):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if len(plan.tried) > 1:
        console.print(_table(plan))
    for line in _advice(plan):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _lines(plan: Plan) -> Iterator[str]:
    yield f"recipe: {plan.recipe}, {plan.parameters:,} parameters"
    yield f"data: {plan.data}"
    yield f"memory, computed: {_parts(plan)}"
    yield f"memory, measured: {_peak(plan)}"
    yield f"limit: {size(plan.limit_bytes)}, {plan.limit_from}, on {plan.device}"
    yield f"time: {_time(plan)}"
    if plan.seconds is not None:
        yield (
            f"{plan.steps:,} steps: {duration(plan.seconds)} (computed from that; without looks at "
            "held-out clips and checkpoints)"
        )
    if plan.cost is not None:
        yield f"cost: {plan.cost:,.2f} at {plan.price_per_hour:g} an hour (computed)"
    if plan.read_seconds is not None:
        yield f"reading: {1 / plan.read_seconds:,.1f} clips per second by one process (measured)"
    if plan.filling is not None:
        yield f"filling a clip: {_filling(plan)}"


def _parts(plan: Plan) -> str:
    parts = plan.parts
    return (
        f"weights {size(parts.weights)}, gradients {size(parts.gradients)}, Adam "
        f"{size(parts.adam)}, moving averages {size(parts.averages)}, activations "
        f"{size(parts.clip)} a clip in float32 without --recompute, {_clips(parts.held)} at once, "
        f"a batch of clips {size(parts.batch)}"
    )


def _peak(plan: Plan) -> str:
    tried = plan.asked
    if tried.peak_bytes is None:
        alone = tried.clip_peak_bytes
        single = "" if alone is None else f"; a single clip took {size(alone)}"
        return f"no step of {_clips(tried.batch)} was finished: {tried.said}{single}"
    scaled = f", in proportion from {_clips(tried.clips)}" if tried.scaled_memory else ""
    base = f", of which Python and libraries {size(plan.base_bytes)}" if plan.base_bytes else ""
    return f"{size(tried.peak_bytes)}{scaled}{base}"


def _clips(count: int) -> str:
    return "1 clip" if count == 1 else f"{count} clips"


def _time(plan: Plan) -> str:
    tried = plan.chosen or plan.asked
    if tried.step_seconds is None:
        return "not measured"
    scaled = "" if tried.clips == tried.batch else f", in proportion from {_clips(tried.clips)}"
    steps = "1 step" if tried.steps == 1 else f"{tried.steps} steps"
    flags = f", with {shlex.join(tried.flags)}" if tried.flags else ""
    reading = ""
    if plan.read_seconds is not None and plan.workers == 0:
        share = plan.read_seconds * tried.batch / tried.step_seconds
        reading = f", of which reading the clips {min(1.0, share):.0%}"
    elif plan.workers:
        reading = f", while {plan.workers} processes read (computed from the two alone)"
    return (
        f"{duration(tried.step_seconds)} a step of {_clips(tried.batch)}, measured over "
        f"{steps}{scaled}{flags}{reading}"
    )


def _filling(plan: Plan) -> str:
    found = plan.filling
    if found is None:
        return ""
    timed = f"measured over {found.measured} of its {found.evaluations} calls of the network"
    if found.measured == found.evaluations:
        timed = f"measured, {found.evaluations} calls of the network"
    return f"{duration(found.seconds)} with the model's own sampler ({timed})"


def _table(plan: Plan) -> Table:
    table = Table("tried", title_justify="left")
    table.add_column("memory", justify="right")
    table.add_column("a step", justify="right")
    table.add_column("")
    for each in plan.tried:
        peak = "" if each.peak_bytes is None else size(each.peak_bytes)
        seconds = "" if each.step_seconds is None else duration(each.step_seconds)
        verdict = {True: "fits", False: "doesn't fit", None: "not known"}[each.fits]
        told = f"{verdict}: {each.said}" if each.said else verdict
        table.add_row(shlex.join(each.flags) or "as asked for", peak, seconds, told)
    return table


def _advice(plan: Plan) -> Iterator[str]:
    if plan.untried:
        more = len(plan.untried) - 3
        named = "; ".join(plan.untried[:3]) + (f" and {more} more" if more > 0 else "")
        yield f"not tried for lack of time, give it more --seconds: {named}"
    chosen = plan.chosen
    if chosen is not None and chosen.peak_bytes is not None:
        share = chosen.peak_bytes / plan.limit_bytes
        if not chosen.flags:
            yield f"it fits: {share:.0%} of the limit is used"
        else:
            yield f"it doesn't fit as asked for; it does, with {share:.0%} of the limit used, with:"
            yield f"  {shlex.join(chosen.flags)}"
            yield from _warnings(chosen)
    elif plan.asked.fits is None:
        yield f"whether it fits is not known: {plan.asked.said}; give it more --seconds"
    else:
        yield _smallest(plan)
    yield from _processes(plan)
    yield from plan.notes


def _warnings(chosen: Tried) -> Iterator[str]:
    if "--precision" in chosen.flags:
        yield "  bfloat16 has 8 bits of precision: losses differ a little from those of float32"
    if "--optim.batch" in chosen.flags:
        yield "  a smaller batch is another training: its gradients are noisier"


def _smallest(plan: Plan) -> str:
    known = [(peak, each) for each in plan.tried if (peak := each.clip_peak_bytes) is not None]
    if not known:
        least = f"weights, gradients and averages alone take {size(plan.parts.state)} (computed)"
        return f"it doesn't fit: {least}; choose a smaller --network.width"
    peak, each = min(known, key=lambda pair: pair[0])
    flags = f", with {shlex.join(each.flags)}," if each.flags else ""
    if peak <= plan.limit_bytes:
        return f"nothing that was tried fits; a single clip at once{flags} takes {size(peak)}"
    instead = "" if plan.untried else "; choose smaller frames or a smaller --network.width"
    return (
        f"nothing that was tried fits: even a single clip at once{flags} takes {size(peak)} of "
        f"{size(plan.limit_bytes)}{instead}"
    )


def _processes(plan: Plan) -> Iterator[str]:
    for each in plan.divided:
        step = (
            "" if each.step_seconds is None else f", a step at best {duration(each.step_seconds)}"
        )
        clips = (
            f"{_clips(each.clips)} each" if each.clips else "optim.batch can't be divided evenly"
        )
        yield (
            f"torchrun --nproc-per-node {each.processes} (computed, exchange not counted): "
            f"{clips}{step}; with --shard {size(each.state_bytes)} of weights, gradients and "
            "averages each"
        )
    if plan.devices == 1 and not plan.divided:
        yield "one device here: torchrun has nothing to divide"


def size(count: int) -> str:
    """Return a number of bytes in words.

    >>> size(3 * 2**20), size(5 * 2**30)
    ('3.0 MiB', '5.00 GiB')
    """
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def duration(seconds: float) -> str:
    """Return a duration in words, by its two largest units.

    >>> duration(0.0123), duration(75), duration(7325), duration(200000)
    ('12.3 ms', '1 min 15 s', '2 h 2 min', '2 d 7 h')
    """
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    for (large, name), (small, lesser) in pairwise(UNITS):
        if seconds >= large:
            whole = int(seconds // large)
            return f"{whole} {name} {int(seconds % large // small)} {lesser}"
    return f"{seconds:.0f} s"
