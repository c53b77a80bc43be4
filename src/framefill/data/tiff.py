"""TIFF files as videos: stacks of pages, OME-TIFF and ImageJ hyperstacks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import axes_of, footage_of, plane_of
from framefill.data.footage import Footage, Layout
from framefill.data.handles import opened
from framefill.data.tiff_files import guarded, load_tifffile, open_file, page_at
from framefill.data.tiff_pages import Page, chain_of, stacks_of
from framefill.data.tiff_planes import Planes, squeezed
from framefill.data.tiff_stack import Stack
from framefill.data.tiff_tags import TiffHeader, nodata_of, places_of, resolution_of
from framefill.data.tiff_values import LARGEST_FRAME, check_virtual
from framefill.data.video import Header
from framefill.errors import InputError

LETTERS = {"T": "f", "I": "f", "Q": "f", "Z": "f", "S": "c", "C": "c", "Y": "h", "X": "w"}


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
    load_tifffile()
    with guarded(name):
        file = opened(open_file, path)
        pages = chain_of(file, name)
        return [
            footage
            for stack in stacks_of(file, pages, name)
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


def _footage(
    file: Any, pages: list[Page], stack: Stack, layout: Layout, path: Path
) -> list[Footage]:
    """Return the videos of a stack."""
    name = f"{path}{stack.name}"
    first = page_at(file, pages[int(stack.pages.flat[0])].offset)
    inner, page = squeezed(first)
    if first.dtype is None:
        raise InputError(f"{name} has values of {first.bitspersample} bits: convert it to 16 bits")
    if math.prod(page) * 8 > LARGEST_FRAME:
        raise InputError(f"{name} has pages of {page}, above the limit of {LARGEST_FRAME} bytes")
    virtual = len(pages) == 1 and stack.pages.size > 1
    if virtual:
        check_virtual(file, first, stack.pages.size, name)
    long = [place for place, length in enumerate(stack.pages.shape) if length > 1]
    outer = "".join(stack.axes[place] for place in long)
    lead = tuple(stack.pages.shape[place] for place in long)
    letters = _letters(outer + inner, (*lead, *page), layout.axes, name)
    offsets = [pages[int(number)].offset for number in ([0] if virtual else stack.pages.flat)]
    planes = Planes(path, np.array(offsets), lead, page, first.dtype)
    missing = nodata_of(first) if layout.missing is None else layout.missing
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
        resolution=resolution_of(first),
        places=places_of(first),
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
