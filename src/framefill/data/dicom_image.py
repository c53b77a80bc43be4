"""One open DICOM file: its header, and its frames decoded one by one."""

import math
import zlib
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from framefill.errors import InputError

LARGEST_FRAME = 2**31  # bytes
LARGEST_INFLATED = 2**27  # bytes of a data set that is compressed as a whole
LARGEST_ELEMENT = 2**24  # bytes of what isn't pixels
SLACK = 2**16  # bytes, by which compressing may lengthen a frame
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}


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
