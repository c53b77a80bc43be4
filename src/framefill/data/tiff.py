"""TIFF files as videos: stacks of pages, OME-TIFF and ImageJ hyperstacks; and videos as TIFF."""

import json
import logging
import lzma
import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Int64, Shaped
from PIL import Image

from framefill.data.axes import axes_of, footage_of, plane_of
from framefill.data.clock import seconds
from framefill.data.footage import Footage, Layout
from framefill.data.handles import opened
from framefill.data.nifti import UNEVEN, Scale
from framefill.data.video import BROKEN, Header, Video, first_line
from framefill.errors import InputError

LARGEST_FRAME = 2**31  # bytes
CLASSIC = 2**32 - 2**25  # bytes that surely fit a classic TIFF; above, BigTIFF is written
DAMAGE = (
    *(*BROKEN, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError),
    *(lzma.LZMAError, Image.DecompressionBombError),
)
LETTERS = {"T": "f", "I": "f", "Q": "f", "Z": "f", "S": "c", "C": "c", "Y": "h", "X": "w"}
# Formats that keep pages in ways of their own, which would be misread as plain pages.
SPECIAL = ("stk", "lsm", "ndpi", "eer", "mdgel", "svs", "scn", "bif", "qpi", "philips")
SECONDS = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0}
SECONDS |= {"h": 3600.0, "d": 86400.0}
THUMBNAIL_OR_MASK = 0b101  # bits of the NewSubfileType
NODATA = 42113  # tag of GDAL: the value that stands for a missing one, as text
PLACES = (33550, 33922, 34264, 34735, 34736, 34737)  # tags of GeoTIFF: where on Earth it is
SLACK = 2**16  # bytes, by which compressing may lengthen a strip
OME = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


class Page(NamedTuple):
    """What the chain of pages tells of one: where it begins, its size, and its NewSubfileType."""

    offset: int
    width: int = 0
    height: int = 0
    samples: int = 1
    kind: int = 0


class Stack(NamedTuple):
    """How pages make up an array, and what is known of it.

    Args:
        axes: TIFF's letters for the axes before those of a page.
        pages: The numbers of the pages, with those axes.
        name: Of the image within the file.
        fps: Frames per second.
        times: Of the frames.
        channels: Names of the channels.
        units: Unit of the values.
        sizes: Names of sizes of a pixel as in OME, and what they are.
        imagej: It is ImageJ's.
        unit: Of lengths, in ImageJ's files.
    """

    axes: str
    pages: Int64[np.ndarray, "..."]
    name: str = ""
    fps: float | None = None
    times: Shaped[np.ndarray, " f"] | None = None
    channels: tuple[str, ...] = ()
    units: str = ""
    sizes: tuple[tuple[str, str], ...] = ()
    imagej: bool = False
    unit: str = ""


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF file knows beside its frames.

    Args:
        imagej: It is written as ImageJ does.
        samples: Channels are within a page, as those of RGB.
        stored: Name of the stored dtype, where frames aren't what is stored, or "".
        missing: The stored value that stands for a missing one.
        sizes: Names of sizes of a pixel as in OME, and what they are.
        unit: Of lengths, in ImageJ's files.
        resolution: Pixels per unit along x and y, and the code of that unit.
        places: Code, type, count and value of the tags that say where on Earth it is.
    """

    imagej: bool
    samples: bool
    stored: str
    missing: float | None
    sizes: tuple[tuple[str, str], ...]
    unit: str
    resolution: tuple[float, float, int] | None
    places: tuple[tuple[int, int, int, Any], ...]


@dataclass(frozen=True, eq=False)
class Planes:
    """An array made of the pages of a file; a page is loaded when it is indexed.

    Args:
        path: The file.
        offsets: Where each page begins. One alone for several planes: their values lie one behind
            the other, as ImageJ stores what is beyond 4 GiB.
        lead: Lengths of the axes before those of a page.
        page: Shape of a page.
        dtype: Of the values.
    """

    path: Path
    offsets: Int64[np.ndarray, " n"]
    lead: tuple[int, ...]
    page: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return (*self.lead, *self.page)

    def __call__(self) -> "Planes":
        """Return itself: it opens the file where it is indexed."""
        return self

    def __getitem__(self, index: tuple[int | slice, ...]) -> Shaped[np.ndarray, "..."]:
        """Load a part.

        Raises:
            InputError: the file is damaged or has changed.
        """
        count = math.prod(self.lead)
        numbers = np.array(np.arange(count).reshape(self.lead)[index[: len(self.lead)]])
        part = np.empty((numbers.size, *self.page), self.dtype)
        with _guarded(str(self.path)):
            file = opened(_opened, self.path)
            for plane, number in zip(part, numbers.ravel(), strict=True):
                virtual = len(self.offsets) < count
                page = _page(file, int(self.offsets[0 if virtual else number]))
                values = _virtual(file, page, int(number)) if virtual else _values(file, page)
                if (_squeezed(page)[1], page.dtype) != (self.page, self.dtype):
                    raise InputError(
                        f"{self.path} has a page of {page.shape} and {page.dtype}, and the first "
                        f"is {self.page} of {self.dtype}: all frames need one size and kind"
                    )
                plane[...] = values.reshape(self.page)
        inner = (slice(None),) * numbers.ndim + index[len(self.lead) :]
        return part.reshape(*numbers.shape, *self.page)[inner]


@dataclass(frozen=True)
class Files:
    """A reader of TIFF files, one for each frame."""

    paths: tuple[Path, ...]
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    layout: Layout

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Load the frames at some places."""
        frames = np.empty((len(places), *self.shape), self.dtype)
        for frame, place in zip(frames, places, strict=True):
            found = open_tiff(self.paths[place], self.layout)
            kind = (found[0].shape, found[0].dtype)
            if len(found) > 1 or found[0].length > 1 or kind != (self.shape, self.dtype):
                raise InputError(
                    f"{self.paths[place]} has {found[0].length} frames of {kind[0]} and {kind[1]}, "
                    f"and the first file one of {self.shape} and {self.dtype}: all frames need one "
                    "size and kind"
                )
            frame[...] = found[0].take([0])[0]
        return frames


def open_tiff(path: Path, layout: Layout) -> list[Footage]:
    """Open a TIFF file of integers or floats; pages are loaded one by one.

    The axes are those of OME-XML, or of ImageJ's or tifffile's description, or else pages. T are
    frames, or Z; C and the samples of a page are channels. If there are several of a kind,
    `layout.axes` has to say which is which, with a letter for each axis that is longer than 1,
    such as "fvhw" for TZYX, which makes a video of each Z. Each image of an OME-TIFF is a video of
    its own. In other files thumbnails and masks are left out.

    Values are those stored, also where 0 is white or a color map is given. Missing are those that
    `layout.missing` names, or else the tag GDAL_NODATA.

    Uncompressed, LZW, deflate and LZMA are read; other compressions need imagecodecs.

    Raises:
        InputError: tifffile or a codec isn't installed; the file is damaged, cut off or refers to
            other files; its pages differ; or its axes are ambiguous.
    """
    name = str(path)
    _tifffile()
    with _guarded(name):
        file = opened(_opened, path)
        pages = _chain(file, name)
        return [
            footage
            for stack in _stacks(file, pages, name)
            for footage in _footage(file, pages, stack, layout, path)
        ]


def open_tiff_folder(paths: Sequence[Path], name: str, path: Path, layout: Layout) -> Footage:
    """Open TIFF files of one frame each as one video, in the order given.

    The first one decides on the size and dtype; the others are checked when they are read.

    Args:
        paths: The files, at least one.
        name: What to call the video in a message.
        path: The folder that stands for it.
        layout: `missing` is used.

    Raises:
        InputError: as `open_tiff`, or the first file has several frames.
    """
    each = Layout(missing=layout.missing)
    found = open_tiff(paths[0], each)
    first = found[0]
    if len(found) > 1 or first.length > 1:
        raise InputError(
            f"{paths[0]} has {len(found)} videos of {first.length} frames: a folder of frames needs "
            "files of one frame each"
        )
    reader = Files(tuple(paths), first.shape, first.dtype, each)
    return replace(first, name=name, path=path, length=len(paths), reader=reader, times=None)


def write_tiff(path: Path, video: Video) -> None:
    """Write a video as an OME-TIFF, or as an ImageJ hyperstack if it came from one.

    Compressed without losses; BigTIFF from 4 GiB on. Times, names of channels, the unit of values
    and what a TIFF source says of sizes and places are kept. Floats that were integers in the
    source, because some are missing, become those. float16 becomes float32, which OME has.

    Raises:
        InputError: tifffile isn't installed, or integers have no number for missing values.
    """
    tifffile = _tifffile()
    ours = video.header.content if video.header and video.header.format == ".tif" else None
    frames, missing = _numbers(video, ours, video.source or "the video")
    depth, channels = frames.dtype, frames.shape[3]
    imagej = ours is not None and ours.imagej and depth in ("uint8", "uint16", "float32")
    imagej = imagej and (video.times is None or _even(video.times))
    within = channels == 3 or (channels == 4 and not imagej)
    samples = within and (depth == "uint8" or (depth == "uint16" and not imagej))
    samples = samples and (ours is None or ours.samples)
    values = frames if samples else frames.transpose(0, 3, 1, 2)
    tags = [] if missing is None else [(NODATA, 2, 0, f"{missing:.17g}", True)]
    tags += [] if ours is None else [(*tag, True) for tag in ours.places]
    resolution = None if ours is None else ours.resolution
    metadata = _imagej_metadata(video, ours) if imagej else _ome_metadata(video, ours, samples)
    large = frames.nbytes > CLASSIC
    with tifffile.TiffWriter(path, bigtiff=large, ome=not imagej, imagej=imagej) as file:
        file.write(
            values,
            photometric="rgb" if samples else "minisblack",
            extrasamples=("unassalpha",) if samples and channels == 4 else None,
            compression="zlib",
            predictor=depth.kind in "ui",
            resolution=None if resolution is None else resolution[:2],
            resolutionunit=None if resolution is None else resolution[2],
            metadata={"axes": "TYXS" if samples else "TCYX", **metadata},
            extratags=tags,
        )


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise InputError(
            "TIFF stacks need the tifffile library: pip install 'framefill[tiff]'"
        ) from error
    return tifffile


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    """Turn what tifffile raises into an InputError, and silence what it logs of odd files."""
    logger, silent = logging.getLogger("tifffile"), logging.NullHandler()
    passed_on, logger.propagate = logger.propagate, False
    logger.addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of large strips; what is odd is checked
            yield
    except InputError:
        raise
    except DAMAGE as error:
        what = first_line(error)
        if "imagecodecs" in what:
            raise InputError(
                f"{name} has a compression that needs a codec: pip install imagecodecs"
            ) from error
        raise InputError(f"{name} can't be read as a TIFF file ({what})") from error
    finally:
        logger.removeHandler(silent)
        logger.propagate = passed_on


def _opened(path: Path) -> Any:
    # These formats would have it guess where pages are; other files aren't followed.
    no = {"is_lsm": False, "is_scanimage": False, "is_ndpi": False}
    return _tifffile().TiffFile(path, _multifile=False, **no)


def _page(file: Any, offset: int) -> Any:
    file.filehandle.seek(offset)
    return _tifffile().TiffPage(file, index=0)


def _chain(file: Any, name: str) -> list[Page]:
    """Return all pages, without reading more of them than their place and size."""
    form, handle, pages, read = file.tiff, file.filehandle, dict[int, Page](), 0
    offset = file.pages.first.offset
    while offset:
        if offset in pages or offset >= handle.size or read > handle.size:
            raise InputError(f"{name} is damaged or cut off after {len(pages)} pages: fetch it again")
        handle.seek(offset)
        (count,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
        table = handle.read(count * form.tagsize + form.offsetsize)
        numbers = {}
        for start in range(0, count * form.tagsize, form.tagsize):
            code, kind, _, value = struct.unpack_from(form.tagheaderformat, table, start)
            if code in (254, 256, 257, 277):
                width = {1: 1, 3: 2, 4: 4, 16: 8}.get(kind, 4)
                order = "little" if form.byteorder == "<" else "big"
                numbers[code] = int.from_bytes(value[:width], order)
        pages[offset] = Page(
            offset, numbers.get(256, 0), numbers.get(257, 0), numbers.get(277, 1), numbers.get(254, 0)
        )
        read += len(table)
        (offset,) = struct.unpack(form.offsetformat, table[count * form.tagsize :])
    return list(pages.values())


def _stacks(file: Any, pages: list[Page], name: str) -> list[Stack]:
    first = file.pages.first
    special = [kind for kind in SPECIAL if getattr(first, f"is_{kind}")]
    if special:
        raise InputError(f"{name} is a {special[0].upper()} file: convert it to OME-TIFF")
    if first.is_ome:
        return _ome(first.description, len(pages), name)
    if first.imagej_description:
        return [_imagej(file, len(pages), name)]
    return [_shaped(first, len(pages)) or _plain(pages, name)]


def _plain(pages: list[Page], name: str) -> Stack:
    numbers = [n for n, page in enumerate(pages) if not page.kind & THUMBNAIL_OR_MASK]
    numbers = numbers or list(range(len(pages)))
    kinds = {pages[n][1:4] for n in numbers}
    if len(kinds) > 1:
        sizes = " and ".join("x".join(map(str, kind)) for kind in sorted(kinds)[:2])
        raise InputError(
            f"{name} has pages of {sizes} (width, height, channels): all frames need one size"
        )
    return Stack("I", np.array(numbers))


def _shaped(first: Any, count: int) -> Stack | None:
    """Return the stack of tifffile's own description, if it fits the pages."""
    if not (first.shaped_description or "").startswith("{"):
        return None
    told = json.loads(first.shaped_description)
    shape, axes = tuple(map(int, told["shape"])), told.get("axes")
    page = [length for length in first.shape if length > 1]
    for split in range(len(shape)):
        lead = shape[:split]
        if [length for length in shape[split:] if length > 1] == page and math.prod(lead) in (
            *(count, 0),
            math.prod(lead) if count == 1 else 0,
        ):
            named = isinstance(axes, str) and len(axes) == len(shape)
            letters = axes[:split] if named else ("I" if split == 1 else "?" * split)
            return Stack(letters, _numbered(lead, count))
    return None


def _numbered(lead: tuple[int, ...], count: int) -> Int64[np.ndarray, "..."]:
    """Return the numbers of pages in order; one alone holds all the planes."""
    if count == 1:
        return np.broadcast_to(np.zeros((), np.int64), lead)
    return np.arange(count).reshape(lead)
