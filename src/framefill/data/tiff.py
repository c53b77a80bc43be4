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
from framefill.data.nifti import Scale
from framefill.data.video import BROKEN, Header, Video, first_line
from framefill.errors import InputError

LARGEST_FRAME = 2**31  # bytes
CLASSIC = 2**32 - 2**25  # bytes of a classic TIFF; above, BigTIFF is written
DAMAGE = (
    *(*BROKEN, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError),
    *(lzma.LZMAError, ElementTree.ParseError, Image.DecompressionBombError),
)
# Storage of their own, which pages don't tell.
SPECIAL = ("stk", "lsm", "ndpi", "eer", "mdgel", "svs", "scn", "bif", "qpi", "philips")
LETTERS = {"T": "f", "I": "f", "Q": "f", "Z": "f", "S": "c", "C": "c", "Y": "h", "X": "w"}
NODATA = 42113  # tag of GDAL: a text, the value that stands for a missing one
PLACES = (33550, 33922, 34264, 34735, 34736, 34737)  # tags of GeoTIFF: where on Earth it is
SECONDS = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}
SECONDS |= {"": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SIZES = ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ")
OWN = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 34925: "LZMA"}  # decoded here
SLACK = 2**16  # bytes by which compressing may lengthen a strip, tables and headers included


class Page(NamedTuple):
    """A page as the chain of pages tells: where it begins, its size, and what it is for."""

    offset: int
    width: int
    height: int
    samples: int
    purpose: int


class Stack(NamedTuple):
    """How pages make up an array, and what is known of it.

    Args:
        name: Of the image within the file, or "".
        axes: Letters of TIFF for the axes before those of a page.
        pages: Numbers of pages, of that many axes.
        fps: Frames per second.
        times: Of the frames.
        channels: Names of the channels.
        units: Unit of the values.
        sizes: Sizes of a pixel as OME writes them, with their units.
    """

    name: str
    axes: str
    pages: Int64[np.ndarray, "..."]
    fps: float | None = None
    times: Shaped[np.ndarray, " f"] | None = None
    channels: tuple[str, ...] = ()
    units: str = ""
    sizes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF file knows beside its frames.

    Args:
        imagej: ImageJ wrote it, or a program that writes like it.
        samples: Channels are within a page, as those of RGB.
        stored: Name of the stored dtype, where it isn't that of the frames, or "".
        missing: The stored value that stands for a missing one.
        sizes: Sizes of a pixel as OME writes them, with their units.
        resolution: Pixels per unit along x and y, and the unit's code.
        unit: Unit of lengths in an ImageJ file.
        tags: Code, type, count and value of tags that say where on Earth it is.
    """

    imagej: bool
    samples: bool
    stored: str
    missing: float | None
    sizes: tuple[tuple[str, str], ...]
    resolution: tuple[float, float, int] | None
    unit: str
    tags: tuple[tuple[int, int, int, Any], ...]


@dataclass(frozen=True, eq=False)
class Planes:
    """An array made of the pages of a file; a page is loaded when it is indexed.

    Args:
        path: The file.
        offsets: Where each page begins; of pages that lie one behind the other under the header of
            the first, its place alone.
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
        numbers = np.arange(math.prod(self.lead)).reshape(self.lead)[index[: len(self.lead)]]
        part = np.empty((numbers.size, *self.page), self.dtype)
        with _guarded(str(self.path)):
            file = opened(_opened, self.path)
            for plane, number in zip(part, np.atleast_1d(numbers).ravel(), strict=True):
                virtual = len(self.offsets) == 1 and math.prod(self.lead) > 1
                page = _page(file, int(self.offsets[0 if virtual else number]))
                self._check(page)
                plane[...] = _virtual(file, page, int(number)) if virtual else _values(file, page)
        inner = (slice(None),) * numbers.ndim + index[len(self.lead) :]
        return part.reshape(*numbers.shape, *self.page)[inner]

    def _check(self, page: Any) -> None:
        if (page.shape, page.dtype) != (self.page, self.dtype):
            raise InputError(
                f"{self.path} has a page of {page.shape} and {page.dtype}, and the first is "
                f"{self.page} of {self.dtype}: all frames need one size and kind"
            )


@dataclass(frozen=True)
class Files:
    """An array made of files of one page each; a file is opened when it is indexed."""

    paths: tuple[Path, ...]
    page: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return (len(self.paths), *self.page)

    def __call__(self) -> "Files":
        """Return itself: it opens files where it is indexed."""
        return self

    def __getitem__(self, index: tuple[int | slice, ...]) -> Shaped[np.ndarray, "..."]:
        """Load a part.

        Raises:
            InputError: a file is damaged, has several pages, or is of another kind than the first.
        """
        first, inner = index[0], index[1:]
        paths = self.paths[first] if isinstance(first, slice) else [self.paths[first]]
        part = np.stack([self._loaded(path) for path in paths])[(slice(None), *inner)]
        return part if isinstance(first, slice) else part[0]

    def _loaded(self, path: Path) -> Shaped[np.ndarray, "..."]:
        found = _planes(path, Layout())
        if len(found) != 1 or (found[0].page, found[0].dtype) != (self.page, self.dtype):
            kinds = ", ".join(f"{planes.shape} of {planes.dtype}" for planes in found)
            raise InputError(
                f"{path} is {kinds}, and the first frame {self.page} of {self.dtype}: all frames "
                "need one size and kind, and one page each"
            )
        return found[0][()]
