"""PSNR and SSIM, frame by frame.

In float videos NaN of the truth is missing, and left out of the mean squared error and PSNR.
"""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64, Shaped, UInt8
from torch import Tensor

from framefill.errors import InputError

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_SQUARE = 7  # side of the uniform window
LUMA = (19595, 38470, 7471)  # of R, G and B in 65536ths (ITU-R BT.601), as Pillow computes it


@runtime_checkable
class FrameMetric(Protocol):
    """Anything that gives each frame one score."""

    def __call__(
        self,
        truth: Shaped[np.ndarray, "*b f h w c"],
        frames: Shaped[np.ndarray, "*b f h w c"],
        *,
        data_range: float,
    ) -> Float64[np.ndarray, "*b f"]:
        """Return one score per frame.

        Args:
            truth: The true frames.
            frames: The frames to score, in the same units.
            data_range: Distance between the smallest and the largest possible value.
        """
        ...


def mse(
    truth: Shaped[np.ndarray, "*b f h w c"],
    frames: Shaped[np.ndarray, "*b f h w c"],
    *,
    data_range: float,
) -> Float64[np.ndarray, "*b f"]:
    """Return the mean squared error of each frame, in units of `data_range`².

    Args:
        truth: The true frames; where they are NaN there is no error, and NaN if they are so
            throughout.
        frames: The frames to score.
        data_range: Distance between the smallest and the largest possible value.
    """
    difference = (frames.astype(np.float64) - truth.astype(np.float64)) / data_range
    return mean_of_valid(difference**2, truth, axes=(-3, -2, -1))


def psnr(
    truth: Shaped[np.ndarray, "*b f h w c"],
    frames: Shaped[np.ndarray, "*b f h w c"],
    *,
    data_range: float,
) -> Float64[np.ndarray, "*b"]:
    """Return the peak signal-to-noise ratio of each video, in dB, of its mean squared error.

    The error is averaged over the frames first, as in MCVD's evaluation; the mean of the frames'
    own ratios (`framefill.metrics.scores`, `psnr` "frames") is larger. Equal videos give infinity.
    """
    return decibels(mean_of_frames(mse(truth, frames, data_range=data_range)))


def decibels(error: Float64[np.ndarray, "*b"]) -> Float64[np.ndarray, "*b"]:
    """Return the peak signal-to-noise ratio of a mean squared error in units of the range²."""
    with np.errstate(divide="ignore"):
        return np.asarray(-10 * np.log10(error))


def mean_of_frames(values: Float64[np.ndarray, "*b f"]) -> Float64[np.ndarray, "*b"]:
    """Return the mean over frames, of those that have a value; NaN if none has."""
    return mean_of_valid(values, values, axes=(-1,))


def mean_of_valid(
    values: Float64[np.ndarray, "*b"], known: Shaped[np.ndarray, "*b"], *, axes: tuple[int, ...]
) -> Float64[np.ndarray, "*rest"]:
    """Return the mean where something is known, NaN where it is nowhere.

    Args:
        values: Read only where `known` is.
        known: NaN where nothing is known.
        axes: What the mean is over.
    """
    if known.dtype.kind != "f" or not (missing := np.isnan(known)).any():
        return np.asarray(values.mean(axis=axes))
    total = np.where(missing, 0.0, values).sum(axis=axes)
    count = (~missing).sum(axis=axes)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def ssim(
    truth: Shaped[np.ndarray, "*b f h w c"],
    frames: Shaped[np.ndarray, "*b f h w c"],
    *,
    data_range: float,
) -> Float64[np.ndarray, "*b f"]:
    """Return the structural similarity of each frame, the mean over its channels.

    With a Gaussian window of 11 x 11 pixels and standard deviation 1.5, and covariances divided
    by N (Wang et al. 2004, Equation 13): scikit-image's `gaussian_weights=True,
    use_sample_covariance=False`, with which MCVD's scores were made.

    Raises:
        InputError: the frames are smaller than the window.
    """
    offsets = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    return _similarity(truth, frames, data_range, weights / weights.sum(), sample=1.0)


def ssim_of_squares(
    truth: Shaped[np.ndarray, "*b f h w c"],
    frames: Shaped[np.ndarray, "*b f h w c"],
    *,
    data_range: float,
) -> Float64[np.ndarray, "*b f"]:
    """Return the structural similarity of each frame, the mean over its channels.

    With a uniform window of 7 x 7 pixels and covariances divided by N - 1: what scikit-image does
    unless told otherwise, and so what SVG and others have reported.

    Raises:
        InputError: the frames are smaller than the window.
    """
    weights = torch.full((SSIM_SQUARE,), 1 / SSIM_SQUARE, dtype=torch.float64)
    pixels = SSIM_SQUARE**2
    return _similarity(truth, frames, data_range, weights, sample=pixels / (pixels - 1))


def _similarity(
    truth: Shaped[np.ndarray, "*b f h w c"],
    frames: Shaped[np.ndarray, "*b f h w c"],
    data_range: float,
    weights: Float64[Tensor, " window"],
    *,
    sample: float,
) -> Float64[np.ndarray, "*b f"]:
    """Return Wang et al.'s similarity with a separable window, covariances times `sample`."""
    height, width = truth.shape[-3:-1]
    if min(height, width) < len(weights):
        raise InputError(
            f"SSIM needs at least {len(weights)} pixels a side, not {height} x {width}"
        )
    x, y = (_planes(values) for values in (truth, frames))
    mean_x, mean_y = _blur(x, weights), _blur(y, weights)
    variance_x = sample * (_blur(x * x, weights) - mean_x**2)
    variance_y = sample * (_blur(y * y, weights) - mean_y**2)
    covariance = sample * (_blur(x * y, weights) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    per_channel = similarity.mean(dim=(-2, -1)).reshape(*truth.shape[:-3], truth.shape[-1])
    return per_channel.mean(dim=-1).numpy()


def ssim_of_grey_bytes(
    truth: Shaped[np.ndarray, "*b f h w c"],
    frames: Shaped[np.ndarray, "*b f h w c"],
    *,
    data_range: float,
) -> Float64[np.ndarray, "*b f"]:
    """Return the structural similarity of the frames as 8-bit grey pictures.

    MCVD's convention (runners/ncsn_runner.py, video_gen) for all of its data but moving digits.

    Raises:
        InputError: as `ssim` and `to_grey_bytes`.
    """
    pictures = [to_grey_bytes(values, data_range=data_range) for values in (truth, frames)]
    return ssim(*pictures, data_range=255)


def ssim_of_binary_bytes(
    truth: Shaped[np.ndarray, "*b f h w c"],
    frames: Shaped[np.ndarray, "*b f h w c"],
    *,
    data_range: float,
) -> Float64[np.ndarray, "*b f"]:
    """Return the structural similarity of the frames, each value first moved to black or white.

    MCVD's convention for moving digits, as grey next to black and white weighs much in SSIM.
    Half of `data_range` becomes black.

    Raises:
        InputError: as `ssim` and `to_grey_bytes`.
    """
    binary = [np.rint(values / data_range) for values in (truth, frames)]
    return ssim_of_grey_bytes(*binary, data_range=1)


def to_grey_bytes(
    frames: Shaped[np.ndarray, "*b f h w c"], *, data_range: float
) -> UInt8[np.ndarray, "*b f h w 1"]:
    """Return 8-bit grey pictures, each of 3 channels weighted as Pillow's mode "L" does.

    Args:
        frames: Values from 0 (black) to `data_range` (white), of 1 channel or of red, green, blue.
        data_range: The value of white.

    Raises:
        InputError: there are neither 1 nor 3 channels, or as `to_bytes`.
    """
    pictures = to_bytes(frames, data_range=data_range)
    if pictures.shape[-1] == 1:
        return pictures
    if pictures.shape[-1] != len(LUMA):
        raise InputError(f"grey pictures are made of 1 or 3 channels, not {pictures.shape[-1]}")
    grey = (pictures @ np.array(LUMA, np.int32) + (1 << 15)) >> 16
    return grey[..., None].astype(np.uint8)


def to_bytes(
    frames: Shaped[np.ndarray, "*b f h w c"], *, data_range: float
) -> UInt8[np.ndarray, "*b f h w c"]:
    """Return 8-bit pictures, with fractions cut off rather than rounded, as torchvision does.

    Args:
        frames: Values from 0 (black) to `data_range` (white).
        data_range: The value of white.

    Raises:
        InputError: a value is outside 0..`data_range`, or NaN.
    """
    outside = frames[~((frames >= 0) & (frames <= data_range))]
    if outside.size:
        raise InputError(
            f"8-bit pictures are made of values in 0..{data_range:g}, but one is {outside[0]:g}: "
            "shift or scale the frames, or choose metrics that need no pictures"
        )
    values = frames.astype(np.result_type(frames.dtype, np.float32))  # 16 bits are too few
    return (values * 255 / data_range).astype(np.uint8)


def _planes(values: Shaped[np.ndarray, "*b f h w c"]) -> Tensor:
    planes = torch.from_numpy(np.moveaxis(values, -1, -3).astype(np.float64))
    return planes.reshape(-1, 1, *planes.shape[-2:])


def _blur(planes: Tensor, weights: Float64[Tensor, " window"]) -> Tensor:
    """The weighted mean around each pixel whose window lies inside the frame."""
    return F.conv2d(F.conv2d(planes, weights[None, None, None]), weights[None, None, :, None])
