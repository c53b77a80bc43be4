"""What is wrong with the times of frames, and what doesn't move."""

from collections import Counter
from collections.abc import Iterator

from framefill.data.examine import Facts
from framefill.doctor.asked import Asked
from framefill.doctor.report import Finding, Value
from framefill.doctor.wording import files_of, number_of, rate_in_words, some_of

UNEVEN = 1.05  # ratio of frame rates


def judge_times(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Name holes in time and uneven frame rates."""
    config = asked.videos
    holes = [each for each in facts.videos if each.holes]
    if holes:
        total = sum(each.length for each in facts.videos)
        count = sum(each.holes for each in holes)
        yield Finding(
            subject="times",
            weight="note",
            text=f"the time stamps of {number_of(len(holes), 'video')} have holes: {count} of "
            f"{total} frames are missing, and taken as ABSENT "
            f"({some_of([e.name for e in holes], facts)})",
        )
    rates = {each.fps for each in facts.videos}
    known = [rate for rate in rates if rate]
    slowest = round(min(known), 3) if known and None not in rates else 0.0
    settings: dict[str, Value] = {"data.fps": slowest} if slowest else {}
    if config.fps:
        return
    if len(known) > 1 and max(known) > UNEVEN * min(known):
        yield Finding(
            subject="times",
            weight="harms",
            text=f"videos have different frame rates, {rate_in_words(min(known))} to "
            f"{rate_in_words(max(known))}: the same motion looks slower in some of them",
            settings=settings,
        )
    elif irregular := [each.name for each in facts.videos if each.irregular]:
        yield Finding(
            subject="times",
            weight="harms",
            text=f"the frames of {number_of(len(irregular), 'video')} are unevenly spaced in time: "
            f"{some_of(irregular, facts)}",
            settings=settings,
        )


def judge_stills(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Name videos that hardly move, or come at more frames than were filmed."""
    looked = [each for each in facts.videos if each.looked]
    constant = [e.name for e in looked if e.constant and e.constant + e.missing == e.looked]
    frozen = [
        e.name for e in looked if e.pairs and e.still == e.pairs and e.name not in set(constant)
    ]
    for names, what in (
        (constant, "hold frames of a single value and nothing else"),
        (frozen, "never change"),
    ):
        if names:
            yield Finding(
                subject="still",
                weight="harms",
                text=f"{number_of(len(names), 'video')} {what}: {some_of(names, facts)}; take them "
                "out",
                unfit=files_of(names, asked),
            )
    flat = sum(each.constant for each in looked if each.name not in set(constant))
    frames = sum(each.looked for each in looked)
    if flat:
        yield Finding(
            subject="still",
            weight="harms" if flat > 0.05 * frames else "note",
            text=f"{flat} of {frames} frames are of a single value, such as black ones",
        )
    moving = [e for e in looked if e.pairs and e.name not in {*constant, *frozen}]
    repeated = Counter(each.repeats for each in moving if each.repeats > 1)
    if repeated and sum(repeated.values()) > 0.8 * len(moving):
        times = asked.videos.every * repeated.most_common(1)[0][0]
        span = (asked.config.masks.frames - 1) * times + 1
        fits = sum(each.length >= span for each in facts.of("train")) > 0
        yield Finding(
            subject="still",
            weight="harms",
            text=f"each frame comes {repeated.most_common(1)[0][0]} times in a row: the videos "
            "were filmed at a lower rate than they are stored at",
            settings={"data.every": times} if fits else {},
        )
        return
    still, pairs = sum(each.still for each in moving), sum(each.pairs for each in moving)
    if still > 0.2 * pairs:
        yield Finding(
            subject="still",
            weight="harms",
            text=f"{still} of {pairs} frames are the same as the one before: a model learns to "
            "copy",
        )
