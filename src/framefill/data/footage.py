"""A video that is not in memory: what is known of it, and a reader for any of its frames.

Every format ends here. An opener looks at a file and returns the videos in it as `Footage`; nothing
but the frames that are asked for is ever loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from framefill.data.fitting import with_channels
from framefill.data.video import Header, Part, Stored, Video
from framefill.errors import InputError

Reader = Callable[[Sequence[int]], Shaped[np.ndarray, "f h w c"]]
TrackKind = Literal["vector", "map", "static"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How array files are to be understood; video files need none of it."""

    variables: tuple[str, ...] = ()
    """Names of the arrays that hold the frames, in formats whose files have several (HDF5, Zarr,
    NetCDF, .npz); several become the channels. None: the only one that can be a video."""
    axes: str = ""
    """One letter for each axis of the array: v videos, f frames, h rows, w columns, c channels.
    None: from the names of the dimensions, or fhwc, or fhw."""
    missing: float | None = None
    """A value that means missing, beside NaN and what the file itself says."""
    conditions: tuple[str, ...] = ()
    """Names of arrays that go with the frames: one vector or one map for each frame, or one map
    for all."""

    def __post_init__(self) -> None:
        strange = set(self.axes) - set("vfhwc")
        if (
            strange
            or len(set(self.axes)) < len(self.axes)
            or (self.axes and not {"h", "w"} <= set(self.axes))
        ):
            raise InputError(
                f"axes {self.axes!r}: one letter for each axis, out of v (videos), f (frames), "
                "h (rows), w (columns), c (channels), each once, and always h and w"
            )


class Track(NamedTuple):
    """What goes along with the frames of a video, not loaded yet.

    Args:
        kind: "vector" [f k], "map" [f h w k] or "static" [h w k], one for all frames.
        size: Values k of a vector, channels k of a map.
        reader: Returns those of some frames; of "static" ones the map, whatever is asked.
    """

    kind: TrackKind
    size: int
    reader: Callable[[Sequence[int]], Shaped[np.ndarray, "..."]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Footage:
    """One video of a file or a folder.

    Attributes:
        name: What to call it in a message: the path, and the place within the file.
        path: The file or folder that it is from.
        length: Number of frames.
        shape: Height, width and channels.
        dtype: What the reader returns; floats where anything can be missing, NaN where it is.
        reader: Returns frames at ascending positions, repeated ones allowed. Can be pickled, so
            that worker processes can use it, and opens files where it is used (`handles`).
        fps: Frames per second, where the source has a constant rate.
        times: Of each frame: float64 seconds from anywhere, or datetime64[ns]; None: evenly spaced.
        units: Unit of the values.
        channels: Names of the channels, where they have any.
        stored: How the file stores values that the reader returns as floats.
        header: What a writer of the same format takes over (coordinates, attributes).
        label: Name of the class.
        tracks: Conditions by name.
        present: False where a whole frame is missing, as far as that is known without reading it.
    """

    name: str
    path: Path
    length: int
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    reader: Reader
    fps: float | None = None
    times: Shaped[np.ndarray, " f"] | None = None
    units: str = ""
    channels: tuple[str, ...] = ()
    stored: Stored | None = None
    header: Header | None = None
    label: str | None = None
    tracks: Mapping[str, Track] = field(default_factory=dict)
    present: Bool[np.ndarray, " f"] | None = None

    def take(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Return the frames at ascending positions.

        Raises:
            InputError: the file has changed or is damaged.
        """
        frames = self.reader(places)
        if frames.shape != (len(places), *self.shape) or frames.dtype != self.dtype:
            raise InputError(
                f"{self.name} gave frames of {frames.shape[1:]} and {frames.dtype}, and "
                f"{self.shape} and {self.dtype} before: has the file changed?"
            )
        return frames

    def video(self, part: Part) -> Video:
        """Return a part of the video, with all that is known of it.

        Raises:
            InputError: there are fewer frames than the part asks for, or they pass its limit.
        """
        places = part.of(self.length, self.name)
        part.check_bytes(len(places), self.shape, self.dtype.itemsize, self.name)
        rate = None if self.fps is None else self.fps / part.every
        return Video(
            self.take(places),
            fps=rate,
            units=self.units,
            source=self.name,
            times=None if self.times is None else self.times[places],
            channels=self.channels,
            stored=self.stored,
            header=self.header,
            conditions={name: track.reader(places) for name, track in self.tracks.items()},
        )

    def recolored(self, channels: int) -> "Footage":
        """Return the same with other channels (`framefill.data.fitting.with_channels`)."""
        if self.shape[2] == channels:
            return self
        shape = (*self.shape[:2], channels)
        return replace(self, shape=shape, reader=Recolored(self.reader, channels, self.name))

    def section(self, start: int, stop: int) -> "Footage":
        """Return frames start..stop-1 as a video of their own.

        Raises:
            InputError: the video doesn't reach that far.
        """
        if not 0 <= start < stop <= self.length:
            raise InputError(
                f"{self.name} has {self.length} frames, which hold no part {start}..{stop - 1}"
            )
        moved = {
            name: track._replace(reader=Later(track.reader, start))
            for name, track in self.tracks.items()
        }
        return replace(
            self,
            name=f"{self.name} frames {start}..{stop - 1}",
            length=stop - start,
            reader=Later(self.reader, start),
            times=None if self.times is None else self.times[start:stop],
            tracks=moved,
            present=None if self.present is None else self.present[start:stop],
        )


@dataclass(frozen=True)
class Later:
    """A reader whose frame 0 is frame `start` of another."""

    reader: Callable[[Sequence[int]], Shaped[np.ndarray, "..."]]
    start: int

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Return the frames at some positions."""
        return self.reader([place + self.start for place in places])


@dataclass(frozen=True)
class Recolored:
    """A reader of the frames of another with other channels."""

    reader: Reader
    channels: int
    name: str

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Return the frames at some positions."""
        return with_channels(self.reader(places), self.channels, self.name)


@dataclass(frozen=True)
class InMemory:
    """A reader of an array [f ...] that is in memory, or mapped into it."""

    array: Shaped[np.ndarray, "..."]

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Return the entries at some positions, as an array of their own."""
        return np.array(self.array[list(places)])


@dataclass(frozen=True)
class Same:
    """A reader of what is the same for all frames."""

    array: Shaped[np.ndarray, "..."]

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Return it."""
        return self.array
