"""NIfTI images (.nii, .nii.gz, and .hdr with .img) as videos, and videos as NIfTI images."""

import gzip
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import ArrayReader, axes_of, footage_of, plane_of
from framefill.data.clock import seconds
from framefill.data.footage import Footage, Layout
from framefill.data.handles import opened
from framefill.data.video import BROKEN, Header, Video, first_line
from framefill.errors import FillWarning, InputError

LARGEST_FRAME = 2**31  # bytes
DEFLATE = 1032  # times what a file takes is the most that it can unpack to
SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}  # for each unit of time, by its code
LONGEST = 2**15 - 1  # axis of NIfTI-1; above, NIfTI-2 is written
UNEVEN = 1e-3  # of a step, by which even steps may differ


class Scale(NamedTuple):
    """How stored numbers become values: value = stored * slope + intercept.

    Args:
        slope: Finite and not 0.
        intercept: Finite.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def dtype(self, stored: np.dtype[np.generic]) -> np.dtype[np.generic]:
        """Return the shorter dtype of floats that keeps the values of two stored numbers apart."""
        if stored.kind == "f":
            return np.dtype("float64" if stored.itemsize > 4 else "float32")
        limits = np.iinfo(stored.name)
        most = max(abs(limits.min * self.slope), abs(limits.max * self.slope))
        with np.errstate(over="ignore", invalid="ignore"):
            gap = float(np.spacing(np.float32(most + abs(self.intercept))))
        return np.dtype("float32" if gap < abs(self.slope) / 4 else "float64")

    def values(
        self, stored: Shaped[np.ndarray, "..."], dtype: np.dtype[np.generic]
    ) -> Shaped[np.ndarray, "..."]:
        """Return the values of stored numbers; NaN stays NaN."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (stored.astype(np.float64) * self.slope + self.intercept).astype(dtype)

    def stored(
        self,
        values: Shaped[np.ndarray, "..."],
        dtype: np.dtype[np.generic],
        missing: float | None,
        name: str,
    ) -> Shaped[np.ndarray, "..."]:
        """Return the numbers to store for values; those that came from the file come out as before.

        Args:
            values: Floats; NaN where one is missing.
            dtype: To store.
            missing: The number that stands for NaN.
            name: What to call the video in a message.

        Raises:
            InputError: a value is missing, and no number stands for that.
        """
        numbers = (values.astype(np.float64) - self.intercept) / self.slope
        gone = np.isnan(numbers)
        if missing is not None:
            numbers[gone] = missing
        if dtype.kind == "f":
            return numbers.astype(dtype)
        if gone.any() and missing is None:
            raise InputError(
                f"{name} has {gone.sum()} values that are NaN, and {dtype} no number for them: "
                "choose .npy, which keeps them, or name one with --data.missing"
            )
        limits, exact = np.iinfo(dtype.name), 2**53
        low, high = max(limits.min, -exact), min(limits.max, exact)
        whole = np.rint(numbers)
        outside = int(((whole < low) | (whole > high)).sum())
        if outside:
            warnings.warn(
                f"{name}: {outside} values are beyond what {dtype} holds with the slope "
                f"{self.slope:g} and intercept {self.intercept:g}, and become its extremes",
                FillWarning,
                stacklevel=2,
            )
        return np.clip(whole, low, high).astype(dtype)


def restored(video: Video) -> tuple[np.dtype[np.generic], float | None] | None:
    """Return the dtype that a video's source stored, and the number for missing values if any.

    None if its frames are what was stored, or if values are missing and no number stands for them.
    """
    stored = video.stored
    if stored is None or video.frames.dtype.kind != "f":
        return None
    if not math.isnan(stored.missing):
        return np.dtype(stored.dtype), stored.missing
    return None if np.isnan(video.frames).any() else (np.dtype(stored.dtype), None)


def even_step(times: Shaped[np.ndarray, " f"] | None) -> float | None:
    """Return the seconds between two frames; None if they differ by more than a thousandth."""
    if times is None or len(times) < 2:
        return None
    steps = np.diff(seconds(times))
    step = float(np.median(steps))
    return step if np.ptp(steps) <= UNEVEN * abs(step) else None


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
            if not _packed(self.path):
                whole = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order="F")
                return np.array(whole[index])
            read, stream = _nibabel().fileslice.fileslice, opened(gzip.open, self.path)
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


def write_nifti(path: Path, video: Video) -> None:
    """Write a video as a NIfTI image, packed if the name ends in .gz.

    The header of a NIfTI source is kept (orientation, sizes, units, dtype, slope and intercept, not
    its extensions, which may tell of the old length); it describes the first slice of that source.
    If its frames had another size, only dtype, slope and intercept are kept. Without a source x are
    columns, y rows and t frames; three channels of uint8 become colors, others a fifth axis. Values
    that came from the file get the stored numbers that they had. float16 becomes float32, since
    NIfTI has no such numbers.

    Raises:
        InputError: nibabel isn't installed, or integers have no number for missing values.
    """
    nibabel = _nibabel()
    name = video.source or "the video"
    ours = video.header.content if video.header and video.header.format == ".nii" else None
    frames, scale = _numbers(video, ours, name)
    if ours is None or ours.size != frames.shape[1:3]:
        pattern, header = "wh1fc" if frames.shape[3] > 1 else "wh1f", nibabel.Nifti1Header()
        header.set_xyzt_units(t="sec")
        colors = frames.dtype == np.uint8 and frames.shape[3] == 3
    else:
        pattern = ours.pattern
        kind = nibabel.Nifti1Header if len(ours.raw) == 348 else nibabel.Nifti2Header
        header = _moved(kind(ours.raw, check=False), ours)
        colors = "c" not in pattern and frames.dtype == np.uint8 and frames.shape[3] in (3, 4)
    values = _arranged(frames, pattern, colors)
    if max(values.shape) > LONGEST:
        header = _longer(header, nibabel.Nifti2Header())
    header["dim"] = [values.ndim, *values.shape, *[1] * (7 - values.ndim)]
    header.set_data_dtype(values.dtype)
    header["scl_slope"], header["scl_inter"] = scale
    _set_rate(header, video, values.ndim, pattern)
    header["magic"] = b"n+1" if header["sizeof_hdr"] == 348 else b"n+2"
    header["vox_offset"] = header.single_vox_offset
    with _created(path) as file:
        header.write_to(file)
        for part in range(values.shape[-1]):
            file.write(values[..., part].tobytes(order="F"))


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise InputError(
            "NIfTI files need the nibabel library: pip install 'framefill[nifti]'"
        ) from error
    return nibabel


def _packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _pair(path: Path) -> tuple[Path, Path]:
    """Return the files of the header and of the data, which are one for most images."""
    ending = path.with_suffix("").suffix + path.suffix if _packed(path) else path.suffix
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
    nibabel = _nibabel()
    try:
        with gzip.open(path) if _packed(path) else path.open("rb") as file:
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
    except (_nibabel().spatialimages.HeaderDataError, *BROKEN) as error:
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
    most = size * DEFLATE if _packed(volume.path) else size
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


def _numbers(
    video: Video, ours: NiftiHeader | None, name: str
) -> tuple[Shaped[np.ndarray, "f h w c"], Scale]:
    """Return the numbers to store, and how they are scaled."""
    frames, back = video.frames, restored(video)
    if ours is not None and ours.stored and frames.dtype.kind == "f":
        dtype = np.dtype(ours.stored)
        return ours.scale.stored(frames, dtype, ours.missing, name), ours.scale
    if back is not None:
        frames = Scale().stored(frames, *back, name)
    return frames.astype(np.float32) if frames.dtype == np.float16 else frames, Scale()


def _arranged(
    frames: Shaped[np.ndarray, "f h w c"], pattern: str, colors: bool
) -> Shaped[np.ndarray, "..."]:
    """Return frames with their axes in the order of a file."""
    lengths = dict(zip("fhwc", frames.shape, strict=True))
    if colors:
        lengths["c"] = 1
    for letter, place in (("f", 3), ("c", 4)):
        if letter not in pattern and lengths[letter] > 1:
            pattern = pattern.ljust(place, "1")
            pattern = pattern[:place] + letter + pattern[place + 1 :]
    order = ["fhwc".index(letter) for letter in pattern if letter in "fhwc"]
    if colors:
        fields = [(letter, "u1") for letter in "RGBA"[: frames.shape[3]]]
        frames = np.ascontiguousarray(frames).view(np.dtype(fields))
    left = [axis for axis in range(4) if axis not in order]  # of length 1
    shape = [lengths.get(letter, 1) for letter in pattern]
    values = frames.astype(frames.dtype.newbyteorder("<"), copy=False)
    return values.transpose(order + left).reshape(shape)


def _moved(header: Any, ours: NiftiHeader) -> Any:
    """Return a header in little-endian order, whose origin is that of the video's slice."""
    header = header.as_byteswapped("<")
    if "v" in ours.pattern[:3] and ours.video:
        axis = ours.pattern.index("v")
        for read, write in (
            (header.get_sform, header.set_sform),
            (header.get_qform, header.set_qform),
        ):
            affine, code = read(coded=True)
            if code:
                affine[:3, 3] += affine[:3, axis] * ours.video
                write(affine, int(code))
    return header


def _longer(header: Any, new: Any) -> Any:
    """Return a NIfTI-2 header that says what a NIfTI-1 header does."""
    for field in set(new.keys()) & set(header.keys()) - {"sizeof_hdr", "magic", "dim"}:
        new[field] = header[field]
    return new


def _set_rate(header: Any, video: Video, axes: int, pattern: str) -> None:
    if axes < 4 or "f" in pattern[:3]:
        return
    step = even_step(video.times) or (1 / video.fps if video.fps else 0.0)
    if video.times is not None and len(video.times) > 1 and even_step(video.times) is None:
        step = float(np.median(np.diff(seconds(video.times))))
        warnings.warn(
            f"{video.source or 'the video'} has uneven time stamps, which NIfTI can't hold: it "
            f"gets a step of {step:g} s",
            FillWarning,
            stacklevel=3,
        )
    if step > 0:
        code = int(header["xyzt_units"])
        if code & 0x38 not in SECONDS:
            code = code & ~0x38 | 8
        header["xyzt_units"] = code
        header["pixdim"][4] = step / SECONDS[code & 0x38]


def _created(path: Path) -> gzip.GzipFile | BinaryIO:
    if _packed(path):
        return gzip.GzipFile(path, "wb", mtime=0)  # the same bytes each time
    return path.open("wb")
