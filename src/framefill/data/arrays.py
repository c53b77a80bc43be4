"""NumPy files as videos: one array that is mapped into memory (.npy), or an archive (.npz)."""

import math
import tokenize
import zipfile
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Shaped
from numpy.lib.format import (
    open_memmap,
    read_array,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
)

from framefill.data import handles
from framefill.data.axes import DAMAGED, LazyArray, axes_of, footage_of, plane_of
from framefill.data.footage import Footage, Layout
from framefill.data.named import Entry, chosen, footage
from framefill.data.video import first_line
from framefill.errors import InputError

LARGEST = 2**31  # bytes of an array in an archive, which is loaded whole
SUFFIX = ".npy"  # of the arrays in an archive
FRAMES, RATE, TIMES = "frames", "fps", "times"


class _Header(NamedTuple):
    """What the beginning of an array file says.

    Args:
        shape: Length of each axis.
        dtype: Of its values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def of(cls, file: BufferedIOBase) -> "_Header":
        first = read_magic(file) == (1, 0)
        shape, _, dtype = (read_array_header_1_0 if first else read_array_header_2_0)(file)
        return cls(shape, dtype)


@dataclass(frozen=True)
class NpySource:
    """Maps an array file into memory where it is called; see `framefill.data.axes.Source`."""

    path: Path

    def __call__(self) -> LazyArray:
        """Return the array."""
        return handles.opened(_mapped, self.path)


@dataclass(frozen=True)
class NpzSource:
    """Loads an array of an archive where it is called; see `framefill.data.axes.Source`."""

    path: Path
    name: str

    def __call__(self) -> LazyArray:
        """Return the array."""
        return handles.opened(_Loader(self.name), self.path)


@dataclass(frozen=True)
class _Loader:
    """Loads one array of an archive; those of equal names are one opener for `handles`."""

    name: str

    def __call__(self, path: Path) -> Shaped[np.ndarray, "..."]:
        with zipfile.ZipFile(path) as archive:
            if refused := _member(archive, self.name)[1]:
                raise InputError(f"{path}: {self.name} {refused}")
            with archive.open(self.name + SUFFIX) as file:
                return np.asarray(read_array(file, allow_pickle=False))


def open_array(path: Path, layout: Layout) -> list[Footage]:
    """Return the videos of a NumPy file, [f h w c] or [f h w] if the layout says nothing else.

    Of an .npy file nothing is loaded. An .npz archive holds one array, or one named "frames", or
    those that the layout names; frames per second in "fps", time stamps in "times" (seconds, or
    datetime64) and conditions may be beside it. Its arrays are loaded whole where frames are asked
    for, up to 2 GiB each.

    Args:
        path: The file.
        layout: Which arrays hold the frames, their axes, and what goes along with them.

    Raises:
        InputError: the file can't be read or isn't a video, or an array is too large.
    """
    try:
        return _open_npz(path, layout) if path.suffix.lower() == ".npz" else _open_npy(path, layout)
    except InputError:
        raise
    except (*DAMAGED, tokenize.TokenError) as error:
        raise InputError(f"{path} can't be read as an array ({first_line(error)})") from error


def _mapped(path: Path) -> Shaped[np.ndarray, "..."]:
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            raise InputError(f"{path} is an archive of arrays: name it .npz")
        file.seek(0)
        header = _Header.of(file)
        size = file.tell() + header.size
    if size > path.stat().st_size:
        raise InputError(f"{path} has {path.stat().st_size} of its {size} bytes: get all of it")
    return open_memmap(path, mode="r")


def _open_npy(path: Path, layout: Layout) -> list[Footage]:
    # Conditions may be in a file beside it, which is looked for later.
    if layout.variables:
        raise InputError(
            f"{path} has no array {layout.variables[0]!r}: it holds one, which has no name"
        )
    source = NpySource(path)
    array = source()
    axes = axes_of(array.shape, (), layout.axes, str(path))
    plane, stored = plane_of(array.dtype, axes, layout.missing, str(path))
    videos = footage_of(source, path=path, name=str(path), shape=array.shape, plane=plane)
    return [replace(each, stored=stored) for each in videos]


def _open_npz(path: Path, layout: Layout) -> list[Footage]:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(SUFFIX)]
        names = [name.removesuffix(SUFFIX) for name in members]
        entries = [_entry(archive, name, path) for name in dict.fromkeys(names)]
    if not layout.variables and FRAMES in names:
        layout = replace(layout, variables=(FRAMES,))
    videos = footage(chosen(entries, layout, path), entries, layout, path)
    rate = _rate(path) if RATE in names else None
    times = _times(path, videos[0].length) if TIMES in names else None
    return [replace(each, fps=rate, times=times) for each in videos]


def _entry(archive: zipfile.ZipFile, name: str, path: Path) -> Entry:
    header, refused = _member(archive, name)
    return Entry(
        name=name,
        shape=header.shape,
        dtype=header.dtype,
        names=(),
        attributes={},
        source=NpzSource(path, name),
        refused=refused,
    )


def _member(archive: zipfile.ZipFile, name: str) -> tuple[_Header, str]:
    """Return what an array of an archive is, without loading it, and why it can't be, or "".

    Neither the bytes that are unpacked nor the array that its header declares may be too large.
    """
    header = _Header((), np.dtype("V1"))
    size = archive.getinfo(name + SUFFIX).file_size
    if size <= LARGEST + 2**16:
        with archive.open(name + SUFFIX) as file:
            header = _Header.of(cast(BufferedIOBase, file))
        size = max(size, header.size)
    if size <= LARGEST + 2**16:
        return header, ""
    return header, (
        f"unpacks to {size / 2**30:.1f} GiB, above the limit of {LARGEST / 2**30:.1f} GiB: save it "
        "as .npy, which is read in parts"
    )


def _rate(path: Path) -> float:
    found = np.asarray(NpzSource(path, RATE)())
    rate = float(found.item()) if found.size == 1 and found.dtype.kind in "uif" else math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"{path}: {RATE} is {str(found)[:40]}: give one number above 0")
    return rate


def _times(path: Path, length: int) -> Shaped[np.ndarray, " f"]:
    times = np.asarray(NpzSource(path, TIMES)())
    if times.shape != (length,) or times.dtype.kind not in "uifmM":
        raise InputError(
            f"{path}: {TIMES} has shape {times.shape} and dtype {times.dtype}: give one number or "
            f"date for each of the {length} frames"
        )
    if times.dtype.kind == "m":
        return times / np.timedelta64(1, "ns") / 1e9
    if times.dtype.kind != "M":
        return times.astype(np.float64)
    exact = times.astype("datetime64[ns]")
    if ((exact.astype(times.dtype) != times) & ~np.isnat(times)).any():
        raise InputError(f"{path}: {TIMES} lie outside of the years 1678 to 2262: give seconds")
    return exact
