"""How stored numbers become values, and values stored numbers again."""

import math
import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from framefill.data.video import Video
from framefill.errors import FillWarning, InputError


class Scale(NamedTuple):
    """How stored numbers become values: value = stored * slope + intercept.

    Args:
        slope: Finite and not 0.
        intercept: Finite.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def dtype(self, stored: np.dtype[np.generic]) -> np.dtype[np.generic]:
        """Return the shorter dtype of floats that keeps the values of two stored numbers apart."""
        if stored.kind == "f":
            return np.dtype("float64" if stored.itemsize > 4 else "float32")
        limits = np.iinfo(stored.name)
        most = max(abs(limits.min * self.slope), abs(limits.max * self.slope))
        with np.errstate(over="ignore", invalid="ignore"):
            gap = float(np.spacing(np.float32(most + abs(self.intercept))))
        return np.dtype("float32" if gap < abs(self.slope) / 4 else "float64")

    def values(
        self, stored: Shaped[np.ndarray, "..."], dtype: np.dtype[np.generic]
    ) -> Shaped[np.ndarray, "..."]:
        """Return the values of stored numbers; NaN stays NaN."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (stored.astype(np.float64) * self.slope + self.intercept).astype(dtype)

    def stored(
        self,
        values: Shaped[np.ndarray, "..."],
        dtype: np.dtype[np.generic],
        missing: float | None,
        name: str,
    ) -> Shaped[np.ndarray, "..."]:
        """Return the numbers to store for values; those that came from the file come out as before.

        Args:
            values: Floats; NaN where one is missing.
            dtype: To store.
            missing: The number that stands for NaN.
            name: What to call the video in a message.

        Raises:
            InputError: a value is missing, and no number stands for that.
        """
        numbers = (values.astype(np.float64) - self.intercept) / self.slope
        gone = np.isnan(numbers)
        if missing is not None:
            numbers[gone] = missing
        if dtype.kind == "f":
            return numbers.astype(dtype)
        if gone.any() and missing is None:
            raise InputError(
                f"{name} has {gone.sum()} values that are NaN, and {dtype} no number for them: "
                "choose .npy, which keeps them, or name one with --data.missing"
            )
        limits, exact = np.iinfo(dtype.name), 2**53
        low, high = max(limits.min, -exact), min(limits.max, exact)
        whole = np.rint(numbers)
        outside = int(((whole < low) | (whole > high)).sum())
        if outside:
            warnings.warn(
                f"{name}: {outside} values are beyond what {dtype} holds with the slope "
                f"{self.slope:g} and intercept {self.intercept:g}, and become its extremes",
                FillWarning,
                stacklevel=2,
            )
        return np.clip(whole, low, high).astype(dtype)


def restored(video: Video) -> tuple[np.dtype[np.generic], float | None] | None:
    """Return the dtype that a video's source stored, and the number for missing values if any.

    None if its frames are what was stored, or if values are missing and no number stands for them.
    """
    stored = video.stored
    if stored is None or video.frames.dtype.kind != "f":
        return None
    if not math.isnan(stored.missing):
        return np.dtype(stored.dtype), stored.missing
    return None if np.isnan(video.frames).any() else (np.dtype(stored.dtype), None)
