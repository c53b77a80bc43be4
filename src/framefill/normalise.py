"""Between the user's units and the model's range: the one place where values change their scale."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor

from framefill.errors import InputError, check_fields

DataType = Literal["uint8", "uint16", "int16", "float32"]
Transform = Literal["linear", "log"]


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Model range = (transform(value) - offset) / scale, per channel.

    It travels with the model, so that what the model returns is in the units of its data. The
    default maps 0..255 to [-1, 1].

    Args:
        dtype: Type of the training data.
        offset: The transformed value that becomes 0, one for all channels or one for each.
        scale: The distance from it that becomes 1, one for all channels or one for each.
        low: Smallest value that occurs, in the user's units.
        high: Largest value that occurs, in the user's units.
        units: Name of the units, such as "K" or "mm/h"; empty for plain pixels.
        transform: "linear" leaves values as they are; "log" takes ln(1 + (value - low) / soft),
            for data that spans orders of magnitude, such as rain.
        soft: What a step of 1 at the low end is worth, in the user's units; read by "log" alone.
        clip: Move values beyond low..high to the nearest end instead of refusing them; frames that
            are given come back as they were all the same.
        margin: Share of the range by which values may lie beyond it: what was measured on the
            training data alone is a little too narrow for new data.
    """

    dtype: DataType = "uint8"
    offset: tuple[float, ...] = (127.5,)
    scale: tuple[float, ...] = (127.5,)
    low: float = 0.0
    high: float = 255.0
    units: str = ""
    transform: Transform = "linear"
    soft: float = 1.0
    clip: bool = False
    margin: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.scale or not self.offset or min(self.scale) <= 0:
            raise InputError(f"normaliser scale {self.scale} must be above 0, and there an offset")
        if not self.low < self.high:
            raise InputError(f"normaliser range {self.low}..{self.high} is empty")
        if self.soft <= 0 or self.margin < 0:
            raise InputError(
                f"soft {self.soft} must be above 0 and margin {self.margin} at least 0"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the data in model range, the widest of the channels."""
        low, high = self.transformed(torch.tensor([self.low, self.high], dtype=torch.float64))
        pairs = [(o, s) for o in self.offset for s in self.scale]
        lows = [(low.item() - offset) / scale for offset, scale in pairs]
        highs = [(high.item() - offset) / scale for offset, scale in pairs]
        return min(lows), max(highs)

    @property
    def bin_width(self) -> float:
        """The distance between two neighbouring values of integer data, in model range.

        Raises:
            InputError: the data are floats, or their range in model range is not -1..1.
        """
        if self.dtype == "float32" or self.transform != "linear":
            raise InputError(
                "bits per dimension need integers, and these data are floats, or on a logarithmic "
                "scale, without a smallest step: use psnr, ssim or mse, or the loss of kind 'error'"
            )
        if self.limits != (-1.0, 1.0) or len(set(self.scale)) != 1:
            raise InputError(
                f"bits per dimension need data that fill -1..1 in model range, not {self.limits}"
            )
        return 1 / self.scale[0]

    def transformed(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Apply the transform, elementwise."""
        if self.transform == "linear":
            return values
        return torch.log1p((values - self.low).clamp(min=0) / self.soft)

    def to_clip(self, frames: Shaped[np.ndarray, "*b f h w c"]) -> Float[Tensor, "*b f c h w"]:
        """Map frames in the user's units to model range; NaN stays NaN.

        Raises:
            InputError: the frames don't look like the model's data: values outside `low`..`high`,
                infinite ones, or fractions of 1 where the model expects counts.
        """
        self._check(frames)
        values = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
        if self.clip:
            values = values.clamp(self.low, self.high)
        clip = (self.transformed(values) - torch.tensor(self.offset)) / torch.tensor(self.scale)
        return rearrange(clip, "... f h w c -> ... f c h w").contiguous()

    def to_frames(
        self, clip: Float[Tensor, "*b f c h w"], dtype: np.dtype[np.generic]
    ) -> Shaped[np.ndarray, "*b f h w c"]:
        """Map model range back to the user's units, of the type asked for.

        Integers are rounded to the nearest; what the model put outside `low`..`high` is moved to
        the nearest end.
        """
        values = rearrange(clip.float().cpu(), "... f c h w -> ... f h w c")
        values = values * torch.tensor(self.scale) + torch.tensor(self.offset)
        if self.transform == "log":
            # Bounded first: the exponential of a wild value would be infinite.
            top = self.transformed(torch.tensor(self.high))
            values = torch.expm1(values.clamp(max=top.item())) * self.soft + self.low
        frames = values.clamp(self.low, self.high).numpy()
        if np.issubdtype(dtype, np.integer):
            frames = np.rint(frames)
        return frames.astype(dtype)

    def _check(self, frames: Shaped[np.ndarray, "..."]) -> None:
        integers = np.issubdtype(frames.dtype, np.integer)
        if integers and frames.dtype != self.dtype:
            raise InputError(
                f"frames are {frames.dtype}, but the model was trained on {self.dtype}: "
                f"convert them to {self.dtype}, or to floats, in the same units"
            )
        if not integers and np.isinf(frames).any():
            raise InputError("the frames hold infinite values: make them NaN, which means missing")
        known = frames if integers else frames[~np.isnan(frames)]
        if known.size == 0:
            return
        low, high = known.min(), known.max()
        expected = f"{self.low:g}..{self.high:g}{self.units and ' ' + self.units}"
        room = self.margin * (self.high - self.low)
        below = self.low - (room if self.transform == "linear" else 0)
        if not self.clip and (low < below or high > self.high + room):
            raise InputError(
                f"values reach {low:g}..{high:g}, but the model was trained on {expected}: "
                "convert the frames to its units"
            )
        if not integers and self.dtype != "float32" and 0 < high <= 1 < self.high:
            raise InputError(
                f"values reach {low:g}..{high:g}, but the model was trained on {expected}: "
                f"multiply them by {self.high:g}"
            )
