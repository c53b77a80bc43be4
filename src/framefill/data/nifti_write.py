"""Videos as NIfTI images."""

import gzip
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from framefill.data.clock import seconds
from framefill.data.nifti import SECONDS, NiftiHeader, is_packed, load_nibabel
from framefill.data.scale import Scale, restored
from framefill.data.steps import even_step
from framefill.data.video import Video
from framefill.errors import FillWarning

LONGEST = 2**15 - 1  # axis of NIfTI-1; above, NIfTI-2 is written


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
    nibabel = load_nibabel()
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
    if is_packed(path):
        return gzip.GzipFile(path, "wb", mtime=0)  # the same bytes each time
    return path.open("wb")
