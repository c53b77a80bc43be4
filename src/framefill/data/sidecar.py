"""Conditions beside a video: clip.conditions.npz goes with clip.mp4, whatever its format."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from framefill.data.footage import Footage, InMemory, Layout, Same, Track, TrackKind
from framefill.data.formats import SUFFIXES, suffix_of
from framefill.data.video import BROKEN, Part, check_member, first_line
from framefill.errors import InputError

SIDECAR = ".conditions.npz"
LIMIT_BYTES = 2**31


def with_sidecar(footage: Footage, layout: Layout) -> Footage:
    """Return footage with the conditions that its format didn't give, from the file beside it.

    The arrays of the file have the conditions' names: [f] or [f k] vectors, [f h w] or [f h w k]
    maps of the frames' size, [h w], [h w k] or [1 h w k] static maps.

    Raises:
        InputError: a condition of the layout is nowhere, or its array doesn't fit the frames.
    """
    wanted = [name for name in layout.conditions if name not in footage.tracks]
    if not wanted:
        return footage
    path = sidecar_of(footage.path)
    if not path.is_file():
        raise InputError(
            f"{footage.name} has no {wanted[0]!r} and there is no {path.name} beside it: write the "
            "conditions there (numpy.savez), or leave them out of --data.conditions"
        )
    arrays = load_arrays(path, wanted)
    tracks = {name: track_of(array, footage, name) for name, array in arrays.items()}
    return replace(footage, tracks={**footage.tracks, **tracks})


def inside(path: Path, layout: Layout) -> Layout:
    """Return a layout without the conditions that the file beside a video has."""
    if not layout.conditions or not (beside := sidecar_of(path)).is_file():
        return layout
    try:
        with zipfile.ZipFile(beside) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
    except BROKEN as error:
        raise InputError(f"{beside} can't be read as arrays ({first_line(error)})") from error
    wanted = tuple(name for name in layout.conditions if name not in there)
    return replace(layout, conditions=wanted)


def sidecar_of(path: Path) -> Path:
    """Return the file beside a video that holds its conditions, whether there is one or not."""
    path = path if path.name else path.resolve()
    suffix = suffix_of(path)
    known = suffix in SUFFIXES
    return path.with_name((path.name[: -len(suffix)] if known else path.name) + SIDECAR)


def track_of(array: Shaped[np.ndarray, "..."], footage: Footage, name: str) -> Track:
    """Return an array in memory as a condition of footage.

    Raises:
        InputError: it has neither the frames' number nor their size.
    """
    length, size = footage.length, footage.shape[:2]
    if array.dtype.kind not in "fiub":
        raise InputError(f"condition {name!r} of {footage.name} holds {array.dtype}, not numbers")
    values = array.astype(np.float32)
    kind: TrackKind
    if values.ndim == 2 and values.shape == size and len(values) == length:
        raise InputError(
            f"condition {name!r} of shape {array.shape} may be a vector for each of the {length} "
            f"frames of {footage.name} or one map for all: give [1 h w k] for a map, or [f 1 k]"
        )
    if values.ndim == 3 and values.shape[:2] == (length, 1):
        values = values[:, 0]
    if values.ndim == 3 and values.shape[:2] == size and values.shape != (length, *size):
        return Track("static", values.shape[2], Same(values))
    if values.ndim in (1, 2) and len(values) == length and values.shape != size:
        kind, values = "vector", values.reshape(length, -1)
        return Track(kind, values.shape[1], InMemory(values))
    if values.ndim == 2 and values.shape == size:
        return Track("static", 1, Same(values[..., None]))
    if values.ndim == 4 and len(values) == 1 and values.shape[1:3] == size:
        return Track("static", values.shape[3], Same(values[0]))
    if values.ndim in (3, 4) and values.shape[:3] == (length, *size):
        values = values.reshape(length, *size, -1)
        return Track("map", values.shape[3], InMemory(values))
    raise InputError(
        f"condition {name!r} has shape {array.shape} beside {footage.name} of {length} frames of "
        f"{size[0]}x{size[1]}: give [f k] vectors, [f h w k] maps, or a static map [h w]"
    )


def load_arrays(
    path: Path, names: Sequence[str] | None = None
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Return arrays of an .npz file by name.

    Args:
        path: The file.
        names: Of the arrays; None: all.

    Raises:
        InputError: it can't be read, lacks a name, or is too large.
    """
    part = Part(start=0, frames=None, every=1, limit_bytes=LIMIT_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            there = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
            wanted = there if names is None else names
            for name in wanted:
                if name not in there:
                    raise InputError(f"{path} has no {name!r}; it has {', '.join(there[:20])}")
                check_member(archive, f"{name}.npy", part, path)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in wanted}
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{path} can't be read as arrays ({first_line(error)})") from error
