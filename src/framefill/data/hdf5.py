"""HDF5 files as videos, and videos as HDF5 files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from framefill.data.axes import DAMAGED
from framefill.data.footage import Footage, Layout
from framefill.data.hdf5_files import (
    Hdf5Source,
    attributes_of,
    dims_of,
    hdf5_file,
    need_h5py,
    own_dataset,
    scales_of,
    values_of,
)
from framefill.data.hdf5_links import Found, beside, dataset_at, everything
from framefill.data.named import Chosen, Entry, chosen, footage, labels
from framefill.data.saved import (
    KEPT,
    LONGEST,
    MOST_LABELS,
    Ready,
    Saved,
    SavedArray,
    SavedTimes,
    ready,
    saved_of,
    saved_times,
)
from framefill.data.video import Header, Video, first_line
from framefill.errors import InputError

if TYPE_CHECKING:
    import h5py

Scales = Mapping[tuple[int, int], str]  # see `scales_of`


def open_hdf5(path: Path, layout: Layout) -> list[Footage]:
    """Return the videos of an HDF5 file, without loading them.

    Frames are the only dataset that can be a video, or those that are asked for by their paths
    ("group/data"). Dimensions are known by their scales or labels, else by their order. The times
    are the scale of the frames, or a dataset "time" or "times" beside them. The attributes
    units, _FillValue, missing_value, scale_factor and add_offset count as in NetCDF.

    Args:
        path: An HDF5 file.
        layout: Which datasets hold the frames, their axes, and what goes along with them.

    Raises:
        InputError: the file can't be read, what is asked for is in another file, or it isn't clear
            what the frames are; h5py is missing.
    """
    try:
        datasets = _datasets(path, layout)
        scales = scales_of(datasets)
        entries = [_entry(path, each, scales) for each in datasets]
        found = chosen(entries, layout, path)
        videos = footage(found, entries, layout, path)
        content = _saved(path, found, scales)
        channels = _channels(path, found, content) or videos[0].channels
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} can't be read ({first_line(error)})") from error
    return [
        replace(
            each,
            times=None if content.times is None else content.times.times,
            channels=channels,
            header=Header(".h5", replace(content, shape=each.shape, video=number)),
        )
        for number, each in enumerate(videos)
    ]


def _datasets(path: Path, layout: Layout) -> list[Found]:
    """Return the datasets that are asked for and what is around them, or else all."""
    file = hdf5_file(path)
    wanted = [dataset_at(file, name) for name in (*layout.variables, *layout.conditions)]
    there = [each for each in wanted if each is not None]
    if layout.variables and len(there) == len(wanted):
        around = [each for name in layout.variables for each in beside(file, name)]
        return list({each.name: each for each in (*around, *there)}.values())
    return list(everything(file))


def _entry(path: Path, found: Found, scales: Scales) -> Entry:
    name, dataset = found.name, found.dataset
    unknown = Entry(name, (), np.dtype("V1"), (), {}, Hdf5Source(path, name))
    if dataset is None:
        return unknown._replace(refused=found.trouble)
    try:
        dtype, shape = dataset.dtype, dataset.shape or ()
    except (TypeError, ValueError, OSError) as error:
        return unknown._replace(refused=f"can't be read ({first_line(error)})")
    if dtype.kind not in "uifb":
        return unknown._replace(shape=shape, dtype=np.dtype(dtype.str))
    names = tuple(dim.rpartition("/")[2] for dim in dims_of(dataset, scales))
    return Entry(
        name=name,
        shape=shape,
        dtype=dtype,
        names=names if any(names) else (),
        attributes=attributes_of(dataset),
        source=Hdf5Source(path, name),
        refused=found.trouble,
    )


def _times(path: Path, found: Chosen, dims: tuple[str, ...]) -> SavedTimes | None:
    if "f" not in found.axes:
        return None
    at, first = found.axes.index("f"), found.arrays[0]
    group = first.name.rpartition("/")[0]
    near = [f"{group}/{name}".strip("/") for name in ("time", "times")]
    for name in (dims[at], *(near if "v" not in found.axes else ())):
        dataset = own_dataset(path, name)
        if (
            dataset is None
            or dataset.shape != (first.shape[at],)
            or dataset.dtype.kind not in "uif"
        ):
            continue
        if dataset.shape[0] > LONGEST:
            raise InputError(f"{path}: {name} has {dataset.shape[0]} values, more than {LONGEST}")
        return saved_times(name, dataset[:], attributes_of(dataset), f"{path}: {name}")
    return None


def _saved(path: Path, found: Chosen, scales: Scales) -> Saved:
    first = own_dataset(path, found.arrays[0].name)
    dims = ("",) * len(found.axes) if first is None else dims_of(first, scales)
    arrays = [
        SavedArray(
            name=each.name,
            dims=dims,
            attributes=each.attributes,
            packing=packing,
            compressed=first is not None and first.compression is not None,
        )
        for each, packing in zip(found.arrays, found.packings, strict=True)
    ]
    still = [dim for dim, letter in zip(dims, found.axes, strict=True) if letter != "f"]
    coordinates = [_coordinate(path, dim) for dim in still]
    return Saved(
        arrays=tuple(arrays),
        axes=found.axes,
        shape=(0, 0, 0),
        times=_times(path, found, dims),
        coordinates=tuple(each for each in coordinates if each is not None),
        attributes=attributes_of(hdf5_file(path)),
    )


def _coordinate(path: Path, name: str) -> SavedArray | None:
    dataset = own_dataset(path, name)
    if dataset is None or dataset.ndim != 1:
        return None
    values = values_of(dataset) if dataset.size <= KEPT else Hdf5Source(path, name)
    if values is None:
        return None
    return SavedArray(name, (name,), attributes_of(dataset), values=values)


def _channels(path: Path, found: Chosen, saved: Saved) -> tuple[str, ...]:
    dims = saved.arrays[0].dims
    name = dims[found.axes.index("c")] if "c" in found.axes else ""
    dataset = own_dataset(path, name)
    if dataset is None or dataset.ndim != 1 or dataset.size > MOST_LABELS:
        return ()
    values = values_of(dataset)
    return () if values is None else labels(values)


def write_hdf5(path: Path, video: Video) -> None:
    """Write a video to an HDF5 file.

    A video of such a file gets its datasets, axes, dtypes, fill values, scales and attributes back,
    with the time stamps in its units. Any other one, or one that has been resized, becomes the
    dataset "frames" with the dimensions time, y, x and channel.

    Args:
        path: A new file.
        video: What to write. Values that were integers in its file become integers again.

    Warns:
        FillWarning: some values don't fit into the integers that the file had; floats are written.

    Raises:
        InputError: values are missing and the file has no number for that, or it can't be written;
            h5py is missing.
    """
    need_h5py()
    import h5py

    saved = saved_of(video, (".h5",))
    arrays = ready(video, saved)
    try:
        with h5py.File(path, "w") as file:
            for key, value in (saved.attributes if saved else {}).items():
                file.attrs[key] = value
            for each in arrays:
                _write(file, each)
            for each in arrays:
                _name_dimensions(file, each, {other.name for other in arrays})
    except OSError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path.name} can't be written ({first_line(error)})") from error


def _write(file: "h5py.File", array: Ready) -> None:
    import h5py

    values, settings = array.values, dict[str, Any]()
    if values.dtype.kind == "O":
        settings["dtype"] = h5py.string_dtype()
    if array.compressed and values.ndim:
        settings["compression"] = "gzip"
    dataset = file.create_dataset(array.name, data=values, **settings)
    for key, value in array.attributes.items():
        dataset.attrs[key] = value
    if array.dims == (array.name,):
        dataset.make_scale(array.name.rpartition("/")[2])


def _name_dimensions(file: "h5py.File", array: Ready, names: set[str]) -> None:
    dataset = file[array.name]
    if array.dims == (array.name,):
        return
    for dim, name in zip(dataset.dims, array.dims, strict=True):
        if name in names:
            dim.attach_scale(file[name])
        elif name:
            dim.label = name
