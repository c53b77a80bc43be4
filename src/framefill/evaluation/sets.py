"""Sets of videos as a whole: distances of the features that networks gave them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float32

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
from framefill.metrics.scores import Summary, summary
from framefill.protocols.protocol import Protocol, SetScore

NETWORKS: dict[SetScore, BackboneKind] = {
    "fvd": "i3d",
    "kvd": "i3d",
    "cd-fvd": "videomae",
    "is": "c3d",
}


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


def sets_of(parts: Parts, units: int, protocol: Protocol, names: list[str]) -> dict[str, SetScores]:
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
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
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
