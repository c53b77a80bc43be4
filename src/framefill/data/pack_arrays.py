"""The array files of a packed store, read where they are mapped into memory, and written."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy.lib.format import dtype_to_descr, open_memmap, write_array_header_1_0

from framefill.data.handles import opened
from framefill.data.pack_index import AGAIN, Run
from framefill.data.video import BROKEN, first_line
from framefill.errors import InputError

FILE = re.compile(r"[a-z]{1,20}-[0-9]{4,6}\.npy")
HEADER_BYTES, LONGEST_HEADER = 128, 2**12  # of ours, and at most


@dataclass(frozen=True)
class RunReader:
    """Reads entries of a run; see `framefill.data.footage.Reader`.

    Args:
        path: The array file.
        run: Which of its entries.
        shape: Of an entry.
        dtype: Name of the dtype that is returned.
    """

    path: Path
    run: Run
    shape: tuple[int, ...]
    dtype: str

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Load the entries at some places.

        Raises:
            InputError: the file is gone, or another one.
        """
        array = mapped(self.path)
        if array.shape[1:] != self.shape or len(array) < self.run.stop:
            raise InputError(f"{self.path} has changed since it was opened: open it again")
        start = self.run.start
        if isinstance(places, range):
            return array[places.start + start : places.stop + start : places.step].astype(
                self.dtype
            )
        # Which is a copy already: nothing that is returned is the file itself.
        return array[np.asarray(places, np.int64) + start].astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Lone:
    """Reads the one entry of a run, whichever places are asked for."""

    reader: RunReader

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Load it."""
        return self.reader([0])[0]


def mapped(path: Path) -> Shaped[np.ndarray, "..."]:
    """Return an array file, mapped into memory.

    Raises:
        InputError: it is gone, holds no plain numbers, or is cut off.
    """
    try:
        return opened(_map, path)
    except BROKEN as error:
        raise InputError(f"{path} can't be read as an array ({first_line(error)})") from error


def _map(path: Path) -> Shaped[np.ndarray, "..."]:
    # As a plain array: each access to one of the class memmap costs twice as much.
    return np.asarray(open_memmap(path, mode="r"))


class _Header(NamedTuple):
    length: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class ArrayFiles:
    """The array files of a store, of which every entry is to be used once, in order.

    So nothing that an index says can ask for more memory than the files are large.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.headers: dict[str, _Header] = {}
        self.paths: dict[str, Path] = {}  # one object for all runs of a file
        self.used: dict[str, int] = {}

    def reader(self, run: Run, dtype: str | None, name: str) -> RunReader:
        """Return a reader of the next entries of a file.

        Args:
            run: Which those are.
            dtype: Of what is read; None: as it is in the file.
            name: What they are of, for messages.

        Raises:
            InputError: there is no such file, it has other entries, or values that don't all fit
                into the dtype.
        """
        if run.file not in self.headers:
            self.headers[run.file] = self._checked(run.file)
            self.paths[run.file] = self.folder / run.file
        header, used = self.headers[run.file], self.used.get(run.file, 0)
        path = self.paths[run.file]
        if run.start != used or not 0 <= run.length <= header.length - used:
            raise InputError(
                f"{path} has {header.length} entries, {used} of them of other videos: {run.length} "
                f"from {run.start} on can't be those of {name}: {AGAIN}"
            )
        if dtype is not None and not np.can_cast(header.dtype, dtype):
            raise InputError(f"{path} holds {header.dtype} and {name} is {dtype}: {AGAIN}")
        self.used[run.file] = run.stop
        return RunReader(path, run, header.shape, dtype or header.dtype.name)

    def check_used_up(self) -> None:
        """Refuse a file with entries that are of no video."""
        for name, header in self.headers.items():
            if self.used[name] < header.length:
                raise InputError(
                    f"{self.folder / name} has {header.length} entries and the index "
                    f"{self.used[name]}: {AGAIN}"
                )

    def _checked(self, name: str) -> _Header:
        path = self.folder / name
        if not FILE.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise InputError(f"{self.folder} has no array file {name[:40]!r}: copy it as a whole")
        array = mapped(path)
        spare = path.stat().st_size - array.nbytes
        if not array.ndim or 0 in array.shape[1:] or not 0 < spare <= LONGEST_HEADER:
            raise InputError(f"{path} has {spare} bytes beside shape {array.shape}: {AGAIN}")
        if not array.flags.c_contiguous or not array.dtype.isnative:
            raise InputError(f"{path} has its values in another order: {AGAIN}")
        return _Header(len(array), array.shape[1:], array.dtype)


class Shelves:
    """Array files that are being written: entries of a kind, shape and dtype stand in a row.

    Args:
        file_bytes: Size from which on a file is full; a run is never split.
    """

    def __init__(self, file_bytes: int) -> None:
        self.file_bytes = file_bytes
        self.headers: dict[str, _Header] = {}
        self.last: dict[tuple[str, tuple[int, ...], str], str] = {}

    def place(
        self, kind: str, length: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]
    ) -> Run:
        """Return where the next entries of a kind, shape and dtype go; kinds are small letters."""
        key, bytes_each = (kind, shape, dtype.name), math.prod(shape) * dtype.itemsize
        name = self.last.get(key, "")
        if not name or (self.headers[name].length + length) * bytes_each > self.file_bytes:
            number = sum(other.startswith(f"{kind}-") for other in self.headers)
            name = f"{kind}-{number:04}.npy"
            self.last[key], self.headers[name] = name, _Header(0, shape, dtype)
        start = self.headers[name].length
        self.headers[name] = self.headers[name]._replace(length=start + length)
        return Run(file=name, start=start, length=length)

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(
            HEADER_BYTES + each.length * math.prod(each.shape) * each.dtype.itemsize
            for each in self.headers.values()
        )

    def start(self, folder: Path) -> None:
        """Write the files as they are before their entries."""
        for name, (length, shape, dtype) in self.headers.items():
            with (folder / name).open("wb") as file:
                descr = dtype_to_descr(dtype)
                header = {"descr": descr, "fortran_order": False, "shape": (length, *shape)}
                write_array_header_1_0(file, header)

    def add(self, folder: Path, run: Run, values: Shaped[np.ndarray, "..."], name: str) -> None:
        """Write the next entries of a run behind all that are in its file.

        Raises:
            InputError: they are others than were announced; `name` is what they are of.
        """
        _, shape, dtype = self.headers[run.file]
        if (values.shape[1:], values.dtype) != (shape, dtype):
            raise InputError(
                f"{name} gave {values.shape[1:]} and {values.dtype}, and {shape} and {dtype} "
                "before: has the file changed?"
            )
        with (folder / run.file).open("ab") as file:
            file.write(values.reshape(-1).view(np.uint8).data)  # without a copy of it all
