"""Scores of several filled videos per true one, as MCVD's evaluation reports them.

Frames come first: every metric has a value for each filled frame, and for a video their mean (PSNR:
of the mean squared error, or the mean of the frames' own). So it is a number per trajectory, one
filled video. The best of a true video's trajectories and their mean are then averaged over the
videos (Voleti et al. 2022, Section 5; runners/ncsn_runner.py, video_gen).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.errors import InputError
from framefill.metrics.frames import (
    FrameMetric,
    decibels,
    mean_of_frames,
    mse,
    ssim,
    ssim_of_binary_bytes,
    ssim_of_grey_bytes,
    ssim_of_squares,
)

MetricName = Literal["mse", "psnr", "ssim", "lpips"]
FrameMetricName = Literal["mse", "ssim", "lpips"]
SsimConvention = Literal["channels", "squares", "grey_bytes", "binary_bytes"]
PsnrConvention = Literal["video", "frames"]
Values = Mapping[MetricName, Float64[np.ndarray, "n k"]]
FrameValues = Mapping[FrameMetricName, Float64[np.ndarray, "n k f"]]

SSIM: dict[SsimConvention, FrameMetric] = {
    "channels": ssim,
    "squares": ssim_of_squares,
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
    """One metric over the videos that have it; all None if a video's score is infinite.

    Only the PSNR of equal frames is. Videos without it have gaps, which some metrics can't take.

    Attributes:
        mean: Mean over the videos.
        std: Standard deviation over the n videos, as of a whole population.
        confidence: Half the width of the 95 % confidence interval of the mean, for normal
            deviates: 1.96 std / sqrt(n - 1). None for a single video. Where all videos have one
            score it is 0, where the official code gives NaN.
        infinite: The score of a video is, so there is no mean.
    """

    mean: float | None
    std: float | None
    confidence: float | None
    infinite: bool = False


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
    psnr: PsnrConvention = "video",
    lpips: FrameMetric | None = None,
) -> Scores:
    """Score the trajectories of some videos.

    Args:
        truth: The true frames that were to be filled in [n f h w c]. Where floats are NaN nothing
            is scored; SSIM and LPIPS leave out frames with such pixels.
        samples: The filled ones, k trajectories of each video [n k f h w c], in the same units.
        data_range: Distance between the smallest and the largest possible value.
        ssim: What SSIM is computed of: the values, as a mean over "channels", the same with
            uniform "squares" for windows (scikit-image's default), or 8-bit pictures as in MCVD's
            evaluation, "grey_bytes", or "binary_bytes" for moving digits.
        psnr: Of a "video" as a whole, as in MCVD's evaluation, or the mean of its "frames".
        lpips: A distance of frames such as `framefill.metrics.lpips.Lpips`; None leaves it out.

    Raises:
        InputError: the shapes don't fit, a value is infinite or a filled one NaN, the data range
            is not above 0, or a metric refuses the frames.
    """
    return summarise(
        measure(truth, samples, data_range=data_range, ssim=ssim, psnr=psnr, lpips=lpips)
    )


def measure(
    truth: Shaped[np.ndarray, "..."],
    samples: Shaped[np.ndarray, "..."],
    *,
    data_range: float,
    ssim: SsimConvention = "channels",
    psnr: PsnrConvention = "video",
    lpips: FrameMetric | None = None,
) -> dict[MetricName, Float64[np.ndarray, "n k"]]:
    """Return every metric of every trajectory.

    For videos that come in parts, whose values are joined along n for `summarise`. Arguments and
    errors are those of `score`.
    """
    return of_videos(
        measure_frames(truth, samples, data_range=data_range, ssim=ssim, lpips=lpips), psnr
    )


def measure_frames(
    truth: Shaped[np.ndarray, "..."],
    samples: Shaped[np.ndarray, "..."],
    *,
    data_range: float,
    ssim: SsimConvention | None = "channels",
    lpips: FrameMetric | None = None,
) -> dict[FrameMetricName, Float64[np.ndarray, "n k f"]]:
    """Return every metric of every frame, NaN where it has none.

    Arguments and errors are those of `score`, but that SSIM of None is left out.
    """
    _check(truth, samples, data_range)
    metrics: dict[FrameMetricName, FrameMetric] = {"mse": mse}
    if ssim is not None:
        metrics["ssim"] = SSIM[ssim]
    if lpips is not None:
        metrics["lpips"] = lpips
    return {
        name: np.array(
            [
                [_values(metric, video, filled, data_range) for filled in trajectories]
                for video, trajectories in zip(truth, samples, strict=True)
            ]
        )
        for name, metric in metrics.items()
    }


def of_videos(
    frames: FrameValues, psnr: PsnrConvention = "video"
) -> dict[MetricName, Float64[np.ndarray, "n k"]]:
    """Return the metrics of videos that those of their frames come to.

    Args:
        frames: What `measure_frames` gave.
        psnr: See `score`.
    """
    error = frames["mse"]
    ratio = decibels(mean_of_frames(error)) if psnr == "video" else mean_of_frames(decibels(error))
    values: dict[MetricName, Float64[np.ndarray, "n k"]] = {"mse": mean_of_frames(error)}
    values["psnr"] = ratio
    values |= {name: mean_of_frames(each) for name, each in frames.items() if name != "mse"}
    return values


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


def summary(per_video: Float64[np.ndarray, " n"]) -> Summary:
    """Return mean, deviation and confidence of one number per video, NaN where it has none."""
    per_video = per_video[~np.isnan(per_video)]
    if not len(per_video) or not np.isfinite(per_video).all():
        return Summary(mean=None, std=None, confidence=None, infinite=bool(len(per_video)))
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
    missing = np.isnan(truth) if truth.dtype.kind == "f" else np.zeros(truth.shape, bool)
    if not np.isfinite(truth[~missing]).all():
        raise InputError("infinite values in the truth: make them NaN, which means missing")
    if not (np.isfinite(samples) | missing[:, None]).all():
        raise InputError("NaN or infinite values in the samples: score frames without any")


def _values(
    metric: FrameMetric,
    truth: Shaped[np.ndarray, "f h w c"],
    filled: Shaped[np.ndarray, "f h w c"],
    data_range: float,
) -> Float64[np.ndarray, " f"]:
    """Return a metric of each frame; but for `mse` of those without gaps alone."""
    if metric is mse or truth.dtype.kind != "f":
        return metric(truth, filled, data_range=data_range)
    whole = ~np.isnan(truth).any(axis=(-3, -2, -1))
    values = np.full(len(truth), np.nan)
    if whole.any():
        values[whole] = metric(truth[whole], filled[whole], data_range=data_range)
    return values


def _without_k(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] + shape[2:]
