"""Filled clips beside the true ones and beside fillings that need no model: scores and pictures."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped, UInt8

from framefill.config import DataConfig
from framefill.data.digits import DigitsConfig
from framefill.data.write import to_pixels
from framefill.masks import BlockMasks, ContextMasks, Masks, MixedMasks
from framefill.metrics.baselines import BASELINES as ALL
from framefill.metrics.frames import SSIM_WINDOW, mse, psnr
from framefill.metrics.scores import SSIM, SsimConvention, summary
from framefill.model_config import ModelConfig
from framefill.normalise import Normaliser
from framefill.panels import Panel
from framefill.planning import can_fill

Videos = Shaped[np.ndarray, "n f h w c"]
Values = dict[str, Float64[np.ndarray, " n"]]

BASELINES = {name: ALL[name] for name in ("copy_last", "nearest", "linear")}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was made of some clips, and how good it is.

    Attributes:
        row: The roles of the clips' frames.
        truth: The clips, in the user's units.
        fillings: "model" and, if any frame is given, "copy_last", "nearest" and "linear".
        values: Of each of these, by metric, one number per clip, of the target frames alone:
            "psnr" in dB (infinite for equal frames), "mse" in units of the data's range², "ssim"
            unless the frames are smaller than its window. Nothing if no frame is given, for then
            there are no true frames to compare with, or if any value is missing.
        normaliser: Knows the range of the data.
    """

    row: str
    truth: Videos
    fillings: dict[str, Videos]
    values: dict[str, Values]
    normaliser: Normaliser

    @classmethod
    def of(
        cls,
        truth: Videos,
        filled: Videos,
        row: str,
        normaliser: Normaliser,
        ssim: SsimConvention,
    ) -> "Comparison":
        """Compare what a model filled with the true frames and with the baselines.

        Args:
            truth: Clips in the user's units; with missing values they are shown, but not scored.
            filled: What the model made of them, as floats in the same units.
            row: The roles of their frames.
            normaliser: Of the model.
            ssim: What SSIM is computed of (`framefill.metrics.scores.score`).

        Raises:
            InputError: a metric refuses the frames.
        """
        if "K" not in row:
            return cls(row, truth, {"model": filled}, {}, normaliser)
        fillings = {"model": filled}
        if truth.dtype.kind == "f" and np.isnan(truth).any():
            return cls(row, truth, fillings, {}, normaliser)
        fillings |= {name: baseline(truth, row) for name, baseline in BASELINES.items()}
        target = [letter == "T" for letter in row]
        values = {
            name: _measured(truth[:, target], videos[:, target], normaliser, ssim)
            for name, videos in fillings.items()
        }
        return cls(row, truth, fillings, values, normaliser)

    def scores(self) -> dict[str, dict[str, float]]:
        """Return the means over the clips, by filling and metric.

        As everywhere in `framefill.metrics`, there is no mean of infinite numbers: if a filling
        equals the truth in any clip, it has no "psnr" here. So all numbers are finite.
        """
        means = {
            name: {metric: summary(each).mean for metric, each in values.items()}
            for name, values in self.values.items()
        }
        return {
            name: {metric: mean for metric, mean in each.items() if mean is not None}
            for name, each in means.items()
        }

    def panels(self) -> list[Panel]:
        """Return what there is to see: the truth, the model's and the best baseline's filling.

        The best one has the smallest mean squared error; of equal ones it is the simplest.
        """
        if "K" not in self.row:
            return [self._panel("model")]
        pixels = shown_pixels(self.truth, self.normaliser)
        true = Panel("true", pixels, "R" * len(self.row), ("",) * len(self.truth))
        if not self.values:
            return [true, self._panel("model")]
        best = min(BASELINES, key=lambda name: self.values[name]["mse"].mean())
        return [true, self._panel("model"), self._panel(best)]

    def _panel(self, name: str) -> Panel:
        pixels = shown_pixels(self.fillings[name], self.normaliser)
        notes = ("",) * len(pixels)
        if self.values:
            notes = tuple(f"{ratio:.1f} dB" for ratio in self.values[name]["psnr"])
        return Panel(name.replace("_", " "), pixels, self.row, notes)

    @property
    def remark(self) -> str:
        """What of the frames is shown, if it isn't all of them."""
        return "" if self.truth.shape[-1] in (1, 3) else "channel 0"


def shown_rows(masks: Masks) -> dict[str, str]:
    """Return the rows that are filled for the eye, as long as a training clip, by task.

    The second half of the clip from the first, and all between its ends; or with as many given
    frames as the model needs. What can do neither is shown the other way round, or from nothing.

    >>> shown_rows(BlockMasks(past=2, target=3, future=2, drop_future=0.5))
    {'predict': 'KKKTTTT', 'interpolate': 'KKTTTKK'}
    """
    frames, parts = masks.frames, masks.parts if isinstance(masks, MixedMasks) else (masks,)
    blocks = [part for part in parts if isinstance(part, BlockMasks | ContextMasks)]
    sides = [(part.past, part.future) for part in blocks]
    half = frames // 2
    tried = {
        "predict": [(past, 0) for past in (half, *(past for past, _ in sides)) if past],
        "interpolate": [(1, 1), *((past, future) for past, future in sides if past and future)],
        "rewind": [(0, future) for future in (half, *(future for _, future in sides)) if future],
        "generate": [(0, 0)],
    }
    found: dict[str, str] = {}
    for task, choices in tried.items():
        if found and task in ("rewind", "generate"):
            break
        rows = [
            "K" * past + "T" * (frames - past - future) + "K" * future for past, future in choices
        ]
        if possible := [row for row in rows if "T" in row and can_fill(row, masks)]:
            found[task] = possible[0]
    return found


def ssim_convention(config: ModelConfig, data: DataConfig) -> SsimConvention:
    """Return what SSIM is computed of.

    "binary_bytes" for moving digits and "grey_bytes" for other 8-bit pictures, as in MCVD's
    evaluation; "channels" for the rest.
    """
    normaliser = config.normaliser
    pictures = (normaliser.dtype, normaliser.low, normaliser.high) == ("uint8", 0, 255)
    if not pictures or config.channels not in (1, 3):
        return "channels"
    return "binary_bytes" if isinstance(data, DigitsConfig) else "grey_bytes"


def _measured(
    truth: Videos, filled: Videos, normaliser: Normaliser, convention: SsimConvention
) -> Values:
    span = normaliser.high - normaliser.low
    values: Values = {
        "psnr": psnr(truth, filled, data_range=span),
        "mse": mse(truth, filled, data_range=span).mean(axis=-1),
    }
    if min(truth.shape[2:4]) >= SSIM_WINDOW:
        values["ssim"] = SSIM[convention](truth, filled, data_range=span).mean(axis=-1)
    return values


def shown_pixels(videos: Videos, normaliser: Normaliser) -> UInt8[np.ndarray, "n f h w d"]:
    """Return 8-bit pictures; of other channels than 1 or 3 the first alone, in its own range."""
    limits = normaliser.low, normaliser.high
    if normaliser.dtype == "uint8":
        limits = 0.0, 255.0
    if videos.shape[-1] not in (1, 3):
        videos = videos[..., :1]
        if normaliser.lows and normaliser.lows[0] < normaliser.highs[0]:
            limits = normaliser.lows[0], normaliser.highs[0]
    return np.stack([to_pixels(video, limits) for video in videos])
