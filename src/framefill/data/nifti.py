"""NIfTI images (.nii, .nii.gz, and .hdr with .img) as videos."""

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import ArrayReader, axes_of, footage_of, plane_of
from framefill.data.footage import Footage, Layout
from framefill.data.handles import opened
from framefill.data.scale import Scale
from framefill.data.video import BROKEN, Header, first_line
from framefill.errors import InputError

LARGEST_FRAME = 2**31  # bytes
DEFLATE = 1032  # times what a file takes is the most that it can unpack to
SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}  # for each unit of time, by its code


@dataclass(frozen=True)
class ScaledReader:
    """A reader whose values are those of another, scaled."""

    reader: ArrayReader
    scale: Scale
    dtype: np.dtype[np.generic]

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Load the frames at ascending places."""
        return self.scale.values(self.reader(places), self.dtype)


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI file knows beside its frames.

    Args:
        raw: Its header, of 348 or 540 bytes.
        pattern: A letter for each of its axes, as in a layout, and 1 for those of length 1.
        size: Rows and columns of the frames.
        video: Which of the videos it was, if v is among the axes.
        stored: Name of the stored dtype, where frames aren't what is stored, or "".
        scale: How the stored values were scaled.
        missing: The stored value that stands for a missing one.
    """

    raw: bytes
    pattern: str
    size: tuple[int, int]
    video: int
    stored: str
    scale: Scale
    missing: float | None


@dataclass(frozen=True)
class Volume:
    """The array of a NIfTI file, first axis fastest; nothing is loaded but what is indexed."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int

    def __call__(self) -> "Volume":
        """Return itself: it opens the file where it is indexed."""
        return self

    def __getitem__(self, index: tuple[int | slice, ...]) -> Shaped[np.ndarray, "..."]:
        """Load a part.

        Raises:
            InputError: the file is damaged, or shorter than its header says.
        """
        try:
            if not is_packed(self.path):
                whole = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order="F")
                return np.array(whole[index])
            read, stream = load_nibabel().fileslice.fileslice, opened(gzip.open, self.path)
            return np.array(read(stream, index, self.shape, self.dtype, self.offset, order="F"))
        except BROKEN as error:
            raise InputError(f"{self.path} is damaged ({first_line(error)})") from error


def open_nifti(path: Path, layout: Layout) -> list[Footage]:
    """Open a NIfTI-1 or NIfTI-2 image.

    The axes of such files are x, y, z, t and a further one. x are columns and y rows; t are frames,
    or the slices z if there is but one t; the fifth axis and colors are channels. Rows come in the
    stored order, which is often from bottom to top. An image with several z and several t needs
    `layout.axes`, such as "whvf", which makes a video of each slice.

    Slope and intercept are applied (float32, or float64 where that couldn't tell two stored values
    apart). `layout.missing` is a stored value, before that. The unit and step of t give the rate.

    Reading at random is slow in .nii.gz, which has to be unpacked from the start to the place.

    Args:
        path: A .nii, .nii.gz, .hdr or .img file.
        layout: `axes` and `missing` are used.

    Raises:
        InputError: nibabel isn't installed; the file is none of these or damaged; or its axes are
            ambiguous.
    """
    name = str(path)
    head, data = _pair(path)
    header, raw = _header(head, name)
    volume, pattern, letters = _volume(header, head, data, layout.axes, name)
    scale = _scale(header, name)
    plane, stored = plane_of(volume.dtype, letters, layout.missing, name)
    native = volume.dtype.newbyteorder("=")
    dtype = plane.dtype if scale == Scale() else scale.dtype(native)
    changed = "" if scale == Scale() and dtype == native else native.name
    found = []
    for video, footage in enumerate(
        footage_of(volume, path=path, name=name, shape=volume.shape, plane=plane)
    ):
        size = footage.shape[:2]
        content = NiftiHeader(raw, pattern, size, video, changed, scale, layout.missing)
        reader = ArrayReader(volume, plane, video)
        scaled = reader if scale == Scale() else ScaledReader(reader, scale, dtype)
        footage = replace(
            footage,
            dtype=dtype,
            reader=scaled,
            fps=_rate(header, pattern),
            # A fill value of the stored numbers means nothing to a writer that doesn't scale.
            stored=stored if scale == Scale() else None,
            header=Header(".nii", content),
        )
        found.append(footage)
    return found


def load_nibabel() -> Any:
    """Import nibabel.

    Raises:
        InputError: it isn't installed.
    """
    try:
        import nibabel
    except ImportError as error:
        raise InputError(
            "NIfTI files need the nibabel library: pip install 'framefill[nifti]'"
        ) from error
    return nibabel


def is_packed(path: Path) -> bool:
    """Say whether a file is packed, by its name."""
    return path.suffix.lower() == ".gz"


def _pair(path: Path) -> tuple[Path, Path]:
    """Return the files of the header and of the data, which are one for most images."""
    ending = path.with_suffix("").suffix + path.suffix if is_packed(path) else path.suffix
    stem = path.name.removesuffix(ending)
    other = {".hdr": ".img", ".img": ".hdr", ".hdr.gz": ".img.gz", ".img.gz": ".hdr.gz"}
    if ending.lower() not in other:
        return path, path
    partner = path.with_name(stem + other[ending.lower()])
    if not partner.is_file():
        raise InputError(f"{path} needs {partner.name} beside it: give both files")
    return (path, partner) if ending.lower().startswith(".hdr") else (partner, path)


def _header(path: Path, name: str) -> tuple[Any, bytes]:
    """Return the header of a file, and its bytes; nothing in it is trusted yet."""
    nibabel = load_nibabel()
    try:
        with gzip.open(path) if is_packed(path) else path.open("rb") as file:
            raw = file.read(540)
    except BROKEN as error:
        raise InputError(f"{name} can't be read ({first_line(error)})") from error
    for size in (int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big")):
        if size == 348 and raw[344:348] in (b"n+1\0", b"ni1\0"):
            return nibabel.Nifti1Header(raw[:size], check=False), raw[:size]
        if size == len(raw) == 540 and raw[4:8] in (b"n+2\0", b"ni2\0"):
            return nibabel.Nifti2Header(raw, check=False), raw
    raise InputError(f"{name} has no NIfTI header: give a .nii or .nii.gz file")


def _volume(header: Any, head: Path, data: Path, asked: str, name: str) -> tuple[Volume, str, str]:
    """Return the array of a file, a letter for each of its axes in the file, and for each kept."""
    count, offset = int(header["dim"][0]), float(header["vox_offset"])
    shape = tuple(int(length) for length in header["dim"][1 : count + 1])
    first = len(header.binaryblock) if data == head else 0
    if not 2 <= count <= 7 or min(shape) < 1 or not first <= offset < math.inf:
        raise InputError(f"{name} has a broken header (axes {shape}, values from byte {offset:g})")
    try:
        dtype = header.get_data_dtype()
    except (load_nibabel().spatialimages.HeaderDataError, *BROKEN) as error:
        raise InputError(f"{name} has a broken header ({first_line(error)})") from error
    pattern = _pattern(shape, asked, name)
    letters = pattern.replace("1", "")
    lengths = [length for letter, length in zip(pattern, shape, strict=True) if letter != "1"]
    if dtype.names:  # colors, as a structure
        if "c" in letters:
            raise InputError(f"{name} holds colors, which are the channels: leave c out of axes")
        letters, lengths, dtype = "c" + letters, [len(dtype.names), *lengths], np.dtype("u1")
    volume = Volume(data, tuple(lengths), dtype, int(offset))
    _check_size(volume, letters, name)
    return volume, pattern, letters


def _pattern(shape: tuple[int, ...], asked: str, name: str) -> str:
    """Return a letter for each axis of a file, and 1 for those that are dropped."""
    if len(asked) == len(shape):
        return asked
    long = [place for place, length in enumerate(shape) if place < 2 or length > 1]
    pattern = ["1"] * len(shape)
    if asked:
        letters = axes_of([shape[place] for place in long], (), asked, name)
    elif {2, 3} <= set(long) or long[-1] > 4:
        raise InputError(
            f"{name} has the axes x, y, z, t of lengths {shape}: say which are the frames with "
            "--data.axes, as whvf, which makes a video of each slice z, or whfv, of each time t"
        )
    else:
        letters = "".join("whffc"[place] for place in long)
    for place, letter in zip(long, letters, strict=True):
        pattern[place] = letter
    return "".join(pattern)


def _scale(header: Any, name: str) -> Scale:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):  # by the standard, these mean none
        return Scale()
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise InputError(f"{name} has slope {slope} and intercept {intercept}: mend its header")
    return Scale(slope, intercept)


def _check_size(volume: Volume, letters: str, name: str) -> None:
    """Refuse a file that can't hold what its header says, before anything is allocated."""
    total = math.prod(volume.shape) * volume.dtype.itemsize
    size = volume.path.stat().st_size
    most = size * DEFLATE if is_packed(volume.path) else size
    if volume.offset + total > most:
        raise InputError(
            f"{name} is cut off: {volume.path.name} has {size} bytes, too few for values of "
            f"{volume.dtype} in the shape {volume.shape} from byte {volume.offset} on"
        )
    frame = [
        length for letter, length in zip(letters, volume.shape, strict=True) if letter in "hwc"
    ]
    if math.prod(frame) * 8 > LARGEST_FRAME:
        raise InputError(f"{name} has frames of {frame}, above the limit of {LARGEST_FRAME} bytes")


def _rate(header: Any, pattern: str) -> float | None:
    unit = SECONDS.get(int(header["xyzt_units"]) & 0x38)
    step = float(str(header["pixdim"][4]))  # 0.2 s, not the nearest in single precision
    if unit is None or pattern[3:4] != "f" or not (math.isfinite(step) and step > 0):
        return None
    return 1 / (step * unit)
