"""Video files: one way of decoding, and any frame of a film without the frames before it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import supported_np_pix_fmts
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Shaped

from framefill.data.film_index import NO_STAMP, FilmIndex, checksum, cut_off, remembered, stamp_of
from framefill.data.footage import Footage
from framefill.data.pictures import ANY_FRAME, Kind, on_black
from framefill.data.video import Part
from framefill.errors import InputError

# Without playlists, which name other files and addresses: a stranger's clip must open nothing else.
CONTAINERS = (
    "mov,matroska,avi,gif,mpeg,mpegts,mpegvideo,flv,ogg,asf,h264,hevc,mjpeg,ivf,yuv4mpegpipe"
)
NEAR = 8  # frames over which decoding on costs less than seeking
Film = tuple[InputContainer, VideoStream]


class Damage(Exception):
    """What is wrong with a film behind the frames that came before."""


def open_film(path: Path) -> Footage:
    """Return a video file as footage that is read where it is asked for.

    The frames are those of `read`. All are decoded once to count them and to learn where decoding
    can start, as headers are often wrong; `film_index.remembered` keeps what was found.

    Raises:
        InputError: the file can't be decoded, holds no frames, several sizes or one above 2 GiB,
            or is damaged or cut off; says how many frames come before that.
    """
    check_file(path)
    stamp, index = stamp_of(path), remembered(path, _indexed)
    return Footage(
        name=str(path),
        path=path,
        length=len(index),
        shape=index.kind.shape,
        dtype=np.dtype(index.kind.dtype),
        reader=FilmReader(path, stamp, index),
        fps=float(index.rate) if index.rate else None,
        times=index.times,
    )


def check_file(path: Path) -> None:
    """Refuse a path that is no file with something in it."""
    if not path.is_file():
        what = "isn't a file or a folder" if path.exists() else "doesn't exist"
        raise InputError(f"{path} {what}: check the path")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: give another file")


def damaged(name: str, seen: int, count: int, damage: str) -> InputError:
    """Return the error for a film with `seen` good frames, `count` of them asked for."""
    remedy = "give another file, or take it out"
    if count:
        remedy = f"frames={count} (--take {count}) reads the part before; from training take it out"
    return InputError(f"{name} is damaged after {seen} frames ({damage}): {remedy}")


@dataclass(frozen=True, eq=False)
class FilmReader:
    """A reader that decodes from the nearest keyframe, and from the start if that goes astray.

    A frame that was sought is taken only if its planes have the checksum of the first pass. Files
    are opened anew each time: that costs little, and an open decoder may hold a hundred frames.
    """

    path: Path
    stamp: tuple[int, int]
    index: FilmIndex

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Return the frames at ascending positions.

        Raises:
            InputError: the file has changed or can't be read any more.
        """
        check_file(self.path)
        frames = np.empty((len(places), *self.index.kind.shape), self.index.kind.dtype)
        done = self._fill(frames, places, seek=True)
        if done < len(places):
            done += self._fill(frames[done:], places[done:], seek=False)
        if done < len(places) or self.stamp != stamp_of(self.path):
            raise InputError(f"{self.path} has changed since it was opened: open it again")
        return frames

    def _fill(
        self, frames: Shaped[np.ndarray, "f h w c"], places: Sequence[int], *, seek: bool
    ) -> int:
        """Fill in frames, in one go through the film, and return how many could be."""
        converter, latest = VideoReformatter(), -1
        with opened_film(self.path) as film:
            arriving: Iterator[tuple[int, av.VideoFrame]] = enumerate(decoded(film))
            for done, place in enumerate(places):
                if place == latest:
                    frames[done] = frames[done - 1]
                    continue
                entry = self.index.entry(place) if seek else 0
                if entry > latest + NEAR:
                    arriving = self._sought(film, entry)
                try:
                    frame = next((frame for number, frame in arriving if number == place), None)
                    if frame is None or (seek and checksum(frame) != self.index.sums[place]):
                        return done
                    pixels = pixels_of(frame, converter, str(self.path))
                except Damage:
                    return done
                if Kind.of(pixels) != self.index.kind:
                    return done
                frames[done], latest = pixels, place
        return len(places)

    def _sought(self, film: Film, entry: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the frames from a keyframe on with their numbers, nothing if it isn't found."""
        container, stream = film
        stamp = int(self.index.stamps[entry])
        # MPEG streams are sought by the time of decoding, which may lead to the keyframe after.
        for target in (entry, self.index.entry(entry - 1)):
            try:
                container.seek(int(self.index.stamps[target]), stream=stream)
            except av.FFmpegError:
                return
            arriving = decoded(film)
            for frame in itertools.islice(arriving, entry + 1):
                if frame.pts == stamp:
                    yield entry, frame
                    yield from enumerate(arriving, entry + 1)
                    return
                if self.index.ascending and frame.pts is not None and frame.pts > stamp:
                    break


@contextmanager
def opened_film(path: Path) -> Iterator[Film]:
    """Open a video file, with the stream that is read.

    Raises:
        InputError: it is no video, or has a codec that FFmpeg doesn't know.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    try:
        # Absolute, since 12:30.mp4 could be an address.
        container = av.open(path.absolute(), container_options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise InputError(
            f"{path} can't be opened as a video ({error.strerror}): give a video, a folder of "
            f"images, or an .npy or .npz array"
        ) from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or not _usable(stream):
            raise InputError(f"{path} has no video stream that FFmpeg decodes: give another file")
        # Frame threads can hang on a damaged file once anyone has called av.logging.set_level.
        stream.thread_type = "NONE"
        yield container, stream


def check_header(film: Film, part: Part, name: str) -> None:
    """Refuse frames that pass a limit, as soon as the header tells."""
    _, stream = film
    channels = 1 if (stream.pix_fmt or "").startswith("gray") else 3
    part.check_bytes(part.frames or 1, (stream.height, stream.width, channels), 1, name)


def rate_of(film: Film) -> Fraction | None:
    """Return the average number of frames per second; None if the file doesn't tell."""
    _, stream = film
    return stream.average_rate or stream.guessed_rate or None


def whole_frames(film: Film, path: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames of a film in the order of display, from its start, as long as they are good.

    Raises:
        Damage: behind the last good one.
    """
    frames, cut = decoded(film), cut_off(path)
    # The last frame before a cut may be half a frame.
    yield from (frame for frame, _ in itertools.pairwise(frames)) if cut else frames
    if cut:
        raise Damage(cut)


def decoded(film: Film) -> Iterator[av.VideoFrame]:
    """Yield the frames from where a film stands, in the order of display.

    Decoders give them in this order; time stamps are worse (AVI has wrong ones).

    Raises:
        Damage: a packet or a frame is damaged.
    """
    container, stream = film
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise Damage("a packet is cut short")
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise Damage("a frame is decoded only in part")
                yield frame
    except (av.FFmpegError, EOFError) as error:
        raise Damage(getattr(error, "strerror", None) or str(error)) from error


def pixels_of(
    frame: av.VideoFrame, converter: VideoReformatter, name: str
) -> Shaped[np.ndarray, "h w c"]:
    """Return the pixels of a frame: gray with its bits or 8-bit RGB, upright, on black.

    Raises:
        Damage: FFmpeg can't convert it.
        InputError: it is to be shown at an odd angle.
    """
    kind = frame.format
    try:
        if kind.name.startswith("gray") and kind.name in supported_np_pix_fmts:
            pixels = np.asarray(frame.to_ndarray())[..., None]
        elif kind.has_palette or any(component.is_alpha for component in kind.components):
            pixels = on_black(converter.reformat(frame, format="rgba", threads=1).to_ndarray())
        else:
            pixels = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    except av.FFmpegError as error:
        raise Damage(error.strerror) from error
    return _upright(pixels, frame, name)


def _indexed(path: Path) -> FilmIndex:
    """Decode a film once, holding one frame at a time."""
    name, converter = str(path), VideoReformatter()
    kinds: dict[tuple[str, int, int, bytes], Kind] = {}
    stamps, keys, sums = [], [], []
    with opened_film(path) as film:
        check_header(film, ANY_FRAME, name)
        try:
            for number, frame in enumerate(whole_frames(film, path)):
                look = (frame.format.name, frame.height, frame.width, _matrix(frame))
                if look not in kinds:  # all others of this look have the same kind
                    kinds[look] = Kind.of(pixels_of(frame, converter, name))
                    first = next(iter(kinds.values()))
                    ANY_FRAME.check_bytes(1, first.shape, np.dtype(first.dtype).itemsize, name)
                    first.refuse_other(kinds[look], f"frame {number} of {name}")
                stamps.append(NO_STAMP if frame.pts is None else frame.pts)
                sums.append(checksum(frame))
                if frame.key_frame:
                    keys.append(number)
        except Damage as damage:
            raise damaged(name, len(stamps), len(stamps), str(damage)) from damage
        ANY_FRAME.of(len(stamps), name)
        return FilmIndex(
            kind=first,
            rate=rate_of(film),
            tick=film[1].time_base or Fraction(0),
            stamps=np.array(stamps, np.int64),
            keys=np.array(keys, np.int64),
            sums=np.array(sums, np.uint32),
        )


def _usable(stream: VideoStream) -> bool:
    known: object = stream.codec_context  # None without a decoder, whatever PyAV's types say
    return known is not None and not stream.disposition & Disposition.attached_pic


def _matrix(frame: av.VideoFrame) -> bytes:
    matrix = cast(Mapping[str, Any], frame.side_data).get("DISPLAYMATRIX")
    return b"" if matrix is None else bytes(matrix)


def _upright(
    pixels: Shaped[np.ndarray, "h w c"], frame: av.VideoFrame, name: str
) -> Shaped[np.ndarray, "y x c"]:
    """Apply the display matrix: x' = a x + c y, y' = b x + d y."""
    matrix = _matrix(frame)
    if not matrix:
        return pixels
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if (a or d) and (b or c):
        raise InputError(f"{name} is to be shown at an odd angle: turn it upright first")
    if b or c:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
