"""What an evaluation came to: the parts of all units, put together in their order."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from framefill.evaluation.measures import BASELINES, MODEL
from framefill.evaluation.parts import Parts
from framefill.evaluation.sets import SetScores, sets_of
from framefill.metrics.ensembles import spread_skill_ratio
from framefill.metrics.frames import decibels, mean_of_frames, mean_of_valid
from framefill.metrics.scores import (
    BEST,
    FrameMetricName,
    MetricName,
    Scores,
    Summary,
    of_videos,
    summarise,
    summary,
)
from framefill.protocols.protocol import Protocol

FRAME_SCORES: tuple[FrameMetricName, ...] = ("mse", "ssim", "lpips")


@dataclass(frozen=True, kw_only=True)
class EnsembleScores:
    """What several trajectories of a clip say as a forecast.

    Attributes:
        spread_skill: Spread of the trajectories over the error of their mean; 1 is calibrated.
        spread_skill_of_frames: The same of each filled frame.
        ranks: Share of the truth at each rank among the trajectories; flat is calibrated. None
            where nothing could be compared.
        ranks_of_frames: The same of each filled frame.
    """

    spread_skill: float | None
    spread_skill_of_frames: list[float | None]
    ranks: list[float | None]
    ranks_of_frames: list[list[float | None]]


@dataclass(frozen=True, kw_only=True)
class ThresholdScores:
    """Whether the chances to be above a threshold can be believed.

    Attributes:
        brier: Their mean squared error, of the model and of the baselines (who are always sure).
        share: Of the pixels in each bin of chances, of the model.
        chance: Mean chance that these were given.
        event: Share of them that came true; where it equals the chance, it is calibrated.
    """

    brier: dict[str, Summary]
    share: list[float]
    chance: list[float | None]
    event: list[float | None]


@dataclass(frozen=True, kw_only=True)
class Results:
    """All scores.

    Attributes:
        clips: Number of clips.
        unscored: Those without a filled frame to compare with, for their gaps.
        trajectories: Filled videos of each clip.
        videos: Scores of single videos, of the model and of the baselines by name; none without
            known frames.
        frames: By filling and metric ("crps" too), the mean of each filled frame; of the model's
            trajectories their mean, and under "model, best" the best.
        ensemble: Of the model, if it has several trajectories.
        crps: Of the model and of the baselines: of a single video it is the mean absolute error.
        thresholds: By threshold, where the protocol has any.
        sets: Of the model and the baselines by name, where networks were given.
        per_clip: By metric, the values of the model's trajectories [n k].
    """

    clips: int
    unscored: int
    trajectories: int
    videos: dict[str, Scores]
    frames: dict[str, dict[str, list[float | None]]]
    ensemble: EnsembleScores | None
    crps: dict[str, Summary]
    thresholds: dict[str, ThresholdScores]
    sets: dict[str, SetScores]
    per_clip: Mapping[MetricName, Float64[np.ndarray, "n k"]]


def results_of(parts: Parts, units: int, protocol: Protocol, clips: int) -> Results:
    """Put together what the units of an evaluation came to.

    Features are read unit by unit, so that any number of videos takes the memory of one.
    """
    names = parts.names()

    def joined(name: str) -> Float64[np.ndarray, "n ..."]:
        return np.concatenate(list(parts.read(units, name))).astype(np.float64)

    fillings = [name for name in (MODEL, *BASELINES) if f"{name}/mse" in names]
    found = {
        name: {
            score: joined(f"{name}/{score}") for score in FRAME_SCORES if f"{name}/{score}" in names
        }
        for name in fillings
    }
    values = {name: of_videos(each, protocol.psnr) for name, each in found.items()}
    crps = {name: joined(f"{name}/crps") for name in fillings}
    frames = {
        name: _of_frames(each, best=False) | {"crps": _curve(crps[name])}
        for name, each in found.items()
    }
    if MODEL in found:
        frames["model, best"] = _of_frames(found[MODEL], best=True)
    return Results(
        clips=clips,
        unscored=int(np.isnan(values[MODEL]["mse"]).all(axis=1).sum()) if MODEL in values else 0,
        trajectories=protocol.trajectories,
        videos={name: summarise(each) for name, each in values.items()},
        frames=frames,
        ensemble=_ensemble(*map(joined, ("spread", "error", "ranks")))
        if "spread" in names
        else None,
        crps={name: summary(mean_of_frames(each)) for name, each in crps.items()},
        thresholds={
            f"{above:g}": _threshold(
                {name: joined(f"{name}/brier/{above:g}") for name in fillings},
                joined(f"reliability/{above:g}") if f"reliability/{above:g}" in names else None,
            )
            for above in (protocol.above if fillings else ())
        },
        sets=sets_of(parts, units, protocol, names),
        per_clip=dict(values.get(MODEL, {})),
    )


def _of_frames(
    found: Mapping[FrameMetricName, Float64[np.ndarray, "n k f"]], *, best: bool
) -> dict[str, list[float | None]]:
    """Return the mean over clips of each frame, of the best trajectory or of their mean."""
    curves: dict[MetricName, Float64[np.ndarray, "n k f"]] = {"psnr": decibels(found["mse"])}
    for name, each in found.items():
        curves[name] = each
    return {
        name: _curve(BEST[name](each, axis=1) if best else each.mean(axis=1))
        for name, each in curves.items()
    }


def _curve(values: Float64[np.ndarray, "n f"]) -> list[float | None]:
    """Return the mean of each frame over the clips; None where it is infinite or there is none."""
    return [summary(frame).mean for frame in values.T]


def _threshold(
    briers: Mapping[str, Float64[np.ndarray, "n f"]],
    table: Float64[np.ndarray, "n f bins 3"] | None,
) -> ThresholdScores:
    """Put together the chances of all clips and frames; each counts alike."""
    brier = {name: summary(mean_of_frames(each)) for name, each in briers.items()}
    if table is None:
        return ThresholdScores(brier=brier, share=[], chance=[], event=[])
    share, chance, event = mean_of_valid(table, table, axes=(0, 1)).T
    filled = share > 0
    ratio = np.maximum(share, np.finfo(np.float64).tiny)
    means = [np.where(filled, each / ratio, np.nan) for each in (chance, event)]
    return ThresholdScores(
        brier=brier,
        share=share.tolist(),
        chance=[_finite(value) for value in means[0]],
        event=[_finite(value) for value in means[1]],
    )


def _ensemble(
    spread: Float64[np.ndarray, "n f"],
    error: Float64[np.ndarray, "n f"],
    ranks: Float64[np.ndarray, "n f r"],
) -> EnsembleScores:
    members = ranks.shape[-1] - 1
    return EnsembleScores(
        spread_skill=_finite(spread_skill_ratio(spread, error, members)),
        spread_skill_of_frames=[
            _finite(spread_skill_ratio(one, other, members))
            for one, other in zip(spread.T, error.T, strict=True)
        ],
        ranks=list(map(_finite, mean_of_valid(ranks, ranks, axes=(0, 1)))),
        ranks_of_frames=[
            list(map(_finite, frame)) for frame in mean_of_valid(ranks, ranks, axes=(0,))
        ],
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
