"""Videos as the pictures that a network takes: three channels, of one size, in 0..1."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Shaped
from torch import Tensor

from framefill.errors import InputError

Resize = Literal["bilinear", "bilinear_stretched", "bilinear_tf1"]


def check_videos(videos: Shaped[np.ndarray, "n f h w c"], *, data_range: float) -> None:
    """Refuse videos that are no pictures in 0..`data_range`.

    Raises:
        InputError: there is no video, there are neither 1 nor 3 channels, a value is outside
            0..`data_range` or NaN, or the values look as if they were in 0..1.
    """
    if not videos.size:
        raise InputError(f"videos of shape {videos.shape} hold nothing: give at least one")
    if videos.shape[-1] not in (1, 3):
        raise InputError(
            f"videos of {videos.shape[-1]} channels: features are of 1 (gray) or 3 (red, green, "
            "blue), so leave this metric out or choose channels"
        )
    low, high = videos.min(), videos.max()  # both are NaN where any value is
    if not (low >= 0 and high <= data_range):
        worst = high if low >= 0 else low
        raise InputError(
            f"features are of values in 0..{data_range:g}, but one is {worst:g}: shift, scale or "
            "clip the videos, or give their data_range"
        )
    # A video of 0..1 that is taken for 0..255 is all but black, and every distance nearly 0.
    if videos.dtype.kind == "f" and data_range > 1 and 0 < high <= 1:
        raise InputError(
            f"the values are fractions of at most {high:g} where white is {data_range:g}: give "
            "data_range=1, or bytes if the videos are that dark"
        )


def to_pictures(
    videos: Shaped[np.ndarray, "n f h w c"], *, data_range: float, side: int, resize: Resize
) -> Float32[Tensor, "n 3 f {side} {side}"]:
    """Return square pictures with values in 0..1, not rounded to bytes.

    Args:
        videos: Values from 0 (black) to `data_range` (white), of 1 channel or of red, green, blue.
        data_range: The value of white.
        side: Pixels a side of the pictures.
        resize: "bilinear": the shorter side becomes `side`, then the middle is cut out (MCVD,
            models/fvd/fvd.py, preprocess_single). "bilinear_stretched": both sides become `side`
            (cd-fvd, third_party/i3d/utils.py). Neither filters what shrinks. "bilinear_tf1": as
            TensorFlow 1's `resize_bilinear`, stretched (google-research,
            frechet_video_distance.py, preprocess).
    """
    number, frames = videos.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(videos, dtype=np.float32)) / data_range
    pixels = pixels.permute(0, 1, 4, 2, 3).flatten(0, 1)  # [n*f c h w]
    height, width = pixels.shape[-2:]
    if resize == "bilinear_tf1":
        pixels = _stretch_tf1(_stretch_tf1(pixels, side, axis=3), side, axis=2)
    elif resize == "bilinear_stretched":
        pixels = _interpolate(pixels, side, side)
    else:
        shorter = min(height, width)
        # Rounded up as in MCVD, but without the last bit of a quotient, which may add a pixel.
        pixels = _interpolate(pixels, *(-(-length * side // shorter) for length in (height, width)))
        top, left = ((length - side) // 2 for length in pixels.shape[-2:])
        pixels = pixels[..., top : top + side, left : left + side]
    pictures = pixels.reshape(number, frames, -1, side, side).transpose(1, 2)
    return pictures.expand(number, 3, frames, side, side)


def to_byte_pictures(
    videos: Shaped[np.ndarray, "n f h w c"], *, data_range: float
) -> Shaped[Tensor, "n 3 f h w"]:
    """Return 8-bit pictures of the videos' own size, rounded (StyleGAN-V, metric_utils.py)."""
    pixels = torch.from_numpy(np.ascontiguousarray(videos, dtype=np.float32))
    rounded = (pixels * (255 / data_range) + 0.5).floor().to(torch.uint8)
    pictures = rounded.permute(0, 4, 1, 2, 3)
    return pictures.expand(-1, 3, -1, -1, -1).contiguous()


def _interpolate(
    pixels: Float32[Tensor, "b c h w"], height: int, width: int
) -> Float32[Tensor, "b c {height} {width}"]:
    return F.interpolate(pixels, size=(height, width), mode="bilinear", align_corners=False)


def _stretch_tf1(
    pixels: Float32[Tensor, "b c h w"], length: int, *, axis: int
) -> Float32[Tensor, "b c y x"]:
    """Stretch one axis; pixel i of the result lies at i * old / new, with no half added.

    (TensorFlow 1, core/kernels/resize_bilinear_op.cc with LegacyScaler.)
    """
    old = pixels.shape[axis]
    place = torch.arange(length, dtype=torch.float64) * old / length
    before = place.floor().long()
    after = (before + 1).clamp(max=old - 1)
    weight = (place - before).float().reshape([-1 if i == axis else 1 for i in range(4)])
    first, second = (pixels.index_select(axis, index) for index in (before, after))
    return first + (second - first) * weight
