"""The values of a page of a TIFF file: its strips and tiles, unpacked within bounds."""

import lzma
import math
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from framefill.errors import InputError

LARGEST_FRAME = 2**31  # bytes
RATIOS = {1: 1, 5: 2**12, 8: 1032, 32946: 1032, 34925: 2**13}  # at most, of what is unpacked here
SLACK = 2**16  # bytes, by which compressing may lengthen a strip


def values_of(file: Any, page: Any) -> Shaped[np.ndarray, "..."]:
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


def check_virtual(file: Any, page: Any, count: int, name: str) -> None:
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


def virtual_values(file: Any, page: Any, number: int) -> Shaped[np.ndarray, "..."]:
    """Return one of the planes behind one another."""
    file.filehandle.seek(page.dataoffsets[0] + number * page.nbytes)
    raw = file.filehandle.read(page.nbytes)
    values = np.frombuffer(raw, page.dtype.newbyteorder(file.byteorder), math.prod(page.shape))
    return values.reshape(page.shape).astype(page.dtype)
