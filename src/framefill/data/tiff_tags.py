"""What the tags of a TIFF file tell beside its frames."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from framefill.data.tiff_values import SLACK

NODATA = 42113  # tag of GDAL: the value that stands for a missing one, as text
PLACES = (33550, 33922, 34264, 34735, 34736, 34737)  # tags of GeoTIFF: where on Earth it is


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


def nodata_of(page: Any) -> float | None:
    """Return the stored value that stands for a missing one; None if a page tells none."""
    try:
        value = float(str(page.tags.valueof(NODATA)).replace(",", "."))
        with np.errstate(all="ignore"):
            kept = float(np.array(value).astype(page.dtype))
    except ValueError:
        return None
    return value if kept == value or (page.dtype.kind == "f" and math.isfinite(kept)) else None


def resolution_of(page: Any) -> tuple[float, float, int] | None:
    """Return the pixels per unit along x and y, and the unit's code; None if not told."""
    tags = [page.tags.valueof(code) for code in (282, 283)]
    if not all(isinstance(tag, tuple) and len(tag) == 2 and 0 not in tag for tag in tags):
        return None
    unit = page.tags.valueof(296, 2)
    return tags[0][0] / tags[0][1], tags[1][0] / tags[1][1], int(unit) if unit in (1, 2, 3) else 1


def places_of(page: Any) -> tuple[tuple[int, int, int, Any], ...]:
    """Return code, type, count and value of the tags of a page that say where on Earth it is."""
    tags = [page.tags.get(code) for code in PLACES]
    return tuple(
        (tag.code, int(tag.dtype), tag.count, tag.value)
        for tag in tags
        if tag is not None and tag.count < SLACK and isinstance(tag.value, str | tuple)
    )
