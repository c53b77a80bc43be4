"""What is wrong with the values of frames and of conditions."""

from collections.abc import Iterator, Sequence
from typing import cast

from framefill.data.examine import Facts, ValueFacts
from framefill.doctor.asked import Asked
from framefill.doctor.report import Finding, Value
from framefill.nn.config import SpaceTimeConfig

SKEW = 30  # times the median, from which the largest values call for the logarithm
NARROW = 64  # levels of 8 bits, below which the fixed range -1..1 of all 256 is a waste


def judge_values(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Say whether the values are of use, and suited to the recipe's scaling."""
    scaling = asked.config.scaling
    eight = {each.dtype for each in facts.videos} == {"uint8"}
    for each in facts.channels:
        if each.infinite:
            yield Finding(
                subject="values",
                weight="stops",
                text=f"{each.name} has {each.infinite} infinite values: make them NaN, which means "
                "missing",
            )
        if each.low is None:
            yield Finding(
                subject="values", weight="stops", text=f"{each.name} is missing everywhere"
            )
        elif each.low == each.high:
            yield _constant(each, facts, asked)
    yield from _marks(facts.channels)
    known = [each for each in facts.channels if each.low is not None and each.low != each.high]
    if not known:
        return
    low, high = min(cast(float, e.low) for e in known), max(cast(float, e.high) for e in known)
    if eight and high - low < NARROW:
        ends = (scaling.transform, scaling.low, scaling.high)
        given = scaling.by in ("auto", "given") and ends == ("linear", None, None)
        does = "" if given else "; the recipe measures the range, which takes care of it"
        yield Finding(
            subject="values",
            weight="harms" if given else "note",
            text=f"8-bit values reach only {low:g}..{high:g} of 0..255{does}",
            settings={"scaling.by": "range"} if given else {},
        )
    skewed = [each for each in known if _is_skewed(each)]
    plain = scaling.transform == "linear" and scaling.by != "given"
    if len(skewed) == len(known) == len(facts.channels) and not eight and plain:
        soft = min(_step(each) for each in skewed)
        yield Finding(
            subject="values",
            weight="harms",
            text=f"values span orders of magnitude: half of those above {low:g} are below "
            f"{_quantile(skewed[0], 1):.3g}, and they reach {high:.3g}; on a linear scale most of "
            "them are nearly the same",
            settings={
                "scaling.transform": "log",
                "scaling.low": low,
                "scaling.soft": soft,
            },
        )


def _constant(each: ValueFacts, facts: Facts, asked: Asked) -> Finding:
    names = asked.videos.variables
    place = [channel.name for channel in facts.channels].index(each.name)
    settings: dict[str, Value] = {}
    if len(names) == len(facts.channels) > 1:
        kept = tuple(name for number, name in enumerate(names) if number != place)
        settings = {"data.variables": kept, "data.channels": len(kept)}
    return Finding(
        subject="values",
        weight="stops",
        text=f"{each.name} is {each.low:g} everywhere, which tells nothing: leave it out",
        settings=settings,
    )


def _marks(channels: Sequence[ValueFacts]) -> Iterator[Finding]:
    marked = {each.mark: each for each in channels if each.mark is not None}
    for number, (mark, each) in enumerate(marked.items()):
        yield Finding(
            subject="missing",
            weight="harms",
            text=f"{each.mark_share:.1%} of {each.name} are {mark:g}, far from all other values: "
            "if that means missing, say so",
            settings={"data.missing": mark} if number == 0 else {},
        )


def _is_skewed(each: ValueFacts) -> bool:
    if each.quantiles is None or each.low is None or each.low < 0 or each.mark is not None:
        return False
    small, middle, top = (value - each.low for value in each.quantiles)
    return small > 0 and top > SKEW * middle


def _step(each: ValueFacts) -> float:
    """Return what a small value is worth: a round number, for the soft end of a logarithm."""
    return float(f"{_quantile(each, 0) - cast(float, each.low):.0e}")


def _quantile(each: ValueFacts, number: int) -> float:
    return cast(tuple[float, float, float], each.quantiles)[number]


def judge_gaps(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Say how much is missing, and what the recipe's network makes of that."""
    share = max((each.missing for each in facts.channels), default=0.0)
    frames = sum(each.missing for each in facts.videos)
    listens = isinstance(asked.config.network, SpaceTimeConfig)
    if share > 0 or frames:
        looked = sum(each.looked for each in facts.videos)
        learns = (
            "nothing is learned of them"
            if listens
            else "this recipe's network isn't told where, and sees 0 there: choose a recipe whose "
            "name ends in -st"
        )
        yield Finding(
            subject="missing",
            weight="note" if listens else "harms",
            text=f"{share:.2%} of the values are missing, and {frames} of {looked} frames as a "
            f"whole; {learns}",
        )


def judge_conditions(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Say which conditions tell nothing, and which aren't used."""
    for each in facts.conditions:
        if each.low is None:
            yield Finding(
                subject="conditions", weight="stops", text=f"condition {each.name} is never known"
            )
        elif each.low == each.high:
            yield Finding(
                subject="conditions",
                weight="note",
                text=f"condition {each.name} is always {each.low:g}, which tells nothing",
            )
        elif each.missing > 0.5:
            yield Finding(
                subject="conditions",
                weight="note",
                text=f"{each.missing:.0%} of condition {each.name} are unknown",
            )
    if facts.unused:
        yield Finding(
            subject="conditions",
            weight="note",
            text=f"conditions beside the videos that aren't used: {', '.join(facts.unused[:20])}; "
            f"--data.conditions {' '.join(facts.unused[:20])}",
        )
