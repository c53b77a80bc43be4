"""NetCDF files and Zarr folders as videos, through xarray."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import DAMAGED, letter_of
from framefill.data.footage import Footage, Layout
from framefill.data.grid_files import GridArray, GridFile, GridSource, grid_file
from framefill.data.named import Chosen, Entry, chosen, footage, labels, text
from framefill.data.saved import (
    KEPT,
    LONGEST,
    MOST_LABELS,
    Saved,
    SavedArray,
    SavedTimes,
    saved_times,
)
from framefill.data.video import Header, first_line
from framefill.errors import InputError

REFERRING = ("coordinates", "bounds", "climatology", "grid_mapping")  # attributes (CF, chapter 5)


def open_grid(path: Path, layout: Layout) -> list[Footage]:
    """Return the videos of a NetCDF file or a Zarr folder, without loading them.

    Frames are a variable with dimensions for time, rows and columns, known by their names or their
    coordinates' attributes, in any order; others are channels, or the members of an ensemble, which
    become videos of their own. Values are unpacked as xarray does it: by scale, offset and fill
    value.

    Args:
        path: A file (.nc) or a folder (.zarr) here; addresses are refused.
        layout: Which variables hold the frames, and what goes along with them. Those in groups have
            names such as "forecast/rain".

    Raises:
        InputError: the file can't be read, refers to other files or needs code of its own, or it
            isn't clear what the frames are; a library is missing.
    """
    file = grid_file(path)
    try:
        entries = _entries(path, file)
        found = chosen(entries, layout, path)
        videos = footage(found, entries, layout, path)
        times = _times(path, file, found)
        content = _saved(path, file, found, times)
        channels = _channels(path, file, found) or videos[0].channels
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} can't be read ({first_line(error)})") from error
    kind = ".zarr" if file.version else ".nc"
    known = [
        replace(each, times=None if times is None else times.times, channels=channels)
        for each in videos
    ]
    if content is None:
        return known
    return [
        replace(each, header=Header(kind, replace(content, shape=each.shape, video=number)))
        for number, each in enumerate(known)
    ]


def _entries(path: Path, file: GridFile) -> list[Entry]:
    beside = {name for each in file.arrays.values() for name in _mentioned(each.attributes)}
    entries = []
    for name, array in file.arrays.items():
        base = _base(name)
        entry = Entry(
            name=name,
            shape=tuple(array.data.shape),
            dtype=np.dtype(array.data.dtype),
            names=array.dims,
            attributes=array.attributes,
            source=GridSource(path, name),
            beside=base in beside or base in array.dims,
            refused=array.trouble,
            hints=tuple(_hint(file, name, dim) for dim in array.dims),
        )
        entries.append(entry)
    return entries


def _mentioned(attributes: Mapping[str, Any]) -> list[str]:
    return [
        name.strip(":") for each in REFERRING for name in text(attributes.get(each, "")).split()
    ]


def _coordinate(file: GridFile, name: str, dim: str) -> str:
    """Return the name of the coordinate of a dimension: in the same group, or one around it."""
    length = file.arrays[name].data.shape[file.arrays[name].dims.index(dim)]
    other = next((each + dim for each in _around(name) if each + dim in file.arrays), "")
    found = file.arrays.get(other)
    return other if found and found.dims == (dim,) and found.data.shape == (length,) else ""


def _hint(file: GridFile, name: str, dim: str) -> str:
    """Return a name that tells what a dimension is: its own, or what its coordinate says."""
    coordinate = file.arrays.get(_coordinate(file, name, dim))
    said = {} if coordinate is None else coordinate.attributes
    words = [dim, *(text(said.get(key, "")) for key in ("standard_name", "axis"))]
    return next((each for each in words if letter_of(each) != "?"), dim)


def _times(path: Path, file: GridFile, found: Chosen) -> SavedTimes | None:
    name = _time_name(file, found)
    array = file.arrays.get(name)
    if array is None or array.data.dtype.kind not in "iuf" or array.trouble:
        return None
    if array.data.shape[0] > LONGEST:
        raise InputError(f"{path}: {name} has {array.data.shape[0]} values, more than {LONGEST}")
    stored = np.asarray(array.data[(slice(None),)])
    return saved_times(_base(name), stored, array.attributes, f"{path}: {name}")


def _time_name(file: GridFile, found: Chosen) -> str:
    """Return the coordinate of the frames: of their dimension, or the only one with dates."""
    dim, name = found.axis("f"), found.arrays[0].name
    if not dim:
        return ""
    if own := _coordinate(file, name, dim):
        return own
    dated = [
        other
        for other, array in file.arrays.items()
        if _around(other)[0] == _around(name)[0]
        and array.dims == (dim,)
        and " since " in text(array.attributes.get("units", ""))
    ]
    return dated[0] if len(dated) == 1 else ""


def _channels(path: Path, file: GridFile, found: Chosen) -> tuple[str, ...]:
    dim = found.axis("c")
    name = _coordinate(file, found.arrays[0].name, dim) if dim else ""
    array = file.arrays.get(name)
    if array is None or array.trouble or array.data.shape[0] > MOST_LABELS:
        return ()
    return labels(_kept(np.asarray(array.data[(slice(None),)])))


def _saved(path: Path, file: GridFile, found: Chosen, times: SavedTimes | None) -> Saved | None:
    if not found.arrays[0].names:
        return None
    group = found.arrays[0].name.rpartition("/")[0]
    arrays = tuple(
        SavedArray(
            name=_base(each.name),
            dims=each.names,
            attributes=each.attributes,
            packing=packing,
            compressed=file.arrays[each.name].compressed,
        )
        for each, packing in zip(found.arrays, found.packings, strict=True)
    )
    return Saved(
        arrays=arrays,
        axes=found.axes,
        shape=(0, 0, 0),
        times=times,
        coordinates=_coordinates(path, file, found, times),
        attributes=file.attributes.get(group, {}),
        group=group,
        unlimited=f"{group}/{found.axis('f')}".strip("/") in file.unlimited,
        version=file.version,
    )


def _coordinates(
    path: Path, file: GridFile, found: Chosen, times: SavedTimes | None
) -> tuple[SavedArray, ...]:
    """Return what describes the frames but doesn't change from frame to frame."""
    first = found.arrays[0]
    wanted = [_coordinate(file, first.name, dim) for dim in first.names]
    for each in found.arrays:
        wanted += _referred(file, each.name, each.attributes)
    for name in [each for each in wanted if each]:
        wanted += _referred(file, name, file.arrays[name].attributes)
    skipped = {_base(each.name) for each in found.arrays} | {"" if times is None else times.name}
    coordinates: dict[str, SavedArray] = {}
    for name in wanted:
        array = file.arrays.get(name)
        if array is None or array.trouble or found.axis("f") in array.dims:
            continue
        if _base(name) not in {*skipped, *coordinates}:
            coordinates[_base(name)] = _saved_coordinate(path, name, array)
    return tuple(coordinates.values())


def _referred(file: GridFile, name: str, attributes: Mapping[str, Any]) -> list[str]:
    """Return the arrays that attributes name: of the same group, or the nearest one around it."""
    near = [
        next((place + base for place in _around(name) if place + base in file.arrays), "")
        for base in _mentioned(attributes)
    ]
    return [each for each in near if each]


def _around(name: str) -> list[str]:
    """Return the beginnings of names in the group of an array, and in those around it.

    >>> _around("model/run/rain")
    ['model/run/', 'model/', '']
    """
    *groups, _ = name.split("/")
    return ["".join(f"{each}/" for each in groups[:depth]) for depth in range(len(groups), -1, -1)]


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _saved_coordinate(path: Path, name: str, array: GridArray) -> SavedArray:
    small = np.prod(array.data.shape, dtype=float) <= KEPT
    values = GridSource(path, name)
    whole = (slice(None),) * len(array.dims)
    return SavedArray(
        name=_base(name),
        dims=array.dims,
        attributes=array.attributes,
        values=_kept(np.asarray(array.data[whole])) if small else values,
        compressed=array.compressed,
    )


def _kept(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return values that any version of NumPy can keep: texts as objects."""
    return values.astype(object) if values.dtype.kind in "TU" else values
