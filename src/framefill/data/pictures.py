"""Images as frames: one file for each, or the pages of one."""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import BITSPERSAMPLE, EXTRASAMPLES, SAMPLEFORMAT, TiffImageFile

from framefill.data.footage import Footage, Reader
from framefill.data.formats import IMAGES
from framefill.data.natural import natural
from framefill.data.video import BROKEN, Part, first_line
from framefill.errors import InputError

BROKEN_IMAGE = (*BROKEN, Image.DecompressionBombError)
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width
SIGNED = 2  # sample format of a TIFF
ANY_FRAME = Part(start=0, frames=None, every=1, limit_bytes=2**31)  # bounds a frame by itself


class Kind(NamedTuple):
    """Height, width and channels of a frame, and the name of its dtype."""

    shape: tuple[int, int, int]
    dtype: str

    @classmethod
    def of(cls, frame: Shaped[np.ndarray, "h w c"]) -> "Kind":
        """Return the kind of a frame."""
        height, width, channels = frame.shape
        return cls((height, width, channels), frame.dtype.name)

    def refuse_other(self, other: "Kind", label: str) -> None:
        """Refuse a frame of another kind than this, the first one's."""
        if other != self:
            raise InputError(
                f"{label} is {other.shape} of {other.dtype} and the first frame {self.shape} of "
                f"{self.dtype} (height, width, channels): all frames need one size and kind"
            )


def open_pictures(paths: Sequence[Path], name: str, path: Path) -> Footage:
    """Return images as a video: one frame of each, in the order given.

    The header of the first one decides on the size and dtype; the others are checked when they are
    read.

    Args:
        paths: Files of `IMAGES`, at least one.
        name: What to call the video in a message.
        path: The folder or file that stands for it.

    Raises:
        InputError: the first image can't be read.
    """
    with opened_image(paths[0], ANY_FRAME) as image:
        kind = kind_of(image, paths[0])
    return _footage(name, path, len(paths), kind, Pictures(tuple(paths), kind))


def open_folder(path: Path) -> Footage:
    """Return the images of a folder as a video, frame2 before frame10.

    Raises:
        InputError: there are none, or the first can't be read.
    """
    return open_pictures(images_in(path), str(path), path)


def open_pages(path: Path) -> Footage:
    """Return the pages of an image as a video, those of a .tif or an animation.

    Raises:
        InputError: the image can't be read.
    """
    with opened_image(path, ANY_FRAME) as image:
        length, kind = pages_of(image, path), kind_of(image, path)
    return _footage(str(path), path, length, kind, Pages(path, kind))


@dataclass(frozen=True)
class Pictures:
    """A reader of images, one for each frame."""

    paths: tuple[Path, ...]
    kind: Kind

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Return the frames at some positions."""
        frames = np.empty((len(places), *self.kind.shape), self.kind.dtype)
        for frame, place in zip(frames, places, strict=True):
            path = self.paths[place]
            with opened_image(path, ANY_FRAME) as image:
                self.kind.refuse_other(kind_of(image, path), str(path))
                frame[:] = picture(image, 0, path)
        return frames


@dataclass(frozen=True)
class Pages:
    """A reader of the pages of one image."""

    path: Path
    kind: Kind

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Return the frames at some positions."""
        frames = np.empty((len(places), *self.kind.shape), self.kind.dtype)
        with opened_image(self.path, ANY_FRAME) as image:
            for frame, place in zip(frames, places, strict=True):
                page = picture(image, place, self.path)
                self.kind.refuse_other(Kind.of(page), f"page {place} of {self.path}")
                frame[:] = page
        return frames


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order, hidden ones left out.

    Raises:
        InputError: there are none.
    """
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES]
    except OSError as error:
        raise InputError(
            f"{folder} can't be listed ({error.strerror}): give a folder of frames"
        ) from error
    paths = sorted((path for path in paths if not path.name.startswith(".")), key=natural)
    if not paths:
        raise InputError(f"{folder} holds no images ({' '.join(IMAGES)}): give a folder of frames")
    return paths


@contextmanager
def opened_image(path: Path, part: Part) -> Iterator[Image.Image]:
    """Open an image, without decoding it.

    Raises:
        InputError: it is no image, one that Pillow can't represent, or larger than the limit.
    """
    try:
        image = Image.open(path)
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error, _remedy() if _is_tiff(path) else "") from error
    with image:
        part.check_bytes(1, (image.height, image.width, 1), 1, str(path))
        _refuse_lossy(image, path)
        yield image


def pages_of(image: Image.Image, path: Path) -> int:
    """Return the number of frames in an open image.

    Raises:
        InputError: the image is damaged.
    """
    try:
        # The further pictures in a camera's file (MPO) are other views, not other frames.
        return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error) from error


def pillow_reads(path: Path) -> bool:
    """Tell whether Pillow can represent the values of an image, if it is one at all.

    False for TIFF files with several channels of 16 bits, signed or 32-bit integers, channels
    beside RGB and alpha, and for all that Pillow can't open: those are for tifffile.
    """
    if not _is_tiff(path):
        return True
    try:
        with Image.open(path) as image:
            return not _loss(image)
    except BROKEN_IMAGE:
        return False


def kind_of(image: Image.Image, path: Path) -> Kind:
    """Return the kind of frame that `picture` makes of an open image, from its header.

    Raises:
        InputError: the header is damaged.
    """
    try:
        # Of a TIFF, Pillow turns the size by itself.
        turned = image.format != "TIFF" and (
            image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
        )
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error) from error
    height, width = (image.width, image.height) if turned else (image.height, image.width)
    mode = _mode(image)
    if mode in ("RGB", "RGBA"):
        return Kind((height, width, 3), "uint8")
    return Kind((height, width, 1), {"L": "uint8", "F": "float32"}.get(mode, "uint16"))


def picture(image: Image.Image, page: int, path: Path) -> Shaped[np.ndarray, "h w c"]:
    """Return a page of an open image: 8- or 16-bit or floating gray, or 8-bit RGB, upright.

    Transparent pixels are composed on black.

    Raises:
        InputError: it is damaged, or of a kind that Pillow can't represent.
    """
    try:
        image.seek(page)
        ANY_FRAME.check_bytes(1, (image.height, image.width, 1), 1, str(path))
        _refuse_lossy(image, path)
        upright = ImageOps.exif_transpose(image)
        mode = _mode(upright)
        pixels = np.asarray(upright if mode == upright.mode else upright.convert(mode))
    except InputError:
        raise
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error) from error
    if mode == "RGBA":
        return on_black(pixels)
    if mode == "RGB":
        return pixels
    return pixels.astype(pixels.dtype.newbyteorder("="))[..., None]


def on_black(rgba: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    """Compose an image with transparent pixels on black."""
    alpha = rgba[..., 3:].astype(np.uint16)
    if (alpha == 255).all():
        return rgba[..., :3]
    return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)


def _footage(name: str, path: Path, length: int, kind: Kind, reader: Reader) -> Footage:
    dtype = np.dtype(kind.dtype)
    return Footage(
        name=name, path=path, length=length, shape=kind.shape, dtype=dtype, reader=reader
    )


def _mode(image: Image.Image) -> str:
    """Return the mode that an image is converted to."""
    if image.has_transparency_data:
        return "RGBA"
    if image.mode in ("L", "F") or image.mode.startswith("I;16"):
        return image.mode
    return "L" if image.mode == "1" else "RGB"


def _refuse_lossy(image: Image.Image, path: Path) -> None:
    try:
        loss = _loss(image)
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error) from error
    if loss:
        raise InputError(f"{path} has {loss}, which Pillow can't represent: {_remedy()}")


def _loss(image: Image.Image) -> str:
    """What of an image's values would be lost, in words; nothing if all is well."""
    bits: tuple[int, ...] = (32,) if image.mode == "I" else (8,)
    form: tuple[int, ...] = (1,)
    extra: tuple[int, ...] = ()
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(BITSPERSAMPLE, bits)
        form = image.tag_v2.get(SAMPLEFORMAT, form)
        extra = image.tag_v2.get(EXTRASAMPLES, extra)
    if len(bits) > 1 and max(bits) > 8:
        return f"{len(bits)} channels of {max(bits)} bits"
    if 0 in extra:  # neither color nor alpha, which Pillow drops
        return f"{len(bits)} channels"
    if image.mode == "I" or SIGNED in form:
        return f"{'signed ' if max(bits) < 32 else ''}{max(bits)}-bit integers"
    return ""


def _unreadable(path: Path, error: Exception, remedy: str = "") -> InputError:
    advice = f": {remedy}" if remedy else ""
    return InputError(f"{path} can't be read as an image ({first_line(error)}){advice}")


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in TIFF_MAGIC
    except OSError:
        return False


def _remedy() -> str:
    if importlib.util.find_spec("tifffile") is None:
        return "pip install 'framefill[tiff]', which reads more kinds of TIFF"
    return "save the frames as an .npy array of float32"
