"""A video into a file of any format, with all that is known of it."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from framefill.data.formats import format_of, suffix_of
from framefill.data.video import Video
from framefill.data.write import PLAIN, check_target, write
from framefill.files import replacing


def save(
    path: Path,
    video: Video,
    *,
    value_range: tuple[float, float] | None = None,
    enlarge: int = 1,
    overwrite: bool = False,
) -> None:
    """Write a video to a file, whose suffix decides the format; missing folders are made.

    .mp4, .gif and folders of .png images show the values (`write`); .npy and .npz keep the array.
    Formats that know more (.nc .zarr .h5 .tif .dcm .nii .tfrecord) keep values, units and time
    stamps, and what the input's header holds if it was of the same format. Values that were
    integers in the input's file, and are floats because some were missing, become integers again.

    Args:
        path: The file, or a folder name without a suffix.
        video: The frames and what is known of them.
        value_range: See `write`.
        enlarge: See `write`.
        overwrite: Replace what is there.

    Raises:
        InputError: the path exists or can't be written, or the frames don't suit the format.
    """
    if suffix_of(path) in PLAIN:
        frames = video.frames
        if suffix_of(path) in (".npy", ".npz") and video.stored:
            frames = as_stored(video)
        write(
            path,
            frames,
            fps=video.fps,
            times=video.times,
            value_range=value_range,
            enlarge=enlarge,
            overwrite=overwrite,
        )
        return
    check_target(path, overwrite=overwrite)
    known = format_of(path)
    if known is not None:  # which the check has seen to
        with replacing(path, overwrite=overwrite, folder=known.folder) as draft:
            known.write(draft, video)


def as_stored(video: Video) -> Shaped[np.ndarray, "f h w c"]:
    """Return the frames in the dtype of the input's file, the fill value for what is missing.

    Without a fill value for what is missing, or with values that the dtype doesn't hold, they stay
    floats.
    """
    if video.stored is None:
        return video.frames
    missing = np.isnan(video.frames)
    if missing.any() and np.isnan(video.stored.missing):
        return video.frames
    values = np.where(missing, video.stored.missing, video.frames)
    dtype = np.dtype(video.stored.dtype)
    if dtype.kind not in "ui":
        return values.astype(dtype)
    whole, ends = np.rint(values), np.iinfo(dtype)
    fits = ((whole >= ends.min) & (whole <= ends.max)).all()
    return whole.astype(dtype) if fits else video.frames
