"""Videos, folders of images and array files, read into one `Video`."""

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import supported_np_pix_fmts
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps

from framefill.data.video import BROKEN, Part, Video, as_frames, first_line, load_npy, load_npz
from framefill.errors import InputError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
# Without playlists, which name other files and addresses: a stranger's clip must open nothing else.
CONTAINERS = (
    "mov,matroska,avi,gif,mpeg,mpegts,mpegvideo,flv,ogg,asf,h264,hevc,mjpeg,ivf,yuv4mpegpipe"
)
BROKEN_IMAGE = (*BROKEN, Image.DecompressionBombError)


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
    if not path.is_file():
        what = "isn't a file or a folder" if path.exists() else "doesn't exist"
        raise InputError(f"{path} {what}: check the path")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: give another file")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return load_npy(path, part)
    if suffix == ".npz":
        return load_npz(path, part)
    if suffix in IMAGES:
        return _read_pages(path, part)
    return _read_stream(path, part)


class _Frames:
    """An array that frames are added to, never beyond the limit and without a second copy."""

    def __init__(self, part: Part, name: str) -> None:
        self.part, self.name, self.count = part, name, 0
        self.array = np.empty((0, 0, 0, 0))

    def add(self, frame: Shaped[np.ndarray, "h w c"], label: str) -> None:
        if not self.count:
            self.part.check_bytes(self.part.frames or 1, frame.shape, frame.itemsize, self.name)
            self.array = np.empty((self.part.frames or 1, *frame.shape), frame.dtype)
        shape, dtype = self.array.shape[1:], self.array.dtype
        if (frame.shape, frame.dtype) != (shape, dtype):
            raise InputError(
                f"{label} is {frame.shape} of {frame.dtype} and the first frame {shape} of {dtype} "
                f"(height, width, channels): all frames need one size and kind"
            )
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
    with _opened(path, part) as image:
        # The further pictures in a camera's file (MPO) are other views, not other frames.
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        for page in part.of(pages, str(path)):
            frames.add(_picture(image, page, path), f"page {page} of {path}")
    return Video(frames.finish(), source=str(path))


def _read_folder(folder: Path, part: Part) -> Video:
    paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES]
    paths = sorted((path for path in paths if not path.name.startswith(".")), key=natural)
    if not paths:
        raise InputError(f"{folder} holds no images ({' '.join(IMAGES)}): give a folder of frames")
    frames = _Frames(part, str(folder))
    for index in part.of(len(paths), str(folder)):
        with _opened(paths[index], part) as image:
            frames.add(_picture(image, 0, paths[index]), str(paths[index]))
    return Video(frames.finish(), source=str(folder))


def natural(path: Path) -> tuple[list[str | int], str]:
    """Return a key that sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [int(part) if part.isdecimal() else part for part in parts], path.name


@contextmanager
def _opened(path: Path, part: Part) -> Iterator[Image.Image]:
    try:
        image = Image.open(path)
    except BROKEN_IMAGE as error:
        raise InputError(f"{path} can't be read as an image ({first_line(error)})") from error
    with image:
        part.check_bytes(1, (image.height, image.width, 1), 1, str(path))
        yield image


def _picture(image: Image.Image, page: int, path: Path) -> Shaped[np.ndarray, "h w c"]:
    try:
        image.seek(page)
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            return _on_black(np.asarray(upright.convert("RGBA")))
        if upright.mode in ("L", "F") or upright.mode.startswith("I;16"):
            gray = np.asarray(upright)
            return gray.astype(gray.dtype.newbyteorder("="))[..., None]
        if upright.mode == "1":
            return np.asarray(upright.convert("L"))[..., None]
        if upright.mode != "I":
            return np.asarray(upright.convert("RGB"))
    except BROKEN_IMAGE as error:
        raise InputError(f"{path} can't be read as an image ({first_line(error)})") from error
    raise InputError(f"{path} has 32-bit integers: save the frames as an .npy array of float32")


def _read_stream(path: Path, part: Part) -> Video:
    name, file = str(path), path.absolute()  # since 12:30.mp4 could be an address
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    try:
        container = av.open(file, container_options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise InputError(
            f"{name} can't be opened as a video ({error.strerror}): give a video, a folder of "
            f"images, or an .npy or .npz array"
        ) from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or not _usable(stream):
            raise InputError(f"{name} has no video stream that FFmpeg decodes: give another file")
        channels = 1 if (stream.pix_fmt or "").startswith("gray") else 3
        part.check_bytes(part.frames or 1, (stream.height, stream.width, channels), 1, name)
        # Frame threads can hang on a damaged file once anyone has called av.logging.set_level.
        stream.thread_type = "NONE"
        frames, seen, damage = collected(container, stream, part, name)
        rate = stream.average_rate or stream.guessed_rate
    count = frames.count
    if damage and count != part.frames:
        remedy = (
            f"frames={count} (--take {count}) reads the part before"
            if count
            else "give another file"
        )
        raise InputError(f"{name} is damaged after {seen} frames ({damage}): {remedy}")
    if count != part.frames:
        part.of(seen, name)
    return Video(frames.finish(), fps=float(rate) if rate else None, source=name)


def _usable(stream: VideoStream) -> bool:
    known: object = stream.codec_context  # None without a decoder, whatever PyAV's types say
    return known is not None and not stream.disposition & Disposition.attached_pic


def collected(
    container: InputContainer, stream: VideoStream, part: Part, name: str
) -> tuple[_Frames, int, str]:
    """Return the frames of a part, how many were decoded for it, and what is wrong behind them."""
    frames, seen, converter, cut = _Frames(part, name), 0, VideoReformatter(), _cut_off(Path(name))
    try:
        shown = _decoded(container, stream)
        if cut:  # the last frame may be half a frame
            shown = (frame for frame, _ in itertools.pairwise(shown))
        for frame in shown:
            if seen >= part.start and (seen - part.start) % part.every == 0:
                frames.add(_pixels(frame, converter, name), f"frame {seen} of {name}")
                if frames.count == part.frames:
                    break
            seen += 1
    except (av.FFmpegError, EOFError) as error:
        return frames, seen, getattr(error, "strerror", None) or str(error)
    return frames, seen, cut


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    # Decoders give frames in the order of display; time stamps are worse (AVI has wrong ones).
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise EOFError("a packet is cut short")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise EOFError("a frame is decoded only in part")
            yield frame


def _cut_off(path: Path) -> str:
    """What shows that the end of a Matroska, AVI or GIF file is missing; FFmpeg doesn't tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(0, size - 64))
        tail = file.read().rstrip(b"\0")
    declared = 0
    if head[:4] == b"RIFF":
        declared = 8 + int.from_bytes(head[4:8], "little")
    elif head[:4] == b"\x1a\x45\xdf\xa3" and (at := head.find(b"\x18\x53\x80\x67", 0, 4000)) > 0:
        length = 9 - head[at + 4].bit_length()  # leading zeros tell how long the number is
        value = int.from_bytes(head[at + 4 : at + 4 + length], "big") - (1 << 7 * length)
        if value != (1 << 7 * length) - 1:  # a live recording, of unknown length
            declared = at + 4 + length + value
    elif head[:3] == b"GIF" and not tail.endswith(b";"):
        return "the end of the file is missing"
    return f"the file has {size} of its {declared} bytes" if declared > size else ""


def _pixels(
    frame: av.VideoFrame, converter: VideoReformatter, name: str
) -> Shaped[np.ndarray, "h w c"]:
    kind = frame.format
    if kind.name.startswith("gray") and kind.name in supported_np_pix_fmts:
        pixels = np.asarray(frame.to_ndarray())[..., None]
    elif kind.has_palette or any(component.is_alpha for component in kind.components):
        pixels = _on_black(converter.reformat(frame, format="rgba", threads=1).to_ndarray())
    else:
        pixels = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return _upright(pixels, frame, name)


def _on_black(rgba: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    alpha = rgba[..., 3:].astype(np.uint16)
    if (alpha == 255).all():
        return rgba[..., :3]
    return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)


def _upright(
    pixels: Shaped[np.ndarray, "h w c"], frame: av.VideoFrame, name: str
) -> Shaped[np.ndarray, "y x c"]:
    """Apply the display matrix: x' = a x + c y, y' = b x + d y."""
    matrix = cast(Mapping[str, Any], frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if (a or d) and (b or c):
        raise InputError(f"{name} is to be shown at an odd angle: turn it upright first")
    if b or c:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
