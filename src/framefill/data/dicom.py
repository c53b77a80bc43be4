"""DICOM files and series as videos."""

import logging
import math
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from framefill.data.footage import Footage, Layout
from framefill.data.handles import opened
from framefill.data.natural import natural
from framefill.data.nifti import Scale, even_step
from framefill.data.video import BROKEN, DTYPES, Header, Stored, first_line
from framefill.errors import InputError

LARGEST_FRAME = 2**31  # bytes
LARGEST_INFLATED = 2**27  # bytes of a data set that is compressed as a whole
LARGEST_ELEMENT = 2**24  # bytes of what isn't pixels
SLACK = 2**16  # bytes, by which compressing may lengthen a frame
FIRST = 8  # files of a folder, which are looked at to tell whether it holds DICOM
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
CLOSE = 1e-3  # mm, by which slices at one place may differ


class Slice(NamedTuple):
    """One frame, and what tells its place among others.

    Args:
        path: Its file.
        frame: Its number there.
        scale: Of its values.
        position: Of its first pixel in mm, or nothing.
        orientation: Directions of its rows and columns, or nothing.
        turn: Place in time.
        trigger: Seconds since the heartbeat or so.
        reference: Seconds since some other moment.
        acquired: When; in 1970 if no day is told.
        number: InstanceNumber, or the number in its file.
    """

    path: Path
    frame: int
    scale: Scale
    position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    turn: float | None = None
    trigger: float | None = None
    reference: float | None = None
    acquired: np.datetime64 | None = None
    number: int = 0


class Facts(NamedTuple):
    """What the header of a file tells.

    Args:
        path: The file.
        series: UID of its series.
        shape: Height, width and channels.
        dtype: As stored.
        slices: The frames.
        film: They stand in the order of time.
        fps: Of a film.
        times: Of a film, in seconds.
        units: Of the values.
        padding: The stored value that is no pixel, and the other end of its range.
    """

    path: Path
    series: str
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    slices: tuple[Slice, ...]
    film: bool
    fps: float | None
    times: Float64[np.ndarray, " f"] | None
    units: str
    padding: tuple[int, int] | None


@dataclass(frozen=True)
class DicomHeader:
    """What DICOM knows beside the frames, from the first file.

    Args:
        head: Its data set up to the pixels, as bytes.
        implicit: These bytes don't tell the kinds of values.
        little: They are in little-endian order.
        size: Rows and columns of the frames.
        dtype: Name of the stored dtype.
        scales: All scales that occur.
        padding: The stored value that stands for a missing one.
        clock: Which of the clocks gave the times, or "".
        positions: Of each slice of a stack in space, or nothing.
    """

    head: bytes
    implicit: bool
    little: bool
    size: tuple[int, int]
    dtype: str
    scales: tuple[Scale, ...]
    padding: float | None
    clock: str
    positions: tuple[tuple[float, ...], ...]


class Image:
    """An open file, whose frames are decoded one by one.

    Attributes:
        keyword: Name of the element with the pixels; "" if there are none, and nothing else is
            known then.
        header: The data set before the pixels (pydicom).
        head: Its bytes.
        implicit: These don't tell the kinds of values.
        little: They are in little-endian order.
        count: Number of frames.
        shape: Height, width and channels.
        dtype: As stored.
        padding: The stored value that is no pixel, and the other end of its range.
    """

    def __init__(self, path: Path) -> None:
        self.stream: BufferedReader | BytesIO = path.open("rb")
        try:
            self._parse()
        except BaseException:
            self.close()
            raise

    def _parse(self) -> None:
        self.stream, self.header, self.implicit, self.little, begin = _parsed(self.stream)
        place, order = self.stream.tell(), "<" if self.little else ">"
        element = self.stream.read(8)
        self.keyword, self.kind = "", element[4:6]
        if self.kind in (b"OB", b"OW", b"OF", b"OD", b"UN"):  # else implicit, whatever is declared
            element = element[:4] + self.stream.read(4)
        self.start = self.stream.tell()
        if len(element) < 8:
            return
        group, number = np.frombuffer(element[:4], f"{order}u2").tolist()
        self.keyword = PIXELS.get(group << 16 | number, "")
        self.length = int(np.frombuffer(element[4:], f"{order}u4")[0])
        self.stream.seek(begin)
        self.head = self.stream.read(place - begin)
        if self.keyword:
            self._describe()

    def _describe(self) -> None:
        from pydicom.pixels.decoders.base import get_decoder
        from pydicom.pixels.utils import as_pixel_options

        told, bits = self.header, int(self.header.BitsAllocated)
        self.count = int(told.get("NumberOfFrames") or 1)
        self.syntax = told.file_meta.TransferSyntaxUID
        self.decoder = get_decoder(self.syntax)
        self.options = as_pixel_options(told, number_of_frames=self.count)
        self.options |= {"pixel_keyword": self.keyword}
        self.options |= {"pixel_vr": "OB" if self.kind == b"OB" else "OW"}
        signed = bool(told.get("PixelRepresentation", 0))
        floats = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
        integers = "u1" if bits == 1 else f"{'ui'[signed]}{bits // 8}"
        self.dtype: np.dtype[np.generic] = np.dtype(floats.get(self.keyword, integers))
        self.palette = _palette(told, self.little)
        samples = int(told.SamplesPerPixel)
        self.frame_bits = int(told.Rows) * int(told.Columns) * samples * bits
        if self.palette is not None:
            samples, self.dtype = 3, self.palette[1].dtype
        self.shape = (int(told.Rows), int(told.Columns), samples)
        if min(*self.shape, self.count) < 1 or math.prod(self.shape) * 8 > LARGEST_FRAME:
            raise ValueError(f"{self.count} frames of {self.shape}")
        value = _padding(told.get("PixelPaddingValue"), self.little, signed)
        limit = _padding(told.get("PixelPaddingRangeLimit"), self.little, signed)
        self.padding: tuple[int, int] | None = None
        if value is not None and samples == 1:
            self.padding = (value, value if limit is None else limit)

    def check(self, name: str) -> None:
        """Refuse a file that can't be decoded, or that ends before its last frame.

        Raises:
            InputError: so it is.
        """
        from pydicom.encaps import parse_basic_offsets, parse_fragments

        if not self.decoder.is_available:
            kind = "openjpeg" if "2000" in self.syntax.name else "libjpeg"
            raise InputError(
                f"{name} is compressed as {self.syntax.name}: pip install pylibjpeg "
                f"pylibjpeg-{kind}"
            )
        end, there = self.stream.seek(0, 2), 1
        self.stream.seek(self.start)
        if self.decoder.is_native:
            thirds = 2 if self.options["photometric_interpretation"] == "YBR_FULL_422" else 3
            there = min(self.length, end - self.start) * 8 * 3 // (self.frame_bits * thirds)
        elif self.count > 1:
            there = len(parse_basic_offsets(self.stream)) or parse_fragments(self.stream)[0]
        if there < self.count:
            raise InputError(f"{name} is cut off: it holds {there} of its {self.count} frames")

    def frame(self, number: int) -> Shaped[np.ndarray, "h w c"]:
        """Decode a frame; what is packed in it may not be much longer than it."""
        from pydicom.encaps import encapsulate, get_frame

        options = dict(self.options)
        self.stream.seek(self.start)
        if self.decoder.is_native:
            values, _ = self.decoder.as_array(self.stream, index=number, **options)
        else:
            tables = options.pop("extended_offsets", None)
            packed = get_frame(
                self.stream, number, number_of_frames=self.count, extended_offsets=tables
            )
            whole = self.frame_bits // 8
            if len(packed) > 2 * whole + SLACK or (
                self.syntax == RLE and whole > 128 * len(packed)
            ):
                raise ValueError(f"a frame of {len(packed)} bytes for {whole}")
            options["number_of_frames"] = 1
            alone = encapsulate([packed], has_bot=False)
            values, _ = self.decoder.as_array(alone, index=0, **options)
        if self.palette is not None:
            first, table = self.palette
            values = table[np.clip(values.astype(np.int64) - first, 0, len(table) - 1)]
        return values.reshape(self.shape).astype(self.dtype, copy=False)

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


@dataclass(frozen=True, eq=False)
class Frames:
    """A reader of frames in one or many files.

    Args:
        paths: The files.
        files: Number of the file of each frame.
        frames: Its number there.
        scales: Its slope and intercept.
        shape: Height, width and channels.
        stored: Dtype in the files.
        dtype: Of what is returned.
        missing: A stored value that means missing beside those that the files tell.
    """

    paths: tuple[Path, ...]
    files: Int64[np.ndarray, " f"]
    frames: Int64[np.ndarray, " f"]
    scales: Float64[np.ndarray, "f 2"]
    shape: tuple[int, int, int]
    stored: np.dtype[np.generic]
    dtype: np.dtype[np.generic]
    missing: float | None

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Load the frames at some places."""
        found = np.empty((len(places), *self.shape), self.dtype)
        for target, place in zip(found, places, strict=True):
            path = self.paths[self.files[place]]
            with guarded(str(path)):
                image = opened(Image, path)
                if (image.shape, image.dtype) != (self.shape, self.stored):
                    raise InputError(f"{path} has changed: open it again")
                values = image.frame(int(self.frames[place]))
                padding = image.padding
            target[...] = self._understood(values, padding, Scale(*self.scales[place].tolist()))
        return found

    def _understood(
        self, values: Shaped[np.ndarray, "h w c"], padding: tuple[int, int] | None, scale: Scale
    ) -> Shaped[np.ndarray, "h w c"]:
        if self.dtype == self.stored:
            return values
        result = values.astype(self.dtype) if scale == Scale() else scale.values(values, self.dtype)
        if padding is not None:
            result[(values >= min(padding)) & (values <= max(padding))] = np.nan
        if self.missing is not None:
            result[values == self.missing] = np.nan
        return result


def open_dicom(path: Path, layout: Layout) -> list[Footage]:
    """Open a DICOM file, or the images in a folder, with or without a suffix.

    A file with several frames is a video of its own: a film with FrameTime, FrameTimeVector,
    CineRate or RecommendedDisplayFrameRate; frames of an enhanced image are treated as files are.
    Files of one frame are a video for each SeriesInstanceUID. Its frames come in this order:

    * slices at different places along their normal (ImagePositionPatient): in space;
    * where places repeat: one video for each place, in time;
    * in time: by TemporalPositionIndex or -Identifier, TriggerTime, FrameReferenceTime, or
      AcquisitionDateTime (or -Date and -Time), whichever all frames have and no two share, in this
      order; else by InstanceNumber, then the name of the file.

    RescaleSlope and -Intercept are applied (float32, or float64 where that couldn't tell two stored
    values apart). PixelPaddingValue, its range, and `layout.missing`, all of them stored values,
    are missing. Colors become RGB. MONOCHROME1, where 0 is white, keeps its values. Files that a
    header refers to are never opened.

    Raises:
        InputError: pydicom or a decoder isn't installed; there is no image; one is damaged or cut
            off; or images of a series differ in size.
    """
    load_pydicom()
    told = [_facts(each) for each in (_files(path) if path.is_dir() else [path])]
    facts = [each for each in told if each is not None]
    if not facts:
        raise InputError(f"{path} holds no DICOM images: give others")
    series: dict[str, list[Facts]] = {}
    for each in facts:
        alone = each.film or len(each.slices) > 1
        series.setdefault(str(each.path) if alone else f"{path} series {each.series}", []).append(
            each
        )
    several = len(series) > 1
    return [
        footage
        for name, group in series.items()
        for footage in _footage(path, name if several else str(path), group, layout)
    ]


def is_dicom(path: Path) -> bool:
    """Say whether a file, or one of the first files of a folder, is DICOM, by its content."""
    try:
        if path.is_dir():
            files = (each for each in path.iterdir() if not each.name.startswith("."))
            some = sorted((each for each in files if each.is_file()), key=natural)[:FIRST]
            return any(_has_magic(each) for each in some)
        return _has_magic(path)
    except OSError:
        return False


def _has_magic(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM":
        return True
    # Without a preamble: the first element is one of group 8 with a known kind or a short length.
    group, element = head[:2], int.from_bytes(head[2:4], "little")
    kinds = (b"UL", b"CS", b"UI", b"DA", b"TM", b"SH")
    implicit = 0 < int.from_bytes(head[4:8], "little") <= 64
    known = element in (0, 1, 5, 8, 0x12, 0x16, 0x18)
    return group == b"\x08\0" and known and len(head) == 132 and (head[4:6] in kinds or implicit)


def load_pydicom() -> Any:
    """Import pydicom.

    Raises:
        InputError: it isn't installed.
    """
    try:
        import pydicom
        import pydicom.errors
    except ImportError as error:
        raise InputError(
            "DICOM files need the pydicom library: pip install 'framefill[dicom]'"
        ) from error
    return pydicom


def damage() -> tuple[type[Exception], ...]:
    """Return what pydicom raises for damaged files."""
    errors = load_pydicom().errors
    more = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError)
    return (*BROKEN, *more, errors.InvalidDicomError, errors.BytesLengthException)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what pydicom says of values that the standard forbids."""
    logger, silent = logging.getLogger("pydicom"), logging.NullHandler()
    passed_on, logger.propagate = logger.propagate, False
    logger.addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(silent)
        logger.propagate = passed_on


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turn what pydicom raises for damaged files into an InputError, quietly."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except damage() as error:
        what, remedy = " ".join(str(error).split()), ""
        if "plugins" in what:
            what = what.partition("plugins: ")[2]
            remedy = ": unless it is damaged, pip install pylibjpeg pylibjpeg-libjpeg"
        else:
            what = first_line(error)
        raise InputError(f"{name} can't be read as DICOM ({what}){remedy}") from error


def _files(folder: Path) -> list[Path]:
    """Return the DICOM files of a folder."""
    files = sorted((each for each in folder.iterdir() if each.is_file()), key=natural)
    for each in files:
        if each.is_symlink() and not each.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{each} is a link out of its folder: put the file there")
    return [each for each in files if not each.name.startswith(".") and is_dicom(each)]


def _parsed(
    stream: BufferedReader | BytesIO,
) -> tuple[BufferedReader | BytesIO, Any, bool, bool, int]:
    """Read a data set up to its pixels.

    Returns:
        A stream that stands at the pixels, the data set, whether it is implicit and little-endian,
        and where it begins in the stream.
    """
    from pydicom import dcmread
    from pydicom.filereader import read_dataset

    head = stream.read(132)
    stream.seek(132 if head[128:] == b"DICM" else 0)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, kind, length: tag >> 16 != 2)
    begin = stream.tell()
    if meta.get("TransferSyntaxUID") == DEFLATED:
        packed = stream.read(LARGEST_INFLATED)
        stream.close()
        raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, LARGEST_INFLATED)
        if len(raw) == LARGEST_INFLATED:
            raise ValueError(f"more than {LARGEST_INFLATED} bytes are deflated as a whole")
        stream, begin = BytesIO(raw), 0
        header: Any = read_dataset(
            stream, False, True, stop_when=_at_pixels, defer_size=LARGEST_ELEMENT
        )
        implicit, little = False, True
    else:
        stream.seek(0)
        header = dcmread(stream, stop_before_pixels=True, force=True, defer_size=LARGEST_ELEMENT)
        implicit, little = (bool(each) for each in header.original_encoding)
    header.file_meta = meta
    if "TransferSyntaxUID" not in meta:
        from pydicom import uid

        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return stream, header, implicit, little, begin


def _at_pixels(tag: int, kind: str | None, length: int) -> bool:
    return tag in PIXELS


def _palette(header: Any, little: bool) -> tuple[int, Shaped[np.ndarray, "n 3"]] | None:
    """Return the first value that a palette maps, and its colors; None without a palette."""
    if header.PhotometricInterpretation != "PALETTE COLOR":
        return None
    count, first, _ = header.RedPaletteColorLookupTableDescriptor
    count = count or 2**16
    colors = []
    for color in ("Red", "Green", "Blue"):
        raw = header[f"{color}PaletteColorLookupTableData"].value
        wide = len(raw) >= 2 * count
        kind = np.dtype("u2" if wide else "u1").newbyteorder("<" if little else ">")
        colors.append(np.frombuffer(raw, kind, count).astype(kind.newbyteorder("=")))
    return int(first), np.stack(colors, axis=1)


def _padding(value: object, little: bool, signed: bool) -> int | None:
    """Return a value of a pixel that a header tells, where it is ambiguous whether it is signed."""
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2] if little else value[1::-1], "little")
    if not isinstance(value, int):
        return None
    return value - 2**16 if signed and value >= 2**15 else value


def _facts(path: Path) -> Facts | None:
    """Return what a file tells; None if it is no image."""
    with guarded(str(path)):
        image = Image(path)
        try:
            if not image.keyword:
                return None
            image.check(str(path))
            return _told(path, image)
        finally:
            image.close()


def _told(path: Path, image: Image) -> Facts:
    header, count = image.header, image.count
    framed = len(header.get("PerFrameFunctionalGroupsSequence") or ()) == count
    film = count > 1 and not framed
    plain = image.dtype.kind != "f" and image.shape[2] == 1
    slices = tuple(_slice(path, header, number, framed, plain) for number in range(count))
    rate, times = _rate(header, count) if film else (None, None)
    kind = _first(header, 0, framed, "PixelValueTransformationSequence", "RescaleType")
    units = str(kind or header.get("Units") or "")
    if not units and slices[0].scale != Scale() and header.get("Modality") == "CT":
        units = "HU"
    return Facts(
        path=path,
        series=str(header.get("SeriesInstanceUID", "")),
        shape=image.shape,
        dtype=image.dtype,
        slices=slices,
        film=film,
        fps=rate,
        times=times,
        units="" if units == "US" else units,  # unspecified
        padding=image.padding,
    )


def _first(header: Any, frame: int, framed: bool, sequence: str, *keywords: str) -> Any:
    """Return what a header tells of a frame under one of several names; None for nothing."""
    places = [header]
    if framed:
        groups = [header.PerFrameFunctionalGroupsSequence[frame]]
        groups += list(header.get("SharedFunctionalGroupsSequence") or ())[:1]
        places = [item for group in groups for item in list(group.get(sequence) or ())[:1]]
    found = (place.get(keyword) for place in places for keyword in keywords)
    return next((value for value in found if value not in (None, "")), None)


def _slice(path: Path, header: Any, frame: int, framed: bool, plain: bool) -> Slice:
    def told(sequence: str, *keywords: str) -> Any:
        return _first(header, frame, framed, sequence, *keywords)

    def milliseconds(value: Any) -> float | None:
        found = _numbers(value, 1)
        return found[0] / 1000 if found else None

    pixels = "PixelValueTransformationSequence"
    slope, intercept = told(pixels, "RescaleSlope"), told(pixels, "RescaleIntercept")
    scale = Scale(float(1 if slope is None else slope), float(intercept or 0)) if plain else Scale()
    if not (scale.slope and math.isfinite(scale.slope) and math.isfinite(scale.intercept)):
        raise InputError(f"{path} has slope {slope} and intercept {intercept}: mend its header")
    content, heart = "FrameContentSequence", "CardiacSynchronizationSequence"
    place = _numbers(told(content, "TemporalPositionIndex", "TemporalPositionIdentifier"), 1)
    moment = str(told(content, "FrameAcquisitionDateTime", "AcquisitionDateTime") or "")
    if not moment and not framed and header.get("AcquisitionTime"):
        moment = f"{header.get('AcquisitionDate') or '19700101'}{header.AcquisitionTime}"
    number = (frame,) if framed else _numbers(header.get("InstanceNumber"), 1) or (0,)
    return Slice(
        path=path,
        frame=frame,
        scale=scale,
        position=_numbers(told("PlanePositionSequence", "ImagePositionPatient"), 3),
        orientation=_numbers(told("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        turn=place[0] if place else None,
        trigger=milliseconds(told(heart, "TriggerTime", "NominalCardiacTriggerDelayTime")),
        reference=milliseconds(told("", "FrameReferenceTime")),
        acquired=_moment(moment),
        number=int(number[0]),
    )


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    """Return finite numbers of a header, or nothing if they aren't so many."""
    parts = [value] if count == 1 else list(value or ())
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()
    return found if len(found) == count and all(map(math.isfinite, found)) else ()


def _moment(text: str) -> np.datetime64 | None:
    """Return a DICOM date and time, such as 20240229120000.5; time zones are left out."""
    match = re.match(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(\d\d)?(\.\d{1,6})?", text)
    if match is None:
        return None
    year, month, day, hour, minute, second, part = match.groups()
    clock = f"{hour}:{minute or '00'}:{second or '00'}{part or ''}"
    try:
        return np.datetime64(f"{year}-{month}-{day}T{clock}", "ns")
    except ValueError:
        return None


def _rate(header: Any, count: int) -> tuple[float | None, Float64[np.ndarray, " f"] | None]:
    """Return the rate of a film, or else the times of its frames."""
    vector = _numbers(header.get("FrameTimeVector"), count) if count > 1 else ()
    if vector:
        return None, np.cumsum((0.0, *vector[1:])) / 1000
    step = _numbers(header.get("FrameTime"), 1)
    if step and step[0] > 0:
        return 1000 / step[0], None
    rates = [_numbers(header.get(key), 1) for key in ("CineRate", "RecommendedDisplayFrameRate")]
    return next((rate[0] for rate in rates if rate and rate[0] > 0), None), None


def _footage(path: Path, name: str, group: list[Facts], layout: Layout) -> list[Footage]:
    """Return the videos of a file or of a series."""
    first = group[0]
    for each in group:
        if (each.shape, each.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"{each.path} is {each.shape} of {each.dtype} and {first.path} {first.shape} of "
                f"{first.dtype} (height, width, channels): all frames of a series need one size "
                "and kind; put others elsewhere"
            )
    slices = [each for facts in group for each in facts.slices]
    parts, stack = ([slices], False) if first.film else _parted(slices)
    padding = next((each.padding for each in group if each.padding is not None), None)
    missing = layout.missing if padding is None else float(padding[0])
    scales = tuple(dict.fromkeys(each.scale for each in slices))
    dtype = _dtype(first.dtype, scales, missing)
    exact = scales == (Scale(),)
    stored = Stored(first.dtype.name, missing) if exact and missing is not None else None
    found = []
    for number, part in enumerate(parts):
        times, rate, clock = first.times, first.fps, ""
        if not first.film and not stack:
            part, times, clock = _in_time(part)
            step = even_step(times)
            rate = 1 / step if step else None
        positions = tuple(each.position for each in part) if stack else ()
        paths = tuple(dict.fromkeys(each.path for each in part))
        places = {each: place for place, each in enumerate(paths)}
        reader = Frames(
            paths=paths,
            files=np.array([places[each.path] for each in part]),
            frames=np.array([each.frame for each in part]),
            scales=np.array([each.scale for each in part], np.float64),
            shape=first.shape,
            stored=first.dtype,
            dtype=dtype,
            missing=layout.missing,
        )
        footage = Footage(
            name=name if len(parts) == 1 else f"{name} place {number}",
            path=path,
            length=len(part),
            shape=first.shape,
            dtype=dtype,
            reader=reader,
            fps=rate,
            times=times,
            units=first.units,
            stored=stored,
            header=_header(part[0].path, scales, missing, clock, positions),
        )
        found.append(footage)
    return found


def _dtype(
    stored: np.dtype[np.generic], scales: tuple[Scale, ...], missing: float | None
) -> np.dtype[np.generic]:
    if scales == (Scale(),) and (missing is None or stored.kind == "f") and stored.name in DTYPES:
        return stored
    kinds = [scale.dtype(stored) for scale in scales]
    return max(kinds, key=lambda kind: kind.itemsize)


def _parted(slices: list[Slice]) -> tuple[list[list[Slice]], bool]:
    """Return the slices at each place in space, or all if they are a stack, which is said."""
    if not all(each.position and each.orientation for each in slices):
        return [slices], False
    directions = np.array([each.orientation for each in slices])
    if np.ptp(directions, axis=0).max() > CLOSE:
        return [slices], False
    normal = np.cross(directions[0, :3], directions[0, 3:])
    along = np.array([each.position for each in slices]) @ normal
    order = np.argsort(along, kind="stable")
    borders = np.flatnonzero(np.diff(along[order]) > CLOSE) + 1
    parts = [[slices[place] for place in part] for part in np.split(order, borders)]
    if len(parts) > 1 and len(parts) == len(slices):
        return [[part[0] for part in parts]], True
    return parts, False


def _in_time(
    slices: list[Slice],
) -> tuple[list[Slice], Shaped[np.ndarray, " f"] | None, str]:
    """Put slices in the order of time; return them, their times, and which clock these are of."""
    ordered = sorted(slices, key=lambda each: (each.number, natural(each.path), each.frame))
    for key in ("acquired", "reference", "trigger", "turn"):  # the last one decides
        values = [getattr(each, key) for each in ordered]
        if None not in values and len(set(values)) == len(values):
            ordered = sorted(ordered, key=lambda each: getattr(each, key))
    for key in ("trigger", "reference", "acquired"):
        values = [getattr(each, key) for each in ordered]
        if len(values) > 1 and None not in values and (np.diff(values) > np.diff(values) * 0).all():
            times = np.array(values)
            if key == "acquired" and times[0] < np.datetime64("1970-01-02"):
                times = (times - np.datetime64("1970-01-01T00:00", "ns")) / np.timedelta64(1, "s")
            return ordered, times, key
    return ordered, None, ""


def _header(
    path: Path,
    scales: tuple[Scale, ...],
    missing: float | None,
    clock: str,
    positions: tuple[tuple[float, ...], ...],
) -> Header:
    with guarded(str(path)):
        image = Image(path)
        image.close()
    content = DicomHeader(
        head=image.head,
        implicit=image.implicit,
        little=image.little,
        size=image.shape[:2],
        dtype=image.dtype.name,
        scales=scales,
        padding=missing,
        clock=clock,
        positions=positions,
    )
    return Header(".dcm", content)
