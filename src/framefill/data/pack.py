"""Packed stores: videos as plain arrays, which are mapped into memory, and an index of them.

A store is a folder NAME.pack with index.json and array files, frames-0000.npy and so on. All videos
of one frame size and dtype stand in a row in such files, none across two of them; so do time
stamps, which frames are there, and conditions. `framefill.data.pack_write` writes them.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from framefill.data.footage import Footage, Layout, Track, TrackKind
from framefill.data.handles import opened
from framefill.data.timeline import NOWHERE, Rearranged
from framefill.data.video import BROKEN, DTYPES, Stored, first_line
from framefill.errors import InputError
from framefill.serialise import from_data, read_json

VERSION = 1
INDEX = "index.json"
MOST_INDEX = 2**29  # bytes
MOST_VIDEOS = 10**6
MOST_FRAMES = 2**28  # of a video
FILE = re.compile(r"[a-z]{1,20}-[0-9]{4,6}\.npy")
TIMES = (np.dtype("float64"), np.dtype("datetime64[ns]"))
STORED = (*DTYPES, "bool", "int8", "int32", "int64", "uint32", "uint64")
AXES = {"vector": 1, "map": 3, "static": 3}  # of one entry


@dataclass(frozen=True, kw_only=True)
class Run:
    """Consecutive entries of an array file.

    Args:
        file: Its name.
        start: The first one.
        length: How many there are.
    """

    file: str
    start: int
    length: int


@dataclass(frozen=True, kw_only=True)
class PackedTrack:
    """A condition: see `framefill.data.footage.Track`. A static one is a run of one entry."""

    kind: TrackKind
    values: Run


@dataclass(frozen=True, kw_only=True)
class PackedStored:
    """See `framefill.data.video.Stored`; `missing` is text, since JSON has no NaN."""

    dtype: str
    missing: str


@dataclass(frozen=True, kw_only=True)
class PackedVideo:
    """What the index says of a video: see `framefill.data.footage.Footage`.

    `frames` are those alone that are there, where `present` says so and they are fewer than
    `length`; the file may hold them in a narrower dtype than the `dtype` that they are read in.
    """

    name: str
    label: str
    length: int
    dtype: str
    frames: Run
    fps: float | None = None
    units: str = ""
    channels: tuple[str, ...] = ()
    stored: PackedStored | None = None
    times: Run | None = None
    present: Run | None = None
    conditions: dict[str, PackedTrack] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PackIndex:
    """index.json: the videos in order, and how the arrays were understood that they are from."""

    version: int
    videos: tuple[PackedVideo, ...]
    variables: tuple[str, ...] = ()
    axes: str = ""
    missing: float | None = None


@dataclass(frozen=True)
class RunReader:
    """Reads entries of a run; see `framefill.data.footage.Reader`.

    Args:
        path: The array file.
        start: Its first entry.
        stop: The one behind its last.
        shape: Of an entry.
        dtype: Name of the dtype that is returned.
    """

    path: Path
    start: int
    stop: int
    shape: tuple[int, ...]
    dtype: str

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Load the entries at some places.

        Raises:
            InputError: the file is gone, or another one.
        """
        array = mapped(self.path)
        if array.shape[1:] != self.shape or len(array) < self.stop:
            raise InputError(f"{self.path} has changed since it was opened: open it again")
        return array[np.asarray(places, np.int64) + self.start].astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Lone:
    """Reads the one entry of a run, whichever places are asked for."""

    reader: RunReader

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Load it."""
        return self.reader([0])[0]


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
    index = _read_index(path)
    for name in ("variables", "axes", "missing"):
        asked, made = getattr(layout, name), getattr(index, name)
        if asked not in (made, getattr(Layout(), name)):
            raise InputError(f"{path} was packed with {name} {made!r}, not {asked!r}: pack again")
    files = _Files(path)
    found = [_footage(video, files, layout.conditions) for video in index.videos]
    files.check_used_up()
    return found


def mapped(path: Path) -> Shaped[np.ndarray, "..."]:
    """Return an array file, mapped into memory.

    Raises:
        InputError: it is gone, holds no plain numbers, or is cut off.
    """
    try:
        return opened(_map, path)
    except BROKEN as error:
        raise InputError(f"{path} can't be read as an array ({first_line(error)})") from error


def _map(path: Path) -> Shaped[np.ndarray, "..."]:
    array = np.lib.format.open_memmap(path, mode="r")
    # The class of its own makes each access slower.
    return np.asarray(array)


def _read_index(path: Path) -> PackIndex:
    file = path / INDEX
    if not file.is_file() or file.is_symlink():
        raise InputError(f"{path} has no {INDEX}: give a folder that framefill pack made")
    if file.stat().st_size > MOST_INDEX:
        raise InputError(f"{file} is larger than {MOST_INDEX:,} bytes: framefill pack made no such")
    data: Any = read_json(file)
    version = data.get("version") if isinstance(data, dict) else None
    if version != VERSION:
        raise InputError(
            f"{file} has version {str(version)[:20]}, and this framefill reads {VERSION}: pack the "
            "data again, or with the other framefill"
        )
    if not isinstance(data.get("videos"), list) or not 0 < len(data["videos"]) <= MOST_VIDEOS:
        raise InputError(f"{file} must list 1 to {MOST_VIDEOS:,} videos: pack the data again")
    try:
        return from_data(data, PackIndex, source=str(file))
    except InputError as error:
        # A fault of the writer's is one of each video's.
        raise InputError(f"{str(error)[:400]}: pack the data again") from None


class _Files:
    """The array files of a store, of which every entry is to be used once, in order.

    So nothing of an index can ask for more memory than the files are large.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrays: dict[str, Shaped[np.ndarray, "..."]] = {}
        self.used: dict[str, int] = {}

    def take(self, run: Run, of: str) -> Shaped[np.ndarray, "..."]:
        """Return the whole array of the file whose next entries a run is.

        Raises:
            InputError: there is no such file, or it has other entries.
        """
        if run.file not in self.arrays:
            self.arrays[run.file] = self._checked(run.file)
        array, used = self.arrays[run.file], self.used.get(run.file, 0)
        if run.start != used or not 0 <= run.length <= len(array) - used:
            raise InputError(
                f"{self.folder / run.file} has {len(array)} entries, and {run.length} from "
                f"{run.start} on can't be those of {of}, with {used} before: pack the data again"
            )
        self.used[run.file] = used + run.length
        return array

    def reader(self, run: Run, dtype: str, of: str) -> RunReader:
        """Return a reader of a run.

        Raises:
            InputError: as `take`, or the file's values don't all fit into the dtype.
        """
        array = self.take(run, of)
        if array.dtype.name not in DTYPES or not np.can_cast(array.dtype, dtype):
            raise InputError(f"{self.folder / run.file} holds {array.dtype} and {of} is {dtype}")
        place = self.folder / run.file
        return RunReader(place, run.start, run.start + run.length, array.shape[1:], dtype)

    def check_used_up(self) -> None:
        """Refuse a file with entries that are of no video."""
        for name, array in self.arrays.items():
            if self.used[name] < len(array):
                raise InputError(
                    f"{self.folder / name} has {len(array)} entries, of which {self.used[name]} "
                    "are in the index: pack the data again"
                )

    def _checked(self, name: str) -> Shaped[np.ndarray, "..."]:
        path = self.folder / name
        if not FILE.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise InputError(f"{self.folder} has no array file {name[:40]!r}: copy it as a whole")
        array = mapped(path)
        # The header is at most a few lines; more would be bytes that nobody knows of.
        spare = path.stat().st_size - array.nbytes
        if array.ndim == 0 or 0 in array.shape[1:] or not 0 < spare < 2**12:
            raise InputError(f"{path} has shape {array.shape} and other bytes: pack the data again")
        if not array.flags.c_contiguous or not array.dtype.isnative:
            raise InputError(f"{path} has its values in another order: pack the data again")
        return array


def _footage(video: PackedVideo, files: _Files, wanted: Sequence[str]) -> Footage:
    name = f"{files.folder} {video.name}"
    rate_wrong = video.fps is not None and not 0 < video.fps < math.inf
    if not 1 <= video.length <= MOST_FRAMES or video.dtype not in DTYPES or rate_wrong:
        raise InputError(
            f"{name[:200]} has {video.length} frames of {video.dtype[:20]} at {video.fps} frames "
            "per second: pack the data again"
        )
    frames = files.reader(video.frames, video.dtype, name)
    times = _values(files, video.times, video.length, name)
    if times is not None and times.dtype not in TIMES:
        raise InputError(f"{name} has time stamps of {times.dtype}: pack the data again")
    present = _values(files, video.present, video.length, name)
    if present is not None and present.dtype != np.bool_:
        raise InputError(f"{name} has {present.dtype} for which frames are there: pack again")
    reader = _spread(frames, video, present, name)
    height, width, channels = frames.shape if len(frames.shape) == 3 else (0, 0, 0)
    if not height or len(video.channels) not in (0, channels):
        raise InputError(
            f"{name} has frames of shape {frames.shape} and channels {video.channels[:9]}: pack "
            "the data again"
        )
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
        times=times,
        units=video.units,
        channels=video.channels,
        stored=_stored(video.stored, name),
        label=video.label,
        tracks={each: tracks[each] for each in wanted if each in tracks},
        present=present,
    )


def _spread(
    frames: RunReader, video: PackedVideo, present: Bool[np.ndarray, " f"] | None, name: str
) -> Callable[[Sequence[int]], Shaped[np.ndarray, "f h w c"]]:
    """Return a reader of all frames, NaN where they are missing."""
    if video.frames.length == video.length:
        return frames
    there = 0 if present is None else int(present.sum())
    if present is None or there != video.frames.length or not video.dtype.startswith("float"):
        raise InputError(
            f"{name} has {video.frames.length} of {video.length} frames of {video.dtype}, and "
            f"{there} are said to be there: pack the data again"
        )
    places: Int64[np.ndarray, " f"] = np.where(present, np.cumsum(present) - 1, NOWHERE)
    return Rearranged(frames, places, np.dtype(video.dtype))


def _track(files: _Files, track: PackedTrack, length: int, name: str) -> Track:
    array = files.take(track.values, name)
    static = track.kind == "static"
    floats = array.dtype.name in ("float32", "float64")
    one = array.shape[1:]
    if not floats or len(one) != AXES[track.kind] or track.values.length != (1 if static else length):
        raise InputError(
            f"condition {name} is {track.values.length} of {one} and {array.dtype}, no {track.kind}"
            f" of {length} frames: pack the data again"
        )
    start, stop = track.values.start, track.values.start + track.values.length
    reader = RunReader(files.folder / track.values.file, start, stop, one, array.dtype.name)
    return Track(track.kind, one[-1], Lone(reader) if static else reader)


def _values(
    files: _Files, run: Run | None, length: int, name: str
) -> Shaped[np.ndarray, " f"] | None:
    """Load what there is one number of for each frame."""
    if run is None:
        return None
    array = files.take(run, name)
    if array.ndim != 1 or run.length != length:
        raise InputError(f"{name} has {run.length} entries in {run.file} for {length} frames")
    return np.array(array[run.start : run.start + run.length])


def _stored(stored: PackedStored | None, name: str) -> Stored | None:
    if stored is None:
        return None
    try:
        if stored.dtype in STORED:
            return Stored(stored.dtype, float(stored.missing))
    except ValueError:
        pass
    raise InputError(
        f"{name} was stored as {stored.dtype[:20]!r} with {stored.missing[:20]!r} for missing "
        "values: pack the data again"
    )
