"""How the pages of a TIFF file make up an array."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Shaped

SECONDS = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0}
SECONDS |= {"h": 3600.0, "d": 86400.0}


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


def numbered(lead: tuple[int, ...], count: int) -> Int64[np.ndarray, "..."]:
    """Return the numbers of pages in order; one alone holds all the planes."""
    if count == 1:
        return np.broadcast_to(np.zeros((), np.int64), lead)
    return np.arange(count).reshape(lead)
