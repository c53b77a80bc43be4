"""Videos into NetCDF files and Zarr folders, as the file was that they came from."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from framefill.data.axes import DAMAGED
from framefill.data.grid_files import need
from framefill.data.saved import Ready, Saved, ready, saved_of
from framefill.data.video import Video, first_line
from framefill.errors import InputError

if TYPE_CHECKING:
    import xarray

FORMATS = (".nc", ".zarr")
COMPRESSION = {"zlib": True, "complevel": 4, "shuffle": True}


def write_grid(path: Path, video: Video) -> None:
    """Write a video to a NetCDF-4 file, or to a Zarr folder if the path ends in .zarr.

    A video of such a file gets its variables, dimensions, packing, coordinates and attributes back,
    with the time stamps in its units. Any other one, or one that has been resized, becomes the
    variable "frames" with the dimensions time, y, x and channel.

    Args:
        path: A new file or folder.
        video: What to write. Values that were integers in its file become integers again.

    Warns:
        FillWarning: some values don't fit into the integers that the file had; floats are written.

    Raises:
        InputError: values are missing and the file has no number for that, or it can't be written;
            a library is missing.
    """
    zarr = path.suffix.lower() == ".zarr"
    need("zarr" if zarr else "netcdf", "xarray", "zarr" if zarr else "netCDF4")
    saved = saved_of(video, FORMATS)
    arrays = ready(video, saved)
    try:
        if zarr:
            _write_zarr(path, arrays, saved)
        else:
            _write_netcdf(path, arrays, saved)
    except OSError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path.name} can't be written ({first_line(error)})") from error


def _write_netcdf(path: Path, arrays: list[Ready], saved: Saved | None) -> None:
    dataset = _dataset(arrays, saved, netcdf=True)
    encoding: dict[str, dict[str, Any]] = {each.name: {} for each in arrays}
    for each in arrays:
        if "_FillValue" not in each.attributes and each.values.dtype.kind == "f":
            encoding[each.name]["_FillValue"] = None  # else xarray adds one
        if each.compressed and each.values.ndim and each.values.dtype.kind in "iuf":
            encoding[each.name] |= COMPRESSION
    growing = [saved.arrays[0].dims[saved.axes.index("f")]] if saved and saved.unlimited else []
    dataset.to_netcdf(
        path.absolute(),
        engine="netcdf4",
        format="NETCDF4",
        group=saved.group or None if saved else None,
        encoding=encoding,
        unlimited_dims=growing,
    )


def _write_zarr(path: Path, arrays: list[Ready], saved: Saved | None) -> None:
    dataset = _dataset(arrays, saved, netcdf=False)
    encoding: dict[str, dict[str, Any]] = {
        each.name: {"_FillValue": None}
        for each in arrays
        if "_FillValue" not in each.attributes and each.values.dtype.kind == "f"
    }
    version = saved.version if saved and saved.version else 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts, which the standard doesn't have yet
        dataset.to_zarr(
            path.absolute(),
            mode="w-",
            group=saved.group or None if saved else None,
            encoding=encoding,
            zarr_format=2 if version == 2 else 3,
            consolidated=False,
        )


def _dataset(arrays: list[Ready], saved: Saved | None, *, netcdf: bool) -> "xarray.Dataset":
    import xarray

    variables = {
        each.name: xarray.Variable(
            each.dims, _storable(each, netcdf=netcdf), _texts(each.attributes, netcdf=netcdf)
        )
        for each in arrays
    }
    # As coordinates without an index: pandas would make other dtypes of some.
    frames = {each.name for each in saved.arrays} if saved else {"frames"}
    coordinates = {
        name: variable
        for name, variable in variables.items()
        if name not in frames and variable.dims == (name,)
    }
    rest = {name: each for name, each in variables.items() if name not in coordinates}
    return xarray.Dataset(
        rest,
        xarray.Coordinates(coordinates, indexes={}),
        _texts(saved.attributes, netcdf=netcdf) if saved else {"Conventions": "CF-1.11"},
    )


def _texts(attributes: Mapping[str, Any], *, netcdf: bool) -> dict[str, Any]:
    """Return attributes; for NetCDF, what only Zarr can hold (the types of JSON) as texts."""

    def storable(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            kinds = {str if isinstance(each, str) else type(each) for each in value}
            return kinds <= {str} or kinds <= {int, float}
        return isinstance(value, (str, np.ndarray, np.generic)) or type(value) in (int, float)

    return {
        key: value if storable(value) or not netcdf else json.dumps(value)
        for key, value in attributes.items()
    }


def _storable(array: Ready, *, netcdf: bool) -> Any:
    if netcdf and array.values.dtype == np.float16:
        return array.values.astype(np.float32)  # NetCDF has no half precision
    return array.values
