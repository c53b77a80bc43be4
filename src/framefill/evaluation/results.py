"""What an evaluation came to: the parts of all units, put together in their order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from framefill.evaluation.measures import BASELINES, MODEL, TRUTH
from framefill.evaluation.parts import Parts
from framefill.metrics.backbones.load import BackboneKind
from framefill.metrics.distances import (
    SPLITS,
    Moments,
    frechet_distance,
    inception_score,
    kernel_distance,
    moments,
)
from framefill.metrics.ensembles import spread_skill_ratio
from framefill.metrics.frames import decibels
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
from framefill.protocols.protocol import Protocol, SetScore

NETWORKS: dict[SetScore, BackboneKind] = {
    "fvd": "i3d",
    "kvd": "i3d",
    "cd-fvd": "videomae",
    "is": "c3d",
}
FRAME_SCORES: tuple[FrameMetricName, ...] = ("mse", "ssim", "lpips")


@dataclass(frozen=True, kw_only=True)
class EnsembleScores:
    """What several trajectories of a clip say as a forecast.

    Attributes:
        crps: Of the clips, in units of the data's range.
        crps_of_frames: Mean of each filled frame.
        spread_skill: Spread of the trajectories over the error of their mean; 1 is calibrated.
        spread_skill_of_frames: The same of each filled frame.
        ranks: Share of the truth at each rank among the trajectories; flat is calibrated.
        ranks_of_frames: The same of each filled frame.
    """

    crps: Summary
    crps_of_frames: list[float | None]
    spread_skill: float | None
    spread_skill_of_frames: list[float | None]
    ranks: list[float]
    ranks_of_frames: list[list[float]]


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """What a set of videos is like, as a whole.

    Attributes:
        real: Number of true videos.
        filled: Number of filled ones, all trajectories together.
        fvd: Fréchet distance of I3D's features, of all filled videos from the true ones.
        fvd_of_trajectories: The same, of each trajectory's videos alone: mean and spread.
        kvd: Kernel distance of these features.
        cd_fvd: Fréchet distance of VideoMAE's features.
        inception: Inception Score of C3D's classes.
        inception_std: Its standard deviation over 10 parts.
        deficient: There are fewer true videos than features: the distance depends on their number,
            and is comparable to those of equal numbers alone.
    """

    real: int
    filled: int
    fvd: float | None = None
    fvd_of_trajectories: Summary | None = None
    kvd: float | None = None
    cd_fvd: float | None = None
    inception: float | None = None
    inception_std: float | None = None
    deficient: bool = False


@dataclass(frozen=True, kw_only=True)
class Results:
    """All scores.

    Attributes:
        clips: Number of clips.
        unscored: Those without a filled frame to compare with, for their gaps.
        trajectories: Filled videos of each clip.
        videos: Scores of single videos, of the model and of the baselines by name; none without
            known frames.
        frames: By filling and metric, the mean of each filled frame; of the model's trajectories
            their mean, and under "model, best" the best.
        ensemble: Of the model, if it has several trajectories.
        crps: Of the baselines, by name: of a single video it is the mean absolute error.
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
    frames = {name: _of_frames(each, best=False) for name, each in found.items()}
    if MODEL in found:
        frames["model, best"] = _of_frames(found[MODEL], best=True)
    return Results(
        clips=clips,
        unscored=int(np.isnan(values[MODEL]["mse"]).all(axis=1).sum()) if MODEL in values else 0,
        trajectories=protocol.trajectories,
        videos={name: summarise(each) for name, each in values.items()},
        frames=frames,
        ensemble=_ensemble(crps[MODEL], *map(joined, ("spread", "error", "ranks")))
        if "spread" in names
        else None,
        crps={name: summary(_mean_of_frames(each)) for name, each in crps.items() if name != MODEL},
        sets=_sets(parts, units, protocol, names),
        per_clip=dict(values.get(MODEL, {})),
    )


def _of_frames(
    found: Mapping[FrameMetricName, Float64[np.ndarray, "n k f"]], *, best: bool
) -> dict[str, list[float | None]]:
    """Return the mean over clips of each frame, of the best trajectory or of their mean."""
    curves: dict[MetricName, Float64[np.ndarray, "n k f"]] = {"psnr": decibels(found["mse"])}
    curves |= {name: each for name, each in found.items()}  # noqa: C416 (other keys)
    return {
        name: _curve(BEST[name](each, axis=1) if best else each.mean(axis=1))
        for name, each in curves.items()
    }


def _curve(values: Float64[np.ndarray, "n f"]) -> list[float | None]:
    """Return the mean of each frame over the clips; None where it is infinite or there is none."""
    return [summary(frame).mean for frame in values.T]


def _mean_of_frames(values: Float64[np.ndarray, "n f"]) -> Float64[np.ndarray, " n"]:
    counted = ~np.isnan(values)
    total, count = np.where(counted, values, 0.0).sum(axis=1), counted.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ensemble(
    crps: Float64[np.ndarray, "n f"],
    spread: Float64[np.ndarray, "n f"],
    error: Float64[np.ndarray, "n f"],
    ranks: Float64[np.ndarray, "n f r"],
) -> EnsembleScores:
    members = ranks.shape[-1] - 1
    seen = ~np.isnan(ranks[..., 0])
    by_frame = [frame[there].mean(axis=0) for frame, there in _by_frame(ranks, seen) if there.any()]
    return EnsembleScores(
        crps=summary(_mean_of_frames(crps)),
        crps_of_frames=_curve(crps),
        spread_skill=_finite(spread_skill_ratio(spread, error, members)),
        spread_skill_of_frames=[
            _finite(spread_skill_ratio(spread[:, f], error[:, f], members))
            for f in range(spread.shape[1])
        ],
        ranks=ranks[seen].mean(axis=0).tolist() if seen.any() else [],
        ranks_of_frames=[each.tolist() for each in by_frame],
    )


def _by_frame(
    ranks: Float64[np.ndarray, "n f r"], seen: Shaped[np.ndarray, "n f"]
) -> Iterator[tuple[Float64[np.ndarray, "n r"], Shaped[np.ndarray, " n"]]]:
    for frame in range(ranks.shape[1]):
        yield ranks[:, frame], seen[:, frame]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class _Features:
    """Features of one network, of one filling, read from the units' files."""

    parts: Parts
    units: int
    name: str

    def __iter__(self) -> Iterator[Float32[np.ndarray, "n k d"]]:
        """Yield them unit by unit, without those of videos with gaps."""
        for part in self.parts.read(self.units, self.name):
            yield part[~np.isnan(part).any(axis=(1, 2))]

    def together(self) -> Iterator[Float32[np.ndarray, "_ d"]]:
        for part in self:
            yield part.reshape(-1, part.shape[-1])

    def moments_of_trajectories(self, count: int) -> list[Moments]:
        """Return the moments of each trajectory's videos, in one pass."""
        found: list[Moments | None] = [None] * count
        for part in self:
            for number in range(count if len(part) else 0):
                here = Moments.of(part[:, number])
                before = found[number]
                found[number] = here if before is None else before.joined(here)
        return [each for each in found if each is not None and each.count > 1]

    def mapped(self, path: Path) -> Float32[np.ndarray, "n d"]:
        """Return all of them as an array in a new file, for what needs every pair."""
        count = sum(map(len, self.together()))
        dims = next(iter(self.together())).shape[-1]
        whole = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dims))
        start = 0
        for part in self.together():
            whole[start : start + len(part)] = part
            start += len(part)
        return whole


def _sets(parts: Parts, units: int, protocol: Protocol, names: list[str]) -> dict[str, SetScores]:
    """Score the videos as sets, with every network that there are features of."""
    kinds = {name.split("/")[1] for name in names if name.startswith("features/")}
    asked = [score for score in protocol.sets if NETWORKS[score] in kinds]
    if not asked:
        return {}

    def features(score: SetScore, filling: str) -> _Features:
        return _Features(parts, units, f"features/{NETWORKS[score]}/{filling}")

    found = {}
    for filling in (TRUTH, MODEL, *BASELINES):
        if f"features/{NETWORKS[asked[0]]}/{filling}" in names:
            of = {score: features(score, filling) for score in asked}
            true = {score: features(score, TRUTH) for score in asked}
            found[filling] = _set(of, true, protocol, filling)
    return found


def _set(
    of: Mapping[SetScore, _Features],
    true: Mapping[SetScore, _Features],
    protocol: Protocol,
    filling: str,
) -> SetScores:
    """Score one set of videos beside the true ones; where either has fewer than 2, it isn't."""
    real, filled = (sum(map(len, next(iter(each.values())).together())) for each in (true, of))
    scores = SetScores(real=real, filled=filled)
    if "is" in of and filled >= SPLITS:
        score, std = inception_score(np.concatenate(list(of["is"].together())))
        scores = replace(scores, inception=score, inception_std=std)
    if filling == TRUTH or min(real, filled) < 2:
        return scores
    if "kvd" in of:
        with TemporaryDirectory() as folder:
            pair = true["kvd"].mapped(Path(folder, "true")), of["kvd"].mapped(Path(folder, "of"))
            scores = replace(scores, kvd=kernel_distance(*pair))
    if "cd-fvd" in of:
        about = moments(true["cd-fvd"].together())
        distance = frechet_distance(about, moments(of["cd-fvd"].together()))
        scores = replace(scores, cd_fvd=distance, deficient=about.deficient)
    if "fvd" not in of:
        return scores
    about = moments(true["fvd"].together())
    scores = replace(
        scores,
        fvd=frechet_distance(about, moments(of["fvd"].together())),
        deficient=scores.deficient or about.deficient,
    )
    if filling != MODEL:
        return scores
    each = of["fvd"].moments_of_trajectories(protocol.trajectories)
    distances = np.array([frechet_distance(about, one) for one in each])
    return replace(scores, fvd_of_trajectories=summary(distances))
