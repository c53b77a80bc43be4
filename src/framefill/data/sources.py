"""Formats that more than one reader serves: which of them opens a path."""

from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from framefill.data.films import open_film
from framefill.data.footage import Footage, Layout
from framefill.data.natural import natural
from framefill.data.pictures import open_folder, open_pages, pillow_reads
from framefill.data.video import BROKEN


def films(path: Path, layout: Layout) -> list[Footage]:
    """Open a video file; a layout says nothing about it."""
    return [open_film(path)]


def images(path: Path, layout: Layout) -> list[Footage]:
    """Open a folder of images, or the pages of one."""
    return [open_folder(path) if path.is_dir() else open_pages(path)]


def scans(path: Path, layout: Layout) -> list[Footage]:
    """Open a TIFF file, or a folder of them.

    tifffile knows the metadata of microscopes and any number of channels; pictures with a palette
    or transparency, and all where tifffile is missing, are Pillow's.
    """
    if find_spec("tifffile") is None:
        return images(path, layout)
    files = sorted(_own_files(path), key=natural) if path.is_dir() else [path]
    if not files or (_painted(files[0]) and pillow_reads(files[0])):
        return images(path, layout)
    from framefill.data.tiff import open_tiff, open_tiff_folder

    if path.is_dir():
        return [open_tiff_folder(files, str(path), path, layout)]
    return open_tiff(path, layout)


def hdf5(path: Path, layout: Layout) -> list[Footage]:
    """Open an HDF5 file: of arrays, or one of MCVD's shards."""
    from framefill.data.hdf5 import open_hdf5
    from framefill.data.mcvd_shards import is_mcvd, open_mcvd

    return open_mcvd(path, layout) if is_mcvd(path) else open_hdf5(path, layout)


def _own_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]


def _painted(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode in ("1", "P", "PA", "LA", "RGBA", "CMYK", "YCbCr")
    except (*BROKEN, Image.DecompressionBombError):
        return False
