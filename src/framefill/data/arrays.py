"""NumPy files as videos. (Draft: to be replaced.)"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from framefill.data.axes import axes_of, footage_of, plane_of
from framefill.data.footage import Footage, Layout
from framefill.data.handles import opened
from framefill.data.video import BROKEN, Part, first_line, load_npz
from framefill.errors import InputError


def _mapped(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN as error:
        raise InputError(f"{path} can't be read as an array ({first_line(error)})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of arrays: name it .npz")
    return array


def _unpacked(path: Path) -> np.ndarray:
    return load_npz(path, Part(start=0, frames=None, every=1, limit_bytes=2**31)).frames


@dataclass(frozen=True)
class _Source:
    path: Path

    def __call__(self) -> np.ndarray:
        return opened(_unpacked if self.path.suffix.lower() == ".npz" else _mapped, self.path)


def open_array(path: Path, layout: Layout) -> list[Footage]:
    """Open a NumPy file."""
    source = _Source(path)
    array = source()
    axes = axes_of(array.shape, (), layout.axes, str(path))
    plane, stored = plane_of(array.dtype, axes, layout.missing, str(path))
    found = footage_of(source, path=path, name=str(path), shape=array.shape, plane=plane)
    return [replace(each, stored=stored) for each in found]
