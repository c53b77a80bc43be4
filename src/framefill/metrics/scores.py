"""Scores of several filled videos per true one, as MCVD's evaluation reports them.

Every metric is a number per trajectory, one filled video. The best of a true video's trajectories
and their mean are then averaged over the videos (Voleti et al. 2022, Section 5;
runners/ncsn_runner.py, video_gen).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.errors import InputError
from framefill.metrics.frames import (
    FrameMetric,
    mse,
    psnr,
    ssim,
    ssim_of_binary_bytes,
    ssim_of_grey_bytes,
)

MetricName = Literal["mse", "psnr", "ssim", "lpips"]
SsimConvention = Literal["channels", "grey_bytes", "binary_bytes"]
Values = Mapping[MetricName, Float64[np.ndarray, "n k"]]

SSIM: dict[SsimConvention, FrameMetric] = {
    "channels": ssim,
    "grey_bytes": ssim_of_grey_bytes,
    "binary_bytes": ssim_of_binary_bytes,
}
BEST: dict[MetricName, Callable[..., Any]] = {
    "mse": np.min,
    "psnr": np.max,
    "ssim": np.max,
    "lpips": np.min,
}
NORMAL_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One metric over the videos; all None if a video's score is infinite.

    Only the PSNR of two equal videos is.

    Attributes:
        mean: Mean over the videos.
        std: Standard deviation over the n videos, as of a whole population.
        confidence: Half the width of the 95 % confidence interval of the mean, for normal
            deviates: 1.96 std / sqrt(n - 1). None for a single video. Where all videos have one
            score it is 0, where the official code gives NaN.
    """

    mean: float | None
    std: float | None
    confidence: float | None


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the trajectories of some videos came to.

    Attributes:
        videos: How many true videos.
        trajectories: How many filled videos for each.
        best: Of each video's best trajectory, which every metric chooses for itself: these are
            the published numbers, and better the more trajectories there are.
        average: Of the mean over each video's trajectories.
    """

    videos: int
    trajectories: int
    best: dict[MetricName, Summary]
    average: dict[MetricName, Summary]


def score(
    truth: Shaped[np.ndarray, "..."],
    samples: Shaped[np.ndarray, "..."],
    *,
    data_range: float,
    ssim: SsimConvention = "channels",
    lpips: FrameMetric | None = None,
) -> Scores:
    """Score the trajectories of some videos.

    Args:
        truth: The true frames that were to be filled in [n f h w c].
        samples: The filled ones, k trajectories of each video [n k f h w c], in the same units.
        data_range: Distance between the smallest and the largest possible value.
        ssim: What SSIM is computed of: the values, as a mean over "channels", or 8-bit pictures as
            in MCVD's evaluation, "grey_bytes", or "binary_bytes" for moving digits.
        lpips: A distance of frames such as `framefill.metrics.lpips.Lpips`; None leaves it out.

    Raises:
        InputError: the shapes don't fit, a value is NaN or infinite, the data range is not above
            0, or a metric refuses the frames.
    """
    return summarise(measure(truth, samples, data_range=data_range, ssim=ssim, lpips=lpips))


def measure(
    truth: Shaped[np.ndarray, "..."],
    samples: Shaped[np.ndarray, "..."],
    *,
    data_range: float,
    ssim: SsimConvention = "channels",
    lpips: FrameMetric | None = None,
) -> dict[MetricName, Float64[np.ndarray, "n k"]]:
    """Return every metric of every trajectory: the mean over its frames; of PSNR, of all of them.

    For videos that come in parts, whose values are joined along n for `summarise`. Arguments and
    errors are those of `score`.
    """
    _check(truth, samples, data_range)
    metrics: dict[MetricName, _VideoMetric] = {"mse": mse, "psnr": psnr, "ssim": SSIM[ssim]}
    if lpips is not None:
        metrics["lpips"] = lpips
    return {
        name: np.array(
            [
                [metric(video, filled, data_range=data_range).mean() for filled in trajectories]
                for video, trajectories in zip(truth, samples, strict=True)
            ]
        )
        for name, metric in metrics.items()
    }


def summarise(values: Values) -> Scores:
    """Return the scores that the trajectories' values come to.

    Args:
        values: What `measure` gave: metrics of n videos with k trajectories each.
    """
    videos, trajectories = next(iter(values.values())).shape
    return Scores(
        videos=videos,
        trajectories=trajectories,
        best={name: summary(BEST[name](each, axis=1)) for name, each in values.items()},
        average={name: summary(each.mean(axis=1)) for name, each in values.items()},
    )


class _VideoMetric(Protocol):
    """A frame metric, or one of the video as a whole."""

    def __call__(
        self,
        truth: Shaped[np.ndarray, "f h w c"],
        frames: Shaped[np.ndarray, "f h w c"],
        *,
        data_range: float,
    ) -> Float64[np.ndarray, "..."]: ...


def summary(per_video: Float64[np.ndarray, " n"]) -> Summary:
    """Return mean, deviation and confidence of one number per video."""
    if not np.isfinite(per_video).all():
        return Summary(mean=None, std=None, confidence=None)
    mean, std, others = float(per_video.mean()), float(per_video.std()), len(per_video) - 1
    confidence = NORMAL_95 * std / math.sqrt(others) if others else None
    return Summary(mean=mean, std=std, confidence=confidence)


def _check(
    truth: Shaped[np.ndarray, "..."], samples: Shaped[np.ndarray, "..."], data_range: float
) -> None:
    fits = truth.ndim == 5 and samples.ndim == 6 and truth.shape == _without_k(samples.shape)
    if not fits or samples.size == 0:
        raise InputError(
            f"samples {samples.shape} don't fit the truth {truth.shape}: "
            "give [n k f h w c] for [n f h w c], none of them 0"
        )
    if not data_range > 0:
        raise InputError(f"data_range {data_range} must be above 0")
    for name, frames in (("truth", truth), ("samples", samples)):
        if not np.isfinite(frames).all():
            raise InputError(f"NaN or infinite values in the {name}: score frames without any")


def _without_k(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] + shape[2:]
