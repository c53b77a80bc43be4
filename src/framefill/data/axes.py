"""Arrays with any order of axes as videos: what HDF5, Zarr, NetCDF, NIfTI and NumPy files hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Shaped

from framefill.data.footage import Footage
from framefill.data.video import DTYPES, Stored
from framefill.errors import InputError

ORDER = "fhwc"
NAMES = {  # of dimensions, in the words of many fields
    "f": ("time", "t", "frame", "frames", "valid_time", "step", "date", "datetime"),
    "h": ("y", "lat", "latitude", "row", "rows", "height", "south_north", "rlat", "nj"),
    "w": ("x", "lon", "longitude", "col", "column", "columns", "width", "west_east", "rlon", "ni"),
    "c": ("channel", "channels", "c", "band", "bands", "level", "lev", "z", "wavelength"),
    "v": ("video", "videos", "sample", "samples", "member", "realization", "ensemble", "number"),
}


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
        names: Names of the dimensions, or nothing.
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
    letters = "".join(_letter(each) for each in names)
    if names and "?" not in letters and len(set(letters)) == len(letters) and "h" in letters:
        return letters
    if len(shape) in (3, 4) and not (set(letters) - {"?"}):
        return ORDER[: len(shape)]
    known = f" {tuple(names)}" if names else ""
    raise InputError(
        f"{name} has the axes{known} of lengths {tuple(shape)}: say which is which with "
        "--data.axes (or --axes), one letter for each: v videos, f frames, h rows, w columns, "
        "c channels"
    )


def plane_of(
    dtype: Any, axes: str, missing: float | None, name: str
) -> tuple[Plane, Stored | None]:
    """Return how values of a dtype are understood, and how they are stored where that differs.

    Raises:
        InputError: the values are no numbers.
    """
    found = np.dtype(dtype).newbyteorder("=")
    if found.kind not in "uifb":
        raise InputError(f"{name} has values of dtype {found}: framefill takes real numbers")
    if missing is not None and np.isnan(missing):
        missing = None
    floats = found.kind == "f"
    wide = np.dtype("float64") if found.itemsize > 2 else np.dtype("float32")
    if floats or (missing is None and found.name in DTYPES):
        kept = found if found.name in DTYPES else np.dtype("float64")
        stored = None if missing is None else Stored(found.name, missing)
        return Plane(axes, kept, missing), stored
    stored = None if missing is None else Stored(found.name, missing)
    return Plane(axes, wide, missing), stored


@dataclass(frozen=True)
class ArrayReader:
    """Reads frames of one video of an array; see `framefill.data.footage.Reader`."""

    source: Source
    plane: Plane
    video: int = 0

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Load the frames at ascending places."""
        array = self.source()
        axes = self.plane.axes
        if "f" not in axes:
            values = np.repeat(self._loaded(array, None)[None], len(places), axis=0)
        else:
            values = np.concatenate([self._loaded(array, run) for run in _runs(places)])
        if self.plane.missing is not None:
            values[values == self.plane.dtype.type(self.plane.missing)] = np.nan
        return values

    def _loaded(self, array: LazyArray, run: slice | None) -> Shaped[np.ndarray, "..."]:
        picks: dict[str, Any] = {"v": self.video, "f": run}
        part = np.asarray(
            array[tuple(picks.get(letter, slice(None)) for letter in self.plane.axes)]
        )
        left = self.plane.axes.replace("v", "")
        order = [left.index(letter) for letter in ORDER if letter in left]
        frames = part.transpose(order)
        if "c" not in left:
            frames = frames[..., None]
        return frames.astype(self.plane.dtype)


def _runs(places: Sequence[int]) -> list[slice]:
    """Return the slices, of one step each, that ascending places are made of."""
    runs: list[slice] = []
    start = 0
    while start < len(places):
        end = start + 1
        step = max(places[end] - places[start], 1) if end < len(places) else 1
        while end < len(places) and places[end] - places[end - 1] == step:
            end += 1
        runs.append(slice(places[start], places[end - 1] + 1, step))
        start = end
    return runs


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
        InputError: it holds nothing.
    """
    lengths = dict(zip(plane.axes, shape, strict=True))
    if 0 in shape:
        raise InputError(f"{name} has shape {tuple(shape)}, which holds nothing: give some frames")
    count = lengths.get("v", 1)
    return [
        Footage(
            name=f"{name} video {video}" if "v" in lengths else name,
            path=path,
            length=lengths.get("f", 1),
            shape=(lengths["h"], lengths.get("w", 1), lengths.get("c", 1)),
            dtype=plane.dtype,
            reader=ArrayReader(source, plane, video),
        )
        for video in range(count)
    ]


def _letter(dimension: str) -> str:
    plain = dimension.lower()
    return next((letter for letter, names in NAMES.items() if plain in names), "?")
