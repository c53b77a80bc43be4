"""Packed stores: videos as plain arrays, which are mapped into memory, and an index of them.

A store is a folder NAME.pack with index.json and array files, frames-0000.npy and so on. All videos
of one frame size and dtype stand in a row in such files, none across two of them; so do time
stamps, which frames are there, and conditions. `framefill.data.pack_write` writes them.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from framefill.data.footage import Footage, Layout, Reader, Track
from framefill.data.pack_arrays import ArrayFiles, Lone, RunReader
from framefill.data.pack_index import (
    AGAIN,
    MOST_FRAMES,
    PackedStored,
    PackedTrack,
    PackedVideo,
    Run,
    read_index,
)
from framefill.data.timeline import NOWHERE, Rearranged
from framefill.data.video import DTYPES, Stored
from framefill.errors import InputError

STORED = (*DTYPES, "bool", "int8", "int32", "int64", "uint32", "uint64")
TIMES = ("float64", "datetime64[ns]")
AXES = {"vector": 1, "map": 3, "static": 3}  # of one entry


def open_pack(path: Path, layout: Layout) -> list[Footage]:
    """Return the videos of a packed store, in order.

    Args:
        path: The folder.
        layout: `conditions` names those that are wanted. The rest was said when the store was
            made: what is said here must be the same, or nothing.

    Raises:
        InputError: it is no such folder, of another version, damaged or incomplete, or made with
            another layout.
    """
    index = read_index(path)
    for name in ("variables", "axes", "missing"):
        asked, made = getattr(layout, name), getattr(index, name)
        if asked not in (made, getattr(Layout(), name)):
            raise InputError(f"{path} was packed with {name} {made!r}, not {asked!r}: {AGAIN}")
    files = ArrayFiles(path)
    found = [_footage(video, files, layout.conditions) for video in index.videos]
    files.check_used_up()
    return found


def _footage(video: PackedVideo, files: ArrayFiles, wanted: Sequence[str]) -> Footage:
    name = f"{files.folder} {video.name[:1000]}"
    rate = 1.0 if video.fps is None else video.fps
    if not 1 <= video.length <= MOST_FRAMES or not 0 < rate < math.inf:
        raise InputError(f"{name} has {video.length} frames, {video.fps} per second: {AGAIN}")
    present = _flags(files, video, name)
    reader, (height, width, channels) = _frames(files, video, present, name)
    if len(video.channels) not in (0, channels):
        raise InputError(f"{name} has {channels} channels and names {video.channels[:9]}: {AGAIN}")
    tracks = {
        each: _track(files, track, video.length, f"{each!r} of {name}")
        for each, track in video.conditions.items()
    }
    return Footage(
        name=name,
        path=files.folder,
        length=video.length,
        shape=(height, width, channels),
        dtype=np.dtype(video.dtype),
        reader=reader,
        fps=video.fps,
        times=_times(files, video, name),
        units=video.units,
        channels=video.channels,
        stored=_stored(video.stored, name),
        label=video.label,
        tracks={each: tracks[each] for each in wanted if each in tracks},
        present=present,
    )


def _frames(
    files: ArrayFiles, video: PackedVideo, present: Bool[np.ndarray, " f"] | None, name: str
) -> tuple[Reader, tuple[int, int, int]]:
    """Return a reader of all frames, NaN where they are missing, and their shape."""
    if video.dtype not in DTYPES:
        raise InputError(f"{name} has frames of {video.dtype[:20]!r}: {AGAIN}")
    frames = files.reader(video.frames, video.dtype, name)
    if len(frames.shape) != 3:
        raise InputError(f"{name} has frames of shape {frames.shape}: {AGAIN}")
    height, width, channels = frames.shape
    if video.frames.length == video.length:
        return frames, (height, width, channels)
    there = 0 if present is None else int(present.sum())
    if present is None or there != video.frames.length or not video.dtype.startswith("float"):
        raise InputError(
            f"{name} has {video.frames.length} of {video.length} frames of {video.dtype}, and "
            f"{there} should be there: {AGAIN}"
        )
    places = np.where(present, np.cumsum(present) - 1, NOWHERE)
    return Rearranged(frames, places, np.dtype(video.dtype)), (height, width, channels)


def _track(files: ArrayFiles, track: PackedTrack, length: int, name: str) -> Track:
    reader = files.reader(track.values, None, name)
    count = 1 if track.kind == "static" else length
    floats = reader.dtype in ("float32", "float64")
    if not floats or len(reader.shape) != AXES[track.kind] or track.values.length != count:
        raise InputError(
            f"condition {name} is {track.values.length} of {reader.shape} and {reader.dtype}, no "
            f"{track.kind} of {length} frames: {AGAIN}"
        )
    return Track(track.kind, reader.shape[-1], Lone(reader) if track.kind == "static" else reader)


def _flags(files: ArrayFiles, video: PackedVideo, name: str) -> Bool[np.ndarray, " f"] | None:
    return None if video.present is None else _loaded(files, video, video.present, ("bool",), name)


def _times(files: ArrayFiles, video: PackedVideo, name: str) -> Shaped[np.ndarray, " f"] | None:
    return None if video.times is None else _loaded(files, video, video.times, TIMES, name)


def _loaded(
    files: ArrayFiles, video: PackedVideo, run: Run, dtypes: Sequence[str], name: str
) -> Shaped[np.ndarray, " f"]:
    """Load what there is one value of for each frame."""
    reader: RunReader = files.reader(run, None, name)
    if reader.shape or reader.dtype not in dtypes or run.length != video.length:
        raise InputError(
            f"{name} has {video.length} frames and in {run.file} {run.length} {reader.dtype} of "
            f"shape {reader.shape}: {AGAIN}"
        )
    return reader(range(run.length))


def _stored(stored: PackedStored | None, name: str) -> Stored | None:
    if stored is None:
        return None
    try:
        if stored.dtype in STORED:
            return Stored(stored.dtype, float(stored.missing))
    except ValueError:
        pass
    raise InputError(
        f"{name} says {stored.dtype[:20]!r} and {stored.missing[:20]!r} of how it was stored: "
        f"{AGAIN}"
    )
