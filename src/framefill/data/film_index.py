"""What is known of a film without decoding it: what an earlier pass found, and a lost end."""

import contextlib
import hashlib
import os
import platform
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.format import VideoFormat
from jaxtyping import Float64, Int64, Shaped, UInt32

from framefill.data.pictures import ANY_FRAME, Kind
from framefill.data.video import DTYPES
from framefill.errors import InputError
from framefill.files import replacing

VERSION = 1  # of the files and of what is found out
CACHE = "FRAMEFILL_CACHE"
NO_CACHE = "off"
NO_STAMP = -(2**63)  # what FFmpeg has for a missing time stamp
PALETTE = 1024  # bytes: 256 colors
LARGEST = 2**28  # bytes of an index, that of some hundred hours


@dataclass(frozen=True, eq=False)
class FilmIndex:
    """The frames of a film in the order of display, as they came out of its decoder.

    Attributes:
        kind: Size, channels and dtype of all frames.
        rate: Frames per second on average; None if unknown.
        tick: Seconds for one unit of the time stamps.
        stamps: Time stamp of each frame, or `NO_STAMP`; in some files not ascending, not unique.
        keys: Ascending numbers of the frames from which decoding can start, most likely.
        sums: CRC-32 of the decoded planes of each frame.
    """

    kind: Kind
    rate: Fraction | None
    tick: Fraction
    stamps: Int64[np.ndarray, " f"]
    keys: Int64[np.ndarray, " k"]
    sums: UInt32[np.ndarray, " f"]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.stamps)

    @property
    def ascending(self) -> bool:
        """Whether each frame has a time stamp above that of the frame before."""
        return bool(self.stamps[0] != NO_STAMP and (self.stamps[1:] > self.stamps[:-1]).all())

    @property
    def times(self) -> Float64[np.ndarray, " f"] | None:
        """Seconds from anywhere at which frames are shown; None if the stamps don't ascend."""
        if not (self.tick and self.ascending):
            return None
        return self.stamps * (self.tick.numerator / self.tick.denominator)

    def entry(self, place: int) -> int:
        """Return the last keyframe that can be sought at or before a frame, or frame 0."""
        number = int(np.searchsorted(self.keys, place, side="right"))
        key = int(self.keys[number - 1]) if number else 0
        return key if self.stamps[key] != NO_STAMP else 0


def stamp_of(path: Path) -> tuple[int, int]:
    """Return the size of a file and when it was changed."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def checksum(frame: av.VideoFrame) -> int:
    """Return the CRC-32 of a frame's planes, without the bytes that fill up their rows."""
    total = 0
    for number, plane in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        total = zlib.crc32(rows[:, : _row_bytes(frame.format, number)].tobytes(), total)
    return total


def cut_off(path: Path) -> str:
    """What shows that the end of a Matroska, AVI or GIF file is missing; FFmpeg doesn't tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(0, size - 64))
        tail = file.read().rstrip(b"\0")
    declared = 0
    if head[:4] == b"RIFF":
        declared = 8 + int.from_bytes(head[4:8], "little")
    elif head[:4] == b"\x1a\x45\xdf\xa3" and (at := head.find(b"\x18\x53\x80\x67", 0, 4000)) > 0:
        length = 9 - head[at + 4].bit_length()  # leading zeros tell how long the number is
        value = int.from_bytes(head[at + 4 : at + 4 + length], "big") - (1 << 7 * length)
        if value != (1 << 7 * length) - 1:  # a live recording, of unknown length
            declared = at + 4 + length + value
    elif head[:3] == b"GIF" and not tail.endswith(b";"):
        return "the end of the file is missing"
    return f"the file has {size} of its {declared} bytes" if declared > size else ""


def remembered(path: Path, find: Callable[[Path], FilmIndex]) -> FilmIndex:
    r"""Return the index of a film: the one that was kept, or a new one, which is kept from now on.

    They are kept until the film changes in the folder that the environment variable FRAMEFILL_CACHE
    names, or else in the usual one ($XDG_CACHE_HOME/framefill or ~/.cache/framefill;
    ~/Library/Caches/framefill; %LOCALAPPDATA%\framefill); it may be deleted at any time. With
    FRAMEFILL_CACHE=off nothing is kept; a folder that can't be written to is passed over, and so
    are files in it that are damaged.

    Args:
        path: The film.
        find: Makes an index by decoding the film.

    Raises:
        InputError: from `find`.
    """
    folder = _folder()
    if folder is None:
        return find(path)
    label = _label(path)
    place = folder / f"{hashlib.sha256(label.encode()).hexdigest()[:40]}.npz"
    known = _load(place, label)
    if known is not None:
        return known
    found = find(path)
    _save(place, label, found)
    return found


def _load(place: Path, label: str) -> FilmIndex | None:
    try:
        with zipfile.ZipFile(place) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                return None
        with np.load(place, allow_pickle=False) as arrays:
            return _index_from({name: arrays[name] for name in arrays.files}, label)
    except Exception:  # whatever is wrong with it: the film itself can be decoded again
        return None


def _save(place: Path, label: str, index: FilmIndex) -> None:
    rate = index.rate or Fraction(0)
    with contextlib.suppress(InputError, OSError), replacing(place, overwrite=True) as draft:
        np.savez_compressed(
            draft,
            film=np.array(label),
            shape=np.array(index.kind.shape),
            dtype=np.array(index.kind.dtype),
            rate=np.array([rate.numerator, rate.denominator]),
            tick=np.array([index.tick.numerator, index.tick.denominator]),
            stamps=index.stamps,
            keys=index.keys,
            sums=index.sums,
        )


def _index_from(arrays: dict[str, Shaped[np.ndarray, "..."]], label: str) -> FilmIndex:
    """Make an index of what a file holds; raises something if that is no index."""
    if str(arrays["film"]) != label:
        raise ValueError("of another film")
    height, width, channels = (int(number) for number in arrays["shape"])
    kind = Kind((height, width, channels), str(arrays["dtype"]))
    rate, tick = (Fraction(*map(int, arrays[name])) for name in ("rate", "tick"))
    stamps, keys, sums = arrays["stamps"], arrays["keys"], arrays["sums"]
    if kind.dtype not in DTYPES or min(kind.shape) < 1 or min(rate, tick) < 0:
        raise ValueError("no film")
    ANY_FRAME.check_bytes(1, kind.shape, np.dtype(kind.dtype).itemsize, label)
    types = [(array.ndim, array.dtype.name) for array in (stamps, keys, sums)]
    if types != [(1, "int64"), (1, "int64"), (1, "uint32")] or not len(stamps) == len(sums) > 0:
        raise ValueError("no frames")
    if len(keys) and (keys.min() < 0 or keys.max() >= len(stamps)):
        raise ValueError("no keyframes")
    return FilmIndex(kind, rate or None, tick, stamps, keys, sums)


def _label(path: Path) -> str:
    """Return a text that changes with the film, and with the decoders, which may round otherwise.

    Raises:
        OSError: there is no such file.
    """
    size, changed = stamp_of(path)
    name = os.fsencode(path.absolute()).hex()  # names may hold bytes that are no text
    return f"{VERSION} {av.library_versions} {platform.machine()} {size} {changed} {name}"


def _folder() -> Path | None:
    """Return the folder for indices; None if none are to be kept."""
    if given := os.environ.get(CACHE):
        return None if given == NO_CACHE else Path(given)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "framefill"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "framefill"
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The standard has relative ones ignored.
    return (Path(given) if Path(given).is_absolute() else home / ".cache") / "framefill"


def _row_bytes(kind: VideoFormat, plane: int) -> int:
    if kind.has_palette and plane:
        return PALETTE
    if not kind.is_planar:
        return -(-kind.width * kind.padded_bits_per_pixel // 8)
    here = (component for component in kind.components if component.plane == plane)
    return sum(component.width * -(-component.bits // 8) for component in here)
