"""What array files know beside the frames, so that these can be written back the same way."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import DAMAGED, Source
from framefill.data.cf_times import Units, decoded, fresh, restored, units_of
from framefill.data.named import text
from framefill.data.packing import ATTRIBUTES, Packing, packing_of
from framefill.data.video import Video, first_line
from framefill.errors import FillWarning, InputError

LIMITS = ("valid_range", "valid_min", "valid_max", "actual_range")  # of stored numbers
KEPT = 2**16  # values of a coordinate that are kept in memory
LONGEST = 2**27  # values of a time coordinate
MOST_LABELS = 4096  # names of channels


@dataclass(frozen=True, eq=False)
class SavedArray:
    """An array of a file: one that holds frames, or a coordinate.

    Args:
        name: Within the file.
        dims: Names of its dimensions.
        attributes: As stored.
        packing: How frames are stored; None for a coordinate.
        values: Of a coordinate, as stored; large ones are loaded when they are written.
        compressed: Whether the file compresses it.
    """

    name: str
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]
    packing: Packing | None = None
    values: Shaped[np.ndarray, "..."] | Source | None = None
    compressed: bool = False


@dataclass(frozen=True, eq=False)
class SavedTimes:
    """The time coordinate of a file.

    Args:
        name: Within the file.
        attributes: As stored.
        numbers: As stored.
        times: That they are.
        units: By which they are.
    """

    name: str
    attributes: Mapping[str, Any]
    numbers: Shaped[np.ndarray, " f"]
    times: Shaped[np.ndarray, " f"]
    units: Units


@dataclass(frozen=True, eq=False, kw_only=True)
class Saved:
    """A file as it was, without the values of its frames.

    Args:
        arrays: Those that hold the frames.
        axes: One letter for each of their dimensions.
        shape: Height, width and channels of the frames.
        video: Which one, along the dimension of videos.
        times: The time coordinate, where there is one.
        coordinates: Others, without those that change from frame to frame.
        attributes: Of the file, or the group.
        group: That the arrays are in.
        unlimited: The dimension of the frames can grow.
        version: Of the format.
    """

    arrays: tuple[SavedArray, ...]
    axes: str
    shape: tuple[int, int, int]
    video: int = 0
    times: SavedTimes | None = None
    coordinates: tuple[SavedArray, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    unlimited: bool = False
    version: int = 0


class Ready(NamedTuple):
    """An array that can be written as it is.

    Args:
        name: Within the file.
        dims: Names of its dimensions.
        values: As stored.
        attributes: As stored.
        compressed: Whether to compress it.
    """

    name: str
    dims: tuple[str, ...]
    values: Shaped[np.ndarray, "..."]
    attributes: dict[str, Any]
    compressed: bool = False


def saved_times(
    name: str, stored: Shaped[np.ndarray, " f"], attributes: Mapping[str, Any], label: str
) -> SavedTimes:
    """Return the times that a coordinate says.

    Args:
        name: Within the file, or its group.
        stored: Its numbers.
        attributes: Its own; units and calendar, and how it is packed.
        label: What to call it in a message.

    Raises:
        InputError: it is packed in a wrong way.
    """
    packing = packing_of(attributes, stored.dtype, label)
    numbers, values = stored.astype(stored.dtype.newbyteorder("=")), packing.unpack(stored)
    scaled = packing.unsigned or packing.scale is not None or packing.offset is not None
    if scaled or (values.dtype.kind == "f" and np.isnan(values).any()):
        numbers = values
        attributes = {key: each for key, each in attributes.items() if key not in ATTRIBUTES}
    units = units_of(text(attributes.get("units", "")), text(attributes.get("calendar", "")))
    return SavedTimes(name, attributes, numbers, decoded(numbers, units), units)


def saved_of(video: Video, formats: Sequence[str]) -> Saved | None:
    """Return what the header of a video knows, if its file was of one of some formats.

    None, too, if the frames have got another size since: then its coordinates are wrong.
    """
    header = video.header
    if header is None or header.format not in formats or not isinstance(header.content, Saved):
        return None
    return header.content if header.content.shape == video.frames.shape[1:] else None


def ready(video: Video, saved: Saved | None) -> list[Ready]:
    """Return the arrays of a file to write: the frames, the times, and other coordinates.

    Without `saved`, they are "frames" with the dimensions time, y, x and channel, "time" and
    "channel".

    Warns:
        FillWarning: some values don't fit into the integers that the file had, so that floats are
            written.

    Raises:
        InputError: values are missing and the file has no number for that, or its coordinates
            can't be read any more.
    """
    if saved is None:
        return _plain(video)
    beside = [*_times(video, saved), *(_coordinate(each, saved) for each in saved.coordinates)]
    frames = [_frames(video, saved, index) for index in range(len(saved.arrays))]
    present = {each.name for each in beside}
    return [each._replace(attributes=_found(each.attributes, present)) for each in frames + beside]


def _plain(video: Video) -> list[Ready]:
    attributes: dict[str, Any] = {"units": video.units} if video.units else {}
    packing = Packing(video.frames.dtype.name)
    if video.stored is not None and not np.isnan(video.stored.missing):
        packing = Packing(video.stored.dtype, (video.stored.missing,))
        attributes["_FillValue"] = np.dtype(video.stored.dtype).type(video.stored.missing)
    elif video.stored is not None and not np.isnan(video.frames).any():
        packing = Packing(video.stored.dtype)
    if video.fps is not None:
        attributes["fps"] = video.fps
    values, attributes = _packed(video.frames, packing, attributes, "frames")
    arrays = [Ready("frames", ("time", "y", "x", "channel"), values, attributes)]
    if video.times is not None:
        arrays.append(_fresh("time", "time", video.times))
    if len(video.channels) == video.frames.shape[3]:
        names = np.array(video.channels, object)
        arrays.append(Ready("channel", ("channel",), names, {}))
    return arrays


def _packed(
    frames: Shaped[np.ndarray, "..."], packing: Packing, attributes: Mapping[str, Any], name: str
) -> tuple[Shaped[np.ndarray, "..."], dict[str, Any]]:
    """Return stored numbers and the attributes that explain them."""
    numbers = packing.pack(frames, name)
    if numbers is not None:
        return numbers, dict(attributes)
    warnings.warn(
        f"values of {name} from {np.nanmin(frames):.6g} to {np.nanmax(frames):.6g} don't fit into "
        f"the {packing.dtype} that the file had: {frames.dtype} is written",
        FillWarning,
        stacklevel=2,
    )
    left = {key: value for key, value in attributes.items() if key not in (*ATTRIBUTES, *LIMITS)}
    return frames, left


def _frames(video: Video, saved: Saved, index: int) -> Ready:
    array, letters = saved.arrays[index], saved.axes.replace("v", "")
    part = video.frames if "c" in letters else video.frames[..., index]
    dims = array.dims
    if "f" not in letters:  # a lone picture, which may have become several
        letters, dims = "f" + letters, ("time", *dims)
    arranged = part.transpose(["fhwc".index(letter) for letter in letters])
    if len(arranged) == 1 and "f" not in saved.axes:
        arranged, dims = arranged[0], array.dims
    if "v" in saved.axes:
        arranged = np.expand_dims(arranged, saved.axes.index("v") + len(dims) - len(array.dims))
    attributes = dict(array.attributes)
    if "fps" in attributes:
        attributes.pop("fps")
        attributes |= {} if video.fps is None else {"fps": video.fps}
    packing = array.packing or Packing(video.frames.dtype.name)
    values, attributes = _packed(arranged, packing, attributes, array.name)
    return Ready(array.name, dims, values, attributes, array.compressed)


def _times(video: Video, saved: Saved) -> list[Ready]:
    if video.times is None or "f" not in saved.axes:
        return []
    dimension, known = saved.arrays[0].dims[saved.axes.index("f")], saved.times
    if known is None:
        return [_fresh(dimension, dimension, video.times)] if dimension else []
    numbers = restored(video.times, known.units, known.numbers, known.times)
    if numbers is None:
        return [_fresh(known.name, dimension, video.times)]
    return [Ready(known.name, (dimension,), numbers, dict(known.attributes))]


def _fresh(name: str, dimension: str, times: Shaped[np.ndarray, " f"]) -> Ready:
    numbers, units, calendar = fresh(times)
    attributes = {"units": units, "calendar": calendar} if calendar else {"units": units}
    return Ready(name, (dimension,), numbers, attributes)


def _coordinate(array: SavedArray, saved: Saved) -> Ready:
    videos = saved.arrays[0].dims[saved.axes.index("v")] if "v" in saved.axes else None
    one = slice(saved.video, saved.video + 1)
    index = tuple(one if dim == videos else slice(None) for dim in array.dims)
    try:
        values = array.values() if callable(array.values) else array.values
        kept = np.asarray(values[index] if values is not None else None)
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{array.name} can't be read from the file of the frames any more "
            f"({first_line(error)}): put it back"
        ) from error
    return Ready(array.name, array.dims, kept, dict(array.attributes), array.compressed)


def _found(attributes: Mapping[str, Any], present: set[str]) -> dict[str, Any]:
    """Return attributes without mentions of arrays that aren't written."""
    kept = dict(attributes)
    for key in ("bounds", "climatology", "grid_mapping"):
        if isinstance(kept.get(key), str) and kept[key].split(":")[0].strip() not in present:
            del kept[key]
    if isinstance(kept.get("coordinates"), str):
        names = [each for each in kept.pop("coordinates").split() if each in present]
        kept |= {"coordinates": " ".join(names)} if names else {}
    return kept
