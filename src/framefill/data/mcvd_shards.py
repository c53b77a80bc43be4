"""HDF5 files as MCVD's and VideoGPT's converters write them.

MCVD: shard_0001.hdf5, ... with the number of frames of video i in `len/<i>` and frame t of it in
`<i>/<t>`. VideoGPT: one file, the frames of all videos in a row in `train_data` and where each
video begins in `train_idx`, the same for `test`.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import DAMAGED, Plane, footage_of
from framefill.data.footage import Footage, Layout
from framefill.data.handles import opened
from framefill.data.natural import natural
from framefill.data.video import DTYPES, first_line
from framefill.errors import InputError

SUFFIXES = (".hdf5", ".h5")
MOST_VIDEOS = 2**20
MOST_BYTES = 2**31  # of what HDF5 unpacks at once
NO_CLASS = -1  # in Kinetics' test part
PARTS = ("train", "test")
Node = Any  # a group or an array of h5py's lower level, which takes a third of the time


class ShardVideo(NamedTuple):
    """A video of one of MCVD's shards, and the numbers of its person (KTH) and of its class."""

    footage: Footage | None  # None without frames: MCVD has those for files that it couldn't read
    person: int | None
    target: int | None


def is_mcvd(path: Path) -> bool:
    """Say whether an HDF5 file has one of the two layouts; False for what can't be read."""
    try:
        return _is_shard(path) or bool(_flat_parts(path))
    except InputError:
        return False


def open_mcvd(path: Path, layout: Layout) -> list[Footage]:
    """Return the videos of a file of either layout, both parts of VideoGPT's, in order.

    The class of one of MCVD's is the number that it has in the file. Videos without a frame are
    left out. A layout says nothing about such files, and they hold no conditions.

    Raises:
        InputError: the file has neither layout or is damaged, or h5py is missing.
    """
    if parts := _flat_parts(path):
        return [footage for part in parts for footage in open_flat(path, part)]
    return [each.footage for each in open_shard_videos(path) if each.footage is not None]


def open_flat(path: Path, part: str) -> list[Footage]:
    """Return the videos of one part, "train" or "test", of VideoGPT's file.

    Raises:
        InputError: the file lacks the part or is damaged, or h5py is missing.
    """
    if part not in _flat_parts(path):
        raise InputError(f"{path} has no {part}_data and {part}_idx: give VideoGPT's HDF5 file")
    root = _root(path)
    data, starts = (_array(root, f"{part}_{name}", path) for name in ("data", "idx"))
    shape, dtype = data.shape, data.dtype.newbyteorder("=")
    if len(shape) != 4 or 0 in shape or dtype.name not in DTYPES:
        raise InputError(
            f"{path} has {part}_data of {shape} and {dtype}: frames, height, width and channels "
            "are expected"
        )
    if math.prod(starts.shape) > MOST_VIDEOS:
        raise InputError(f"{path} has more than {MOST_VIDEOS:,} videos: split it")
    frames = shape[0]
    # Some converters put the end of the last video behind the starts.
    edges = [*(int(start) for start in _values(starts, path).ravel()), frames]
    edges = edges[:-1] if edges[-2:] == [frames, frames] else edges
    if edges[0] != 0 or any(start >= stop for start, stop in itertools.pairwise(edges)):
        raise InputError(f"{path} has starts in {part}_idx that don't ascend from 0 to {frames}")
    plane, source = Plane("fhwc", dtype, None), Dataset(path, f"{part}_data")
    (whole,) = footage_of(source, path=path, name=f"{path} {part}", shape=shape, plane=plane)
    return [whole.section(start, stop) for start, stop in itertools.pairwise(edges)]


def open_shard_videos(path: Path) -> list[ShardVideo]:
    """Return the videos of one of MCVD's shards, in the order of their numbers.

    Raises:
        InputError: it is no such file, it is damaged, or h5py is missing.
    """
    groups = [_node(_root(path), name, path) for name in ("len", "person", "target")]
    return [_shard_video(path, number, *groups) for number in shard_numbers(path)]


def shard_numbers(path: Path) -> list[int]:
    """Return the numbers of the videos in one of MCVD's shards, in order.

    Raises:
        InputError: it is no such file, it is damaged, or h5py is missing.
    """
    if not _is_shard(path):
        raise InputError(f"{path} has no 'len/0' and '0': give one of MCVD's HDF5 shards")
    with _damage(path):
        names = [name.decode(errors="replace") for name in _node(_root(path), "len", path)]
    if len(names) > MOST_VIDEOS or not all(re.fullmatch(r"0|[1-9]\d{0,9}", each) for each in names):
        raise InputError(f"{path} has other names than numbers of videos in 'len'")
    return sorted(map(int, names))


def find_shards(folder: Path) -> list[Path]:
    """Return the HDF5 files of a folder, shard_2 before shard_10; nothing if there are none."""
    if not folder.is_dir():
        return []
    return sorted((each for each in folder.iterdir() if each.suffix in SUFFIXES), key=natural)


def number_in(path: Path, name: str) -> int | None:
    """Return the one whole number at a place in an HDF5 file; None if there is nothing.

    Raises:
        InputError: it is something else, it is no HDF5 file, or h5py is missing.
    """
    return _number(_root(path), name, path)


def has(path: Path, name: str) -> bool:
    """Say whether an HDF5 file has a group or an array of a name.

    Raises:
        InputError: it is no HDF5 file, or h5py is missing.
    """
    return _node(_root(path), name, path) is not None


@dataclass(frozen=True)
class ShardReader:
    """Reads frames of one video of a shard; see `framefill.data.footage.Reader`."""

    path: Path
    number: int
    stored: tuple[int, ...]
    dtype: str

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Load the frames at some places."""
        frames = np.empty((len(places), *self.stored), self.dtype)
        video = _node(_root(self.path), str(self.number), self.path)
        for frame, place in zip(frames, places, strict=True):
            array = _array(video, str(place), self.path)
            if (array.shape, array.dtype.name) != (self.stored, self.dtype):
                raise InputError(
                    f"{self.path} has frame {self.number}/{place} of {array.shape} and "
                    f"{array.dtype} and the first {self.stored} and {self.dtype}: all frames need "
                    "one size and kind"
                )
            frame[...] = _values(array, self.path)
        return frames if len(self.stored) == 3 else frames[..., None]


@dataclass(frozen=True)
class Dataset:
    """Opens an array of an HDF5 file, in whichever process; see `framefill.data.axes.Source`."""

    path: Path
    name: str

    def __call__(self) -> Any:
        """Return h5py's array."""
        _array(_root(self.path), self.name, self.path)
        return _file(self.path)[self.name]


def _shard_video(
    path: Path, number: int, lengths: Node, persons: Node, targets: Node
) -> ShardVideo:
    length = _number(lengths, str(number), path)
    person = _number(persons, str(number), path)
    target = _number(targets, str(number), path)
    target = None if target == NO_CLASS else target
    video = _node(_root(path), str(number), path)
    if not length:
        return ShardVideo(None, person, target)
    if _node(video, str(length - 1), path) is None or _node(video, str(length), path) is not None:
        raise InputError(f"{path} announces {length} frames of video {number} and has others")
    first = _array(video, "0", path)
    if len(first.shape) not in (2, 3) or 0 in first.shape or first.dtype.name not in DTYPES:
        raise InputError(
            f"{path} has frames of {first.shape} and {first.dtype} in video {number}: height, "
            "width and maybe channels are expected"
        )
    height, width, *channels = first.shape
    footage = Footage(
        name=f"{path} video {number}",
        path=path,
        length=length,
        shape=(height, width, channels[0] if channels else 1),
        dtype=np.dtype(first.dtype.name),
        reader=ShardReader(path, number, first.shape, first.dtype.name),
        label=None if target is None else str(target),
    )
    return ShardVideo(footage, person, target)


def _is_shard(path: Path) -> bool:
    return has(path, "0") and _node(_node(_root(path), "len", path), "0", path) is not None


def _flat_parts(path: Path) -> list[str]:
    return [part for part in PARTS if has(path, f"{part}_data") and has(path, f"{part}_idx")]


def _file(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            "HDF5 files need the h5py library: pip install 'framefill[hdf5]'"
        ) from error
    try:
        return opened(h5py.File, path)
    except DAMAGED as error:
        raise InputError(f"{path} can't be read as HDF5 ({first_line(error)})") from error


def _root(path: Path) -> Node:
    file = _file(path)
    from h5py import h5g

    with _damage(path):
        return h5g.open(file.id, b"/")


def _node(group: Node, name: str, path: Path) -> Node:
    """Return what a group holds; None if there is nothing, or a link, which may lead elsewhere."""
    from h5py import h5g, h5l, h5o

    with _damage(path):
        if not isinstance(group, h5g.GroupID) or not group.links.exists(name.encode()):
            return None
        if group.links.get_info(name.encode()).type != h5l.TYPE_HARD:
            return None
        return h5o.open(group, name.encode())


def _array(group: Node, name: str, path: Path) -> Node:
    from h5py import h5d

    array = _node(group, name, path)
    if not isinstance(array, h5d.DatasetID):
        raise InputError(f"{path} lacks the array {name!r} of a video: make it anew")
    with _damage(path):
        made = array.get_create_plist()
        chunk = made.get_chunk() if made.get_layout() == h5d.CHUNKED else ()
        unpacked = math.prod(chunk) * array.dtype.itemsize
    if made.get_layout() == h5d.VIRTUAL or made.get_external_count():
        raise InputError(f"{path} has {name!r} in another file: only what is inside is read")
    if unpacked > MOST_BYTES:
        raise InputError(f"{path} has {name!r} in chunks above {MOST_BYTES:,} bytes: store it anew")
    return array


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise InputError(f"{path} is damaged ({first_line(error)}): make it anew") from error


def _number(group: Node, name: str, path: Path) -> int | None:
    if _node(group, name, path) is None:
        return None
    array = _array(group, name, path)
    if math.prod(array.shape) != 1 or array.dtype.kind not in "iu":
        raise InputError(f"{path} has no whole number in {name!r}: is it one of MCVD's shards?")
    return int(_values(array, path).item())


def _values(array: Node, path: Path) -> Shaped[np.ndarray, "..."]:
    """Load an array of a size that is known to be small."""
    from h5py import h5s

    with _damage(path):
        values = np.empty(array.shape, array.dtype)
        array.read(h5s.ALL, h5s.ALL, values)
    return values
