"""What is measured of some clips and of what filled them: plain arrays, clip by clip."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol as TypedProtocol
from typing import runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Shaped

from framefill.gaps import reach
from framefill.metrics.backbones.pictures import Resize
from framefill.metrics.baselines import copy_last, linear_blend, nearest_known, pixel_mean
from framefill.metrics.ensembles import crps, rank_counts, spread_and_error
from framefill.metrics.frames import FrameMetric
from framefill.metrics.scores import SsimConvention, measure_frames
from framefill.protocols.protocol import Protocol

Clips = Shaped[np.ndarray, "n f h w c"]
Samples = Shaped[np.ndarray, "n k f h w c"]
Several = Shaped[np.ndarray, "n _ f h w c"]  # one or more of each clip
Arrays = dict[str, Shaped[np.ndarray, "..."]]

MODEL, TRUTH = "model", "truth"
BASELINES: Mapping[str, Callable[[Clips, str], Clips]] = {
    "copy last": copy_last,
    "nearest": nearest_known,
    "linear": linear_blend,
    "pixel mean": pixel_mean,
}


@runtime_checkable
class VideoFeatures(TypedProtocol):
    """Anything that gives each video a vector, such as `framefill.metrics.backbones`' networks."""

    @property
    def dims(self) -> int:
        """How many numbers there are for each video."""
        ...

    def __call__(
        self, videos: Clips, *, data_range: float, resize: Resize = "bilinear"
    ) -> Float32[np.ndarray, "n d"]:
        """Return the features of videos with values in 0..`data_range`."""
        ...


@dataclass(frozen=True, eq=False)
class Measures:
    """How clips are measured.

    Args:
        protocol: Says what of.
        low: Smallest value of the data, in the user's units: black.
        high: Largest value: white.
        ssim: What SSIM is computed of, or None to leave it out.
        lpips: A distance of frames, or None to leave it out.
        backbones: Networks whose features are compared, by kind.
        whole: The data are integers.
    """

    protocol: Protocol
    low: float
    high: float
    ssim: SsimConvention | None = None
    lpips: FrameMetric | None = None
    backbones: Mapping[str, VideoFeatures] = field(default_factory=dict)
    whole: bool = True

    def of(self, truth: Clips, filled: Samples) -> Arrays:
        """Return what some clips and their trajectories come to, by name, clip by clip.

        Per filled frame `FILLING/mse`, `/ssim`, `/lpips` [n k f] and `/crps` [n f], and of the
        model also `spread`, `error` [n f] and `ranks` [n f k+1]; per video `features/KIND/FILLING`
        [n k d] and `digest` [n 32], the SHA-256 of the true frames. NaN where a clip has no value.

        Args:
            truth: In the user's units; NaN where data is missing.
            filled: k trajectories of each clip, in the same units; of known frames only the truth
                is read.
        """
        arrays: Arrays = {"digest": np.stack([_digest(clip) for clip in truth])}
        row = self.protocol.row
        known = [place for place, letter in enumerate(row) if letter == "K"]
        fillings: dict[str, Several] = {MODEL: filled.copy()}
        fillings[MODEL][:, :, known] = truth[:, None, known]
        if known:
            fillings |= {
                name: baseline(truth, row)[:, None] for name, baseline in BASELINES.items()
            }
            arrays |= self._frame_by_frame(_scorable(truth, known), fillings)
        return arrays | self._features(truth, fillings)

    def _frame_by_frame(self, truth: Clips, fillings: Mapping[str, Several]) -> Arrays:
        target = [letter == "T" for letter in self.protocol.row]
        true, span = self._scaled(truth[:, target])
        arrays: Arrays = {}
        for name, videos, twin in _distinct(fillings):
            if twin:
                arrays |= _copied(arrays, twin, name)
                continue
            scaled, _ = self._scaled(videos[:, :, target])
            values = measure_frames(
                true, _filled_in(scaled, true), data_range=span, ssim=self.ssim, lpips=self.lpips
            )
            arrays |= {f"{name}/{metric}": each for metric, each in values.items()}
            arrays[f"{name}/crps"] = crps(true, scaled, data_range=span)
            if name == MODEL and scaled.shape[1] > 1:
                spread, error = spread_and_error(true, scaled, data_range=span)
                arrays |= {"spread": spread, "error": error}
                # Of whole numbers: a background that is 0 would else be below any float.
                arrays["ranks"] = rank_counts(true, np.rint(scaled) if self.whole else scaled)
        return arrays

    def _features(self, truth: Clips, fillings: Mapping[str, Several]) -> Arrays:
        """Return features of whole videos; of those with gaps they are NaN."""
        arrays: Arrays = {}
        if not self.backbones:
            return arrays
        whole = ~_missing(truth[:, self.protocol.scored]).any(axis=(1, 2, 3, 4))
        for name, videos, twin in _distinct({TRUTH: truth[:, None], **fillings}):
            if twin:
                arrays |= _copied(arrays, twin, name)
                continue
            scaled, span = self._scaled(videos[:, :, self.protocol.scored])
            shown = np.clip(scaled.astype(np.float32) / np.float32(span), 0, 1)
            for kind, backbone in self.backbones.items():
                features = np.full((*shown.shape[:2], backbone.dims), np.nan, np.float32)
                if whole.any():
                    each = shown[whole]
                    features[whole] = backbone(
                        each.reshape(-1, *each.shape[2:]),
                        data_range=1,
                        # As content-debiased FVD is defined, whatever the others do.
                        resize="bilinear_stretched" if kind == "videomae" else self.protocol.resize,
                    ).reshape(*each.shape[:2], -1)
                arrays[f"features/{kind}/{name}"] = features
        return arrays

    def _scaled(self, frames: Shaped[np.ndarray, "..."]) -> tuple[Shaped[np.ndarray, "..."], float]:
        """Return frames from 0 for black on, and the value of white."""
        span = self.high - self.low
        if self.low:
            frames = frames - np.asarray(self.low, np.result_type(frames.dtype, np.float32))
        if self.protocol.rounding == "none":
            return frames, span
        return np.rint(frames.astype(np.float64) * (255 / span)), 255.0


def _scorable(truth: Clips, known: list[int]) -> Clips:
    """Return clips that are NaN where nothing is scored: what no known frame shows.

    A clip of which a known frame is missing altogether is not what the protocol asks for, and is
    left out.
    """
    missing = _missing(truth)
    if not missing.any():
        return truth
    clip = torch.from_numpy(np.ascontiguousarray(np.moveaxis(truth, -1, 2)))
    shown = reach(clip, known).numpy()[:, :, 0, ..., None]
    lacking = np.any(missing[:, known].all(axis=(2, 3, 4)), axis=1, keepdims=True)
    return np.where(shown & ~lacking[:, :, None, None, None], truth, np.nan)


def _filled_in(samples: Samples, truth: Clips) -> Samples:
    """Return samples with 0 for what neither they nor the truth have, which is not scored."""
    unknown = _missing(samples) & _missing(truth)[:, None]
    return np.where(unknown, 0, samples) if unknown.any() else samples


def _missing(frames: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    return np.isnan(frames) if frames.dtype.kind == "f" else np.zeros(frames.shape, bool)


def _distinct(fillings: Mapping[str, Several]) -> list[tuple[str, Several, str]]:
    """Return fillings with the name of an earlier one that is the same, or nothing.

    Beyond the last known frame three of the baselines are.
    """
    found: list[tuple[str, Several, str]] = []
    for name, videos in fillings.items():
        twins = (
            other
            for other, seen, twin in found
            if not twin and np.array_equal(seen, videos, equal_nan=seen.dtype.kind == "f")
        )
        found.append((name, videos, next(twins, "")))
    return found


def _copied(arrays: Arrays, twin: str, name: str) -> Arrays:
    """Return the arrays of a filling under the name of one that is the same."""
    copies = {}
    for key, values in arrays.items():
        parts = key.split("/")
        if twin in parts:
            copies["/".join(name if part == twin else part for part in parts)] = values
    return copies


def _digest(clip: Shaped[np.ndarray, "f h w c"]) -> Shaped[np.ndarray, "32"]:
    found = hashlib.sha256(np.ascontiguousarray(clip).tobytes()).digest()
    return np.frombuffer(found, np.uint8)
