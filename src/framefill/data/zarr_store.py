"""Zarr folders of strangers: no file outside is read, and no codec that could run code.

This module needs zarr, and is imported where a folder is opened.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from math import prod
from pathlib import Path
from stat import S_ISREG
from typing import Any

import zarr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from framefill.data.named import LARGEST_CHUNK
from framefill.errors import InputError

CODECS = {  # that only compute; "pickle", of all things, is a codec too
    *("bytes", "transpose", "blosc", "gzip", "zlib", "zstd", "bz2", "lzma", "lz4", "crc32"),
    *("crc32c", "adler32", "fletcher32", "jenkins_lookup3", "sharding_indexed", "shuffle"),
    *("delta", "bitround", "fixedscaleoffset", "quantize", "packbits", "vlen-utf8"),
}
LARGEST_METADATA = 2**26  # bytes
METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


class ContainedStore(Store):
    """A folder to read, of which every file lies within it, links included."""

    def __init__(self, root: Path) -> None:
        super().__init__(read_only=True)
        self.root = Path(os.path.realpath(root))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContainedStore) and self.root == other.root

    def path(self, key: str) -> Path:
        """Return the place of a key.

        Raises:
            InputError: it isn't in the folder.
        """
        place = Path(os.path.realpath(self.root / key))
        if not place.is_relative_to(self.root):
            raise InputError(
                f"{self.root}: {key} leads out of the folder, to {place}: links there aren't "
                "followed, so copy what they point to"
            )
        return place

    def read(self, key: str, request: ByteRequest | None) -> bytes | None:
        """Return the bytes of a key, or some of them; None where there are none."""
        place = self.path(key)
        try:
            with open(place, "rb", opener=_without_waiting) as file:
                stat = os.fstat(file.fileno())
                if not S_ISREG(stat.st_mode):
                    return None
                start, stop = _extent(request, stat.st_size)
                most = LARGEST_METADATA if place.name in METADATA else LARGEST_CHUNK + 2**20
                if stop - start > most:
                    raise InputError(f"{place} has {stop - start} bytes, more than {most}: mend it")
                file.seek(start)
                return file.read(stop - start)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key for zarr."""
        data = self.read(key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return the bytes of several keys for zarr."""
        return [await self.get(key, prototype, request) for key, request in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there are bytes of a key."""
        return self.path(key).is_file()

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        self._check_writable()

    @property
    def supports_writes(self) -> bool:
        """It can only be read."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """It can only be read."""
        return False

    @property
    def supports_listing(self) -> bool:
        """It knows what it holds."""
        return True

    @property
    def supports_consolidated_metadata(self) -> bool:
        """The metadata of each array is believed, not a copy of it."""
        return False

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield all keys that begin so."""
        for folder, _, names in os.walk(self.path(prefix)):  # which follows no links
            for name in names:
                yield (Path(folder) / name).relative_to(self.root).as_posix()

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield what is in a folder."""
        place = self.path(prefix)
        if place.is_dir():
            for each in sorted(place.iterdir()):
                yield each.name


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for ever


def _extent(request: ByteRequest | None, size: int) -> tuple[int, int]:
    match request:
        case RangeByteRequest(start, end):
            return min(start, size), min(end, size)
        case OffsetByteRequest(offset):
            return min(offset, size), size
        case SuffixByteRequest(suffix):
            return max(size - suffix, 0), size
    return 0, size


def opened_store(path: Path) -> "zarr.Group | zarr.Array[Any]":
    """Open a folder as the group or the array that it is."""
    store = ContainedStore(path)
    try:
        return zarr.open_group(store, mode="r", use_consolidated=False)
    except (zarr.errors.BaseZarrError, FileNotFoundError):
        return zarr.open_array(store, mode="r")


def members(group: "zarr.Group") -> "dict[str, zarr.Group | zarr.Array[Any]]":
    """Return the groups and arrays of a group.

    One after another: where zarr reads them at once and several are damaged, it prints about those
    whose errors nobody waits for.
    """
    store = group.store
    if not isinstance(store, ContainedStore):
        raise TypeError(f"a group of {store} isn't known to be contained")
    found: dict[str, zarr.Group | zarr.Array[Any]] = {}
    for each in sorted(store.path(group.path).iterdir()):
        if each.is_dir():
            with contextlib.suppress(KeyError):  # some other folder
                found[each.name] = group[each.name]
    return found


def trouble(array: "zarr.Array[Any]") -> str:
    """Return why the values of an array can't be read, else ""."""
    strange = sorted(_codecs(array.metadata.to_dict()) - CODECS)
    if strange:
        return f"is stored by the codec {strange[0]!r}, which framefill doesn't run: store it anew"
    size = prod(array.chunks) * array.dtype.itemsize
    if size > LARGEST_CHUNK:
        return (
            f"has chunks of {size / 2**30:.1f} GiB, which have to be loaded whole: store it anew "
            "with smaller ones"
        )
    return ""


def _codecs(metadata: Any) -> set[str]:
    """Return the names of codecs in the metadata of an array, also of those within others."""
    if isinstance(metadata, (list, tuple)):
        return set().union(*(_named(each) for each in metadata))
    found: set[str] = set()
    for key in ("codecs", "index_codecs", "filters", "compressor"):
        value = metadata.get(key) if isinstance(metadata, dict) else None
        found |= _named(value) if isinstance(value, dict) else _codecs(value or [])
    return found


def _named(codec: Any) -> set[str]:
    if not isinstance(codec, dict):
        return {str(codec)}
    name = str(codec.get("id", codec.get("name", "")))
    return {name.removeprefix("numcodecs.")} | _codecs(codec.get("configuration") or {})
