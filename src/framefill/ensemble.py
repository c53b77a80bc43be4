"""What several samples of one video say together, pixel by pixel."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.errors import InputError, suggestion

Samples = Shaped[np.ndarray, "k f h w c"]
Frames = Float64[np.ndarray, "f h w c"]

NUMBER = r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?"
EXAMPLES = ("mean", "std", "median", "q10", "q90", "above0")  # what misspelt words come close to


@dataclass(frozen=True)
class Statistic:
    """A word that stands for one number of several, in each pixel.

    Args:
        word: "mean", "std", "median", "q10" (the 10 % quantile, any from q0 to q100) or
            "above273.15" (the share of samples above a threshold in the user's units).
        kind: What it is a case of.
        number: Which quantile, from 0 to 1, or which threshold.
    """

    word: str
    kind: Literal["mean", "std", "quantile", "above"]
    number: float = 0.0

    @classmethod
    def parse(cls, word: str) -> "Statistic":
        """Return what a word stands for.

        Raises:
            InputError: it stands for nothing.

        >>> Statistic.parse("q97.5")
        Statistic(word='q97.5', kind='quantile', number=0.975)
        """
        if word in ("mean", "std"):
            return cls(word, "mean" if word == "mean" else "std")
        if word == "median":
            return cls(word, "quantile", 0.5)
        if (found := re.fullmatch(r"q(\d+(\.\d+)?)", word)) and float(found[1]) <= 100:
            return cls(word, "quantile", float(found[1]) / 100)
        if (found := re.fullmatch(f"above({NUMBER})", word)) and math.isfinite(float(found[1])):
            return cls(word, "above", float(found[1]))
        raise InputError(
            f"no statistic {word!r}{suggestion(word, EXAMPLES)}; there are: mean, std, median, "
            "q0 to q100, and above with a number, such as above5"
        )

    @property
    def title(self) -> str:
        """What it is, in words."""
        words = {"mean": "mean", "std": "standard deviation"}
        if self.kind == "quantile":
            return "median" if self.number == 0.5 else f"{100 * self.number:g} % quantile"
        return words.get(self.kind, f"chance of more than {self.number:g}")

    def of(self, samples: Samples) -> Frames:
        """Return the statistic of samples; NaN where any of them is."""
        if self.kind == "quantile":
            return quantiles(samples, [self.number])[0]
        if self.kind == "above":
            return exceedance(samples, self.number)
        return mean(samples) if self.kind == "mean" else std(samples)


def mean(samples: Samples) -> Frames:
    """Return the mean over the samples; where all are equal it is what they are, bit for bit."""
    found = np.empty(samples.shape[1:])
    for index in range(len(found)):
        first = samples[0, index].astype(np.float64)
        found[index] = first + (samples[:, index] - first).mean(axis=0)
    return found


def std(samples: Samples) -> Frames:
    """Return the standard deviation over the k samples, as of a whole population (divided by k).

    Where all are equal it is 0, whatever their digits.
    """
    found = np.empty(samples.shape[1:])
    for index in range(len(found)):
        first = samples[0, index].astype(np.float64)
        found[index] = (samples[:, index] - first).std(axis=0)
    return found


def quantiles(samples: Samples, shares: Sequence[float]) -> Float64[np.ndarray, "q f h w c"]:
    """Return quantiles over the samples, linear between neighbors (Hyndman & Fan 1996, type 7).

    Raises:
        InputError: a share is not in 0..1.
    """
    for share in shares:
        if not 0 <= share <= 1:
            raise InputError(f"quantile {share} must be in 0..1: 0.9 is that of 90 %")
    found = np.empty((len(shares), *samples.shape[1:]))
    for index in range(samples.shape[1]):
        found[:, index] = np.quantile(samples[:, index].astype(np.float64), shares, axis=0)
    return found


def exceedance(samples: Samples, above: float) -> Frames:
    """Return the share of samples above a threshold; what equals it is not above.

    The threshold is rounded to the precision of float samples: what is stored as 0.1 is not above
    0.1.

    Raises:
        InputError: the threshold is not finite.
    """
    if not math.isfinite(above):
        raise InputError(f"above {above} must be a finite number")
    found = np.empty(samples.shape[1:])
    with np.errstate(over="ignore"):  # in half precision a threshold may be beyond all values
        limit = samples.dtype.type(above) if samples.dtype.kind == "f" else float(above)
    for index in range(len(found)):
        found[index] = (samples[:, index] > limit).mean(axis=0)
        if samples.dtype.kind == "f":
            found[index][np.isnan(samples[:, index]).any(axis=0)] = np.nan
    return found


def frame_means(samples: Samples) -> Float64[np.ndarray, "k f"]:
    """Return the mean of every frame, of its pixels that are known; NaN where none is."""
    known = ~np.isnan(samples) if samples.dtype.kind == "f" else np.ones(samples.shape, bool)
    counts = known.sum(axis=(2, 3, 4))
    sums = samples.sum(axis=(2, 3, 4), dtype=np.float64, where=known)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def largest(values: Float64[np.ndarray, "..."]) -> float:
    """Return the largest number; 0 if none is above that."""
    return float(np.max(values, initial=0.0, where=~np.isnan(values)))
