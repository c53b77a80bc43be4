"""Distances of sets of videos by their features: Fréchet, kernel, and the Inception Score.

All is computed in float64 and in parts, so that sets of any size take the memory of one part.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.errors import InputError

PART = 1024  # features that are looked at together
DEGREE, OFFSET = 3, 1.0  # of the kernel
SPLITS = 10  # of the Inception Score


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and scatter of features, which is all that the Fréchet distance knows of them.

    Attributes:
        count: How many features.
        mean: Their mean.
        scatter: Sum of the outer products of their differences from the mean.
    """

    count: int
    mean: Float64[np.ndarray, " d"]
    scatter: Float64[np.ndarray, "d d"]

    @classmethod
    def of(cls, features: Shaped[np.ndarray, "n d"]) -> "Moments":
        """Return the moments of some features."""
        values = features.astype(np.float64)
        mean = values.mean(axis=0)
        centered = values - mean
        return cls(len(values), mean, centered.T @ centered)

    def joined(self, other: "Moments") -> "Moments":
        """Return the moments of both sets together (Chan et al. 1979, Equation 2.1)."""
        count = self.count + other.count
        gap = other.mean - self.mean
        return Moments(
            count,
            self.mean + gap * (other.count / count),
            self.scatter + other.scatter + np.outer(gap, gap) * (self.count * other.count / count),
        )

    @property
    def covariance(self) -> Float64[np.ndarray, "d d"]:
        """The unbiased covariance."""
        return self.scatter / (self.count - 1)

    @property
    def deficient(self) -> bool:
        """Whether there are too few features to span their dimensions."""
        return self.count <= len(self.mean)


def moments(parts: Iterable[Shaped[np.ndarray, "_ d"]]) -> Moments:
    """Return the moments of features that come in parts, at least two in all.

    Raises:
        InputError: there are fewer than two, which have no covariance, or one is no number.
    """
    total: Moments | None = None
    for part in parts:
        if not np.isfinite(part).all():
            raise InputError("a feature is NaN or infinite: score frames without such values")
        if len(part):
            here = Moments.of(part)
            total = here if total is None else total.joined(here)
    if total is None or total.count < 2:
        raise InputError(
            f"a Fréchet distance of {0 if total is None else total.count} video(s): needs at "
            "least 2 on each side, and hundreds to mean anything"
        )
    return total


def frechet_distance(real: Moments, fake: Moments) -> float:
    """Return the Fréchet distance of two normal distributions (Unterthiner et al. 2018, Eq. 1).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). The last trace is the sum of the singular values
    of the product of both roots, which also exists where a covariance is singular.

    Raises:
        InputError: the features have different lengths.
    """
    if real.mean.shape != fake.mean.shape:
        raise InputError(
            f"features of {len(real.mean)} and {len(fake.mean)} numbers: compare those of one "
            "network"
        )
    product = _root(real.covariance) @ _root(fake.covariance)
    overlap = np.linalg.svd(product, compute_uv=False).sum()
    gap = real.mean - fake.mean
    traces = np.trace(real.covariance) + np.trace(fake.covariance)
    return float(gap @ gap + traces - 2 * overlap)


def kernel_distance(
    real: Shaped[np.ndarray, "n d"], fake: Shaped[np.ndarray, "m d"], *, part: int = PART
) -> float:
    """Return the squared maximum mean discrepancy, unbiased, so that it may be below 0.

    With the kernel (x y / d + 1)^3 (Bińkowski et al. 2018, Section 4), which is what is reported
    as KVD.

    Args:
        real: Features of the true videos; they may be in a file that is mapped into memory.
        fake: Those of the others.
        part: How many of each are looked at together.

    Raises:
        InputError: there are fewer than two on a side.
    """
    n, m = len(real), len(fake)
    if min(n, m) < 2:
        raise InputError(
            f"a kernel distance of {n} and {m} video(s): needs at least 2 on each side"
        )
    within = [
        (_kernel_sum(each, each, part) - _own_kernels(each, part)) / (len(each) * (len(each) - 1))
        for each in (real, fake)
    ]
    return float(sum(within) - 2 * _kernel_sum(real, fake, part) / (n * m))


def inception_score(
    shares: Shaped[np.ndarray, "n classes"], *, splits: int = SPLITS
) -> tuple[float, float]:
    """Return the Inception Score and its standard deviation over splits (Salimans et al. 2016).

    exp of the mean divergence of each video's classes from those of all videos of its split; as of
    TGAN on, the classes are those of C3D (Saito et al. 2020).

    Args:
        shares: Probabilities of the classes of generated videos, in their order.
        splits: Parts of equal size, whose scores are averaged; videos that are left over go
            unscored.

    Raises:
        InputError: there are fewer videos than splits.
    """
    size = len(shares) // splits
    if splits < 1 or size < 1:
        raise InputError(
            f"an Inception Score of {len(shares)} video(s) in {splits} splits: needs one in each"
        )
    scores = [_score_of(shares[start : start + size]) for start in range(0, size * splits, size)]
    return float(np.mean(scores)), float(np.std(scores))


def _root(covariance: Float64[np.ndarray, "d d"]) -> Float64[np.ndarray, "d d"]:
    """Return the symmetric root; what is 0 but for rounding stays 0, or its root would not be."""
    values, vectors = np.linalg.eigh(covariance)
    least = len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    roots = np.sqrt(np.where(values > least, values, 0.0))
    return (vectors * roots) @ vectors.T


def _parts(features: Shaped[np.ndarray, "n d"], part: int) -> Iterator[Float64[np.ndarray, "_ d"]]:
    for start in range(0, len(features), part):
        yield features[start : start + part].astype(np.float64)


def _kernel_sum(
    one: Shaped[np.ndarray, "n d"], other: Shaped[np.ndarray, "m d"], part: int
) -> float:
    return sum(
        float(((x @ y.T / x.shape[1] + OFFSET) ** DEGREE).sum())
        for x in _parts(one, part)
        for y in _parts(other, part)
    )


def _own_kernels(features: Shaped[np.ndarray, "n d"], part: int) -> float:
    """Sum the kernels of features with themselves, which tell nothing."""
    return sum(
        float((((x * x).sum(axis=1) / x.shape[1] + OFFSET) ** DEGREE).sum())
        for x in _parts(features, part)
    )


def _score_of(shares: Shaped[np.ndarray, "n classes"]) -> float:
    values = shares.astype(np.float64)
    mean = values.mean(axis=0)
    # What is 0 adds nothing; its logarithm would be infinite.
    logs, log_mean = (np.log(np.where(each > 0, each, 1.0)) for each in (values, mean))
    return float(np.exp((values * (logs - log_mean)).sum(axis=1).mean()))
