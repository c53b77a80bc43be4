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


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Model range = (value - offset) / scale, per channel.

    It travels with the model, so that what the model returns is in the units of its data. The
    default maps 0..255 to [-1, 1].

    Args:
        dtype: Type of the training data.
        offset: The value that becomes 0, one for all channels or one for each.
        scale: The distance from it that becomes 1, one for all channels or one for each.
        low: Smallest value that occurs, in the user's units.
        high: Largest value that occurs, in the user's units.
        units: Name of the units, such as "K" or "mm/h"; empty for plain pixels.
    """

    dtype: DataType = "uint8"
    offset: tuple[float, ...] = (127.5,)
    scale: tuple[float, ...] = (127.5,)
    low: float = 0.0
    high: float = 255.0
    units: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.scale or not self.offset or min(self.scale) <= 0:
            raise InputError(f"normaliser scale {self.scale} must be above 0, and there an offset")
        if not self.low < self.high:
            raise InputError(f"normaliser range {self.low}..{self.high} is empty")

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the data in model range, the widest of the channels."""
        pairs = [(o, s) for o in self.offset for s in self.scale]
        lows = [(self.low - offset) / scale for offset, scale in pairs]
        highs = [(self.high - offset) / scale for offset, scale in pairs]
        return min(lows), max(highs)

    @property
    def bin_width(self) -> float:
        """The distance between two neighbouring values of integer data, in model range.

        Raises:
            InputError: the data are floats, or their range in model range is not -1..1.
        """
        if self.dtype == "float32":
            raise InputError(
                "bits per dimension need integers, and these data are floats, which have no "
                "smallest step: use psnr, ssim or mse, or the loss of kind 'error'"
            )
        if self.limits != (-1.0, 1.0) or len(set(self.scale)) != 1:
            raise InputError(
                f"bits per dimension need data that fill -1..1 in model range, not {self.limits}"
            )
        return 1 / self.scale[0]

    def to_clip(self, frames: Shaped[np.ndarray, "*b f h w c"]) -> Float[Tensor, "*b f c h w"]:
        """Map frames in the user's units to model range; NaN stays NaN.

        Raises:
            InputError: the frames don't look like the model's data: values outside `low`..`high`,
                or fractions of 1 where the model expects counts.
        """
        self._check(frames)
        values = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
        clip = (values - torch.tensor(self.offset)) / torch.tensor(self.scale)
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
        known = frames[np.isfinite(frames)]
        if known.size == 0:
            return
        low, high = known.min(), known.max()
        expected = f"{self.low:g}..{self.high:g}{self.units and ' ' + self.units}"
        if low < self.low or high > self.high:
            raise InputError(
                f"values reach {low:g}..{high:g}, but the model was trained on {expected}: "
                "convert the frames to its units"
            )
        if not integers and self.dtype != "float32" and 0 < high <= 1 < self.high:
            raise InputError(
                f"values reach {low:g}..{high:g}, but the model was trained on {expected}: "
                f"multiply them by {self.high:g}"
            )
