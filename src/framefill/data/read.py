"""Videos, folders of images and array files, read into one `Video`."""

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
from framefill.data.formats import IMAGES
from framefill.data.pictures import Kind, images_in, opened_image, pages_of, picture
from framefill.data.video import Part, Video, as_frames, load_npy, load_npz


def to_video(source: Video | Shaped[np.ndarray, "..."] | Path | str) -> Video:
    """Take whatever a user has: a video, an array [f h w c] or [f h w], or a path to `read`.

    Raises:
        InputError: the array can't be a video, or the path can't be read.
    """
    if isinstance(source, Video):
        return source
    if isinstance(source, np.ndarray):
        return Video(as_frames(source, "the array"))
    return read(source)


def read(
    path: Path | str,
    *,
    start: int = 0,
    frames: int | None = None,
    every: int = 1,
    limit_bytes: int = 2**31,
) -> Video:
    """Read frames start, start + every, ... of a file or a folder, at its own size.

    Videos (.mp4 .gif .webm .avi .mkv .mov .m4v .mpg and what else FFmpeg decodes) become 8-bit RGB,
    also those with 10 bits; gray ones keep one channel and their bits. Frames come in the order in
    which they are shown, turned as the file says; of several streams the one that FFmpeg prefers is
    read. Transparent pixels are composed on black. Pixels that aren't square stay as stored.

    Folders hold one image per frame (.png .jpg .bmp .tif .webp), frame2 before frame10; a lone
    image is a clip of its pages. 8- and 16-bit gray, floating gray and RGB keep their values.

    Arrays (.npy, .npz) are [f h w c] or [f h w]; an archive holds one, or one named "frames".

    Args:
        path: A video, an image, a folder of images, or an array file.
        start: First frame, counted from 0.
        frames: How many to take; None takes all there are.
        every: Step between frames.
        limit_bytes: Refuse to hold more than this.

    Raises:
        InputError: there is no such file, it holds no video, fewer frames than asked for or more
            than the limit, or it is damaged or cut off; says how many frames come before that.
    """
    path = Path(path)
    part = Part(start=start, frames=frames, every=every, limit_bytes=limit_bytes)
    if path.is_dir():
        return _read_folder(path, part)
    check_file(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return load_npy(path, part)
    if suffix == ".npz":
        return load_npz(path, part)
    if suffix in IMAGES:
        return _read_pages(path, part)
    return _read_film(path, part)


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


def _read_pages(path: Path, part: Part) -> Video:
    frames = _Frames(part, str(path))
    with opened_image(path, part) as image:
        for page in part.of(pages_of(image, path), str(path)):
            frames.add(picture(image, page, path), f"page {page} of {path}")
    return Video(frames.finish(), source=str(path))


def _read_folder(folder: Path, part: Part) -> Video:
    paths = images_in(folder)
    frames = _Frames(part, str(folder))
    for index in part.of(len(paths), str(folder)):
        with opened_image(paths[index], part) as image:
            frames.add(picture(image, 0, paths[index]), str(paths[index]))
    return Video(frames.finish(), source=str(folder))


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
