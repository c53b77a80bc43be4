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
from framefill.data.nifti import Scale, even_step, restored
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
RATIOS = {1: 1, 5: 2**12, 8: 1032, 32946: 1032, 34925: 2**13}  # at most, of what is unpacked here
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
        size: Rows and columns of the frames.
        imagej: It is written as ImageJ does.
        samples: Channels are within a page, as those of RGB.
        stored: Name of the stored dtype, where frames aren't what is stored, or "".
        missing: The stored value that stands for a missing one.
        sizes: Names of sizes of a pixel as in OME, and what they are.
        unit: Of lengths, in ImageJ's files.
        resolution: Pixels per unit along x and y, and the code of that unit.
        places: Code, type, count and value of the tags that say where on Earth it is.
    """

    size: tuple[int, int]
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
            f"{paths[0]} has {len(found)} videos of {first.length} frames: a folder needs files of "
            "one frame each"
        )
    reader = Files(tuple(paths), first.shape, first.dtype, each)
    return replace(first, name=name, path=path, length=len(paths), reader=reader, times=None)


def write_tiff(path: Path, video: Video) -> None:
    """Write a video as an OME-TIFF, or as an ImageJ hyperstack if it came from one.

    Compressed without losses; BigTIFF from 4 GiB on. Times, names of channels, the unit of values
    and, for frames of the same size, what a TIFF source says of lengths and places are kept. Floats
    that were integers in the source, because some are missing, become those. float16 becomes
    float32, which OME has.

    Raises:
        InputError: tifffile isn't installed, or integers have no number for missing values.
    """
    tifffile = _tifffile()
    ours = video.header.content if video.header and video.header.format == ".tif" else None
    frames, missing = _numbers(video, ours, video.source or "the video")
    if ours is not None and ours.size != frames.shape[1:3]:
        ours = replace(ours, sizes=(), resolution=None, places=())
    depth, channels = frames.dtype, frames.shape[3]
    imagej = ours is not None and ours.imagej and depth in ("uint8", "uint16", "float32")
    imagej = imagej and (video.times is None or _step(video) is not None)
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
    # Of these formats it would guess where pages are.
    no = {"is_lsm": False, "is_scanimage": False, "is_ndpi": False}
    return _tifffile().TiffFile(path, **no)


def _page(file: Any, offset: int) -> Any:
    file.filehandle.seek(offset)
    return _tifffile().TiffPage(file, index=0)


def _chain(file: Any, name: str) -> list[Page]:
    """Return all pages, without reading more of them than their place and size."""
    form, handle, pages, read = file.tiff, file.filehandle, dict[int, Page](), 0
    offset = file.pages.first.offset
    while offset:
        if offset in pages or offset >= handle.size or read > handle.size:
            raise InputError(
                f"{name} is damaged or cut off after {len(pages)} pages: fetch it again"
            )
        handle.seek(offset)
        (count,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
        table = handle.read(count * form.tagsize + form.offsetsize)
        numbers = {}
        for start in range(0, count * form.tagsize, form.tagsize):
            code, kind, _, value = struct.unpack_from(form.tagheaderformat, table, start)
            if code in (254, 256, 257, 277):
                width = {1: 1, 3: 2, 16: 8}.get(kind, 4)
                digits = value[:width] if form.byteorder == ">" else value[:width][::-1]
                numbers[code] = int.from_bytes(digits, "big")
        pages[offset] = Page(
            offset,
            numbers.get(256, 0),
            numbers.get(257, 0),
            numbers.get(277, 1),
            numbers.get(254, 0),
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
    for split in range(len(shape) + 1):
        lead, rest = shape[:split], [length for length in shape[split:] if length > 1]
        if rest == page and (count == 1 or math.prod(lead) == count):
            named = isinstance(axes, str) and len(axes) == len(shape)
            letters = axes[:split] if named else "I" if split == 1 else "?" * split
            return Stack(letters, _numbered(lead, count))
    return None


def _numbered(lead: tuple[int, ...], count: int) -> Int64[np.ndarray, "..."]:
    """Return the numbers of pages in order; one alone holds all the planes."""
    if count == 1:
        return np.broadcast_to(np.zeros((), np.int64), lead)
    return np.arange(count).reshape(lead)


def _imagej(file: Any, count: int, name: str) -> Stack:
    first = file.pages.first
    lines = [line.partition("=") for line in first.imagej_description.splitlines()]
    told = {key.strip(): value.strip() for key, _, value in lines}
    keys = {"T": "frames", "Z": "slices", "C": "channels"}
    lengths = {letter: max(int(told.get(key) or 1), 1) for letter, key in keys.items()}
    if lengths["C"] == first.samplesperpixel and lengths["T"] * lengths["Z"] == count:
        lengths["C"] = 1  # Bio-Formats calls the samples of a page so
    order = told.get("order", "czt").upper()[::-1]
    axes = order if sorted(order) == ["C", "T", "Z"] else "TZC"
    lead = tuple(lengths[letter] for letter in axes)
    if math.prod(lead) == 1:
        axes, lead = "I", (count if count > 1 else max(int(told.get("images") or 1), 1),)
    if count not in (1, math.prod(lead)):
        raise InputError(
            f"{name} has {count} pages, and its description tells of {math.prod(lead)}: it is cut "
            "off, or needs to be saved anew"
        )
    step = float(told.get("finterval") or 0) * SECONDS.get(told.get("tunit", "s"), 1.0)
    rate = 1 / step if step > 0 else float(told.get("fps") or 0)
    texts = first.tags.valueof(50839)
    labels = texts.get("Labels", []) if isinstance(texts, dict) else []
    channels: tuple[str, ...] = ()
    if len(labels) == math.prod(lead) and "C" in axes:
        grid = np.moveaxis(np.array(labels).reshape(lead), axes.index("C"), 0)
        if all(len(set(row.ravel().tolist())) == 1 for row in grid):
            channels = tuple(str(row.flat[0]) for row in grid)
    return Stack(
        axes,
        _numbered(lead, count),
        fps=rate if 0 < rate < math.inf else None,
        channels=channels,
        imagej=True,
        unit=told.get("unit", ""),
    )


def _ome(text: str, count: int, name: str) -> list[Stack]:
    if "<!" in text.replace("<!--", ""):
        raise InputError(f"{name} has definitions in its OME-XML, which none needs: save it anew")
    root = ElementTree.fromstring(text)
    images = [each for each in root if _tag(each) == "Image"]
    if not images:
        raise InputError(f"{name} has its OME-XML in another file: convert it to one file")
    units = next((each.text for each in root.iter() if each.get("K") == "units"), None) or ""
    stacks = []
    for number, image in enumerate(images):
        pixels = next(each for each in image if _tag(each) == "Pixels")
        title = f" image {number} ({image.get('Name', '')})" if len(images) > 1 else ""
        day = next((each.text or "" for each in image if _tag(each) == "AcquisitionDate"), "")
        channels = [each for each in pixels if _tag(each) == "Channel"]
        samples = int(channels[0].get("SamplesPerPixel", 1)) if channels else 1
        axes = pixels.attrib["DimensionOrder"][:1:-1]
        lengths = {letter: int(pixels.attrib[f"Size{letter}"]) for letter in "TZC"}
        lengths["C"] //= samples
        step = _seconds(pixels, "TimeIncrement")
        names = tuple(each.get("Name", "") for each in channels)
        found = Stack(
            axes,
            _planes(root, pixels, tuple(lengths[letter] for letter in axes), count, name),
            name=title,
            fps=1 / step if step and step > 0 else None,
            times=_times(pixels, lengths["T"], day),
            channels=names if all(names) and len(names) > 1 else (),
            units=units,
            sizes=tuple(item for item in pixels.items() if item[0].startswith("PhysicalSize")),
        )
        stacks.append(found)
    return stacks


def _planes(
    root: ElementTree.Element,
    pixels: ElementTree.Element,
    lead: tuple[int, ...],
    count: int,
    name: str,
) -> Int64[np.ndarray, "..."]:
    """Return the number of the page of each plane of an OME image."""
    if not 0 < math.prod(lead) <= count or min(lead) < 1:
        raise InputError(
            f"{name} has {count} pages, too few for {lead} of its OME-XML: it is cut off, or the "
            "rest is in other files"
        )
    axes = pixels.attrib["DimensionOrder"][:1:-1]
    numbers = np.full(lead, -1)
    for data in pixels:
        if _tag(data) != "TiffData":
            continue
        if any(each.text != root.get("UUID", each.text) for each in data if _tag(each) == "UUID"):
            raise InputError(f"{name} has planes in other files: convert it to one file")
        place = np.ravel_multi_index(
            tuple(int(data.get(f"First{letter}", 0)) for letter in axes), lead
        )
        page = int(data.get("IFD", 0))
        most = min(numbers.size - int(place), count - page)
        planes = int(data.get("PlaneCount", 1 if "IFD" in data.attrib else most))
        if not 0 <= page < count or not 0 < planes <= most:
            raise InputError(f"{name} has OME-XML that doesn't fit its {count} pages: save it anew")
        numbers.flat[place : place + planes] = np.arange(page, page + planes)
    if (numbers < 0).any():
        raise InputError(f"{name} lacks {(numbers < 0).sum()} planes of its OME-XML: save it anew")
    return numbers


def _times(pixels: ElementTree.Element, frames: int, day: str) -> Shaped[np.ndarray, " f"] | None:
    """Return the time of each frame, that of its first plane; None if they aren't all told."""
    times = np.full(frames, np.nan)
    for plane in pixels:
        if _tag(plane) == "Plane" and plane.get("TheZ") == plane.get("TheC") == "0":
            time = _seconds(plane, "DeltaT")
            times[int(plane.get("TheT", 0))] = np.nan if time is None else time
    if frames < 2 or not np.isfinite(times).all():
        return None
    try:
        start = np.datetime64(day.removesuffix("Z"), "ns")
    except ValueError:  # none, or with a time zone
        return times
    if np.isnat(start):
        return times
    return start + np.rint(times * 1e9).astype("timedelta64[ns]")


def _seconds(element: ElementTree.Element, key: str) -> float | None:
    """Return a time that an element tells, in seconds; None if it doesn't."""
    unit = SECONDS.get(element.get(f"{key}Unit", "s"))
    return None if unit is None or key not in element.attrib else float(element.attrib[key]) * unit


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _footage(
    file: Any, pages: list[Page], stack: Stack, layout: Layout, path: Path
) -> list[Footage]:
    """Return the videos of a stack."""
    name = f"{path}{stack.name}"
    first = _page(file, pages[int(stack.pages.flat[0])].offset)
    inner, page = _squeezed(first)
    if first.dtype is None:
        raise InputError(f"{name} has values of {first.bitspersample} bits: convert it to 16 bits")
    if math.prod(page) * 8 > LARGEST_FRAME:
        raise InputError(f"{name} has pages of {page}, above the limit of {LARGEST_FRAME} bytes")
    virtual = len(pages) == 1 and stack.pages.size > 1
    if virtual:
        _check_virtual(file, first, stack.pages.size, name)
    long = [place for place, length in enumerate(stack.pages.shape) if length > 1]
    outer = "".join(stack.axes[place] for place in long)
    lead = tuple(stack.pages.shape[place] for place in long)
    letters = _letters(outer + inner, (*lead, *page), layout.axes, name)
    offsets = [pages[int(number)].offset for number in ([0] if virtual else stack.pages.flat)]
    planes = Planes(path, np.array(offsets), lead, page, first.dtype)
    missing = _nodata(first) if layout.missing is None else layout.missing
    plane, stored = plane_of(first.dtype, letters, missing, name)
    lengths = dict(zip(letters, planes.shape, strict=True))
    header = TiffHeader(
        size=(lengths["h"], lengths["w"]),
        imagej=stack.imagej,
        samples=inner.endswith("S"),
        stored="" if plane.dtype == first.dtype else first.dtype.name,
        missing=missing,
        sizes=stack.sizes,
        unit=stack.unit,
        resolution=_resolution(first),
        places=_places(first),
    )
    frames = (outer + inner)[letters.index("f")] if "f" in letters else ""
    timed = stack.times if frames == "T" else None
    found = footage_of(planes, path=path, name=name, shape=planes.shape, plane=plane)
    return [
        replace(
            footage,
            fps=stack.fps if frames and frames in "TIQZ" else None,
            times=timed,
            units=stack.units,
            channels=stack.channels if len(stack.channels) == footage.shape[2] else (),
            stored=stored,
            header=Header(".tif", header),
        )
        for footage in found
    ]


def _squeezed(page: Any) -> tuple[str, tuple[int, ...]]:
    """Return the axes of a page and their lengths, without a lone sample."""
    kept = [
        (axis, length)
        for axis, length in zip(page.axes, page.shape, strict=True)
        if axis in "YX" or length > 1
    ]
    return "".join(axis for axis, _ in kept), tuple(length for _, length in kept)


def _letters(axes: str, shape: tuple[int, ...], asked: str, name: str) -> str:
    letters = "".join(LETTERS.get(axis, "?") for axis in axes)
    if asked:
        return axes_of(shape, (), asked, name)
    if "?" in letters or len(set(letters)) < len(letters):
        raise InputError(
            f"{name} has the axes {axes} of lengths {shape}: say which is which with --data.axes, "
            "one letter for each: v videos, f frames, h rows, w columns, c channels"
        )
    return letters


def _nodata(page: Any) -> float | None:
    try:
        value = float(str(page.tags.valueof(NODATA)).replace(",", "."))
        with np.errstate(all="ignore"):
            kept = float(np.array(value).astype(page.dtype))
    except ValueError:
        return None
    return value if kept == value or (page.dtype.kind == "f" and math.isfinite(kept)) else None


def _resolution(page: Any) -> tuple[float, float, int] | None:
    tags = [page.tags.valueof(code) for code in (282, 283)]
    if not all(isinstance(tag, tuple) and len(tag) == 2 and 0 not in tag for tag in tags):
        return None
    unit = page.tags.valueof(296, 2)
    return tags[0][0] / tags[0][1], tags[1][0] / tags[1][1], int(unit) if unit in (1, 2, 3) else 1


def _places(page: Any) -> tuple[tuple[int, int, int, Any], ...]:
    tags = [page.tags.get(code) for code in PLACES]
    return tuple(
        (tag.code, int(tag.dtype), tag.count, tag.value)
        for tag in tags
        if tag is not None and tag.count < SLACK and isinstance(tag.value, str | tuple)
    )


def _values(file: Any, page: Any) -> Shaped[np.ndarray, "..."]:
    """Return the values of a page, which unpack to no more than its size."""
    if page.dtype is None:
        raise ValueError(f"values of {page.bitspersample} bits")
    separate, depth, height, width, within = page.shaped
    tall, wide = page.rowsperstrip, width
    if page.is_tiled:
        tall, wide = page.tilelength, page.tilewidth
    down, across = -(-height // tall), -(-width // wide)
    largest = tall * wide * within * page.dtype.itemsize
    number = separate * down * across
    if max(largest, page.nbytes) > LARGEST_FRAME or depth != 1:
        raise ValueError(f"parts of {tall}x{wide}x{depth}")
    if not number == len(page.dataoffsets) == len(page.databytecounts):
        raise ValueError(f"{len(page.dataoffsets)} of {number} parts of a page")
    if page.compression != 1 and max(page.databytecounts) > 2 * largest + SLACK:
        raise ValueError(f"a part of {max(page.databytecounts)} bytes for {largest}")
    if page.compression not in RATIOS:
        return np.asarray(page.asarray(maxworkers=1))
    if page.bitspersample not in (8, 16, 32, 64) or page.fillorder != 1 or page.is_subsampled:
        raise ValueError(f"{page.bitspersample} bits per value, or subsampled colors")
    packed, whole = sum(page.databytecounts), 0 not in page.databytecounts
    if whole and page.nbytes > packed * RATIOS[page.compression]:
        raise ValueError(f"a page of {page.nbytes} bytes in {packed}")
    values = np.full((separate, height, width, within), page.nodata, page.dtype)
    for part in range(number):
        layer, place = divmod(part, down * across)
        top, left = place // across * tall, place % across * wide
        rows = tall if page.is_tiled else min(tall, height - top)
        found = _part(file, page, part, (rows, wide, within))
        if found is not None:
            target = values[layer, top : top + rows, left : left + wide]
            target[...] = found[: target.shape[0], : target.shape[1]]
    return values.reshape(page.shape)


def _part(
    file: Any, page: Any, part: int, shape: tuple[int, int, int]
) -> Shaped[np.ndarray, "h w c"] | None:
    """Return a strip or tile; None if it is left out, as GDAL does where all is missing."""
    offset, count = page.dataoffsets[part], page.databytecounts[part]
    if not offset and not count:
        return None
    size = math.prod(shape) * page.dtype.itemsize
    file.filehandle.seek(offset)
    packed = file.filehandle.read(count if page.compression != 1 else min(count, size))
    raw = _unpacked(packed, int(page.compression), size)
    if len(raw) < size:
        raise ValueError(f"a part holds {len(raw)} of its {size} bytes")
    if page.predictor == 3:
        return _unpredicted(np.frombuffer(raw, np.uint8, size), page.dtype, shape)
    values = np.frombuffer(raw, page.dtype.newbyteorder(file.byteorder), math.prod(shape))
    values = values.reshape(shape).astype(page.dtype)
    if page.predictor == 2:
        bits = np.dtype(f"u{page.dtype.itemsize}")
        return np.cumsum(values.view(bits), axis=1, dtype=bits).view(page.dtype)
    if page.predictor != 1:
        raise ValueError(f"predictor {page.predictor}")
    return values


def _unpredicted(
    raw: Shaped[np.ndarray, " n"], dtype: np.dtype[np.generic], shape: tuple[int, int, int]
) -> Shaped[np.ndarray, "h w c"]:
    """Undo the predictor of floats: differences of bytes, the most significant of a row first."""
    rows, columns, within = shape
    if dtype.kind != "f":
        raise ValueError(f"the predictor of floats for {dtype}")
    differences = raw.reshape(rows, dtype.itemsize * columns, within)
    planes = np.cumsum(differences, axis=1, dtype=np.uint8)
    planes = planes.reshape(rows, dtype.itemsize, columns * within).transpose(0, 2, 1)
    return np.ascontiguousarray(planes).view(dtype.newbyteorder(">")).reshape(shape).astype(dtype)


def _unpacked(packed: bytes, compression: int, size: int) -> bytes:
    """Return the first `size` bytes that are packed; never more are made."""
    if compression == 1:
        return packed
    if compression == 5:
        return _unpacked_lzw(packed, size)
    if compression == 34925:
        return lzma.LZMADecompressor(memlimit=2**28).decompress(packed, size)
    return zlib.decompressobj().decompress(packed, size)


def _unpacked_lzw(packed: bytes, size: int) -> bytes:
    """Let Pillow's libtiff unpack, as a picture of one row, what tifffile leaves to others."""
    tags = [(256, size), (257, 1), (258, 8), (259, 5), (262, 1), (273, 8), (277, 1), (278, 1)]
    tags.append((279, len(packed)))
    table = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(packed))
    whole = head + packed + struct.pack("<H", len(tags)) + table + bytes(4)
    with Image.open(BytesIO(whole), formats=("TIFF",)) as image:
        return image.tobytes()


def _check_virtual(file: Any, page: Any, count: int, name: str) -> None:
    """Refuse planes behind one another that aren't there as a whole, or are packed."""
    ends = [sum(pair) for pair in zip(page.dataoffsets, page.databytecounts, strict=True)]
    plain = page.compression == page.predictor == page.fillorder == 1
    plain = plain and page.bitspersample in (8, 16, 32, 64)
    if not plain or tuple(ends[:-1]) != tuple(page.dataoffsets[1:]):
        raise InputError(f"{name} has one page, and its description tells of {count}: save it anew")
    end = page.dataoffsets[0] + count * page.nbytes
    if end > file.filehandle.size:
        raise InputError(
            f"{name} is cut off: its {count} planes need {end} bytes, and it has "
            f"{file.filehandle.size}"
        )


def _virtual(file: Any, page: Any, number: int) -> Shaped[np.ndarray, "..."]:
    """Return one of the planes behind one another."""
    file.filehandle.seek(page.dataoffsets[0] + number * page.nbytes)
    raw = file.filehandle.read(page.nbytes)
    values = np.frombuffer(raw, page.dtype.newbyteorder(file.byteorder), math.prod(page.shape))
    return values.reshape(page.shape).astype(page.dtype)


def _numbers(
    video: Video, ours: TiffHeader | None, name: str
) -> tuple[Shaped[np.ndarray, "f h w c"], float | None]:
    """Return what to store, and the number that stands for missing values."""
    frames, back = video.frames, restored(video)
    if frames.dtype.kind == "f" and ours is not None and ours.stored:
        back = np.dtype(ours.stored), ours.missing
    if back is not None and back[0].name in OME:
        return Scale().stored(frames, *back, name), back[1]
    return frames.astype(np.float32) if frames.dtype == np.float16 else frames, None


def _step(video: Video) -> float | None:
    """Return the seconds between two frames, where they are even."""
    if video.times is None or len(video.times) < 2:
        return 1 / video.fps if video.fps else None
    return even_step(video.times)


def _imagej_metadata(video: Video, ours: TiffHeader | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"unit": ours.unit} if ours is not None and ours.unit else {}
    if step := _step(video):
        metadata |= {"finterval": step, "tunit": "s"}
    if video.channels:
        metadata["Labels"] = list(video.channels) * len(video.frames)
    return metadata


def _ome_metadata(video: Video, ours: TiffHeader | None, samples: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(ours.sizes) if ours is not None else {}
    frames, channels = len(video.frames), 1 if samples else video.frames.shape[3]
    if step := _step(video):
        metadata |= {"TimeIncrement": step, "TimeIncrementUnit": "s"}
    if video.times is not None:
        since = video.times if video.times.dtype.kind == "f" else seconds(video.times)
        told = np.repeat(since, channels).tolist()
        metadata["Plane"] = {"DeltaT": told, "DeltaTUnit": ["s"] * frames * channels}
        if video.times.dtype.kind == "M":
            metadata["AcquisitionDate"] = str(video.times[0])
    if video.channels and not samples:
        metadata["Channel"] = {"Name": list(video.channels)}
    if video.units:
        metadata["MapAnnotation"] = {"units": video.units}
    return metadata
