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
        low: Smallest value that occurs in any channel, in the user's units.
        high: Largest value that occurs in any channel, in the user's units.
        lows: Smallest value of each channel, where they differ.
        highs: Largest value of each channel, where they differ.
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
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()
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
        if len(self.lows) != len(self.highs) or any(
            not low <= high for low, high in zip(self.lows, self.highs, strict=True)
        ):
            raise InputError(f"normaliser ranges {self.lows}..{self.highs}: needs low <= high each")
        if self.soft <= 0 or self.margin < 0:
            raise InputError(
                f"soft {self.soft} must be above 0 and margin {self.margin} at least 0"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the data in model range, the widest of the channels."""
        ends = self.transformed(torch.tensor(self._ends, dtype=torch.float64))
        channels = max(len(self.offset), len(self.scale), ends.shape[1])
        offset, scale = (
            torch.tensor(each, dtype=torch.float64).expand(channels)
            for each in (self.offset, self.scale)
        )
        low, high = (ends - offset) / scale
        return low.min().item(), high.max().item()

    @property
    def _ends(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The smallest and the largest values, of each channel or one for all."""
        return self.lows or (self.low,), self.highs or (self.high,)

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
        low = torch.tensor(self._ends[0], dtype=values.dtype)
        return torch.log1p((values - low).clamp(min=0) / self.soft)

    def to_clip(self, frames: Shaped[np.ndarray, "*b f h w c"]) -> Float[Tensor, "*b f c h w"]:
        """Map frames in the user's units to model range; NaN stays NaN.

        Raises:
            InputError: the frames don't look like the model's data: values outside `low`..`high`,
                infinite ones, or fractions of 1 where the model expects counts.
        """
        self._check(frames)
        values = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
        if self.clip:
            values = values.clamp(*map(torch.tensor, self._ends))
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
        low, high = map(torch.tensor, self._ends)
        if self.transform == "log":
            # Bounded first: the exponential of a wild value would be infinite.
            values = torch.expm1(values.minimum(self.transformed(high))) * self.soft + low
        frames = values.clamp(low, high).numpy()
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
        if frames.size == 0 or (not integers and np.isnan(frames).all()):
            return
        flat = frames.reshape(-1, frames.shape[-1])
        lowest, highest = np.fmin.reduce(flat), np.fmax.reduce(flat)  # which pass over NaN
        low, high = np.fmin.reduce(lowest), np.fmax.reduce(highest)
        expected = f"{self.low:g}..{self.high:g}{self.units and ' ' + self.units}"
        least, most = map(np.array, self._ends)
        room = self.margin * (most - least)
        below = least - (room if self.transform == "linear" else 0)
        if not self.clip and ((lowest < below).any() or (highest > most + room).any()):
            raise InputError(
                f"values reach {low:g}..{high:g}, but the model was trained on {expected}: "
                "convert the frames to its units"
            )
        if not integers and self.dtype != "float32" and 0 < high <= 1 < self.high:
            raise InputError(
                f"values reach {low:g}..{high:g}, but the model was trained on {expected}: "
                f"multiply them by {self.high:g}"
            )
