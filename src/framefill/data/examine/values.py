"""The values of frames and of conditions, as far as they were looked at."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Shaped

from framefill.data.examine.facts import ValueFacts
from framefill.data.examine.look import Look
from framefill.data.footage import Track
from framefill.data.statistics import Tally
from framefill.errors import InputError

MEASURED = 2**22  # values of a chunk of which moments are taken, unless all are asked for
TINT = 4  # levels by which the channels of gray videos differ, once they were compressed
KEPT = 1024  # values of each channel that a stretch adds to those that quantiles are taken of
MOST_KEPT = 2_000_000
MARKS = 0.0005  # share of all values from which an outlying one may stand for missing ones


class Values:
    """The values of frames that come part by part, channel by channel."""

    def __init__(self, channels: int, look: Look) -> None:
        self.look, self.rng = look, np.random.default_rng(look.seed)
        self.tally, self.infinite = Tally(channels), np.zeros(channels, np.int64)
        self.frames = 0
        self.pairs = list(combinations(range(channels), 2))
        self.gaps: dict[tuple[int, int], tuple[float, float]] = {}
        self.kept: list[Shaped[np.ndarray, "n c"]] = []
        self.share, self.bytes = 1.0, True

    def add(self, frames: Shaped[np.ndarray, "f h w c"]) -> None:
        """Take in some frames, of large ones a part."""
        if self.look.frames is not None and frames.size > MEASURED:
            frames = frames[:: -(-frames.size // MEASURED)]
            frames = frames[:, :: -(-frames.size // (MEASURED * len(frames)))]
        self.frames += len(frames)
        self.bytes &= frames.dtype == np.uint8
        if frames.dtype.kind == "f" and (infinite := np.isinf(frames)).any():
            self.infinite += infinite.sum(axis=(0, 1, 2))
            frames = np.where(infinite, np.nan, frames)
        self.tally.add(frames)
        self._compare(frames)
        flat = frames.reshape(-1, frames.shape[3])
        count = max(16, round(KEPT * self.share / frames.shape[3]))
        self.kept.append(flat[self.rng.integers(len(flat), size=count)].astype(np.float64))
        if sum(map(np.size, self.kept)) > MOST_KEPT:
            self.kept, self.share = [np.concatenate(self.kept)[::2]], self.share / 2

    def _compare(self, frames: Shaped[np.ndarray, "f h w c"]) -> None:
        """Drop the pairs of channels that differ here by more than an offset."""
        kept = []
        for pair in self.pairs:
            one, other = (frames[..., channel].astype(np.float64) for channel in pair)
            known = np.isnan(one) == np.isnan(other)
            gap = (one - other)[~np.isnan(one)]
            low, high = self.gaps.get(pair, (math.inf, -math.inf))
            low, high = min(low, gap.min(initial=low)), max(high, gap.max(initial=high))
            if known.all() and high - low <= (TINT if self.bytes else 0):
                self.gaps[pair] = low, high
                kept.append(pair)
        self.pairs = kept

    def facts(self, names: Sequence[str]) -> list[ValueFacts]:
        """Return what is known of each channel."""
        kept = np.concatenate(self.kept)
        found = []
        for number, plain in enumerate(_moments(self.tally)):
            known = kept[:, number][~np.isnan(kept[:, number])]
            mark, share = (None, 0.0) if self.bytes else _mark(known)
            infinite = int(self.infinite[number])
            fact = replace(
                plain,
                name=names[number] if names else f"channel {number}",
                infinite=infinite,
                missing=plain.missing - infinite * len(self.infinite) / max(self.tally.total, 1),
                quantiles=_quantiles(known),
                mark=mark,
                mark_share=share,
            )
            found.append(fact)
        return found

    def same(self) -> list[tuple[int, int]]:
        """Return the pairs of channels that are equal; of bytes, up to a tint."""
        near = TINT if self.bytes else 0
        return [pair for pair in self.pairs if max(map(abs, self.gaps[pair])) <= near]


def _moments(tally: Tally) -> list[ValueFacts]:
    total = tally.total / len(tally.count)
    found = []
    for number, count in enumerate(tally.count):
        there = count > 0
        found.append(
            ValueFacts(
                name="",
                low=float(tally.low[number]) if there else None,
                high=float(tally.high[number]) if there else None,
                mean=float(tally.mean[number]) if there else None,
                deviation=float(np.sqrt(tally.squares[number] / count)) if there else None,
                missing=1 - float(count) / total if total else 0.0,
            )
        )
    return found


def _quantiles(values: Shaped[np.ndarray, " n"]) -> tuple[float, float, float] | None:
    above = values[values > values.min()] if len(values) else values
    if len(above) < 100:
        return None
    small, middle, top = np.quantile(above, (0.1, 0.5, 0.999)).tolist()
    return small, middle, top


def _mark(values: Shaped[np.ndarray, " n"]) -> tuple[float | None, float]:
    """Return the smallest or the largest value if it is frequent and far from all others."""
    each, counts = np.unique(values, return_counts=True)
    if len(each) < 3:
        return None, 0.0
    for end, first, last in ((0, each[1], each[-1]), (-1, each[0], each[-2])):
        gap, rest = abs(each[end] - (first if end == 0 else last)), last - first
        share = counts[end] / counts.sum()
        if gap > 2 * rest and share >= MARKS and counts[end] > 1:
            return float(each[end]), float(share)
    return None, 0.0


class ConditionValues:
    """The values of a condition, stretch by stretch."""

    def __init__(self) -> None:
        self.tally: Tally | None = None

    def add(self, track: Track, places: Sequence[int]) -> None:
        """Take in the values that go with some frames."""
        read = track.reader(places)
        self.tally = self.tally or Tally(track.size)
        if track.size != len(self.tally.count):
            raise InputError(
                f"a condition has {track.size} values here and {len(self.tally.count)} elsewhere"
            )
        self.tally.add(np.where(np.isinf(read), np.nan, read))

    def facts(self, name: str) -> list[ValueFacts]:
        """Return what is known of each of its values."""
        found = _moments(self.tally) if self.tally else []
        numbered = [f"{name} {number}" for number in range(len(found))]
        return [
            replace(each, name=named if len(found) > 1 else name)
            for each, named in zip(found, numbered, strict=True)
        ]
