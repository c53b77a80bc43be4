"""Fillings that need no model: a model that loses to them has learned nothing.

Where a given frame of floats has gaps (NaN), a pixel takes its value in the given frame before, or
else after it; it stays NaN if no given frame has it.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
from jaxtyping import Shaped

from framefill.errors import InputError


def copy_last(
    frames: Shaped[np.ndarray, "*b f h w c"], row: str
) -> Shaped[np.ndarray, "*b f h w c"]:
    """Fill every frame that is not known with the last known frame before it.

    Frames before the first known one take that one.

    Args:
        frames: Videos; only known frames are read.
        row: The roles of their frames, at least one of them K.

    Raises:
        InputError: no frame is known, or the row has not one letter per frame.
    """
    known = _known(frames, row)
    sources = [max((k for k in known if k <= i), default=known[0]) for i in range(len(row))]
    return without_gaps(frames, known)[..., sources, :, :, :]


def nearest_known(
    frames: Shaped[np.ndarray, "*b f h w c"], row: str
) -> Shaped[np.ndarray, "*b f h w c"]:
    """Fill every frame that is not known with the known frame nearest in time.

    Of two that are equally near, with the earlier.

    Args:
        frames: Videos; only known frames are read.
        row: The roles of their frames, at least one of them K.

    Raises:
        InputError: no frame is known, or the row has not one letter per frame.
    """
    known = _known(frames, row)
    sources = [min(known, key=lambda k: abs(k - i)) for i in range(len(row))]
    return without_gaps(frames, known)[..., sources, :, :, :]


def linear_blend(
    frames: Shaped[np.ndarray, "*b f h w c"], row: str
) -> Shaped[np.ndarray, "*b f h w c"]:
    """Fill every frame that is not known between the known ones before and after it.

    Linearly in time, and rounded where the values are integers. Frames with a known one on one
    side only are copies of it.

    Args:
        frames: Videos; only known frames are read.
        row: The roles of their frames, at least one of them K.

    Raises:
        InputError: no frame is known, or the row has not one letter per frame.
    """
    known = _known(frames, row)
    frames = without_gaps(frames, known)
    filled = copy_last(frames, row)
    for before, after in pairwise(known):
        for i in range(before + 1, after):
            # Whole numbers as weights, divided at the end: a mean of two halves is exact.
            early = frames[..., before, :, :, :] * float(after - i)
            late = frames[..., after, :, :, :] * float(i - before)
            blend = (early + late) / (after - before)
            floats = np.issubdtype(frames.dtype, np.floating)
            filled[..., i, :, :, :] = blend if floats else np.rint(blend)
    return filled


def pixel_mean(
    frames: Shaped[np.ndarray, "*b f h w c"], row: str
) -> Shaped[np.ndarray, "*b f h w c"]:
    """Fill every frame with each pixel's mean over the known ones, rounded where it is an integer.

    Args:
        frames: Videos; only known frames are read.
        row: The roles of their frames, at least one of them K.

    Raises:
        InputError: no frame is known, or the row has not one letter per frame.
    """
    known = _known(frames, row)
    given = without_gaps(frames, known)[..., known, :, :, :]
    mean = given.mean(axis=-4, keepdims=True, dtype=np.float64)
    whole = not np.issubdtype(frames.dtype, np.floating)
    return np.broadcast_to(np.rint(mean) if whole else mean, frames.shape).astype(frames.dtype)


def without_gaps(
    frames: Shaped[np.ndarray, "*b f h w c"], known: list[int]
) -> Shaped[np.ndarray, "*b f h w c"]:
    """Return videos whose known frames have no gaps but where all of them have one."""
    if frames.dtype.kind != "f" or not np.isnan(frames[..., known, :, :, :]).any():
        return frames
    filled = frames.copy()
    for before, after in (*pairwise(known), *pairwise(known[::-1])):
        source, target = filled[..., before, :, :, :], filled[..., after, :, :, :]
        np.copyto(target, source, where=np.isnan(target))
    return filled


def _known(frames: Shaped[np.ndarray, "*b f h w c"], row: str) -> list[int]:
    """Return which frames are known."""
    if len(row) != frames.shape[-4]:
        raise InputError(
            f"{row!r} has {len(row)} roles for {frames.shape[-4]} frames: give one each"
        )
    known = [i for i, letter in enumerate(row) if letter == "K"]
    if not known:
        raise InputError(f"{row!r} has no known frame (K) to fill the others from: give one")
    return known


BASELINES: Mapping[
    str, Callable[[Shaped[np.ndarray, "*b f h w c"], str], Shaped[np.ndarray, "*b f h w c"]]
] = {
    "copy_last": copy_last,
    "nearest": nearest_known,
    "linear": linear_blend,
    "pixel_mean": pixel_mean,
}
