"""Reading the frames of a video, with what it is compared by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import groupby

import numpy as np
from jaxtyping import Bool, Float32, Shaped
from PIL import Image

from framefill.data.examine.facts import VideoFacts
from framefill.data.examine.look import Look
from framefill.data.examine.values import ConditionValues, Values
from framefill.data.fitting import LUMA
from framefill.data.footage import Footage

CHUNK_BYTES = 2**27  # of frames that are read at once
THUMB = 16  # side of the small pictures by which frames are compared
MOST_OF_ONE = 4096  # small pictures that are kept of one video


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen of a video, with what it is compared by.

    Args:
        facts: For the report.
        prints: Of each frame a number that equal frames share.
        told: Which frames have content: neither missing nor constant.
        thumbs: The frames with content, small.
        moves: Which of these are followed by the next frame of the video.
    """

    facts: VideoFacts
    prints: list[bytes]
    told: Bool[np.ndarray, " f"]
    thumbs: Float32[np.ndarray, "told p"]
    moves: list[int]

    @property
    def kind(self) -> tuple[int, str]:
        """Say what a video must have in common with others to be compared with them."""
        return self.facts.shape[2], self.facts.dtype


def look_at(
    footage: Footage,
    facts: VideoFacts,
    look: Look,
    values: dict[int, Values],
    conditions: dict[str, ConditionValues],
) -> Seen:
    """Read the frames of a video that are looked at."""
    places = look.places(footage.length)
    prints: list[bytes] = []
    missing: list[bool] = []
    constant: list[bool] = []
    thumbs: list[Float32[np.ndarray, " p"]] = []
    measured = values.setdefault(footage.shape[2], Values(footage.shape[2], look))
    most = max(1, CHUNK_BYTES // (math.prod(footage.shape) * footage.dtype.itemsize))
    for start in range(0, len(places), most):
        now = places[start : start + most]
        frames = footage.take(now)
        measured.add(frames)
        for name, condition in conditions.items():
            condition.add(footage.tracks[name], now)
        prints += [blake2b(frame.tobytes(), digest_size=12).digest() for frame in frames]
        for frame in frames:
            nothing, same = _empty(frame)
            missing.append(nothing)
            constant.append(same)
        thumbs += [_thumb(frame) for frame in frames]
    pairs = [
        i
        for i in range(len(places) - 1)
        if places[i + 1] == places[i] + 1 and not missing[i] and not missing[i + 1]
    ]
    told = ~np.array(missing) & ~np.array(constant)
    seen = replace(
        facts,
        looked=len(places),
        missing=sum(missing),
        constant=sum(constant),
        pairs=len(pairs),
        still=sum(prints[i] == prints[i + 1] for i in pairs),
        repeats=_repeats(places, prints),
    )
    number = np.cumsum(told) - 1  # of each frame among those with content
    moves = [
        int(number[i]) for i in pairs if told[i] and told[i + 1] and number[i + 1] < MOST_OF_ONE
    ]
    return Seen(seen, prints, told, np.stack(thumbs)[told][:MOST_OF_ONE], moves)


def _empty(frame: Shaped[np.ndarray, "h w c"]) -> tuple[bool, bool]:
    """Say whether a frame is missing, and whether it has one value in each channel."""
    if frame.dtype.kind != "f":
        return False, bool((frame.min(axis=(0, 1)) == frame.max(axis=(0, 1))).all())
    there = ~np.isnan(frame)
    low = np.where(there, frame, np.inf).min(axis=(0, 1))
    high = np.where(there, frame, -np.inf).max(axis=(0, 1))
    return not there.any(), bool(there.any() and (low >= high).all())


def _thumb(frame: Shaped[np.ndarray, "h w c"]) -> Float32[np.ndarray, " p"]:
    """Return a small gray picture of a frame, of its first channel if it is no picture."""
    with np.errstate(all="ignore"):  # what is infinite is replaced
        # The luma is what compression changes least.
        mean = frame @ (np.array(LUMA) / sum(LUMA)) if frame.shape[2] == 3 else frame[..., 0]
        gray = mean.astype(np.float32)
    there = np.isfinite(gray)
    if not there.all():
        gray = np.where(there, gray, gray[there].mean() if there.any() else 0).astype(np.float32)
    small = Image.fromarray(gray).resize((THUMB, THUMB), Image.Resampling.BOX)
    return np.asarray(small, np.float32).reshape(-1)


def _repeats(places: Sequence[int], prints: Sequence[bytes]) -> int:
    """Return how often each frame comes in a row, where that is the same number throughout."""
    ends, inner = [1], []
    for _, group in groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        stretch = [prints[i] for i, _ in group]
        rows = [len(list(row)) for _, row in groupby(stretch)]
        inner += rows[1:-1]
        ends += [rows[0], rows[-1]]  # which the ends of a stretch may have cut short
    usual = min(inner, default=1)
    return usual if len(inner) > 1 and set(inner) == {usual} and max(ends) <= usual else 1
