"""What a packed store will hold, which is known before a frame is read, and how it is written."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from framefill.data.clips import class_name, fitted
from framefill.data.footage import Footage
from framefill.data.pack_arrays import Shelves
from framefill.data.pack_index import (
    INDEX,
    MOST_FRAMES,
    MOST_INDEX,
    MOST_VIDEOS,
    VERSION,
    PackedStored,
    PackedTrack,
    PackedVideo,
    PackIndex,
)
from framefill.data.video import Stored, Video
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.serialise import to_data

CHUNK_BYTES = 2**28  # of frames that are read at once
INTEGERS = ("uint8", "uint16", "int16")


class _Job(NamedTuple):
    """A video to be written.

    Args:
        footage: The video.
        entry: What the index says of it.
        resized: Its frames become others.
        stored: Dtype of its frames in the file.
    """

    footage: Footage
    entry: PackedVideo
    resized: bool
    stored: np.dtype[np.generic]


@dataclass(frozen=True)
class PackPlan:
    """What a store will hold, and where.

    Args:
        config: Of the data.
        dtype: Of the clips, in which frames are resized.
        jobs: The videos in order.
        shelves: Where they go.
    """

    config: VideosConfig
    dtype: np.dtype[np.generic]
    jobs: list[_Job]
    shelves: Shelves

    @classmethod
    def of(
        cls,
        config: VideosConfig,
        footage: list[Footage],
        dtype: np.dtype[np.generic],
        file_bytes: int,
    ) -> "PackPlan":
        """Return a plan for some videos; of their conditions the first entry is read.

        Raises:
            InputError: they are more than a store can hold, or a condition can't be read.
        """
        if len(footage) > MOST_VIDEOS:
            raise InputError(
                f"{len(footage):,} videos and a packed store holds {MOST_VIDEOS:,}: pack them in "
                "parts"
            )
        plan = cls(config, dtype, [], Shelves(file_bytes))
        plan.jobs.extend(plan._job(each) for each in footage)
        if len(plan.index) > MOST_INDEX:
            raise InputError(
                f"the index of these videos has {len(plan.index):,} bytes, above {MOST_INDEX:,}: "
                "pack them in parts"
            )
        return plan

    @cached_property
    def index(self) -> bytes:
        """The content of the index file."""
        index = PackIndex(
            version=VERSION,
            videos=tuple(job.entry for job in self.jobs),
            variables=self.config.variables,
            axes=self.config.axes,
            missing=self.config.missing,
        )
        return json.dumps(to_data(index), separators=(",", ":")).encode()

    @property
    def bytes(self) -> int:
        """Size of the store."""
        return self.shelves.bytes + len(self.index)

    @property
    def frames(self) -> int:
        """Number of all frames."""
        return sum(job.entry.length for job in self.jobs)

    @property
    def summary(self) -> str:
        """What the store holds, in a line."""
        kinds = {
            f"{'x'.join(map(str, each.shape))} {each.dtype}"
            for name, each in self.shelves.headers.items()
            if name.startswith("frames-")
        }
        what = kinds.pop() if len(kinds) == 1 else f"{len(kinds)} kinds"
        return f"{len(self.jobs)} videos, {self.frames:,} frames of {what}"

    def write(self, folder: Path, after: Callable[[int], None]) -> None:
        """Write the store into an empty folder.

        Args:
            folder: That of the store.
            after: Called with the number of frames of each part that was written.

        Raises:
            InputError: a video can't be read, or is another than it was.
        """
        self.shelves.start(folder)
        for footage, entry, *_ in self.jobs:
            for run, values in ((entry.times, footage.times), (entry.present, footage.present)):
                if run is not None and values is not None:
                    self.shelves.add(folder, run, values, footage.name)
        for job in self.jobs:
            for places in _chunks(job.footage):
                self._write_part(folder, job, places)
                after(len(places))
        (folder / INDEX).write_bytes(self.index)

    def _job(self, footage: Footage) -> _Job:
        config, place = self.config, self.shelves.place
        if footage.length > MOST_FRAMES:
            raise InputError(f"{footage.name} has more than {MOST_FRAMES:,} frames: cut it in two")
        size = (config.height, config.width, config.channels)
        # What is padded on is missing, and would make floats of integers.
        resized = config.fit not in ("none", "pad") and footage.shape != size
        shape, dtype = (size, self.dtype) if resized else (footage.shape, footage.dtype)
        stored = dtype if resized else _narrowest(footage)
        length, times, present = footage.length, footage.times, footage.present
        entry = PackedVideo(
            name=_name(footage, config.path),
            label=class_name(footage),
            length=length,
            dtype=dtype.name,
            frames=place("frames", int(_there(footage).sum()), shape, stored),
            fps=footage.fps,
            units=footage.units,
            channels=footage.channels if len(footage.channels) == shape[2] else (),
            stored=_packed_stored(footage, dtype),
            times=None if times is None else place("times", length, (), times.dtype),
            present=None if present is None else place("present", length, (), present.dtype),
            conditions={name: self._track(footage, name, resized) for name in config.conditions},
        )
        return _Job(footage, entry, resized, stored)

    def _track(self, footage: Footage, name: str, resized: bool) -> PackedTrack:
        track = footage.tracks[name]
        first = _floats(track.reader([0]))
        static = track.kind == "static"
        shape, dtype = first.shape if static else first.shape[1:], first.dtype
        if resized and track.kind != "vector":
            shape = (self.config.height, self.config.width, shape[2])
            dtype = np.dtype(np.float32)
        length = 1 if static else footage.length
        run = self.shelves.place("conditions", length, shape, dtype)
        return PackedTrack(kind=track.kind, values=run)

    def _write_part(self, folder: Path, job: _Job, places: range) -> None:
        footage, entry = job.footage, job.entry
        read = {name: _floats(footage.tracks[name].reader(places)) for name in entry.conditions}
        frames = footage.take(places)
        if job.resized:
            source = f"{footage.name} from frame {places.start} on"
            video = Video(frames.astype(self.dtype), source=source, conditions=read)
            frames, read = (whole := fitted(video, self.config)).frames, dict(whole.conditions)
        there = _there(footage)[places.start : places.stop]
        frames = frames if there.all() else frames[there]
        stored = frames.astype(job.stored, copy=False)
        if stored.dtype != frames.dtype and not np.array_equal(stored, frames):
            raise InputError(f"{footage.name} has values that are no {job.stored}: convert it")
        self.shelves.add(folder, entry.frames, stored, footage.name)
        for name, track in entry.conditions.items():
            values = read[name][None] if track.kind == "static" else read[name]
            if track.kind != "static" or places.start == 0:
                self.shelves.add(folder, track.values, values, f"{name!r} of {footage.name}")


def _chunks(footage: Footage) -> Iterator[range]:
    step = max(1, CHUNK_BYTES // (math.prod(footage.shape) * footage.dtype.itemsize))
    for start in range(0, footage.length, step):
        yield range(start, min(start + step, footage.length))


def _there(footage: Footage) -> Bool[np.ndarray, " f"]:
    """Return which frames take space; integers have nothing else for those that are missing."""
    if footage.present is None or footage.dtype.kind != "f":
        return np.ones(footage.length, np.bool_)
    return footage.present


def _narrowest(footage: Footage) -> np.dtype[np.generic]:
    """Return the dtype of the frames that are there, where only whole ones are missing."""
    stored = footage.stored
    if footage.present is None or stored is None or stored.dtype not in INTEGERS:
        return footage.dtype
    # A store may hold such frames resized, which makes fractions of integers.
    if footage.path.suffix == ".pack" or not math.isnan(stored.missing):
        return footage.dtype
    # Integers have no NaN: it stands for the frames that holes in the time stamps leave out.
    return np.dtype(stored.dtype)


def _packed_stored(footage: Footage, dtype: np.dtype[np.generic]) -> PackedStored | None:
    stored = footage.stored
    if stored is None and footage.dtype.name in INTEGERS and dtype.kind == "f":
        stored = Stored(footage.dtype.name, math.nan)
    return stored and PackedStored(dtype=stored.dtype, missing=repr(float(stored.missing)))


def _floats(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    return values if values.dtype == np.float64 else values.astype(np.float32)


def _name(footage: Footage, root: Path | None) -> str:
    """Return what to call a video, without where its source lies."""
    name = footage.name if root is None else footage.name.removeprefix(f"{root.parent}/")
    return "".join(letter if letter.isprintable() else "?" for letter in name)
