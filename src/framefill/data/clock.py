"""Time stamps: where frames stand on an even grid, and what the stamps of new frames are."""

import math

import numpy as np
from jaxtyping import Int64, Shaped

from framefill.errors import InputError

TOLERANCE = 0.1  # of a step, by which a stamp may be off the grid
SPARSEST = 20  # a grid has at most so many places for each frame


def seconds(times: Shaped[np.ndarray, " f"]) -> Shaped[np.ndarray, " f"]:
    """Return time stamps as float64 seconds since the first one."""
    if times.dtype.kind in "mM":
        return (times - times[0]).astype("timedelta64[ns]").astype(np.int64) / 1e9
    return times.astype(np.float64) - float(times[0])


def step_of(times: Shaped[np.ndarray, " f"]) -> float:
    """Return the usual distance of two frames in seconds: the median."""
    return float(np.median(np.diff(seconds(times)))) if len(times) > 1 else 0.0


def grid_of(times: Shaped[np.ndarray, " f"] | None, name: str) -> Int64[np.ndarray, " f"] | None:
    """Return the positions of frames on an even grid, where some of its places are empty.

    Args:
        times: Time stamps of the frames, or None.
        name: What to call the video in a message.

    Returns:
        0 for the first frame and so on; None if no place is empty, or if the stamps fit no grid
        (within a tenth of a step), as those of videos with a variable frame rate.

    Raises:
        InputError: the stamps don't ascend.
    """
    if times is None or len(times) < 2:
        return None
    since = seconds(times)
    steps = np.diff(since)
    if not (np.isfinite(steps) & (steps > 0)).all():
        first = int(np.flatnonzero(~(np.isfinite(steps) & (steps > 0)))[0])
        raise InputError(
            f"{name}: the time of frame {first + 1} ({times[first + 1]}) isn't after that of frame "
            f"{first} ({times[first]}): sort the frames by time, each time once"
        )
    # Counted from neighbour to neighbour, and the step then measured over the whole length: that of
    # two rounded stamps (33 or 34 ms) is a little off, which would add up.
    for step in (step_of(times), steps.min()):
        counts = np.rint(steps / step)
        if (counts < 1).any() or counts.sum() > SPARSEST * len(times):
            continue
        places = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if (np.abs(since * (places[-1] / since[-1]) - places) <= TOLERANCE).all():
            return None if places[-1] == len(times) - 1 else places
    return None


def times_of(row: str, given: Shaped[np.ndarray, " k"] | None) -> Shaped[np.ndarray, " f"] | None:
    """Return the time stamps of all frames of a row from those of its K frames.

    New frames between given ones are spaced evenly; before and after them the usual step goes on.

    >>> times_of("KTKT", np.array([10.0, 14.0]))
    array([10., 12., 14., 16.])
    """
    known = np.array([i for i, letter in enumerate(row) if letter == "K"])
    if given is None or len(known) < 2 or len(known) != len(given):
        return None
    since = seconds(given)
    step = float(np.median(np.diff(since) / np.diff(known)))
    places = np.arange(len(row))
    new = np.interp(places, known, since)
    new = np.where(places < known[0], since[0] + (places - known[0]) * step, new)
    new = np.where(places > known[-1], since[-1] + (places - known[-1]) * step, new)
    if not math.isfinite(step):
        return None
    if given.dtype.kind in "mM":
        stamped = given[0] + np.rint(new * 1e9).astype("timedelta64[ns]")
    else:
        stamped = float(given[0]) + new
    stamped[known] = given  # not a bit of the given ones is changed
    return stamped
