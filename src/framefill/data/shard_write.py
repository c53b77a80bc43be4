"""Videos into tar files in WebDataset's layout, which `webdataset` and `open_shard` read."""

import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy.lib.format import write_array

from framefill.data.tar_members import BLOCK
from framefill.data.video import Video
from framefill.errors import InputError
from framefill.files import atomic_folder

LIMIT_BYTES = 2**30
KEY = re.compile(r"[^./\s]+(/[^./\s]+)*")
ENDING = 2 * BLOCK  # two empty blocks behind the last member
MOST_SHARDS = 10**6  # of six digits


class Entry(NamedTuple):
    """What becomes a sample.

    Args:
        key: Its name: no dots, which part the key from the rest, and no white space.
        video: Its frames, conditions and frame rate are kept.
        label: Name or number of its class.
    """

    key: str
    video: Video
    label: str | None = None


def write_shards(
    folder: Path,
    entries: Iterable[Entry],
    *,
    limit_bytes: int = LIMIT_BYTES,
    overwrite: bool = False,
) -> list[Path]:
    """Write videos as framefill-000000.tar, framefill-000001.tar, ...

    The frames become KEY.npy, in their dtype, and a condition KEY.NAME.npy; a class KEY.cls if it
    is a whole number, else KEY.txt; a frame rate KEY.json, {"fps": ...}.

    Args:
        folder: A new folder, which appears when all is written.
        entries: One after another, so that they need not all be in memory.
        limit_bytes: The largest size of a file.
        overwrite: Take the place of a folder.

    Returns:
        The files, in order.

    Raises:
        InputError: a key can't be used or is there twice, one sample alone passes the limit, there
            are no samples, or the folder can't be written.
    """
    keys: set[str] = set()
    with atomic_folder(folder, overwrite=overwrite) as draft, ExitStack() as stack:
        names: list[str] = []
        archive: tarfile.TarFile | None = None
        for entry in entries:
            if not KEY.fullmatch(entry.key) or entry.key in keys:
                raise InputError(
                    f"sample {entry.key!r} has a name with dots or white space, or that of "
                    "another: choose another"
                )
            keys.add(entry.key)
            members = [(_info(name, data), data) for name, data in _members(entry)]
            if len({info.name.lower() for info, _ in members}) < len(members):
                raise InputError(f"conditions of sample {entry.key!r} differ in case alone: rename")
            needed = sum(_size(info, data) for info, data in members)
            if _padded(needed) > limit_bytes:
                raise InputError(
                    f"sample {entry.key!r} takes {_padded(needed):,} bytes, above the limit of "
                    f"{limit_bytes:,} for a file: raise it"
                )
            if archive is None or _padded(archive.offset + needed) > limit_bytes:
                if len(names) == MOST_SHARDS:
                    raise InputError(f"{folder} would hold more than {MOST_SHARDS:,} files")
                stack.close()
                names.append(f"framefill-{len(names):06}.tar")
                archive = stack.enter_context(tarfile.open(draft / names[-1], "w"))
            for info, data in members:
                archive.addfile(info, BytesIO(data))
        if not names:
            raise InputError(f"{folder} would hold no samples: give some")
    return [folder / name for name in names]


def _members(entry: Entry) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of a sample's files."""
    yield f"{entry.key}.npy", _npy(entry.video.frames)
    for name, values in entry.video.conditions.items():
        if not re.fullmatch(r"[^/\s]+", name):
            raise InputError(f"condition {name!r} of sample {entry.key!r} has a / or white space")
        yield f"{entry.key}.{name}.npy", _npy(values)
    if entry.label is not None:
        if not entry.label.isprintable() or entry.label.strip() != entry.label or not entry.label:
            raise InputError(f"sample {entry.key!r} has the class {entry.label!r}: use plain text")
        kind = "cls" if re.fullmatch(r"[0-9]{1,18}", entry.label) else "txt"
        yield f"{entry.key}.{kind}", entry.label.encode()
    if entry.video.fps is not None:
        yield f"{entry.key}.json", json.dumps({"fps": entry.video.fps}).encode()


def _npy(array: Shaped[np.ndarray, "..."]) -> bytes:
    file = BytesIO()
    write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def _info(name: str, data: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info


def _size(info: tarfile.TarInfo, data: bytes) -> int:
    # Long names and others than ASCII take several blocks of header.
    return len(info.tobuf()) + -(-len(data) // BLOCK) * BLOCK


def _padded(size: int) -> int:
    """Return the size of a tar file with members of a size."""
    return -(-(size + ENDING) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
