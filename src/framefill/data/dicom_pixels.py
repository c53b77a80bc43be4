"""Frames as the numbers and scales that DICOM stores."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from framefill.data.dicom import DicomHeader
from framefill.data.scale import Scale, restored
from framefill.data.video import Video
from framefill.errors import FillWarning, InputError

LONGEST = 2**32 - 2  # bytes of the pixels of a file
STORED = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
EXACT = 0.13  # of a step, by which values may be off, as an eighth may be due to single precision


class Pixels(NamedTuple):
    """Frames as they are stored.

    Args:
        numbers: What is stored.
        scales: Of each frame.
        padding: The number that stands for a missing value.
        bits: That are used.
    """

    numbers: Shaped[np.ndarray, "f h w c"]
    scales: tuple[Scale, ...]
    padding: int | None
    bits: int


def pixels_of(video: Video, ours: DicomHeader | None, film: bool, bits: int, name: str) -> Pixels:
    """Return what to store for the frames of a video."""
    frames, missing, back = video.frames, None, restored(video)
    scales: tuple[Scale, ...] = (Scale(),)
    dtype = frames.dtype
    if frames.dtype.kind == "f":
        dtype, scales = np.dtype("uint16"), ()
        if ours is not None and ours.dtype in STORED:
            dtype, scales, missing = np.dtype(ours.dtype), ours.scales, ours.padding
        elif back is not None and back[0].name in STORED:
            (dtype, missing), scales = back, (Scale(),)
        elif frames.shape[3] == 3:
            raise InputError(f"{name} has colors that are floats: choose .npy or .tif")
    limits = np.iinfo(dtype.name)
    if missing is None or dtype.itemsize > 2 or not limits.min <= missing <= limits.max:
        missing = None
    if not scales and missing is None and np.isnan(frames).any():
        missing = float(limits.min)
    padding = None if missing is None else int(missing)
    numbers, used = np.empty(frames.shape, dtype), []
    size = frames.size * dtype.itemsize
    if film and size > LONGEST:
        raise InputError(f"{name} takes {size} bytes, and a DICOM file 4 GiB: give a folder's name")
    for part in [slice(None)] if film else [slice(n, n + 1) for n in range(len(frames))]:
        if dtype == frames.dtype:
            numbers[part], scale = frames[part], Scale()
        else:
            scale = scale_of(frames[part], dtype, scales, padding)
            numbers[part] = scale.stored(frames[part], dtype, padding, name)
        used.append(scale)
    strange = sum(scale not in scales for scale in used)
    if strange:
        warnings.warn(
            f"{name}: floats are stored as integers in steps of {used[-1].slope:.3g}, with which "
            ".npy does without",
            FillWarning,
            stacklevel=3,
        )
    whole = dtype.itemsize * 8
    if bits and bits < whole:
        low, high = (
            (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )
        ends = (int(numbers.min()), int(numbers.max()), low if padding is None else padding)
        bits = bits if low <= min(ends) and max(ends) <= high else whole
    return Pixels(numbers, tuple(used), padding, bits if 0 < bits <= whole else whole)


def scale_of(
    values: Shaped[np.ndarray, "f h w c"],
    dtype: np.dtype[np.generic],
    scales: tuple[Scale, ...],
    padding: int | None,
) -> Scale:
    """Return the scale that values had, or else one of their own."""
    if len(scales) == 1:
        return scales[0]
    limits, finite = np.iinfo(dtype.name), values[np.isfinite(values)].astype(np.float64)
    low, high = limits.min + (padding == limits.min), limits.max - (padding == limits.max)
    if not finite.size:
        return scales[0] if scales else Scale()
    # Values that are whole in large steps are so in a part of these steps, too.
    for scale in sorted(scales, key=lambda each: -abs(each.slope)):
        numbers = (finite - scale.intercept) / scale.slope
        inside = numbers.min() > limits.min - 1 and numbers.max() < limits.max + 1
        if inside and np.abs(numbers - np.rint(numbers)).max() < EXACT:
            return scale
    least, most = float(finite.min()), float(finite.max())
    slope = _written((most - least) / (high - low) * (1 + 1e-9)) or 1.0
    return Scale(slope, _written(least - low * slope))


def _written(value: float) -> float:
    """Return what is left of a number when it is written in 16 characters."""
    return float(decimal(value))


def decimal(value: float) -> str:
    """Return a number as DICOM writes it, in at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value))
