"""Frames made to suit a model: other channels, another size, resized, cropped or padded."""

from typing import Literal

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image

from framefill.errors import InputError

How = Literal["stretch", "crop", "pad", "ramvid"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels
LUMA = (19595, 38470, 7471)  # ITU-R 601 in 65536ths: the integers that Pillow uses


def fitted(
    frames: Shaped[np.ndarray, "f h w c"],
    size: tuple[int, int],
    how: How,
    resize: Filter,
    name: str,
) -> Shaped[np.ndarray, "f y x c"]:
    """Return frames of another height and width; see `framefill.data.video.Video.fit`.

    Raises:
        InputError: "pad" meets frames that are larger.
    """
    height, width = size
    if how == "pad":
        return _padded(frames, height, width, name)
    if how == "crop":
        frames, box = _cropped(frames, height, width)
    else:
        box = (0.0, 0.0, float(frames.shape[2]), float(frames.shape[1]))
    if frames.shape[1:3] == size:
        return frames
    return _resized(frames, (width, height), box, Image.Resampling[resize.upper()], name)


def floating(frames: Shaped[np.ndarray, "*f h w c"]) -> Shaped[np.ndarray, "*f h w c"]:
    """Return the same values in a dtype that can hold NaN beside them."""
    if frames.dtype.kind == "f":
        return frames
    return frames.astype(np.float64 if frames.dtype.itemsize > 2 else np.float32)


def with_channels(
    frames: Shaped[np.ndarray, "f h w c"], channels: int, name: str
) -> Shaped[np.ndarray, "f h w d"]:
    """Return frames with other channels: 1 to 3, 3 to 1, or 4 to 3 if the fourth is opaque.

    Raises:
        InputError: they can't be converted.
    """
    match frames.shape[3], channels:
        case have, want if have == want:
            return frames
        case 1, 3:
            return np.repeat(frames, 3, axis=3)
        case 3, 1:
            return np.stack([_luma(frame) for frame in frames])
        case 4, 3:
            opaque = 1 if frames.dtype.kind == "f" else np.iinfo(frames.dtype).max
            if (frames[..., 3] == opaque).all():
                return np.ascontiguousarray(frames[..., :3])
            raise InputError(f"{name} has alpha below {opaque}: compose it on a background first")
    order = ": put the channel axis last" if frames.shape[1] in (1, 3, 4) else ""
    raise InputError(
        f"{name} has {frames.shape[3]} channels and the model needs {channels}: only 1 to 3, "
        f"3 to 1 and 4 to 3 are converted{order}"
    )


def _luma(frame: Shaped[np.ndarray, "h w 3"]) -> Shaped[np.ndarray, "h w 1"]:
    if frame.dtype.kind == "f":
        weights = (np.array(LUMA) / sum(LUMA)).astype(frame.dtype)
        return np.asarray((frame * weights).sum(axis=2, keepdims=True, dtype=frame.dtype))
    total = (frame.astype(np.int64) * np.array(LUMA)).sum(axis=2, keepdims=True)
    return np.asarray((total + 2**15) >> 16, frame.dtype)


def _cropped(
    frames: Shaped[np.ndarray, "f h w c"], height: int, width: int
) -> tuple[Shaped[np.ndarray, "f y x c"], Box]:
    rows, columns = frames.shape[1:3]
    scale = max(height / rows, width / columns)
    if scale == 1:  # on whole pixels, so that values stay as they are
        top, left = (rows - height) // 2, (columns - width) // 2
        frames = frames[:, top : top + height, left : left + width]
        return frames, (0.0, 0.0, float(width), float(height))
    x, y = (columns - width / scale) / 2, (rows - height / scale) / 2
    # Rounding may put the box a hair outside the frame, which Pillow refuses.
    return frames, (max(x, 0.0), max(y, 0.0), min(columns - x, columns), min(rows - y, rows))


def _padded(
    frames: Shaped[np.ndarray, "f h w c"], height: int, width: int, name: str
) -> Shaped[np.ndarray, "f y x c"]:
    rows, columns = frames.shape[1:3]
    if rows > height or columns > width:
        raise InputError(
            f"{name} has frames of {rows}x{columns} and fit pad makes them {height}x{width}: they "
            f"would have to be cut; choose --data.height {rows} --data.width {columns} or more, or "
            "fit crop"
        )
    padded = np.full((len(frames), height, width, frames.shape[3]), np.nan)
    padded = padded.astype(floating(frames[:0]).dtype)
    padded[:, :rows, :columns] = frames
    return padded


def _resized(
    frames: Shaped[np.ndarray, "f h w c"],
    size: tuple[int, int],
    box: Box,
    resampling: Image.Resampling,
    name: str,
) -> Shaped[np.ndarray, "f y x c"]:
    resized = np.empty((len(frames), size[1], size[0], frames.shape[3]), frames.dtype)
    for index, frame in enumerate(frames):
        if frame.dtype.kind == "f" and np.isinf(frame).any():
            raise InputError(
                f"frame {index} of {name} holds infinite values and can't be resized: make them "
                "NaN, which means missing"
            )
        for channel in range(frames.shape[3]):
            plane = np.ascontiguousarray(frame[..., channel])
            resized[index, ..., channel] = _resized_plane(plane, size, box, resampling)
    return resized


def _resized_plane(
    plane: Shaped[np.ndarray, "h w"],
    size: tuple[int, int],
    box: Box,
    resampling: Image.Resampling,
) -> Shaped[np.ndarray, "y x"]:
    if plane.dtype == np.uint8:
        return np.asarray(Image.fromarray(plane).resize(size, resampling, box=box))
    exact = plane.astype(np.float32)
    there = np.isfinite(exact)
    if not there.any():
        return np.full(size[::-1], np.nan, plane.dtype)
    values = _filtered(np.where(there, exact, 0), size, box, resampling)
    if not there.all():
        # The filter at the edge of a hole is made of what is there, in the same proportions.
        share = _filtered(there.astype(np.float32), size, box, resampling)
        values = np.where(share < 0.5, np.nan, values / np.maximum(share, 0.5))
    # Bicubic overshoots at edges, out of the dtype or of the range that a model takes.
    values = np.clip(values, exact[there].min(), exact[there].max())
    return np.asarray(values if plane.dtype.kind == "f" else np.rint(values), plane.dtype)


def _filtered(
    plane: Float32[np.ndarray, "h w"],
    size: tuple[int, int],
    box: Box,
    resampling: Image.Resampling,
) -> Float32[np.ndarray, "y x"]:
    return np.asarray(Image.fromarray(plane).resize(size, resampling, box=box))
