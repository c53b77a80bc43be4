"""What values the data has: one pass over all of it, a few frames at a time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.data.footage import Footage
from framefill.errors import InputError

CHUNK_BYTES = 2**26


@dataclass(frozen=True)
class Moments:
    """Per channel, of the values that are not missing.

    Args:
        count: How many there are.
        mean: Their mean.
        deviation: Their standard deviation.
        low: The smallest.
        high: The largest.
        missing: Share of all values that is missing.
    """

    count: Float64[np.ndarray, " c"]
    mean: Float64[np.ndarray, " c"]
    deviation: Float64[np.ndarray, " c"]
    low: Float64[np.ndarray, " c"]
    high: Float64[np.ndarray, " c"]
    missing: float


class Tally:
    """Moments of values that come part by part (Chan et al. 1983, Equation 2.1)."""

    def __init__(self, channels: int) -> None:
        self.count, self.mean, self.squares = np.zeros((3, channels))
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self.total = 0

    def add(self, values: Shaped[np.ndarray, "... c"]) -> None:
        """Take in some values, the channel last; NaN is missing."""
        flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
        there = ~np.isnan(flat)
        count = there.sum(axis=0)
        total = np.where(there, flat, 0).sum(axis=0)
        mean = total / np.maximum(count, 1)
        both = np.maximum(self.count + count, 1)
        with np.errstate(invalid="ignore"):  # infinite values are refused at the end
            squares = np.where(there, flat - mean, 0) ** 2
            step = mean - self.mean
            self.squares += squares.sum(axis=0) + step**2 * self.count * count / both
            self.mean += step * count / both
        self.count += count
        self.low = np.minimum(self.low, np.where(there, flat, np.inf).min(axis=0))
        self.high = np.maximum(self.high, np.where(there, flat, -np.inf).max(axis=0))
        self.total += flat.size

    def moments(self, name: str) -> Moments:
        """Return the moments of all that was added.

        Raises:
            InputError: a channel has no values, or infinite ones.
        """
        if (self.count == 0).any():
            channel = int(np.flatnonzero(self.count == 0)[0])
            raise InputError(f"{name}: all values of channel {channel} are missing")
        if not (np.isfinite(self.low).all() and np.isfinite(self.high).all()):
            raise InputError(f"{name} holds infinite values: make them NaN, which means missing")
        return Moments(
            self.count,
            self.mean,
            np.sqrt(self.squares / self.count),
            self.low,
            self.high,
            1 - float(self.count.sum()) / self.total,
        )


def measure(
    footage: Sequence[Footage],
    *,
    transform: Callable[[Shaped[np.ndarray, "..."]], Shaped[np.ndarray, "..."]],
    after: Callable[[int], None] = lambda frames: None,
) -> tuple[Moments, Moments]:
    """Measure all frames of some videos.

    Args:
        footage: The videos, of the same channels.
        transform: Applied to the frames for the second moments.
        after: Called with the number of frames of each part that was read.

    Returns:
        The moments of the values, and of the transformed values.

    Raises:
        InputError: a video can't be read, a channel is missing throughout, or the videos differ in
            their number of channels.
    """
    channels = footage[0].shape[2]
    plain, changed = Tally(channels), Tally(channels)
    for each in footage:
        if each.shape[2] != channels:
            raise InputError(
                f"{footage[0].name} has {channels} channels and {each.name} {each.shape[2]}: make "
                "them alike"
            )
        for places in _parts(each):
            frames = each.take(places)
            plain.add(frames)
            changed.add(transform(frames))
            after(len(places))
    name = footage[0].name if len(footage) == 1 else f"all of the {len(footage)} videos"
    return plain.moments(name), changed.moments(name)


def measure_condition(footage: Sequence[Footage], name: str) -> Moments:
    """Measure a condition in all of some videos.

    Raises:
        InputError: a video can't be read, or one of the values is missing throughout.
    """
    tally = Tally(footage[0].tracks[name].size)
    for each in footage:
        track = each.tracks[name]
        for places in [range(1)] if track.kind == "static" else _parts(each):
            tally.add(track.reader(places))
    return tally.moments(f"condition {name!r}")


def _parts(footage: Footage) -> Iterable[range]:
    size = int(np.prod(footage.shape)) * 8
    step = max(1, CHUNK_BYTES // size)
    return (
        range(start, min(start + step, footage.length)) for start in range(0, footage.length, step)
    )
