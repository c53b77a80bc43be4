"""The chain of pages of a TIFF file, and the stacks that they make up."""

import json
import math
import struct
from typing import Any, NamedTuple

import numpy as np

from framefill.data.tiff_imagej import imagej_stack
from framefill.data.tiff_ome import ome_stacks
from framefill.data.tiff_stack import Stack, numbered
from framefill.errors import InputError

# Formats that keep pages in ways of their own, which would be misread as plain pages.
SPECIAL = ("stk", "lsm", "ndpi", "eer", "mdgel", "svs", "scn", "bif", "qpi", "philips")
THUMBNAIL_OR_MASK = 0b101  # bits of the NewSubfileType


class Page(NamedTuple):
    """What the chain of pages tells of one: where it begins, its size, and its NewSubfileType."""

    offset: int
    width: int = 0
    height: int = 0
    samples: int = 1
    kind: int = 0


def chain_of(file: Any, name: str) -> list[Page]:
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


def stacks_of(file: Any, pages: list[Page], name: str) -> list[Stack]:
    """Return how the pages of a file make up its images."""
    first = file.pages.first
    special = [kind for kind in SPECIAL if getattr(first, f"is_{kind}")]
    if special:
        raise InputError(f"{name} is a {special[0].upper()} file: convert it to OME-TIFF")
    if first.is_ome:
        return ome_stacks(first.description, len(pages), name)
    if first.imagej_description:
        return [imagej_stack(file, len(pages), name)]
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
            return Stack(letters, numbered(lead, count))
    return None
