"""Videos, folders of images and array files, read into one `Video`."""

import warnings
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Shaped

from framefill.data.films import (
    Damage,
    Film,
    check_file,
    check_header,
    damaged,
    opened_film,
    pixels_of,
    rate_of,
    whole_frames,
)
from framefill.data.footage import Layout
from framefill.data.formats import format_of, is_dicom, open_footage
from framefill.data.pictures import Kind
from framefill.data.sidecar import inside, with_sidecar
from framefill.data.video import Part, Video, as_frames
from framefill.errors import FillWarning, InputError


def to_video(source: Video | Shaped[np.ndarray, "..."] | Path | str) -> Video:
    """Take whatever a user has: a video, an array [f h w c] or [f h w], or a path to `read`.

    Raises:
        InputError: the array can't be a video, or the path can't be read.
    """
    if isinstance(source, Video):
        return source
    if isinstance(source, np.ndarray):
        return Video(as_frames(source, "the array"))
    if not isinstance(source, str | Path):
        raise InputError(
            f"a {type(source).__name__} is no video: give a path, an array [f h w c], or what "
            "framefill.read returns"
        )
    return read(source)


def read(
    path: Path | str,
    *,
    start: int = 0,
    frames: int | None = None,
    every: int = 1,
    video: int = 0,
    layout: Layout = Layout(),
    limit_bytes: int = 2**31,
) -> Video:
    """Read frames start, start + every, ... of a file or a folder, at its own size.

    Videos (.mp4 .gif .webm .avi .mkv .mov .m4v .mpg and what else FFmpeg decodes) become 8-bit RGB,
    also those with 10 bits; gray ones keep one channel and their bits. Frames come in the order in
    which they are shown, turned as the file says; of several streams the one that FFmpeg prefers is
    read. Transparent pixels are composed on black. Pixels that aren't square stay as stored.

    Folders hold one image per frame (.png .jpg .bmp .tif .webp), frame2 before frame10; a lone
    image is a clip of its pages. 8- and 16-bit gray, floating gray and RGB keep their values.

    Arrays (.npy .npz .nc .zarr .h5 .tif .dcm .nii ...) keep their values, units, time stamps and
    what else the format knows; missing values are NaN.

    Args:
        path: A video, an image, a folder of images, or an array file.
        start: First frame, counted from 0.
        frames: How many to take; None takes all there are.
        every: Step between frames.
        video: Which video of a file that holds several.
        layout: How arrays are to be understood.
        limit_bytes: Refuse to hold more than this.

    Raises:
        InputError: there is no such file, it holds no video, fewer frames than asked for or more
            than the limit, or it is damaged or cut off; says how many frames come before that.
    """
    path = Path(path)
    part = Part(start=start, frames=frames, every=every, limit_bytes=limit_bytes)
    known = format_of(path)
    film = known is None or known.name == "video"
    if path.is_file() and film and not is_dicom(path) and not layout.conditions:
        if video:
            raise InputError(f"{path} holds 1 video and not number {video}: count from 0")
        check_file(path)
        return _read_film(path, part)
    inner = inside(path, layout)
    found = [with_sidecar(each, layout) for each in open_footage(path, inner)]
    if not 0 <= video < len(found):
        raise InputError(f"{path} holds {len(found)} videos and not number {video}: count from 0")
    if len(found) > 1 and video == 0:
        names = ", ".join(each.name for each in found[:3])
        warnings.warn(
            f"{path} holds {len(found)} videos ({names} ...), of which the first is read: choose "
            "with --video (video=)",
            FillWarning,
            stacklevel=2,
        )
    return found[video].video(part)


class _Frames:
    """An array that frames are added to, never beyond the limit and without a second copy."""

    def __init__(self, part: Part, name: str) -> None:
        self.part, self.name, self.count = part, name, 0
        self.array = np.empty((0, 0, 0, 0))

    def add(self, frame: Shaped[np.ndarray, "h w c"], label: str) -> None:
        if not self.count:
            self.part.check_bytes(self.part.frames or 1, frame.shape, frame.itemsize, self.name)
            self.array = np.empty((self.part.frames or 1, *frame.shape), frame.dtype)
        Kind.of(self.array[0]).refuse_other(Kind.of(frame), label)
        if self.count == len(self.array):
            self.part.check_bytes(self.count + 1, frame.shape, frame.itemsize, self.name)
            most = self.part.limit_bytes // frame.nbytes
            self._resize(min(most, self.count + self.count // 2 + 16))
        self.array[self.count] = frame
        self.count += 1

    def finish(self) -> Shaped[np.ndarray, "f h w c"]:
        self._resize(self.count)
        return self.array

    def _resize(self, count: int) -> None:
        self.array.resize((count, *self.array.shape[1:]), refcheck=False)


def _read_film(path: Path, part: Part) -> Video:
    name = str(path)
    with opened_film(path) as film:
        check_header(film, part, name)
        frames, seen, damage = _collected(film, part, path)
        rate = rate_of(film)
    if damage and frames.count != part.frames:
        raise damaged(name, seen, frames.count, damage)
    if frames.count != part.frames:
        part.of(seen, name)
    return Video(frames.finish(), fps=float(rate) if rate else None, source=name)


def _collected(film: Film, part: Part, path: Path) -> tuple[_Frames, int, str]:
    """Return the frames of a part, how many were decoded for it, and what is wrong behind them."""
    frames, seen, converter = _Frames(part, str(path)), 0, VideoReformatter()
    try:
        for frame in whole_frames(film, path):
            if seen >= part.start and (seen - part.start) % part.every == 0:
                frames.add(pixels_of(frame, converter, str(path)), f"frame {seen} of {path}")
                if frames.count == part.frames:
                    break
            seen += 1
    except Damage as damage:
        return frames, seen, str(damage)
    return frames, seen, ""
