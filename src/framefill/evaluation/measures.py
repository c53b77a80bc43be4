"""What is measured of some clips and of what filled them: plain arrays, clip by clip."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol as TypedProtocol
from typing import runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Shaped

from framefill.gaps import reach
from framefill.metrics.backbones.pictures import Resize
from framefill.metrics.baselines import BASELINES as ALL
from framefill.metrics.ensembles import (
    brier,
    crps,
    rank_counts,
    reliability_counts,
    spread_and_error,
)
from framefill.metrics.frames import FrameMetric
from framefill.metrics.scores import SsimConvention, measure_frames
from framefill.protocols.protocol import Protocol

Clips = Shaped[np.ndarray, "n f h w c"]
Samples = Shaped[np.ndarray, "n k f h w c"]
Several = Shaped[np.ndarray, "n _ f h w c"]  # one or more of each clip
Arrays = dict[str, Shaped[np.ndarray, "..."]]

MODEL, TRUTH = "model", "truth"
BINS = 10  # of chances
BASELINES = {name.replace("_", " "): each for name, each in ALL.items()}


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
        model also `spread`, `error` [n f] and `ranks` [n f k+1]; for each threshold
        `FILLING/brier/ABOVE` [n f] and `reliability/ABOVE` [n f bins 3]; per video
        `features/KIND/FILLING` [n k d] and `digest` [n 32], the SHA-256 of the true frames. NaN
        where a clip has no value.

        Args:
            truth: In the user's units; NaN where data is missing.
            filled: k trajectories of each clip, in the same units, known frames as given.
        """
        arrays: Arrays = {"digest": np.stack([digest_of(clip) for clip in truth])}
        row = self.protocol.row
        known = [place for place, letter in enumerate(row) if letter == "K"]
        fillings: dict[str, Several] = {MODEL: filled}
        if known:
            fillings |= {name: baseline_of(name, truth, row)[:, None] for name in BASELINES}
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
            shown = _filled_in(scaled, true)
            values = measure_frames(
                _within(true, span),
                _within(shown, span),
                data_range=span,
                ssim=self.ssim,
                lpips=self.lpips,
            )
            values["mse"] = measure_frames(true, shown, data_range=span, ssim=None)["mse"]
            arrays |= {f"{name}/{metric}": each for metric, each in values.items()}
            arrays[f"{name}/crps"] = crps(true, scaled, data_range=span)
            arrays |= self._chances(name, truth[:, target], videos[:, :, target])
            if name == MODEL and scaled.shape[1] > 1:
                spread, error = spread_and_error(true, scaled, data_range=span)
                arrays |= {"spread": spread, "error": error}
                # Of whole numbers: a background that is 0 would else be below any float.
                arrays["ranks"] = rank_counts(true, np.rint(scaled) if self.whole else scaled)
        return arrays

    def _chances(self, name: str, truth: Clips, videos: Several) -> Arrays:
        """Return the Brier score of each threshold [n f], and of the model its reliability."""
        arrays: Arrays = {}
        for above in self.protocol.above:
            arrays[f"{name}/brier/{above:g}"] = brier(truth, videos, above=above)
            if name == MODEL and videos.shape[1] > 1:
                table = reliability_counts(truth, videos, above=above, bins=BINS)
                arrays[f"reliability/{above:g}"] = np.stack(table, axis=-1)
        return arrays

    def _features(self, truth: Clips, fillings: Mapping[str, Several]) -> Arrays:
        """Return features of whole videos; of those with gaps they are NaN."""
        arrays: Arrays = {}
        if not self.backbones:
            return arrays
        seen = self.protocol.scored
        gaps = [_missing(each[:, ..., seen, :, :, :]) for each in (truth, *fillings.values())]
        whole = ~np.any([each.reshape(len(truth), -1).any(axis=1) for each in gaps], axis=0)
        for name, videos, twin in _distinct({TRUTH: truth[:, None], **fillings}):
            if twin:
                arrays |= _copied(arrays, twin, name)
                continue
            scaled, span = self._scaled(videos[:, :, self.protocol.scored])
            shown = _within(scaled.astype(np.float32) / np.float32(span), 1)
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


def baseline_of(name: str, truth: Clips, row: str) -> Clips:
    """Return what a baseline makes of clips; known frames stay as they are."""
    videos = BASELINES[name](truth, row).copy()
    known = [place for place, letter in enumerate(row) if letter == "K"]
    videos[:, known] = truth[:, known]
    return videos


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


def _within(frames: Shaped[np.ndarray, "..."], span: float) -> Shaped[np.ndarray, "..."]:
    """Move what is darker than black or lighter than white to these, for what sees pictures.

    The model's range is that of its training data; new data may lie a little beyond.
    """
    return np.clip(frames, 0, span) if frames.dtype.kind == "f" else frames


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


def digest_of(clip: Shaped[np.ndarray, "f h w c"]) -> Shaped[np.ndarray, "32"]:
    """Return the SHA-256 of a clip's values."""
    found = hashlib.sha256(np.ascontiguousarray(clip).tobytes()).digest()
    return np.frombuffer(found, np.uint8)
