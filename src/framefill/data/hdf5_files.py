"""HDF5 files, opened so that they reach nothing outside, and what their datasets say."""

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from framefill.data import handles
from framefill.data.axes import LazyArray
from framefill.data.hdf5_links import Found, address_of, dataset_at
from framefill.data.named import text
from framefill.errors import InputError

if TYPE_CHECKING:
    import h5py

LARGEST_ATTRIBUTE = 2**20  # bytes
LABELS, USERS = "DIMENSION_LABELS", "REFERENCE_LIST"
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


def dims_of(dataset: "h5py.Dataset", scales: Mapping[tuple[int, int], str]) -> tuple[str, ...]:
    """Return the path of the scale of each dimension, or else its label, or ""."""
    rank, labels = len(dataset.shape or ()), []
    if LABELS in dataset.attrs and dataset.attrs.get_id(LABELS).shape == (rank,):
        labels = np.asarray(attributes_of(dataset, {LABELS}).get(LABELS, []), object).tolist()
    own = address_of(dataset)
    names = [text(each) for each in labels] or [""] * rank
    return tuple(scales.get((own, axis), names[axis]).strip("/") for axis in range(rank))


def scales_of(found: Iterable[Found]) -> dict[tuple[int, int], str]:
    """Return the names of dimension scales by the address and the axis of a dataset.

    By what the scales say: the lists of the datasets themselves, and the functions of the library
    for them, hang and crash on damaged files.

    Args:
        found: Datasets, among them the scales.
    """
    import h5py

    scales = {}
    for name, dataset, _ in found:
        if dataset is None or not is_scale(dataset) or USERS not in dataset.attrs:
            continue
        kind = dataset.attrs.get_id(USERS)
        size = prod(kind.shape or (1,)) * kind.dtype.itemsize
        if size > LARGEST_ATTRIBUTE or kind.dtype.names != ("dataset", "dimension"):
            continue
        for reference, axis in np.atleast_1d(dataset.attrs[USERS]).tolist():
            if reference:
                user = h5py.h5r.dereference(reference, dataset.file.id)
                scales[int(h5py.h5o.get_info(user).addr), int(axis)] = name
    return scales


def is_scale(dataset: "h5py.Dataset") -> bool:
    """Whether a dataset says that it belongs to a dimension of others."""
    return text(attributes_of(dataset, {"CLASS"}).get("CLASS", "")) == "DIMENSION_SCALE"


def attributes_of(
    item: "h5py.Dataset | h5py.File", names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the attributes that are numbers or texts.

    Args:
        item: Whose they are.
        names: Which ones; None takes all but those of the libraries.
    """
    import h5py

    found = {}
    for name in [each for each in item.attrs if each not in OWN] if names is None else names:
        if name not in item.attrs:
            continue
        kind = item.attrs.get_id(name)
        size = prod(kind.shape or (1,)) * kind.dtype.itemsize
        plain = kind.dtype.kind in "uifbS" or h5py.check_string_dtype(kind.dtype) is not None
        if plain and size <= LARGEST_ATTRIBUTE:
            found[name] = item.attrs[name]
    return found


def values_of(dataset: "h5py.Dataset") -> Shaped[np.ndarray, "..."] | None:
    """Load a dataset of numbers or texts; None where it holds something else."""
    import h5py

    if dataset.dtype.kind == "O":
        known = h5py.check_string_dtype(dataset.dtype) is not None
        return np.asarray(dataset.asstr()[()], object) if known else None
    return np.asarray(dataset[()]) if dataset.dtype.kind in "uifbS" else None
