"""Files of several arrays: which of them hold the frames, and which go along with these."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import LazyArray, Source, axes_of, footage_of, plane_of
from framefill.data.footage import Footage, Layout, Track
from framefill.data.packing import Packing, Unpacked, packing_of
from framefill.data.tracks import FrameAxes, track_axes, track_of
from framefill.errors import InputError, suggestion

HOW = "name it with --data.variables NAME in training, --variables NAME for the other verbs"
SHOWN = 12  # arrays that a message lists
LARGEST_CHUNK = 2**31  # bytes that one value may cost to load


class Entry(NamedTuple):
    """An array of a file.

    Args:
        name: Within the file; with its groups, if any.
        shape: Length of each axis.
        dtype: As stored.
        names: Of its dimensions, or nothing.
        attributes: Its own.
        source: Opens it, and loads it as stored.
        beside: It belongs to others: a coordinate, a boundary. It holds no frames unless asked for.
        refused: Why it can't be read, or "".
        hints: Names that tell what the dimensions are, where their own don't.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    names: tuple[str, ...]
    attributes: Mapping[str, Any]
    source: Source
    beside: bool = False
    refused: str = ""
    hints: tuple[str, ...] = ()


class Chosen(NamedTuple):
    """The arrays that hold the frames of a file, all alike; several are the channels.

    Args:
        arrays: In order.
        axes: One letter for each axis of one of them.
        packings: How each of them stores values.
    """

    arrays: tuple[Entry, ...]
    axes: str
    packings: tuple[Packing, ...]

    @property
    def name(self) -> str:
        """What to call them in a message."""
        return ", ".join(each.name for each in self.arrays)

    def axis(self, letter: str) -> str:
        """Return the name of the dimension with a letter, or "" where there is none."""
        names = self.arrays[0].names
        found = self.axes.find(letter)
        return names[found] if names and found >= 0 else ""


def chosen(entries: Sequence[Entry], layout: Layout, path: Path) -> Chosen:
    """Return the arrays that hold the frames: those that are asked for, or the only ones.

    Args:
        entries: All arrays of a file that can be read.
        layout: What the user says.
        path: The file, for messages.

    Raises:
        InputError: there is none of a name, none or several that can be a video, or those that are
            asked for can't be the channels of one.
    """
    if layout.variables:
        arrays = tuple(named(entries, each, path) for each in layout.variables)
    else:
        arrays = (_only(entries, layout, path),)
    first = arrays[0]
    for each in arrays:
        if (each.shape, each.names) != (first.shape, first.names):
            raise InputError(
                f"{path}: {first.name} has shape {first.shape} {first.names or ''} and {each.name} "
                f"{each.shape} {each.names or ''}: only arrays with equal axes can be channels"
            )
        plane_of(each.dtype, "", None, f"{path}: {each.name}")
    if len(set(layout.variables)) < len(layout.variables):
        raise InputError(f"variables {', '.join(layout.variables)}: name each once")
    axes = _axes(first, layout, f"{path}: {first.name}")
    if "c" in axes and len(arrays) > 1:
        raise InputError(
            f"{path}: {first.name} has channels itself (axes {axes!r} {first.shape}), so it can't "
            "be one of several: name one variable"
        )
    packings = [packing_of(each.attributes, each.dtype, f"{path}: {each.name}") for each in arrays]
    return Chosen(arrays, axes, tuple(packings))


def named(entries: Sequence[Entry], name: str, path: Path) -> Entry:
    """Return the array with a name.

    Raises:
        InputError: there is none; lists what there is.
    """
    found = [each for each in entries if each.name == name.strip("/")]
    if not found:
        near = suggestion(name, [each.name for each in entries])
        raise InputError(f"{path} has no array {name!r}{near}: it holds {_listed(entries)}")
    if found[0].refused:
        raise InputError(f"{path}: {name} {found[0].refused}")
    return found[0]


def _only(entries: Sequence[Entry], layout: Layout, path: Path) -> Entry:
    free = [each for each in entries if not each.beside and each.name not in layout.conditions]
    videos = [each for each in free if _can_be_video(each, layout)]
    if len(videos) == 1:
        return named(videos, videos[0].name, path)
    if videos:
        raise InputError(
            f"{path} holds {len(videos)} arrays that can be a video: {_listed(videos)}; {HOW}"
        )
    what = f"it holds {_listed(entries)}" if entries else "it holds no arrays of numbers"
    raise InputError(f"{path} has no array that can be a video: {what}; {HOW}, or give --axes")


def _can_be_video(entry: Entry, layout: Layout) -> bool:
    if entry.dtype.kind not in "uifb" or 0 in entry.shape:
        return False
    if len(entry.shape) == 5 and not (entry.names or layout.axes):
        return True  # as soon as it is said which axis is which
    try:
        return "f" in _axes(entry, layout, entry.name)
    except InputError:
        return False


def _axes(entry: Entry, layout: Layout, name: str) -> str:
    return axes_of(entry.shape, entry.hints or entry.names, layout.axes, name)


def _listed(entries: Sequence[Entry]) -> str:
    texts = []
    for each in entries[:SHOWN]:
        shape = "x".join(str(length) for length in each.shape) or "one"
        texts.append(f"{each.name} ({each.refused or f'{shape} {each.dtype}'})")
    return ", ".join(texts) + (f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else "")


def footage(found: Chosen, entries: Sequence[Entry], layout: Layout, path: Path) -> list[Footage]:
    """Return the videos of a file, with units and conditions, and without time and header.

    Args:
        found: Where the frames are.
        entries: All arrays of the file.
        layout: What the user says.
        path: The file.

    Raises:
        InputError: a condition is missing or fits the frames in no way.
    """
    sources = [
        Unpacked(each.source, packing) if packing.floats or packing.unsigned else each.source
        for each, packing in zip(found.arrays, found.packings, strict=True)
    ]
    dtype = np.result_type(*(packing.values for packing in found.packings))
    shape, axes, source = found.arrays[0].shape, found.axes, sources[0]
    if len(sources) > 1:
        shape, axes, source = (*shape, len(sources)), axes + "c", Stacked(tuple(sources))
    name = f"{path}: {found.name}"
    plane, stored = plane_of(dtype, axes, layout.missing, name)
    packed = {packing.stored for packing in found.packings}
    if packed != {None}:
        stored = packed.pop() if len(packed) == 1 else None
    videos = footage_of(source, path=path, name=name, shape=shape, plane=plane)
    units = [text(each.attributes.get("units", "")) for each in found.arrays]
    channels = tuple(each.name for each in found.arrays) if len(sources) > 1 else ()
    tracks = {each: _along(found, named(entries, each, path), path) for each in layout.conditions}
    return [
        replace(
            each,
            units=units[0] if len(set(units)) == 1 else ", ".join(units),
            channels=channels,
            stored=stored,
            fps=_rate(found.arrays[0].attributes.get("fps")),
            tracks={name: along(video) for name, along in tracks.items()},
        )
        for video, each in enumerate(videos)
    ]


def _along(found: Chosen, entry: Entry, path: Path) -> Callable[[int], Track]:
    """Return what makes the track of a video by its number."""
    name = f"{path}: {entry.name}"
    frames = FrameAxes(found.axes, found.arrays[0].names, found.arrays[0].shape)
    plane_of(entry.dtype, "", None, name)
    packing = packing_of(entry.attributes, entry.dtype, name)
    source = Unpacked(entry.source, packing) if packing.floats else entry.source
    axes = track_axes(entry.shape, entry.names, frames, name)
    return lambda video: track_of(source, axes, entry.shape, video, name)


def _rate(attribute: Any) -> float | None:
    try:
        rate = float(attribute)
    except (TypeError, ValueError):
        return None
    return rate if math.isfinite(rate) and rate > 0 else None


def text(attribute: Any) -> str:
    """Return an attribute as a text; "" where it is something else."""
    if isinstance(attribute, np.ndarray) and attribute.size == 1:
        attribute = attribute.item()
    if isinstance(attribute, bytes):
        return attribute.decode("utf-8", "replace")
    return str(attribute) if isinstance(attribute, str) else ""


def labels(values: Shaped[np.ndarray, " n"]) -> tuple[str, ...]:
    """Return the names of channels: texts as they are, numbers in short.

    >>> labels(np.array([850.0, 2.5]))
    ('850', '2.5')
    """
    if values.dtype.kind in "iufb":
        return tuple(f"{value:.10g}" for value in values.tolist())
    if values.dtype.kind in "SUO":
        return tuple(text(value) for value in values.tolist())
    return ()


@dataclass(frozen=True)
class Stacked:
    """Several arrays of one shape as one, with another axis at the end."""

    sources: tuple[Source, ...]

    def __call__(self) -> LazyArray:
        """Open the arrays."""
        return _Stack(tuple(source() for source in self.sources))


@dataclass(frozen=True)
class _Stack:
    arrays: tuple[LazyArray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.arrays[0].shape, len(self.arrays))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.result_type(*(np.dtype(each.dtype) for each in self.arrays))

    def __getitem__(self, index: Any) -> Any:
        return np.stack([np.asarray(each[index[:-1]]) for each in self.arrays], axis=-1)
