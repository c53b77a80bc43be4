"""Arrays with any order of axes as videos: what HDF5, Zarr, NetCDF, NIfTI and NumPy files hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from framefill.data.footage import Footage
from framefill.data.video import BROKEN, DTYPES, Stored, first_line
from framefill.errors import InputError

ORDER = "fhwc"
NAMES = {  # of dimensions, in the words of many fields
    "f": (
        *("time", "t", "frame", "frames", "valid_time", "step", "date", "datetime"),
        *("time_counter", "times", "forecast_time", "lead_time", "leadtime"),
    ),
    "h": (
        *("y", "lat", "latitude", "row", "rows", "height", "south_north", "rlat", "nj", "j"),
        *("ny", "nlat", "yc", "northing", "projection_y_coordinate", "grid_latitude"),
    ),
    "w": (
        *("x", "lon", "longitude", "col", "cols", "column", "columns", "width", "west_east"),
        *(
            "rlon",
            "ni",
            "i",
            "nx",
            "nlon",
            "xc",
            "easting",
            "projection_x_coordinate",
            "grid_longitude",
        ),
    ),
    "c": (
        *("channel", "channels", "c", "band", "bands", "level", "lev", "levels", "z"),
        *("wavelength", "plev", "pressure_level", "isobaricinhpa", "depth"),
    ),
    "v": (
        *("video", "videos", "sample", "samples", "member", "members", "realization"),
        *("ensemble", "ens", "number", "episode", "episodes"),
    ),
}
MOST_VIDEOS = 10**6  # in one array
DAMAGED = (*BROKEN, LookupError, AttributeError, ArithmeticError, MemoryError, AssertionError)


@runtime_checkable
class LazyArray(Protocol):
    """What h5py, zarr, xarray and NumPy have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    @property
    def dtype(self) -> Any:
        """Of its values."""
        ...

    def __getitem__(self, index: Any) -> Any:
        """Load a part; slices and whole numbers are enough."""
        ...


Source = Callable[[], LazyArray]  # can be pickled, and opens the file where it is called


class Plane(NamedTuple):
    """An array as videos: which letter each of its axes has, and how its values are understood.

    Args:
        axes: One letter for each axis, out of v, f, h, w and c.
        dtype: Of frames: of the array's values, or floats where some can be missing.
        missing: A stored value that stands for a missing one, beside NaN.
    """

    axes: str
    dtype: np.dtype[np.generic]
    missing: float | None


def axes_of(shape: Sequence[int], names: Sequence[str], asked: str, name: str) -> str:
    """Return a letter for each axis of an array.

    Args:
        shape: Length of each axis.
        names: Names of the dimensions, "" for those without one, or nothing.
        asked: What the user says; empty: by the names, or else fhwc or fhw.
        name: What to call the array in a message.

    Raises:
        InputError: the array has other axes than were asked for, or can't be a video.
    """
    if asked:
        if len(asked) != len(shape):
            raise InputError(
                f"{name} has {len(shape)} axes {tuple(shape)}, and axes {asked!r} names "
                f"{len(asked)}: give one letter for each"
            )
        return asked
    letters = "".join(letter_of(each) for each in names)
    distinct = "?" not in letters and len(set(letters)) == len(letters)
    if names and distinct and {"h", "w"} <= set(letters):
        return letters
    usual = all(
        not each or letter == expected
        for each, letter, expected in zip(names, letters, ORDER, strict=False)
    )
    if len(shape) in (3, 4) and (usual or not (set(letters) - {"?"})):
        return ORDER[: len(shape)]
    known = f" {tuple(names)}" if names else ""
    raise InputError(
        f"{name} has the axes{known} of lengths {tuple(shape)}: say which is which with "
        "--data.axes (or --axes), one letter for each: v videos, f frames, h rows, w columns, "
        "c channels"
    )


def letter_of(dimension: str) -> str:
    """Return the letter of a dimension by its name, or a question mark.

    >>> letter_of("Latitude"), letter_of("beam")
    ('h', '?')
    """
    plain = dimension.lower()
    return next((letter for letter, names in NAMES.items() if plain in names), "?")


def plane_of(
    dtype: Any, axes: str, missing: float | None, name: str
) -> tuple[Plane, Stored | None]:
    """Return how values of a dtype are understood, and how they are stored where that differs.

    A `missing` that values of the dtype can't have is no matter.

    Raises:
        InputError: the values are no numbers.
    """
    found = np.dtype(dtype).newbyteorder("=")
    if found.kind not in "uifb":
        raise InputError(f"{name} has values of dtype {found}: framefill takes real numbers")
    if missing is not None and not _holds(found, missing):
        missing = None
    if missing is None and found.name in DTYPES:
        return Plane(axes, found, None), None
    plane = Plane(axes, floats_for(found), missing)
    return plane, None if missing is None else Stored(found.name, missing)


def floats_for(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return the floating dtype for values of a dtype of which some can be missing."""
    narrow = dtype.itemsize <= (4 if dtype.kind == "f" else 2)
    return np.dtype("float32" if narrow else "float64")


def _holds(dtype: np.dtype[np.generic], value: float) -> bool:
    """Whether values of a dtype can be a number: floats, whatever is in their range, but no NaN."""
    if not np.isfinite(value):
        return dtype.kind == "f" and not np.isnan(value)
    if dtype.kind == "f":
        return abs(value) <= float(np.finfo(dtype.name).max)
    if dtype.kind == "b":
        return value in (0, 1)
    limits = np.iinfo(dtype.name)
    return value == int(value) and limits.min <= value <= limits.max


def part_of(
    array: LazyArray, axes: str, video: int, run: slice | None
) -> Shaped[np.ndarray, "..."]:
    """Load some frames of one video of an array, as stored; its axes get the order f h w c.

    Args:
        array: What to load from.
        axes: One letter for each of its axes.
        video: Along axis v, where there is one.
        run: Along axis f, where there is one.
    """
    picks: dict[str, Any] = {"v": video, "f": run}
    part = np.asarray(array[tuple(picks.get(letter, slice(None)) for letter in axes)])
    left = axes.replace("v", "")
    order = [left.index(letter) for letter in ORDER if letter in left]
    return part.transpose(order)


@dataclass(frozen=True)
class ArrayReader:
    """Reads frames of one video of an array; see `framefill.data.footage.Reader`.

    Raises (when called):
        InputError: the array can't be read, or has changed its shape.
    """

    source: Source
    plane: Plane
    video: int = 0
    name: str = "the array"

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Load the frames at ascending places."""
        try:
            array = self.source()
            runs = runs_of(places) if "f" in self.plane.axes else [None]
            parts = [self._loaded(array, run) for run in runs]
        except InputError:
            raise
        except DAMAGED as error:
            raise InputError(f"{self.name} can't be read ({first_line(error)})") from error
        if "f" not in self.plane.axes:
            return np.repeat(parts[0][None], len(places), axis=0)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _loaded(self, array: LazyArray, run: slice | None) -> Shaped[np.ndarray, "..."]:
        stored = part_of(array, self.plane.axes, self.video, run)
        frames = stored.astype(self.plane.dtype, order="C")
        if self.plane.missing is not None:
            frames[stored == stored.dtype.type(self.plane.missing)] = np.nan
        return frames if "c" in self.plane.axes else frames[..., None]


def runs_of(places: Sequence[int]) -> list[slice | None]:
    """Return the slices, of one step each, that ascending places are made of.

    >>> runs_of([0, 2, 4, 4, 9])
    [slice(0, 5, 2), slice(4, 10, 5)]
    """
    runs: list[slice | None] = []
    start = 0
    while start < len(places):
        end = start + 1
        step = max(places[end] - places[start], 1) if end < len(places) else 1
        while end < len(places) and places[end] - places[end - 1] == step:
            end += 1
        runs.append(slice(places[start], places[end - 1] + 1, step))
        start = end
    return runs or [slice(0, 0)]


def footage_of(
    source: Source,
    *,
    path: Path,
    name: str,
    shape: Sequence[int],
    plane: Plane,
) -> list[Footage]:
    """Return the videos of an array, without what only its format knows.

    Args:
        source: Opens the array.
        path: Its file.
        name: What to call it in a message.
        shape: Length of each axis.
        plane: What the axes and the values are.

    Raises:
        InputError: it holds nothing, or more videos than anyone has.
    """
    lengths = dict(zip(plane.axes, shape, strict=True))
    if 0 in shape:
        raise InputError(f"{name} has shape {tuple(shape)}, which holds nothing: give some frames")
    count = lengths.get("v", 1)
    if count > MOST_VIDEOS:
        raise InputError(
            f"{name} has shape {tuple(shape)} and axes {plane.axes!r}, so {count} videos: at most "
            f"{MOST_VIDEOS} are taken, so name the axes with --data.axes (or --axes)"
        )
    names = [f"{name} video {video}" if "v" in lengths else name for video in range(count)]
    return [
        Footage(
            name=each,
            path=path,
            length=lengths.get("f", 1),
            shape=(lengths["h"], lengths.get("w", 1), lengths.get("c", 1)),
            dtype=plane.dtype,
            reader=ArrayReader(source, plane, video, each),
        )
        for video, each in enumerate(names)
    ]
