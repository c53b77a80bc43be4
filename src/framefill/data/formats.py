"""Which format a file or a folder is of, and who reads and writes it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from framefill.data.footage import Footage, Layout
from framefill.data.video import Video
from framefill.errors import InputError

FILMS = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".gif", ".mpg", ".mpeg", ".ts"),
    *(".mts", ".m2ts", ".wmv", ".asf", ".flv", ".ogv", ".ogg", ".ivf", ".y4m", ".mjpeg"),
)
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
SCANS = (".tif", ".tiff")
IMAGES = (*PICTURES, *SCANS)
Opener = Callable[[Path, Layout], list[Footage]]


@dataclass(frozen=True)
class Format:
    """A format of files or folders.

    Args:
        name: As people call it.
        suffixes: Of its files, or of folders that it treats as files.
        opener: MODULE:FUNCTION, from a path and a layout to footage; it needs libraries that may
            not be installed, so it is imported when it is called.
        writer: MODULE:FUNCTION, from a path and a video to a file; "" if it isn't written.
        folder: What is written is a folder.
    """

    name: str
    suffixes: tuple[str, ...]
    opener: str
    writer: str = ""
    folder: bool = False

    def open(self, path: Path, layout: Layout) -> list[Footage]:
        """Return the videos of a file."""
        found: list[Footage] = _function(self.opener)(path, layout)
        return found

    def write(self, path: Path, video: Video) -> None:
        """Write a video to a new path."""
        _function(self.writer)(path, video)


FORMATS = (
    Format("video", FILMS, "sources:films"),
    Format("image", PICTURES, "sources:images"),
    Format("TIFF", SCANS, "sources:scans", "tiff_write:write_tiff"),
    Format("NumPy array", (".npy", ".npz"), "arrays:open_array"),
    Format("NetCDF", (".nc", ".nc4", ".cdf"), "grids:open_grid", "grid_write:write_grid"),
    Format("Zarr", (".zarr",), "grids:open_grid", "grid_write:write_grid", folder=True),
    Format("HDF5", (".h5", ".hdf5", ".hdf", ".he5"), "sources:hdf5", "hdf5:write_hdf5"),
    Format("DICOM", (".dcm", ".dicom"), "dicom:open_dicom", "dicom_write:write_dicom"),
    Format("NIfTI", (".nii", ".nii.gz"), "nifti:open_nifti", "nifti_write:write_nifti"),
    Format(
        "TFRecord", (".tfrecord", ".tfrecords"), "records:open_records", "records:write_records"
    ),
    Format("WebDataset shard", (".tar",), "shards:open_shard"),
    Format("packed store", (".pack",), "pack:open_pack", folder=True),
)
SUFFIXES = tuple(suffix for each in FORMATS for suffix in each.suffixes)


def suffix_of(path: Path) -> str:
    """Return the suffix that tells the format, in small letters: .nii.gz as a whole.

    Sharded TFRecord files end in -00000-of-00001 behind it.
    """
    name = re.sub(r"(?<=\.tfrecord)-\d+-of-\d+$", "", path.name.lower())
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def format_of(path: Path) -> Format | None:
    """Return the format of a path by its suffix; None if it has none of them."""
    suffix = suffix_of(path)
    return next((each for each in FORMATS if suffix in each.suffixes), None)


def open_footage(path: Path, layout: Layout) -> list[Footage]:
    """Return the videos of a file, or of a folder that is one video or one file of its format.

    Args:
        path: A file; a folder of images (natural order), of DICOM files, or a Zarr store.
        layout: How arrays are to be understood.

    Raises:
        InputError: there is no such path, or it can't be read.
    """
    if not path.exists():
        raise InputError(f"{path} doesn't exist: check the path")
    known = format_of(path)
    if path.is_dir() and (known is None or not known.folder):
        return _open_folder(path, layout)
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{path} is empty: give another file")
    if known is None:
        if is_dicom(path):
            return format_named("DICOM").open(path, layout)
        return format_named("video").open(path, layout)  # FFmpeg looks at the content
    return known.open(path, layout)


def format_named(name: str) -> Format:
    """Return a format by its name."""
    return next(each for each in FORMATS if each.name == name)


def is_dicom(path: Path) -> bool:
    """Say whether a file, or a folder's first files, are DICOM, whatever their suffix."""
    found: bool = _function("dicom:is_dicom")(path)
    return found


def _open_folder(path: Path, layout: Layout) -> list[Footage]:
    images = [each for each in path.iterdir() if suffix_of(each) in IMAGES]
    if any(not each.name.startswith(".") for each in images):
        return format_named("TIFF" if _all_scans(images) else "image").open(path, layout)
    if is_dicom(path):
        return format_named("DICOM").open(path, layout)
    raise InputError(f"{path} holds no images ({' '.join(IMAGES)}): give a folder of frames")


def _all_scans(images: list[Path]) -> bool:
    return all(suffix_of(each) in SCANS for each in images)


def _function(place: str) -> Callable[..., Any]:
    module, name = place.split(":")
    function: Callable[..., Any] = getattr(import_module(f"framefill.data.{module}"), name)
    return function
