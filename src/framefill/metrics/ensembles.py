"""Probabilistic scores: several samples of a video against the one that came true.

Every score is a mean over the valid pixels and channels of a frame, so there is one for each lead
time; `np.nanmean` over clips makes one of many. Pixels whose truth is NaN don't count, and a frame
without any valid pixel has NaN as its score.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from framefill.errors import InputError


class Reliability(NamedTuple):
    """How often what was given a chance came true; shares of a frame's valid pixels, by chance.

    `chance / share` over `event / share`, after the mean over clips, is the reliability diagram.

    Args:
        share: Of the pixels whose chance is in the bin; 1 in all bins together.
        chance: The chances of these pixels, summed and divided by the number of all pixels.
        event: The share of the pixels that are in the bin and came true.
    """

    share: Float64[np.ndarray, "*b f bins"]
    chance: Float64[np.ndarray, "*b f bins"]
    event: Float64[np.ndarray, "*b f bins"]


def crps(
    truth: Shaped[np.ndarray, "..."],
    samples: Shaped[np.ndarray, "..."],
    *,
    data_range: float,
    fair: bool = True,
) -> Float64[np.ndarray, "*b f"]:
    """Return the continuous ranked probability score of each frame, in units of `data_range`.

    E|X - y| - E|X - X'| / 2 (Gneiting & Raftery 2007, Equation 21), 0 at best; that of a single
    sample is its absolute error.

    Args:
        truth: The true frames [*b f h w c], NaN where nothing is known.
        samples: k samples of them [*b k f h w c], in the same units.
        data_range: Distance between the smallest and the largest possible value.
        fair: Leave out that a sample has no distance from itself (Ferro 2014): then the expected
            score doesn't depend on k, and that of a frame may be a little below 0. False: the
            score of the k samples as if they were the whole distribution (Equation 20), which
            favors larger k. The same for k = 1.

    Raises:
        InputError: the shapes don't fit, the data range is not above 0, or a value is infinite, or
            a sample NaN where the truth isn't.
    """
    _check(truth, samples)
    _check_range(data_range)
    scores = np.full(truth.shape[:-3], np.nan)
    for frame, true, drawn in _valid(truth, samples):
        # Distances from the truth are small numbers, so the sums below lose nothing.
        away = np.sort((drawn - true) / data_range, axis=0)
        members = len(away)
        # The sum over all pairs, by rank: the i-th smallest is in i - 1 of them the larger one.
        weights = np.arange(1 - members, members, 2) / (members * max(members - fair, 1))
        scores[frame] = (np.abs(away).mean(axis=0) - weights @ away).mean()
    return scores


def spread_and_error(
    truth: Shaped[np.ndarray, "..."], samples: Shaped[np.ndarray, "..."], *, data_range: float
) -> tuple[Float64[np.ndarray, "*b f"], Float64[np.ndarray, "*b f"]]:
    """Return the variance of the samples and the squared error of their mean, of each frame.

    Both in units of `data_range`²; `spread_skill_ratio` compares them over many clips.

    Args:
        truth: The true frames [*b f h w c], NaN where nothing is known.
        samples: k samples of them [*b k f h w c], in the same units; 2 at least. Their variance is
            divided by k - 1.
        data_range: Distance between the smallest and the largest possible value.

    Raises:
        InputError: there is but one sample, or as `crps`.
    """
    members = _check(truth, samples)
    _check_range(data_range)
    if members < 2:
        raise InputError("1 sample has no spread: give 2 or more")
    variance, error = np.full((2, *truth.shape[:-3]), np.nan)
    for frame, true, drawn in _valid(truth, samples):
        away = (drawn - true) / data_range
        variance[frame] = away.var(axis=0, ddof=1).mean()
        error[frame] = (away.mean(axis=0) ** 2).mean()
    return variance, error


def spread_skill_ratio(
    variance: Float64[np.ndarray, "..."], error: Float64[np.ndarray, "..."], members: int
) -> float:
    """Return the spread of the samples over the error of their mean (Fortin et al. 2014, Eq. 15).

    sqrt((k + 1) / k * mean variance / mean error): 1 is calibrated, below 1 the samples are too
    sure of themselves. A ratio of means, not the mean of ratios. The factor is there because the
    mean of k samples has an error of its own.

    Args:
        variance: What `spread_and_error` gave for many clips; NaN doesn't count.
        error: Likewise, in the same order.
        members: k, the number of samples.

    Returns:
        NaN if nothing counts, or nothing differs from anything.

    Raises:
        InputError: the shapes differ, or there are fewer than 2 samples.
    """
    if members < 2:
        raise InputError(f"members {members} have no spread: use 2 or more")
    if variance.shape != error.shape:
        raise InputError(
            f"variance {variance.shape} and error {error.shape} differ in shape: give both of the "
            "same frames"
        )
    counted = ~(np.isnan(variance) | np.isnan(error))
    spread, skill = variance[counted].sum(), error[counted].sum()
    if skill == 0:
        return math.inf if spread > 0 else math.nan
    return math.sqrt((members + 1) / members * spread / skill)


def rank_counts(
    truth: Shaped[np.ndarray, "..."], samples: Shaped[np.ndarray, "..."]
) -> Float64[np.ndarray, "*b f ranks"]:
    """Return how often the truth has which rank among the k samples: k + 1 shares of each frame.

    The rank histogram (Hamill 2001): flat if the truth might be one of the samples; high at both
    ends if they lie too close together, in the middle if too far apart, at one end if they are all
    too low or too high. A truth that equals samples is shared evenly among the ranks that it might
    have, so nothing is drawn at random.

    Args:
        truth: The true frames [*b f h w c], NaN where nothing is known.
        samples: k samples of them [*b k f h w c], in the same units.

    Returns:
        Shares of the pixels, which sum to 1; first that of a truth below all samples.

    Raises:
        InputError: as `crps`.
    """
    ranks = _check(truth, samples) + 1
    counts = np.full((*truth.shape[:-3], ranks), np.nan)
    for frame, true, drawn in _valid(truth, samples):
        below, equal = (drawn < true).sum(axis=0), (drawn == true).sum(axis=0)
        share = 1 / (equal + 1)
        # Each pixel's share starts at the lowest rank that it may have and ends at the highest.
        starts = np.bincount(below, share, ranks + 1)
        ends = np.bincount(below + equal + 1, share, ranks + 1)
        counts[frame] = np.cumsum(starts - ends)[:ranks].clip(0) / true.size
    return counts


def brier(
    truth: Shaped[np.ndarray, "..."], samples: Shaped[np.ndarray, "..."], *, above: float
) -> Float64[np.ndarray, "*b f"]:
    """Return the Brier score of each frame, for the event that a value is above a threshold.

    The mean squared difference of the share of samples that are above, and 1 or 0 for a truth that
    is or isn't (Brier 1950, for two classes, halved): 0 at best, 1 at worst.

    Args:
        truth: The true frames [*b f h w c], NaN where nothing is known.
        samples: k samples of them [*b k f h w c], in the same units.
        above: The threshold; a value that equals it is not above.

    Raises:
        InputError: the threshold is not finite, or as `crps`.
    """
    members = _check(truth, samples)
    scores = np.full(truth.shape[:-3], np.nan)
    for frame, came, count in _events(truth, samples, above):
        scores[frame] = ((count / members - came) ** 2).mean()
    return scores


def reliability_counts(
    truth: Shaped[np.ndarray, "..."],
    samples: Shaped[np.ndarray, "..."],
    *,
    above: float,
    bins: int,
) -> Reliability:
    """Return how often a value is above a threshold, by the chance that the samples give to it.

    Args:
        truth: The true frames [*b f h w c], NaN where nothing is known.
        samples: k samples of them [*b k f h w c], in the same units.
        above: The threshold; a value that equals it is not above.
        bins: Of the chance, equally wide; the last one holds 1 too. As the chance is one of
            k + 1 numbers, more bins stay empty.

    Raises:
        InputError: there are no bins, the threshold is not finite, or as `crps`.
    """
    members = _check(truth, samples)
    if bins < 1:
        raise InputError(f"bins {bins} must be at least 1")
    counts = Reliability(*np.full((3, *truth.shape[:-3], bins), np.nan))
    for frame, came, count in _events(truth, samples, above):
        places = np.minimum(count * bins // members, bins - 1)  # in integers: edges are exact
        for table, weights in zip(counts, (np.ones(len(came)), count / members, came), strict=True):
            table[frame] = np.bincount(places, weights, bins) / came.size
    return counts


def _events(
    truth: Shaped[np.ndarray, "*b f h w c"], samples: Shaped[np.ndarray, "..."], above: float
) -> Iterator[tuple[tuple[int, ...], Bool[np.ndarray, " p"], Int64[np.ndarray, " p"]]]:
    """Yield of each frame what of the truth is above a threshold, and how many samples are."""
    if not math.isfinite(above):
        raise InputError(f"above {above} must be a finite number")
    with np.errstate(over="ignore"):  # in half precision a threshold may be beyond all values
        # In the data's own precision: what was stored as 0.1 is not above 0.1.
        limits = [
            float(each.dtype.type(above)) if each.dtype.kind == "f" else above
            for each in (truth, samples)
        ]
    for frame, true, drawn in _valid(truth, samples):
        yield frame, true > limits[0], (drawn > limits[1]).sum(axis=0)


def _valid(
    truth: Shaped[np.ndarray, "*b f h w c"], samples: Shaped[np.ndarray, "..."]
) -> Iterator[tuple[tuple[int, ...], Float64[np.ndarray, " p"], Float64[np.ndarray, "k p"]]]:
    """Yield the index of each frame with valid pixels, these, and what the samples have there.

    Frame by frame, so that no more than one is in memory in double precision.
    """
    for frame in np.ndindex(truth.shape[:-3]):
        true = truth[frame].astype(np.float64).ravel()
        drawn = samples[frame[:-1]][:, frame[-1]].reshape(-1, true.size).astype(np.float64)
        known = ~np.isnan(true)
        if not known.all():
            true, drawn = true[known], drawn[:, known]
        if np.isinf(true).any() or not np.isfinite(drawn).all():
            raise InputError(
                f"NaN or infinite values in the samples of frame {frame[-1]} where the truth is "
                "known, or infinite ones in the truth: score finite samples"
            )
        if true.size:
            yield frame, true, drawn


def _check(truth: Shaped[np.ndarray, "..."], samples: Shaped[np.ndarray, "..."]) -> int:
    """Refuse shapes that don't fit, and return the number of samples."""
    fits = truth.ndim >= 4 and samples.ndim == truth.ndim + 1
    fits = fits and samples.shape[:-5] + samples.shape[-4:] == truth.shape
    if not fits or samples.size == 0:
        raise InputError(
            f"samples {samples.shape} don't fit the truth {truth.shape}: "
            "give [... k f h w c] for [... f h w c], none of them 0"
        )
    for name, frames in (("truth", truth), ("samples", samples)):
        if frames.dtype.kind not in "uif":
            raise InputError(f"the {name} is {frames.dtype}: give integers or floats")
    return samples.shape[-5]


def _check_range(data_range: float) -> None:
    if not 0 < data_range < math.inf:
        raise InputError(f"data_range {data_range} must be above 0")
