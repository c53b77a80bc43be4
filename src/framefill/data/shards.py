"""Tar files in WebDataset's layout: samples are the members that have a name in common.

KEY.mp4, KEY.npy or KEY.npz is a video, and so are numbered images, KEY.000.png or KEY/000.png;
KEY.cls, KEY.json or KEY.txt has its class; KEY.NAME.npy is a condition.
"""

import json
import math
import tokenize
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from framefill.data.axes import DAMAGED, LazyArray, Source, axes_of, footage_of, plane_of
from framefill.data.encoded import frames_in, index_of, picture_in
from framefill.data.footage import Footage, Layout, Track
from framefill.data.formats import FILMS
from framefill.data.pictures import ANY_FRAME, Kind
from framefill.data.tar_members import Member, Sample, samples_in
from framefill.data.tracks import FrameAxes, track_axes, track_of
from framefill.data.video import BROKEN, check_member, first_line
from framefill.errors import InputError

MOST_TEXT = 2**16  # bytes
MOST_HEADER = 2**16  # bytes before the values of an array
LONGEST_CLASS = 200  # characters; a longer text is a caption
ARRAYS = ("npy", "npz")
PICTURES = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
Order = Literal["C", "F"]


def open_shard(path: Path, layout: Layout) -> list[Footage]:
    """Return the videos of a tar file, which are read where they are, not unpacked.

    Video files in it are decoded once to count their frames, and later from their start; arrays
    (.npy) and images are read in parts.

    Args:
        path: A .tar file, not compressed.
        layout: `variables` names the one member of each sample that holds the frames, where there
            are several ("left.mp4", or "left"); `conditions` names KEY.NAME.npy; `axes` and
            `missing` are of arrays.

    Raises:
        InputError: it is no such file, it is damaged or cut off, it holds links or devices, or a
            sample without a video, with several, or without a condition.
    """
    samples = samples_in(path)
    if not samples:
        raise InputError(f"{path} holds no samples, such as 000.mp4 or 000.npy: give another file")
    return [
        footage
        for key, sample in samples.items()
        for footage in _videos(path, f"{path} sample {key[:200]}", sample, layout)
    ]


class Array(NamedTuple):
    """An array that is not loaded: what opens it, and what its header says."""

    source: Source
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fps: float | None


@dataclass(frozen=True)
class PlainArray:
    """Opens an .npy file within a tar file; see `framefill.data.axes.Source`."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: str
    order: Order

    def __call__(self) -> LazyArray:
        """Return the array, mapped into memory."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)


@dataclass(frozen=True)
class PackedArray:
    """Unpacks an array of an .npz file within a tar file, as a whole."""

    member: Member
    array: str

    def __call__(self) -> LazyArray:
        """Return the array."""
        with np.load(BytesIO(self.member.content()), allow_pickle=False) as arrays:
            return np.asarray(arrays[self.array])


@dataclass(frozen=True)
class FilmReader:
    """Reads frames of a video file; see `framefill.data.footage.Reader`."""

    member: Member
    kind: Kind

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Decode the frames at ascending places."""
        return frames_in(self.member.content(), places, self.kind, str(self.member))


@dataclass(frozen=True)
class PictureReader:
    """Reads images, one for each frame; see `framefill.data.footage.Reader`."""

    members: tuple[Member, ...]
    kind: Kind

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Decode the frames at some places."""
        frames = np.empty((len(places), *self.kind.shape), self.kind.dtype)
        for frame, place in zip(frames, places, strict=True):
            pixels = _picture(self.members[place])
            self.kind.refuse_other(Kind.of(pixels), str(self.members[place]))
            frame[:] = pixels
        return frames


def _videos(path: Path, name: str, sample: Sample, layout: Layout) -> list[Footage]:
    suffix = _chosen(sample, layout, name)
    label, fps = _about(sample)
    if suffix.rpartition(".")[2] in ARRAYS:
        videos, frames = _of_array(sample.members[suffix], path, name, layout)
    else:
        video = _of_film(sample.members[suffix], name) if suffix else _of_images(sample, name)
        videos, frames = [video], FrameAxes("fhwc", (), (video.length, *video.shape))
    return [
        replace(
            video,
            label=label,
            fps=video.fps or fps,
            tracks={each: _track(each, sample, frames, number, name) for each in layout.conditions},
        )
        for number, video in enumerate(videos)
    ]


def _chosen(sample: Sample, layout: Layout, name: str) -> str:
    """Return the suffix of the member that holds the frames; "" for numbered images."""
    beside = {f"{each.lower()}.npy" for each in layout.conditions}
    there = [each for each in sample.members if each not in beside and _is_video(each)]
    wanted = {each.lower() for each in layout.variables}
    if wanted:
        found = [each for each in there if {each, each.rpartition(".")[0]} & wanted]
    else:
        plain = [each for each in there if each in ARRAYS or f".{each}" in FILMS]
        found = [*([""] if sample.images else []), *plain] or there
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{name} has {len(found)} videos ({', '.join(each or 'images' for each in found)}): "
            "choose one with --data.variables"
        )
    raise InputError(
        f"{name} has no video among {', '.join(sample.members)[:200]}: give KEY.mp4, KEY.npy or "
        "KEY.000.png, or choose one with --data.variables"
    )


def _is_video(suffix: str) -> bool:
    kind = suffix.rpartition(".")[2]
    return kind in ARRAYS or f".{kind}" in FILMS


def _about(sample: Sample) -> tuple[str | None, float | None]:
    """Return what the texts of a sample say: its class, and frames per second."""
    known: object = None
    if "json" in sample.members:
        try:
            known = json.loads(_text(sample.members["json"]))
        except BROKEN as error:
            raise InputError(
                f"{sample.members['json']} can't be read as JSON ({first_line(error)})"
            ) from error
    about = known if isinstance(known, dict) else {"label": known}
    label, fps = about.get("label"), about.get("fps")
    names = [_text(sample.members["cls"])] if "cls" in sample.members else []
    if isinstance(label, str | int) and not isinstance(label, bool):
        names.append(str(label))
    if "txt" in sample.members:
        names.append(_text(sample.members["txt"]))
    plain = [each for each in names if each and each.isprintable() and len(each) <= LONGEST_CLASS]
    rate = float(fps) if isinstance(fps, int | float) and 0 < fps < math.inf else None
    return next(iter(plain), None), rate


def _text(member: Member) -> str:
    return member.head(MOST_TEXT).decode(errors="replace").strip()


def _track(name: str, sample: Sample, frames: FrameAxes, video: int, owner: str) -> Track:
    member = sample.members.get(f"{name.lower()}.npy")
    if member is None:
        raise InputError(
            f"{owner} has no condition {name!r} (--data.conditions): it needs {name}.npy beside "
            f"{', '.join(sample.members)[:200]}"
        )
    array = _array(member)
    axes = track_axes(array.shape, (), frames, str(member))
    return track_of(array.source, axes, array.shape, video, str(member))


def _of_array(
    member: Member, path: Path, name: str, layout: Layout
) -> tuple[list[Footage], FrameAxes]:
    array = _array(member)
    axes = axes_of(array.shape, (), layout.axes, name)
    plane, stored = plane_of(array.dtype, axes, layout.missing, name)
    videos = footage_of(array.source, path=path, name=name, shape=array.shape, plane=plane)
    ANY_FRAME.check_bytes(1, videos[0].shape, plane.dtype.itemsize, name)
    return (
        [replace(video, stored=stored, fps=array.fps) for video in videos],
        FrameAxes(axes, (), array.shape),
    )


def _of_film(member: Member, name: str) -> Footage:
    index = index_of(member.content(), str(member))
    return Footage(
        name=name,
        path=member.path,
        length=len(index),
        shape=index.kind.shape,
        dtype=np.dtype(index.kind.dtype),
        reader=FilmReader(member, index.kind),
        fps=float(index.rate) if index.rate else None,
        times=index.times,
    )


def _of_images(sample: Sample, name: str) -> Footage:
    if len({stem for stem, _ in sample.images}) > 1:
        raise InputError(f"{name} has images of several names: give the frames of one video")
    members = tuple(sample.images[place] for place in sorted(sample.images))
    kind = Kind.of(_picture(members[0]))
    return Footage(
        name=name,
        path=members[0].path,
        length=len(members),
        shape=kind.shape,
        dtype=np.dtype(kind.dtype),
        reader=PictureReader(members, kind),
    )


def _picture(member: Member) -> Shaped[np.ndarray, "h w c"]:
    return picture_in(member.content(), PICTURES, str(member))


def _array(member: Member) -> Array:
    try:
        return _packed(member) if member.name.lower().endswith(".npz") else _plain(member)
    except InputError:
        raise
    except (*DAMAGED, tokenize.TokenError) as error:
        raise InputError(f"{member} can't be read as an array ({first_line(error)})") from error


def _plain(member: Member) -> Array:
    head = BytesIO(member.head(MOST_HEADER))
    first = read_magic(head) == (1, 0)
    shape, fortran, dtype = (read_array_header_1_0 if first else read_array_header_2_0)(head)
    plane_of(dtype, "", None, str(member))  # refuses what isn't numbers
    if head.tell() + math.prod(shape) * dtype.itemsize != member.size:
        raise InputError(f"{member} has {member.size:,} bytes, and others by its header: damaged")
    order: Order = "F" if fortran else "C"
    source = PlainArray(member.path, member.offset + head.tell(), shape, dtype.str, order)
    return Array(source, shape, dtype, None)


def _packed(member: Member) -> Array:
    with zipfile.ZipFile(BytesIO(member.content())) as archive:
        names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        if len(names) != 1 and "frames" not in names:
            raise InputError(f"{member} holds {len(names)} arrays: name the video 'frames'")
        name = "frames" if "frames" in names else names[0]
        for each in {name, "fps"} & set(names):
            check_member(archive, f"{each}.npy", ANY_FRAME, member.path)
        source = PackedArray(member, name)
        array = np.asarray(source())
        rate = np.asarray(PackedArray(member, "fps")()) if "fps" in names else None
    fps = float(rate) if rate is not None and rate.ndim == 0 and rate > 0 else None
    return Array(source, array.shape, array.dtype, fps)
