"""Videos as TIFF files: OME-TIFF, or ImageJ hyperstacks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from framefill.data.clock import seconds
from framefill.data.scale import Scale, restored
from framefill.data.steps import even_step
from framefill.data.tiff_files import load_tifffile
from framefill.data.tiff_tags import NODATA, TiffHeader
from framefill.data.video import Video

CLASSIC = 2**32 - 2**25  # bytes that surely fit a classic TIFF; above, BigTIFF is written
OME = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


def write_tiff(path: Path, video: Video) -> None:
    """Write a video as an OME-TIFF, or as an ImageJ hyperstack if it came from one.

    Compressed without losses; BigTIFF from 4 GiB on. Times, names of channels, the unit of values
    and, for frames of the same size, what a TIFF source says of lengths and places are kept. Floats
    that were integers in the source, because some are missing, become those. float16 becomes
    float32, which OME has.

    Raises:
        InputError: tifffile isn't installed, or integers have no number for missing values.
    """
    tifffile = load_tifffile()
    ours = video.header.content if video.header and video.header.format == ".tif" else None
    frames, missing = _numbers(video, ours, video.source or "the video")
    if ours is not None and ours.size != frames.shape[1:3]:
        ours = replace(ours, sizes=(), resolution=None, places=())
    depth, channels = frames.dtype, frames.shape[3]
    imagej = ours is not None and ours.imagej and depth in ("uint8", "uint16", "float32")
    imagej = imagej and (video.times is None or _step(video) is not None)
    within = channels == 3 or (channels == 4 and not imagej)
    samples = within and (depth == "uint8" or (depth == "uint16" and not imagej))
    samples = samples and (ours is None or ours.samples)
    values = frames if samples else frames.transpose(0, 3, 1, 2)
    tags = [] if missing is None else [(NODATA, 2, 0, f"{missing:.17g}", True)]
    tags += [] if ours is None else [(*tag, True) for tag in ours.places]
    resolution = None if ours is None else ours.resolution
    metadata = _imagej_metadata(video, ours) if imagej else _ome_metadata(video, ours, samples)
    large = frames.nbytes > CLASSIC
    with tifffile.TiffWriter(path, bigtiff=large, ome=not imagej, imagej=imagej) as file:
        file.write(
            values,
            photometric="rgb" if samples else "minisblack",
            extrasamples=("unassalpha",) if samples and channels == 4 else None,
            compression="zlib",
            predictor=depth.kind in "ui",
            resolution=None if resolution is None else resolution[:2],
            resolutionunit=None if resolution is None else resolution[2],
            metadata={"axes": "TYXS" if samples else "TCYX", **metadata},
            extratags=tags,
        )


def _numbers(
    video: Video, ours: TiffHeader | None, name: str
) -> tuple[Shaped[np.ndarray, "f h w c"], float | None]:
    """Return what to store, and the number that stands for missing values."""
    frames, back = video.frames, restored(video)
    if frames.dtype.kind == "f" and ours is not None and ours.stored:
        back = np.dtype(ours.stored), ours.missing
    if back is not None and back[0].name in OME:
        return Scale().stored(frames, *back, name), back[1]
    return frames.astype(np.float32) if frames.dtype == np.float16 else frames, None


def _step(video: Video) -> float | None:
    """Return the seconds between two frames, where they are even."""
    if video.times is None or len(video.times) < 2:
        return 1 / video.fps if video.fps else None
    return even_step(video.times)


def _imagej_metadata(video: Video, ours: TiffHeader | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"unit": ours.unit} if ours is not None and ours.unit else {}
    if step := _step(video):
        metadata |= {"finterval": step, "tunit": "s"}
    if video.channels:
        metadata["Labels"] = list(video.channels) * len(video.frames)
    return metadata


def _ome_metadata(video: Video, ours: TiffHeader | None, samples: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(ours.sizes) if ours is not None else {}
    frames, channels = len(video.frames), 1 if samples else video.frames.shape[3]
    if step := _step(video):
        metadata |= {"TimeIncrement": step, "TimeIncrementUnit": "s"}
    if video.times is not None:
        since = video.times if video.times.dtype.kind == "f" else seconds(video.times)
        told = np.repeat(since, channels).tolist()
        metadata["Plane"] = {"DeltaT": told, "DeltaTUnit": ["s"] * frames * channels}
        if video.times.dtype.kind == "M":
            metadata["AcquisitionDate"] = str(video.times[0])
    if video.channels and not samples:
        metadata["Channel"] = {"Name": list(video.channels)}
    if video.units:
        metadata["MapAnnotation"] = {"units": video.units}
    return metadata
