"""Images and films that are in memory, as parts of other files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Shaped
from PIL import Image

from framefill.data.film_index import NO_STAMP, FilmIndex, checksum, cut_off
from framefill.data.films import (
    CONTAINERS,
    Damage,
    Film,
    check_header,
    damaged,
    decoded,
    pixels_of,
    rate_of,
)
from framefill.data.pictures import ANY_FRAME, BROKEN_IMAGE, Kind, picture
from framefill.data.video import first_line
from framefill.errors import InputError


def picture_in(data: bytes, formats: tuple[str, ...], name: str) -> Shaped[np.ndarray, "h w c"]:
    """Decode an image file, as `framefill.data.pictures.picture` does.

    Args:
        data: The file.
        formats: Those to try, in Pillow's words.
        name: What to call it in a message.

    Raises:
        InputError: it is something else, damaged, or too large.
    """
    try:
        with Image.open(BytesIO(data), formats=formats) as image:
            ANY_FRAME.check_bytes(1, (image.height, image.width, 1), 1, name)
            return picture(image, 0, Path(name))
    except InputError:
        raise
    except BROKEN_IMAGE as error:
        words = " or ".join(formats)
        raise InputError(f"{name} can't be read as {words} ({first_line(error)})") from error


def index_of(data: bytes, name: str) -> FilmIndex:
    """Decode a video file once, holding one frame at a time, and return what is known of it.

    Raises:
        InputError: as `framefill.data.films.open_film`.
    """
    if cut := _cut_off(data):
        raise InputError(f"{name} is damaged ({cut}): pack a whole video")
    # The pass of films.open_film over a file could be shared, if it took an open one.
    kinds: set[Kind] = set()
    stamps, keys, sums = [], [], []
    converter = VideoReformatter()
    with _opened(data, name) as film:
        check_header(film, ANY_FRAME, name)
        try:
            for number, frame in enumerate(decoded(film)):
                kind = Kind.of(pixels_of(frame, converter, name))
                for first in kinds:
                    first.refuse_other(kind, f"frame {number} of {name}")
                kinds.add(kind)
                stamps.append(NO_STAMP if frame.pts is None else frame.pts)
                sums.append(checksum(frame))
                if frame.key_frame:
                    keys.append(number)
        except Damage as damage:
            raise damaged(name, len(stamps), 0, str(damage)) from damage
        ANY_FRAME.of(len(stamps), name)
        return FilmIndex(
            kind=kinds.pop(),
            rate=rate_of(film),
            tick=film[1].time_base or Fraction(0),
            stamps=np.array(stamps, np.int64),
            keys=np.array(keys, np.int64),
            sums=np.array(sums, np.uint32),
        )


def frames_in(
    data: bytes, places: Sequence[int], kind: Kind, name: str
) -> Shaped[np.ndarray, "f h w c"]:
    """Return the frames of a video file at ascending places; decodes all before them.

    Raises:
        InputError: the file is another than it was, or damaged.
    """
    frames = np.empty((len(places), *kind.shape), kind.dtype)
    converter, done = VideoReformatter(), 0
    with _opened(data, name) as film:
        try:
            for number, frame in enumerate(decoded(film)):
                if done < len(places) and places[done] == number:
                    pixels = pixels_of(frame, converter, name)
                    kind.refuse_other(Kind.of(pixels), f"frame {number} of {name}")
                    while done < len(places) and places[done] == number:
                        frames[done] = pixels
                        done += 1
                if done == len(places):
                    return frames
        except Damage as damage:
            raise damaged(name, done, 0, str(damage)) from damage
    raise InputError(f"{name} has changed since it was opened: open it again")


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Film]:
    # films.opened_film could be shared, if it took an open file.
    options = {"protocol_whitelist": "none", "format_whitelist": CONTAINERS}
    try:
        container = av.open(
            BytesIO(data), "r", container_options=options, metadata_errors="replace"
        )
    except av.FFmpegError as error:
        raise InputError(f"{name} can't be opened as a video ({error.strerror})") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or not _usable(stream):
            raise InputError(f"{name} has no video stream that FFmpeg decodes")
        # Frame threads can hang on a damaged file once anyone has called av.logging.set_level.
        stream.thread_type = "NONE"
        yield container, stream


def _usable(stream: VideoStream) -> bool:
    known: object = stream.codec_context  # None without a decoder, whatever PyAV's types say
    return known is not None and not stream.disposition & Disposition.attached_pic


def _cut_off(data: bytes) -> str:
    # film_index.cut_off looks at both ends and the size, and takes nothing but a path.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film"
        with path.open("wb") as file:
            file.write(data[:4096])
            file.seek(max(0, len(data) - 64))
            file.write(data[-64:])
        return cut_off(path)
