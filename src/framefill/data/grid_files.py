"""NetCDF files and Zarr folders, opened through xarray so that they reach nothing outside."""

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from framefill.data import handles
from framefill.data.axes import DAMAGED, LazyArray
from framefill.data.classic import check_whole
from framefill.data.hdf5_links import everything
from framefill.data.video import first_line
from framefill.errors import InputError

if TYPE_CHECKING:
    import netCDF4
    import xarray

HDF5 = b"\x89HDF\r\n\x1a\n"


class GridArray(NamedTuple):
    """An array of a grid file, not loaded.

    Args:
        data: Loads it, as stored.
        dims: Names of its dimensions; nothing where the file has none.
        attributes: As stored.
        compressed: Whether it is.
        trouble: Why it can't be read, or "".
    """

    data: LazyArray
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]
    compressed: bool
    trouble: str


@dataclass(frozen=True, eq=False)
class GridFile:
    """An open file.

    Attributes:
        arrays: By names with groups.
        attributes: Of each group, by its name; "" is the file.
        unlimited: Names of dimensions that can grow, with groups.
        version: Of the Zarr format; 0 for NetCDF.
        closer: Closes the file.
    """

    arrays: Mapping[str, GridArray]
    attributes: Mapping[str, Mapping[str, Any]]
    unlimited: frozenset[str]
    version: int
    closer: Callable[[], object]

    def close(self) -> None:
        """Close the file."""
        self.closer()


def grid_file(path: Path) -> GridFile:
    """Return a file that is open already, or open it.

    Raises:
        InputError: it isn't there, is damaged, or refers to other files; or a library is missing.
    """
    if not path.exists():
        raise InputError(f"{path} doesn't exist: check the path (only files here are read)")
    try:
        return handles.opened(_opened, path)
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} can't be read ({first_line(error)})") from error


@dataclass(frozen=True)
class GridSource:
    """Opens an array of a file where it is called; see `framefill.data.axes.Source`."""

    path: Path
    name: str

    def __call__(self) -> LazyArray:
        """Return the array."""
        return grid_file(self.path).arrays[self.name].data


def _opened(path: Path) -> GridFile:
    if path.suffix.lower() == ".zarr" and not path.is_dir():
        raise InputError(f"{path} is a file, and Zarr stores are folders: unpack it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that aren't part of the format, and such
        return _opened_zarr(path) if path.is_dir() else _opened_netcdf(path)


def need(extra: str, *modules: str) -> None:
    """Refuse to go on without the libraries of an extra.

    Raises:
        InputError: names the extra.
    """
    missing = [each for each in modules if importlib.util.find_spec(each) is None]
    if missing:
        raise InputError(
            f"{' and '.join(missing)} not found, which this format needs: pip install "
            f"'framefill[{extra}]'"
        )


def _opened_netcdf(path: Path) -> GridFile:
    need("netcdf", "xarray", "netCDF4")
    import netCDF4
    from xarray.backends import NetCDF4DataStore

    opener = cast(Callable[[netCDF4.Dataset], Any], NetCDF4DataStore)
    with path.open("rb") as file:
        start = file.read(len(HDF5))
    if start[:3] == b"CDF" and start[3] in (1, 2, 5):
        check_whole(path)
    elif start == HDF5:
        _check_contained(path)
    else:
        raise InputError(f"{path} is no NetCDF file: give one, or name it after its format")
    root = netCDF4.Dataset(path.absolute(), "r")
    arrays: dict[str, GridArray] = {}
    attributes: dict[str, Mapping[str, Any]] = {}
    unlimited = set()
    for prefix, group in _groups(root, ""):
        store = opener(group)
        attributes[prefix.rstrip("/")] = dict(store.get_attrs())
        unlimited |= {
            f"{prefix}{name}" for name, dim in group.dimensions.items() if dim.isunlimited()
        }
        for name, variable in group.variables.items():
            arrays[f"{prefix}{name}"] = _netcdf_array(store.open_store_variable(name, variable))
    return GridFile(arrays, attributes, frozenset(unlimited), 0, root.close)


def _check_contained(path: Path) -> None:
    """Refuse what the NetCDF library would follow to other files, or round and round."""
    need("netcdf", "h5py")
    import h5py

    with h5py.File(path, "r", locking="best-effort") as file:
        for found in everything(file):
            if found.trouble:
                raise InputError(f"{path}: {found.name} {found.trouble}")


def _groups(group: "netCDF4.Dataset", prefix: str) -> "Iterator[tuple[str, netCDF4.Dataset]]":
    yield prefix, group
    for name, child in group.groups.items():
        yield from _groups(child, f"{prefix}{name}/")


def _netcdf_array(variable: "xarray.Variable") -> GridArray:
    filters = ("zlib", "szip", "zstd", "bzip2", "blosc")
    compressed = any(variable.encoding.get(each) for each in filters)
    dims = tuple(str(dim) for dim in variable.dims)
    return GridArray(variable, dims, dict(variable.attrs), compressed, "")


def _opened_zarr(path: Path) -> GridFile:
    need("zarr", "xarray", "zarr")
    import zarr

    from framefill.data.zarr_store import members, opened_store

    root = opened_store(path)
    if isinstance(root, zarr.Array):
        array = _plain_array(root)
        return GridFile({path.stem: array}, {"": {}}, frozenset(), root.metadata.zarr_format, int)
    arrays: dict[str, GridArray] = {}
    attributes: dict[str, Mapping[str, Any]] = {}
    groups = [("", root)]
    while groups:
        prefix, group = groups.pop()
        inside = members(group)
        attributes[prefix.rstrip("/")] = dict(group.attrs)
        found = {name: each for name, each in inside.items() if isinstance(each, zarr.Array)}
        arrays |= {f"{prefix}{name}": each for name, each in _zarr_arrays(group, found).items()}
        groups += [
            (f"{prefix}{name}/", each)
            for name, each in inside.items()
            if isinstance(each, zarr.Group)
        ]
    return GridFile(arrays, attributes, frozenset(), root.metadata.zarr_format, int)


def _zarr_arrays(group: Any, arrays: Mapping[str, Any]) -> dict[str, GridArray]:
    from xarray.backends import ZarrStore

    from framefill.data.zarr_store import trouble

    # Of a group within a store, and without the copy of all metadata at its root.
    store = ZarrStore.open_group(
        group.store, mode="r", consolidated=False, group=group.path or None
    )
    found = {}
    for name, array in arrays.items():
        if trouble(array) or not _has_names(array):
            found[name] = _plain_array(array)
            continue
        variable = store.open_store_variable(name)
        dims = tuple(str(dim) for dim in variable.dims)
        found[name] = GridArray(variable, dims, dict(variable.attrs), True, "")
    return found


def _has_names(array: Any) -> bool:
    """Whether the dimensions of an array have names, as xarray needs them."""
    names = getattr(array.metadata, "dimension_names", None)
    return "_ARRAY_DIMENSIONS" in array.attrs or (names is not None and None not in names)


def _plain_array(array: Any) -> GridArray:
    from framefill.data.zarr_store import trouble

    return GridArray(array, (), dict(array.attrs), True, trouble(array))
