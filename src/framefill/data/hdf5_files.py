"""HDF5 files, opened so that they reach nothing outside, and what their datasets say."""

import importlib.util
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from framefill.data import handles
from framefill.data.axes import LazyArray
from framefill.data.hdf5_links import dataset_at
from framefill.errors import InputError

if TYPE_CHECKING:
    import h5py

LARGEST_ATTRIBUTE = 2**20  # bytes
OWN = {  # attributes of the libraries, about other objects
    *("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME", "DIMENSION_LABELS", "_NCProperties"),
    *("_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict"),
}


def need_h5py() -> None:
    """Refuse to go on without h5py.

    Raises:
        InputError: names the extra.
    """
    if importlib.util.find_spec("h5py") is None:
        raise InputError("h5py not found, which this format needs: pip install 'framefill[hdf5]'")


def hdf5_file(path: Path) -> "h5py.File":
    """Return a file that is open already, or open it.

    Raises:
        InputError: there is no such file, or no h5py.
        OSError: it is damaged.
    """
    need_h5py()
    if not path.is_file():
        raise InputError(f"{path} is no file: check the path")
    return handles.opened(_opened, path)


def _opened(path: Path) -> "h5py.File":
    import h5py

    return h5py.File(path, "r", locking="best-effort")


def own_dataset(path: Path, name: str) -> "h5py.Dataset | None":
    """Return a dataset whose values are in the file itself, or None."""
    found = dataset_at(hdf5_file(path), name) if name else None
    return None if found is None or found.trouble else found.dataset


@dataclass(frozen=True)
class Hdf5Source:
    """Opens a dataset of a file where it is called; see `framefill.data.axes.Source`."""

    path: Path
    name: str

    def __call__(self) -> LazyArray:
        """Return the dataset."""
        dataset: LazyArray | None = own_dataset(self.path, self.name)
        if dataset is None:
            raise InputError(f"{self.path}: {self.name} isn't there any more: has it changed?")
        return dataset


def dims_of(dataset: "h5py.Dataset") -> tuple[str, ...]:
    """Return the path of the scale of each dimension, or else its label, or ""."""
    scales = [dim[0].name if len(dim) else None for dim in dataset.dims]
    labels = [dim.label for dim in dataset.dims]
    return tuple(
        (scale or label or "").strip("/") for scale, label in zip(scales, labels, strict=True)
    )


def attributes_of(item: "h5py.Dataset | h5py.File") -> dict[str, Any]:
    """Return the attributes that are numbers or texts."""
    found = {}
    for name in item.attrs:
        kind = item.attrs.get_id(name)
        size = prod(kind.shape or (1,)) * kind.dtype.itemsize
        if name in OWN or size > LARGEST_ATTRIBUTE or kind.dtype.kind not in "uifbSO":
            continue
        value = item.attrs[name]
        parts = np.asarray(value, object).reshape(-1).tolist()
        if kind.dtype.kind == "O" and not all(isinstance(each, (str, bytes)) for each in parts):
            continue  # a reference to another object
        found[name] = value
    return found


def values_of(dataset: "h5py.Dataset") -> Shaped[np.ndarray, "..."] | None:
    """Load a dataset of numbers or texts; None where it holds something else."""
    import h5py

    if dataset.dtype.kind == "O":
        known = h5py.check_string_dtype(dataset.dtype) is not None
        return np.asarray(dataset.asstr()[()], object) if known else None
    return np.asarray(dataset[()]) if dataset.dtype.kind in "uifbS" else None
