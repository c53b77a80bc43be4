"""The one form in which frames travel, and the arrays that it is made from."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from framefill.data.fitting import Filter, How, fitted, with_channels
from framefill.data.ramvid import fit_as_ramvid
from framefill.errors import InputError

DTYPES = ("uint8", "uint16", "int16", "float16", "float32", "float64")
BROKEN = (  # what libraries raise for damaged files
    *(OSError, ValueError, EOFError, RuntimeError, SyntaxError, KeyError, OverflowError, TypeError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


class Stored(NamedTuple):
    """How a file stores values that are floats here, because some of them are missing.

    Args:
        dtype: Name of the stored dtype.
        missing: The value that stands for a missing one.
    """

    dtype: str
    missing: float


@dataclass(frozen=True, eq=False)
class Header:
    """What a format knows beside the frames, for the writer of the same format.

    Args:
        format: The format's suffix, such as ".nc"; a writer reads headers of its own alone.
        content: What its reader left there.
    """

    format: str
    content: Any


@dataclass(frozen=True, eq=False)
class Video:
    """Frames in the user's units.

    Attributes:
        frames: uint8, uint16, int16 or floating; NaN marks missing data.
        fps: Frames per second; None where the source has none (arrays, folders).
        units: The unit of the values, where there is one ("K", "mm/h").
        source: The path, or "" for arrays; only messages use it.
        times: Of each frame: float64 seconds from anywhere, or datetime64[ns].
        channels: Names of the channels, where they have any.
        stored: How the file stored values that are floats here.
        header: What the file's format knows beside, to be written back.
        conditions: What goes along with the frames, by name: a vector for each [f k], a map for
            each [f h w k], or one map for all [h w k].
    """

    frames: Shaped[np.ndarray, "f h w c"]
    fps: float | None = None
    units: str = ""
    source: str = ""
    times: Shaped[np.ndarray, " f"] | None = None
    channels: tuple[str, ...] = ()
    stored: Stored | None = None
    header: Header | None = None
    conditions: Mapping[str, Shaped[np.ndarray, "..."]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.times is not None and len(self.times) != len(self.frames):
            raise InputError(
                f"{len(self.times)} time stamps for {len(self.frames)} frames: give one for each"
            )

    def fit(
        self, *, height: int, width: int, channels: int, how: How, resize: Filter = "bicubic"
    ) -> "Video":
        """Convert to the frame size and the channels of a model.

        Resizing is antialiased. Integers are rounded and kept in the range of their dtype; floats
        are resized in single precision. Where some pixels are missing, a new one is made of those
        that are there, and is missing itself if they are less than half of what it covers.
        Conditions that are maps are converted with the frames.

        Args:
            height: Rows of the new frames.
            width: Columns of the new frames.
            channels: 3 to 1 takes the luma (ITU-R 601), 1 to 3 repeats, 4 to 3 drops an alpha
                channel that is opaque everywhere.
            how: "stretch" resizes the whole frame; "crop" keeps the shape of things: the largest
                centered part with the new aspect ratio is resized, or only cut out if it has the
                right size already; "pad" adds missing pixels on the right and below, which makes
                floats of integers; "ramvid" crops too, pixel by pixel as RaMViD's official loader
                does (see `fit_as_ramvid`): uint8, gray or RGB alone.
            resize: Pillow's filter by name.

        Returns:
            The same object where nothing has to change.

        Raises:
            InputError: the channels can't be converted, "pad" meets larger frames, or "ramvid"
                meets frames of another kind.
        """
        name = self.source or "the video"
        size = (height, width)
        if how == "ramvid":
            frames = fit_as_ramvid(
                self.frames, height=height, width=width, channels=channels, name=name
            )
        elif self.frames.shape[1:] == (height, width, channels):
            return self
        else:
            frames = fitted(with_channels(self.frames, channels, name), size, how, resize, name)
        if frames is self.frames:
            return self
        stored = self.stored
        if stored is None and frames.dtype.kind == "f" and self.frames.dtype.kind != "f":
            stored = Stored(self.frames.dtype.name, math.nan)
        maps = self._maps_fitted(size, how, resize)
        return replace(self, frames=frames, conditions=maps, stored=stored)

    def _maps_fitted(
        self, size: tuple[int, int], how: How, resize: Filter
    ) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Return the conditions with those that are maps converted as the frames are."""
        converted = {}
        for name, values in self.conditions.items():
            maps = values[None] if values.ndim == 3 else values
            if values.ndim > 2:
                # RaMViD's way is for pictures; of its kind is the crop to the middle.
                way: How = "crop" if how == "ramvid" else how
                maps = fitted(maps.astype(np.float32), size, way, resize, name)
            converted[name] = maps[0] if values.ndim == 3 else maps
        return converted


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
        """The frames to take from a source that has `total`; InputError if they are too few."""
        available = range(self.start, total, self.every)
        if not total:
            raise InputError(f"{source} holds no frames: give another file")
        if not available:
            raise InputError(f"{source} has {total} frames: start={self.start} is past its end")
        if self.frames is not None and self.frames > len(available):
            raise InputError(
                f"{source} has {total} frames, too few for frames={self.frames} (--take) with "
                f"start={self.start} and every={self.every}: ask for at most {len(available)}"
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
                f"read a part with frames= (--take), start= or every="
            )


def as_frames(array: Shaped[np.ndarray, "..."], name: str) -> Shaped[np.ndarray, "f h w c"]:
    """Check that an array can be a video; gray frames [f h w] get their channel axis.

    Args:
        array: [f h w c] or [f h w]; the masked values of a masked array become NaN.
        name: What to call the array in a message.

    Raises:
        InputError: other axes, an axis of length 0, or values of another dtype.
    """
    _refuse_unusable(array, name)
    if isinstance(array, np.ma.MaskedArray) and array.mask.any():
        if array.dtype.kind != "f":
            raise InputError(
                f"{name} masks values of dtype {array.dtype}, which has no NaN for missing data: "
                f"convert it to float32"
            )
        array = array.filled(np.nan)
    native = np.asarray(array).astype(array.dtype.newbyteorder("="), copy=False)
    return native if native.ndim == 4 else native[..., None]


def check_member(archive: zipfile.ZipFile, member: str, part: Part, path: Path) -> None:
    """Refuse an array of an archive that is larger than a part may be."""
    # Neither the bytes that are unpacked nor the array that the header declares may be too large.
    size = archive.getinfo(member).file_size
    if size <= part.limit_bytes + 2**16:
        with archive.open(member) as file:
            first = read_magic(file) == (1, 0)
            shape, _, dtype = (read_array_header_1_0 if first else read_array_header_2_0)(file)
        size = max(size, math.prod(shape) * dtype.itemsize)
    if size > part.limit_bytes + 2**16:
        raise InputError(
            f"{path} unpacks to {size / 2**20:.1f} MiB, above the limit of "
            f"{part.limit_bytes / 2**20:.1f} MiB: save it as .npy, which is read in parts"
        )


def _refuse_unusable(array: Shaped[np.ndarray, "..."], name: str) -> None:
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


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    # NumPy advises to load such files without care.
    return "it holds no plain numbers" if "pickle" in line else line
