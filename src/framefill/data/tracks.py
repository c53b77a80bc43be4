"""What goes along with the frames of an array: vectors and maps, found by dimensions or lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import DAMAGED, ORDER, Source, part_of, runs_of
from framefill.data.footage import Track, TrackKind
from framefill.data.video import first_line
from framefill.errors import InputError

KINDS: dict[frozenset[str], TrackKind] = {
    frozenset("f"): "vector",
    frozenset("fc"): "vector",
    frozenset("fhw"): "map",
    frozenset("fhwc"): "map",
    frozenset("hw"): "static",
    frozenset("hwc"): "static",
}
FORMS = (
    "a vector for each frame [f] or [f k], a map for each [f h w] or [f h w k], or one map for all "
    "[h w] or [h w k]"
)


class FrameAxes(NamedTuple):
    """The axes of the array of frames that something goes along with.

    Args:
        axes: One letter for each, out of v, f, h, w and c.
        names: Of the dimensions, or nothing.
        shape: Length of each.
    """

    axes: str
    names: tuple[str, ...]
    shape: tuple[int, ...]


def track_axes(shape: Sequence[int], names: Sequence[str], frames: FrameAxes, name: str) -> str:
    """Return a letter for each axis of an array that goes along with frames.

    Dimensions are known by their names where both arrays have them, else by their lengths, in the
    order of the axes of the frames. One axis of any length is c, the values of a vector or the
    channels of a map; where an array fits without one too, it is taken so.

    >>> track_axes((8, 7), (), FrameAxes("fhw", (), (8, 64, 64)), "actions")
    'fc'

    Args:
        shape: Length of each axis.
        names: Names of the dimensions, or nothing.
        frames: What it goes along with.
        name: What to call the array in a message.

    Raises:
        InputError: it fits in no way, or, by lengths, in two.
    """
    if names and frames.names:
        axes = _by_names(shape, names, frames)
        if _kind(axes) is None:
            raise InputError(
                f"condition {name} has the dimensions {tuple(names)} {tuple(shape)} and the frames "
                f"{frames.names} {frames.shape}: give {FORMS}"
            )
        return axes
    fitting = _by_lengths(shape, frames)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(
            f"condition {name} of shape {tuple(shape)} can be {' or '.join(fitting)} beside frames "
            f"{frames.axes} {frames.shape}: name the dimensions in the file, or give it all axes, "
            "[v f h w k]"
        )
    raise InputError(
        f"condition {name} has shape {tuple(shape)} and the frames {frames.axes} {frames.shape}: "
        f"give {FORMS}"
    )


def _kind(axes: str) -> TrackKind | None:
    letters = axes.replace("v", "")
    return KINDS.get(frozenset(letters)) if len(set(letters)) == len(letters) else None


def _by_names(shape: Sequence[int], names: Sequence[str], frames: FrameAxes) -> str:
    letters = dict(zip(frames.names, frames.axes, strict=True))
    axes = "".join(letters.get(each, "?") for each in names)
    if axes.count("?") == 1 and "c" not in axes:
        axes = axes.replace("?", "c")
    return axes if _agree(axes, shape, frames) else ""


def _by_lengths(shape: Sequence[int], frames: FrameAxes) -> list[str]:
    """Return what the lengths allow, as far as possible without an axis of any length."""
    for order in (frames.axes, "v" + ORDER):
        fitting = []
        for letters in (*KINDS, *(each | {"v"} for each in KINDS if "v" in frames.axes)):
            axes = "".join(each for each in order if each in letters)
            axes += "c" if "c" in letters and "c" not in order else ""
            if len(axes) == len(shape) and _agree(axes, shape, frames):
                fitting.append(axes)
        if fitting:
            exact = [axes for axes in fitting if "c" not in axes]
            return exact or fitting
    return []


def _agree(axes: str, shape: Sequence[int], frames: FrameAxes) -> bool:
    """Whether the axes that both have are equally long; c may differ."""
    lengths = dict(zip(frames.axes, frames.shape, strict=True))
    pairs = zip(axes, shape, strict=True)
    return all(letter == "c" or lengths.get(letter) == length for letter, length in pairs)


def track_of(source: Source, axes: str, shape: Sequence[int], video: int, name: str) -> Track:
    """Return what goes along with one video, not loaded yet; integers become float32.

    Args:
        source: Opens the array.
        axes: Of the array, from `track_axes`.
        shape: Length of each axis.
        video: Which one, where the array has an axis v.
        name: What to call the array in a message.
    """
    size = dict(zip(axes, shape, strict=True)).get("c", 1)
    kind = cast(TrackKind, _kind(axes))
    return Track(kind, size, TrackReader(source, axes, video, name))


@dataclass(frozen=True)
class TrackReader:
    """Reads what goes along with some frames; see `framefill.data.footage.Track`.

    Raises (when called):
        InputError: the array can't be read.
    """

    source: Source
    axes: str
    video: int
    name: str

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Load the vectors or maps of frames at ascending places, or the one map."""
        try:
            array = self.source()
            runs = runs_of(places) if "f" in self.axes else [None]
            parts = [part_of(array, self.axes, self.video, run) for run in runs]
        except InputError:
            raise
        except DAMAGED as error:
            raise InputError(
                f"condition {self.name} can't be read ({first_line(error)})"
            ) from error
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        kept = values.dtype.name in ("float32", "float64")
        values = values.astype(values.dtype.newbyteorder("=") if kept else np.float32, order="C")
        return values if "c" in self.axes else values[..., None]
