"""The pages of a TIFF file as an array that is loaded page by page."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from framefill.data.handles import opened
from framefill.data.tiff_files import guarded, open_file, page_at
from framefill.data.tiff_values import values_of, virtual_values
from framefill.errors import InputError


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
        with guarded(str(self.path)):
            file = opened(open_file, self.path)
            for plane, number in zip(part, numbers.ravel(), strict=True):
                virtual = len(self.offsets) < count
                page = page_at(file, int(self.offsets[0 if virtual else number]))
                values = (
                    virtual_values(file, page, int(number)) if virtual else values_of(file, page)
                )
                if (squeezed(page)[1], page.dtype) != (self.page, self.dtype):
                    raise InputError(
                        f"{self.path} has a page of {page.shape} and {page.dtype}, and the first "
                        f"is {self.page} of {self.dtype}: all frames need one size and kind"
                    )
                plane[...] = values.reshape(self.page)
        inner = (slice(None),) * numbers.ndim + index[len(self.lead) :]
        return part.reshape(*numbers.shape, *self.page)[inner]


def squeezed(page: Any) -> tuple[str, tuple[int, ...]]:
    """Return the axes of a page and their lengths, without a lone sample."""
    kept = [
        (axis, length)
        for axis, length in zip(page.axes, page.shape, strict=True)
        if axis in "YX" or length > 1
    ]
    return "".join(axis for axis, _ in kept), tuple(length for _, length in kept)
