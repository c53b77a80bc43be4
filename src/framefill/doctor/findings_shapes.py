"""What is wrong with the sizes, channels and types of frames."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from framefill.data.examine import Facts
from framefill.doctor.asked import Asked
from framefill.doctor.report import Finding, Value
from framefill.doctor.wording import NAMED, number_of, short_name
from framefill.nn.config import SpaceTimeConfig

WIDE = 4  # times the recipe's pixels, up to which frames are taken at their own size


def judge_sizes(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Compare the sizes of frames with the one that the recipe takes."""
    sizes = Counter((each.shape[0], each.shape[1]) for each in facts.videos)
    config, plain = asked.videos, asked.plain.data
    wanted = (config.height, config.width)
    if not sizes or (config.fit == "none" and set(sizes) == {wanted}):
        return
    counted = ", ".join(f"{h}x{w} ({count})" for (h, w), count in islice(sizes.most_common(), 6))
    if config.fit != "none":
        yield from _converted(sizes, counted, asked)
        return
    chosen = wanted != (plain.height, plain.width)
    usual = sizes.most_common(1)[0][0]
    settings = {"data.fit": "crop"} if chosen else _size_for(usual, len(sizes) > 1, asked)
    text = f"frames are {counted} and the recipe takes {wanted[0]}x{wanted[1]} (height x width)"
    divisor = asked.config.network.divisor
    if usual[0] % divisor or usual[1] % divisor:
        text += f"; its network needs both divisible by {divisor}"
    own = _rounded(usual, divisor)
    pixels = math.prod(own) / (wanted[0] * wanted[1])
    if pixels > WIDE and not chosen:
        text += (
            f"; at their own size, --data.height {own[0]} --data.width {own[1]} --data.fit crop, "
            f"training takes about {pixels:.0f} times as long"
        )
    yield Finding(subject="sizes", weight="stops", text=text, settings=settings)


def _converted(sizes: Counter[tuple[int, int]], counted: str, asked: Asked) -> Iterator[Finding]:
    """Say what becomes of frames that are converted to the size of the recipe."""
    config = asked.videos
    height, width = config.height, config.width
    larger = [size for size in sizes if size[0] > height or size[1] > width]
    smaller = [size for size in sizes if size[0] < height and size[1] < width]
    if config.fit == "pad" and larger:
        yield Finding(
            subject="sizes",
            weight="stops",
            text=f"frames are {counted}, larger than {height}x{width}, and fit pad cuts nothing",
            settings={"data.fit": "crop"},
        )
    if config.fit != "pad" and len(smaller) == len(sizes):
        usual = sizes.most_common(1)[0][0]
        times = height * width / math.prod(usual)
        yield Finding(
            subject="sizes",
            weight="harms",
            text=f"frames of {counted} are enlarged to {height}x{width}: {times:.1f} times the "
            "work, and nothing more to learn",
            settings=_size_for(usual, len(sizes) > 1, asked),
        )
    bent = [size for size in sizes if abs(math.log(size[0] / size[1] * width / height)) > 0.1]
    if config.fit == "stretch" and bent:
        yield Finding(
            subject="sizes",
            weight="note",
            text=f"frames of {counted} change their shape when they become {height}x{width}: "
            "--data.fit crop keeps it",
        )


def _size_for(size: tuple[int, int], several: bool, asked: Asked) -> dict[str, Value]:
    """Return the settings for frames of a size: their own if a network can take it."""
    divisor = asked.config.network.divisor
    area = asked.videos.height * asked.videos.width
    height, width = size
    if height * width <= WIDE * area:
        if not (height % divisor or width % divisor):
            new, fit = size, "crop" if several else "none"
        elif isinstance(asked.config.network, SpaceTimeConfig) and not several:
            new, fit = (-(-height // divisor) * divisor, -(-width // divisor) * divisor), "pad"
        else:
            new, fit = _rounded(size, divisor), "crop"
    else:
        factor = math.sqrt(area / (height * width)) / divisor
        new, fit = (_multiple(divisor, height * factor), _multiple(divisor, width * factor)), "crop"
    settings: dict[str, Value] = {"data.height": new[0], "data.width": new[1]}
    return settings if fit == "none" else settings | {"data.fit": fit}


def _rounded(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """Return the nearest smaller size that a divisor divides, or the divisor itself."""
    height, width = size
    return _multiple(divisor, height // divisor), _multiple(divisor, width // divisor)


def _multiple(divisor: int, parts: float) -> int:
    return divisor * max(1, round(parts))


def judge_channels(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Compare the channels of frames with those that the recipe takes, and each other."""
    counts = Counter(each.shape[2] for each in facts.videos)
    config = asked.videos
    if not counts:
        return
    usual = counts.most_common(1)[0][0]
    gray = usual == 3 and {(0, 1), (0, 2), (1, 2)} <= set(facts.same_channels)
    if len(counts) > 1:
        counted = ", ".join(f"{channels} ({count})" for channels, count in counts.most_common())
        colors = set(counts) <= {1, 3}
        yield Finding(
            subject="channels",
            weight="stops" if config.fit == "none" or not colors else "note",
            text=f"videos have different numbers of channels: {counted}",
            settings={"data.channels": 1 if gray else 3, "data.fit": "crop"} if colors else {},
        )
    elif gray and config.channels != 1:
        yield Finding(
            subject="channels",
            weight="harms",
            text="red, green and blue are the same: gray frames stored as RGB, three times the "
            "values to learn",
            settings={"data.channels": 1, "data.fit": "crop"},
        )
    elif usual != config.channels and not (
        config.fit != "none" and {usual, config.channels} <= {1, 3}
    ):
        yield Finding(
            subject="channels",
            weight="stops",
            text=f"frames have {number_of(usual, 'channel')} and the recipe takes "
            f"{config.channels}",
            settings={"data.channels": usual},
        )
    elif usual == 1 and config.channels == 3:
        yield Finding(
            subject="channels",
            weight="harms",
            text="gray frames are made RGB: three times the values to learn",
            settings={"data.channels": 1},
        )
    if facts.same_channels and not gray:
        names = [each.name for each in facts.channels]
        pairs = ", ".join(f"{names[i]} = {names[j]}" for i, j in facts.same_channels[:NAMED])
        yield Finding(
            subject="channels",
            weight="harms",
            text=f"channels that are the same: {pairs}; leave one of them out",
        )


def judge_dtypes(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Say whether all videos hold one type of values."""
    counts = Counter(each.dtype for each in facts.videos)
    if len(counts) > 1:
        first = {each.dtype: each.name for each in reversed(facts.videos)}
        names = ", ".join(
            f"{dtype} ({count}, such as {short_name(first[dtype], facts)})"
            for dtype, count in counts.most_common()
        )
        yield Finding(
            subject="dtypes",
            weight="stops",
            text=f"videos hold different types of values: {names}; convert them to one",
        )
