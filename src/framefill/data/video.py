"""The one form in which frames travel, and the arrays that it is made from."""

import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from framefill.errors import InputError

DTYPES = ("uint8", "uint16", "int16", "float16", "float32", "float64")
BROKEN_ARRAY = (
    *(OSError, ValueError, EOFError, RuntimeError, SyntaxError, KeyError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
LUMA = (19595, 38470, 7471)  # ITU-R 601 in 65536ths: the integers that Pillow uses


@dataclass(frozen=True, eq=False)
class Video:
    """Frames in the user's units.

    Attributes:
        frames: uint8, uint16, int16 or floating; NaN marks missing data.
        fps: Frames per second; None where the source has none (arrays, folders).
        units: The unit of the values, where there is one ("K", "mm/h").
        source: The path, or "" for arrays; only messages use it.
    """

    frames: Shaped[np.ndarray, "f h w c"]
    fps: float | None = None
    units: str = ""
    source: str = ""

    def fit(
        self, *, height: int, width: int, channels: int, how: Literal["stretch", "crop"]
    ) -> "Video":
        """Convert to the frame size and the channels of a model.

        Resizing is antialiased and bicubic. Integers are rounded and kept in the range of their
        dtype; floats are resized in single precision, and a frame that is all NaN stays so.

        Args:
            height: Rows of the new frames.
            width: Columns of the new frames.
            channels: 3 to 1 takes the luma (ITU-R 601), 1 to 3 repeats, 4 to 3 drops an alpha
                channel that is opaque everywhere.
            how: "stretch" resizes the whole frame; "crop" keeps the shape of things: the largest
                centered part with the new aspect ratio is resized, or only cut out if it has the
                right size already.

        Returns:
            The same object where nothing has to change.

        Raises:
            InputError: the channels can't be converted, or a frame that has to be resized holds
                some values that are NaN or infinite.
        """
        if self.frames.shape[1:] == (height, width, channels):
            return self
        name = self.source or "the video"
        frames = _with_channels(self.frames, channels, name)
        if how == "crop":
            frames, box = _cropped(frames, height, width)
        else:
            box = (0.0, 0.0, float(frames.shape[2]), float(frames.shape[1]))
        if frames.shape[1:3] != (height, width):
            frames = _resized(frames, (width, height), box, name)
        return replace(self, frames=frames)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which frames of a source to take: start, start + every, ..., at most `frames` of them."""

    start: int
    frames: int | None
    every: int
    limit_bytes: int

    def __post_init__(self) -> None:
        if self.start < 0:
            raise InputError(f"start={self.start} is negative: count the frames from 0")
        if self.frames is not None and self.frames < 1:
            raise InputError(f"frames={self.frames} asks for nothing: ask for 1 or more")
        if self.every < 1:
            raise InputError(f"every={self.every} never moves on: use 1 for all frames")

    def of(self, total: int, source: str) -> range:
        """The frames to take from a source that has `total`.

        Raises:
            InputError: the source has too few frames; says how many it has.
        """
        available = range(self.start, total, self.every)
        if not total:
            raise InputError(f"{source} holds no frames: give another file")
        if not available:
            raise InputError(
                f"{source} has {total} frames, so start={self.start} is past its end: "
                f"choose 0 to {total - 1}"
            )
        if self.frames is not None and self.frames > len(available):
            start = f" from start={self.start}" if self.start else ""
            steps = f" in steps of {self.every}" if self.every > 1 else ""
            raise InputError(
                f"{source} has {total} frames, too few for frames={self.frames}{start}{steps}: "
                f"ask for at most {len(available)}"
            )
        return available[: self.frames]

    def check_bytes(self, count: int, shape: Sequence[int], itemsize: int, source: str) -> None:
        """Refuse to hold `count` frames of shape [h w c] if they pass the limit."""
        size = count * math.prod(shape) * itemsize
        if size > self.limit_bytes:
            frame = "x".join(str(length) for length in shape)
            raise InputError(
                f"{source}: {count} frames of {frame} (height, width, channels) take "
                f"{size / 2**20:.1f} MiB, above the limit of {self.limit_bytes / 2**20:.1f} MiB: "
                f"read a part with frames=, start= or every="
            )


def as_frames(array: Shaped[np.ndarray, "..."], name: str) -> Shaped[np.ndarray, "f h w c"]:
    """Check that an array can be a video; gray frames [f h w] get their channel axis.

    Args:
        array: [f h w c] or [f h w]; the masked values of a masked array become NaN.
        name: What to call the array in a message.

    Raises:
        InputError: other axes, an axis of length 0, or values of another dtype.
    """
    if array.dtype.name not in DTYPES:
        raise InputError(
            f"{name} has values of dtype {array.dtype}: convert them to one of {', '.join(DTYPES)}"
        )
    if array.ndim not in (3, 4):
        raise InputError(
            f"{name} has shape {array.shape}: give [frames, height, width, channels], or "
            f"[frames, height, width] for gray"
        )
    if 0 in array.shape:
        raise InputError(f"{name} has shape {array.shape}, which holds nothing: give some frames")
    if isinstance(array, np.ma.MaskedArray) and array.mask.any():
        if array.dtype.kind != "f":
            raise InputError(
                f"{name} masks some values of dtype {array.dtype}, which has no NaN for missing "
                f"data: convert it to float32"
            )
        array = array.filled(np.nan)
    native = np.asarray(array).astype(array.dtype.newbyteorder("="), copy=False)
    return native if native.ndim == 4 else native[..., None]


def load_npy(path: Path, part: Part) -> Video:
    """Read an array file; only the frames that are asked for are loaded."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN_ARRAY as error:
        raise InputError(f"{path} can't be read as an array ({first_line(error)})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of arrays: name it .npz")
    return _selected(array, part, str(path))


def load_npz(path: Path, part: Part) -> Video:
    """Read the one array of an archive, or the one named "frames" with "fps" beside it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
            if len(names) != 1 and "frames" not in names:
                raise InputError(
                    f"{path} holds {len(names)} arrays ({', '.join(names[:9])}): keep one, or name "
                    f"the video 'frames'"
                )
            name = "frames" if "frames" in names else names[0]
            _check_member(archive.getinfo(f"{name}.npy"), part, path)
        with np.load(path, allow_pickle=False) as arrays:
            array = arrays[name]
            fps = float(arrays["fps"]) if name == "frames" and "fps" in names else None
    except InputError:
        raise
    except BROKEN_ARRAY as error:
        raise InputError(f"{path} can't be read as arrays ({first_line(error)})") from error
    return replace(_selected(array, part, str(path)), fps=fps)


def _check_member(member: zipfile.ZipInfo, part: Part, path: Path) -> None:
    # No more than this is ever unpacked, whatever shape the header inside declares.
    if member.file_size > part.limit_bytes + 2**16:
        raise InputError(
            f"{path} unpacks to {member.file_size / 2**20:.1f} MiB, above the limit of "
            f"{part.limit_bytes / 2**20:.1f} MiB: save it as .npy, which can be read in parts"
        )


def _selected(array: Shaped[np.ndarray, "..."], part: Part, name: str) -> Video:
    frames = as_frames(array[:0], name) 

def _with_channels(
    frames: Shaped[np.ndarray, "f h w c"], channels: int, name: str
) -> Shaped[np.ndarray, "f h w d"]:
    match frames.shape[3], channels:
        case have, want if have == want:
            return frames
        case 1, 3:
            return np.repeat(frames, 3, axis=3)
        case 3, 1:
            return np.stack([_luma(frame) for frame in frames])
        case 4, 3:
            _refuse_transparency(frames[..., 3], name)
            return np.ascontiguousarray(frames[..., :3])
    order = ": put the channel axis last" if frames.shape[1] in (1, 3, 4) else ""
    raise InputError(
        f"{name} has {frames.shape[3]} channels and the model needs {channels}: only 1 to 3, "
        f"3 to 1 and 4 to 3 are converted{order}"
    )


def _luma(frame: Shaped[np.ndarray, "h w 3"]) -> Shaped[np.ndarray, "h w 1"]:
    if frame.dtype.kind == "f":
        weights = (np.array(LUMA) / sum(LUMA)).astype(frame.dtype)
        return (frame * weights).sum(axis=2, keepdims=True, dtype=frame.dtype)
    total = (frame.astype(np.int64) * np.array(LUMA)).sum(axis=2, keepdims=True)
    return ((total + 2**15) >> 16).astype(frame.dtype)


def _refuse_transparency(alpha: Shaped[np.ndarray, "f h w"], name: str) -> None:
    opaque = 1 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
    if not (alpha == opaque).all():
        raise InputError(
            f"{name} has an alpha channel below {opaque}: compose it on a background first"
        )


def _cropped(
    frames: Shaped[np.ndarray, "f h w c"], height: int, width: int
) -> tuple[Shaped[np.ndarray, "f y x c"], tuple[float, float, float, float]]:
    """The frames, and the box (left, top, right, bottom) in them that becomes the new frame."""
    rows, columns = frames.shape[1:3]
    scale = max(height / rows, width / columns)
    if scale == 1:  # on whole pixels, so that values stay as they are
        top, left = (rows - height) // 2, (columns - width) // 2
        frames = frames[:, top : top + height, left : left + width]
        return frames, (0.0, 0.0, float(width), float(height))
    x, y = (columns - width / scale) / 2, (rows - height / scale) / 2
    # Rounding may put the box a hair outside the frame, which Pillow refuses.
    return frames, (max(x, 0.0), max(y, 0.0), min(columns - x, columns), min(rows - y, rows))


def _resized(
    frames: Shaped[np.ndarray, "f h w c"],
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    name: str,
) -> Shaped[np.ndarray, "f y x c"]:
    resized = np.empty((len(frames), size[1], size[0], frames.shape[3]), frames.dtype)
    for index, frame in enumerate(frames):
        finite = np.isfinite(frame)
        if np.isnan(frame).all():
            resized[index] = np.nan
            continue
        if not finite.all():
            raise InputError(
                f"frame {index} of {name} is missing in part ({(~finite).sum()} values are NaN or "
                f"infinite) and can't be resized: fill them or give frames of {size[0]}x{size[1]}"
            )
        for channel in range(frames.shape[3]):
            plane = np.ascontiguousarray(frame[..., channel])
            resized[index, ..., channel] = _resized_plane(plane, size, box)
    return resized


def _resized_plane(
    plane: Shaped[np.ndarray, "h w"],
    size: tuple[int, int],
    box: tuple[float, float, float, float],
) -> Shaped[np.ndarray, "y x"]:
    exact = plane if plane.dtype == np.uint8 else plane.astype(np.float32)
    image = Image.fromarray(exact).resize(size, Image.Resampling.BICUBIC, box=box)
    values = np.asarray(image)
    if plane.dtype.kind == "f" or plane.dtype == np.uint8:
        return values.astype(plane.dtype)
    limits = np.iinfo(plane.dtype)  # bicubic overshoots at edges
    return np.clip(np.rint(values), limits.min, limits.max).astype(plane.dtype)
