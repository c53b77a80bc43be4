"""Frames into files: videos for eyes, arrays for numbers; a file appears whole or not at all."""

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from jaxtyping import Shaped, UInt8
from PIL import Image

from framefill.data.formats import FORMATS, suffix_of
from framefill.errors import InputError
from framefill.files import replacing

PLAIN = (".mp4", ".gif", ".npy", ".npz", "")
WRITTEN = tuple(suffix for each in FORMATS if each.writer for suffix in each.suffixes)
ENDINGS = f"{', '.join((*PLAIN[:-1], *WRITTEN))}, or no suffix for a folder of .png images"
DEFAULT_FPS = 8.0
LARGEST_SIDE = 16384  # of H.264


def write(
    path: Path | str,
    frames: Shaped[np.ndarray, "f h w c"],
    *,
    fps: float | None,
    times: Shaped[np.ndarray, " f"] | None = None,
    value_range: tuple[float, float] | None = None,
    enlarge: int = 1,
    overwrite: bool = False,
) -> None:
    """Write frames to a file, whose suffix decides the format; missing folders are made.

    .npy and .npz keep the array bit for bit (.npz as "frames", with "fps" and "times" beside it)
    and use no value range. The others show it, as `to_pixels` does: .mp4 is H.264, with losses;
    .gif loops for ever, and is exact for gray frames and for those with at most 256 colors; a
    folder holds frame_0000.png, frame_0001.png, ...

    Args:
        path: File, or a folder name without a suffix.
        frames: For pictures, 1 or 3 channels.
        fps: Frames per second; None means 8 in .mp4 and .gif.
        times: Time stamps of the frames, kept by .npz alone.
        value_range: The values that become black and white, for other dtypes than uint8.
        enlarge: Repeat each pixel that many times in both directions; pictures only.
        overwrite: Replace what is there; of folders, only those that hold nothing but such frames.

    Raises:
        InputError: the path exists or can't be written, or the frames don't suit the format.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    suffix = suffix_of(path)
    if fps is not None and not 0.01 <= fps <= 1000:
        raise InputError(f"fps={fps} is out of range: give 0.01 to 1000 frames per second")
    if 0 in frames.shape:
        raise InputError(f"the frames have shape {frames.shape}, so there is nothing to write")
    if suffix in (".npy", ".npz"):
        if enlarge != 1:
            raise InputError(f"enlarge={enlarge} is for pictures, but {suffix} keeps the array")
        with replacing(path, overwrite=overwrite) as temporary:
            _write_array(temporary, frames, fps, times)
        return
    if path.is_dir() and not suffix:
        _refuse_foreign(path)
    pixels = to_pixels(frames, value_range)
    _check_pictures(pixels, suffix, enlarge, fps or DEFAULT_FPS)
    writers = {".mp4": _write_mp4, ".gif": _write_gif, "": _write_folder}
    with replacing(path, overwrite=overwrite, folder=not suffix) as temporary:
        writers[suffix](temporary, pixels, enlarge, fps or DEFAULT_FPS)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that `write` would refuse; worth asking before the frames are made.

    Raises:
        InputError: the suffix is unknown, or the path exists and may not be replaced.
    """
    if path.name in ("", ".."):
        raise InputError(f"'{path}' is no name for a file: choose one")
    if suffix_of(path) not in (*PLAIN, *WRITTEN):
        raise InputError(f"{path} has the unknown suffix {path.suffix}: use {ENDINGS}")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: choose another name or pass --overwrite")


def to_pixels(
    frames: Shaped[np.ndarray, "f h w c"], value_range: tuple[float, float] | None
) -> UInt8[np.ndarray, "f h w c"]:
    """Make 8-bit pixels: the range becomes 0..255 linearly, what lies outside is clamped.

    NaN becomes black. uint8 without a range is passed through.

    Raises:
        InputError: a dtype other than uint8 without a range, or a range that isn't low < high.
    """
    if value_range is None:
        if frames.dtype == np.uint8:
            return frames
        raise InputError(
            f"pictures have 8 bits and these values are {frames.dtype}: pass value_range=(low, "
            f"high), the values to show black and white, or choose .npy or .npz"
        )
    low, high = value_range
    if not (low < high and math.isfinite(high - low)):
        raise InputError(f"value_range=({low}, {high}) is no range: give two numbers, low < high")
    pixels = np.empty(frames.shape, np.uint8)
    for index, frame in enumerate(frames):
        # Clamped first: the difference to a huge value could overflow.
        share = (np.clip(frame.astype(np.float64), low, high) - low) / (high - low)
        pixels[index] = np.rint(np.nan_to_num(share, nan=0.0) * 255)
    return pixels


def to_picture(
    frames: Shaped[np.ndarray, "f h w c"], value_range: tuple[float, float]
) -> UInt8[np.ndarray, "f h w d"]:
    """Make 8-bit pictures to look at; of other channels than 1 or 3 the first alone is shown."""
    shown = frames if frames.shape[3] in (1, 3) else frames[..., :1]
    return to_pixels(shown, None if shown.dtype == np.uint8 else value_range)


def _refuse_foreign(folder: Path) -> None:
    """Nothing is deleted that `write` didn't make."""
    for entry in folder.iterdir():
        if not re.fullmatch(r"frame_\d{4,}\.png", entry.name):
            raise InputError(f"{folder} holds other files ({entry.name}): choose another name")


def _check_pictures(
    pixels: UInt8[np.ndarray, "f h w c"], suffix: str, enlarge: int, fps: float
) -> None:
    _, height, width, channels = pixels.shape
    if channels not in (1, 3):
        raise InputError(
            f"the frames have {channels} channels, but pictures 1 or 3: choose .npy or .npz"
        )
    if enlarge < 1:
        raise InputError(f"enlarge={enlarge} is no factor: give a whole number from 1")
    if max(height, width) * enlarge > LARGEST_SIDE:
        raise InputError(
            f"frames of {width * enlarge}x{height * enlarge} are too large for pictures: stay "
            f"within {LARGEST_SIDE} on each side"
        )
    if suffix == ".gif" and fps > 50:
        raise InputError(f"fps={fps} is too fast for .gif, which shows at most 50: choose .mp4")


def _write_array(
    path: Path,
    frames: Shaped[np.ndarray, "f h w c"],
    fps: float | None,
    times: Shaped[np.ndarray, " f"] | None,
) -> None:
    if path.suffix.lower() == ".npy":
        with path.open("wb") as file:  # np.save would add a second suffix to .NPY
            np.save(file, frames, allow_pickle=False)
        return
    more = {} if fps is None else {"fps": np.array(fps)}
    if times is not None:
        more["times"] = times
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, frames=frames, **more)


def _write_folder(
    path: Path, pixels: UInt8[np.ndarray, "f h w c"], enlarge: int, fps: float
) -> None:
    path.mkdir()
    for index, frame in enumerate(pixels):
        _image(frame, enlarge).save(path / f"frame_{index:04d}.png")


def _write_mp4(path: Path, pixels: UInt8[np.ndarray, "f h w c"], enlarge: int, fps: float) -> None:
    height, width = pixels.shape[1] * enlarge, pixels.shape[2] * enlarge
    rate = Fraction(fps).limit_denominator(10_000)
    # Browsers play 4:2:0 only, which needs even sides.
    kind = "yuv444p" if height % 2 or width % 2 else "yuv420p"
    converter = VideoReformatter()
    with av.open(
        path.absolute(), "w", format="mp4", options={"movflags": "+faststart"}
    ) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, kind
        stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        stream.colorspace, stream.color_range = Colorspace.ITU709, ColorRange.MPEG
        for index, picture in enumerate(pixels):
            colors = np.asarray(_image(picture, enlarge).convert("RGB"))
            frame = converter.reformat(
                av.VideoFrame.from_ndarray(colors, format="rgb24"),
                format=kind,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _write_gif(path: Path, pixels: UInt8[np.ndarray, "f h w c"], enlarge: int, fps: float) -> None:
    # By FFmpeg: Pillow merges equal frames into one, so that a still clip loses its length.
    ticks = [round(100 * index / fps) for index in range(len(pixels) + 1)]
    with av.open(path.absolute(), "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=100)
        stream.width, stream.height = pixels.shape[2] * enlarge, pixels.shape[1] * enlarge
        stream.pix_fmt = "pal8"
        stream.codec_context.time_base = Fraction(1, 100)
        for picture, tick, end in zip(pixels, ticks, ticks[1:], strict=False):
            frame = _paletted(_image(picture, enlarge))
            frame.pts, frame.time_base, frame.duration = tick, Fraction(1, 100), end - tick
            for packet in stream.encode(frame):
                packet.duration = end - tick  # else the last frame has the default length
                container.mux(packet)
        container.mux(stream.encode())


def _paletted(image: Image.Image) -> av.VideoFrame:
    palette = np.full((256, 4), 255, np.uint8)  # alpha, red, green, blue
    if image.mode == "L":
        indices, palette[:, 1:] = np.asarray(image), np.arange(256)[:, None]
    else:
        reduced = image.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
        colors = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)
        indices, palette[: len(colors), 1:] = np.asarray(reduced), colors
    pair: Any = (indices, palette)  # which PyAV's types leave out
    return av.VideoFrame.from_ndarray(pair, format="pal8")


def _image(frame: UInt8[np.ndarray, "h w c"], enlarge: int) -> Image.Image:
    large = frame.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    return Image.fromarray(large[..., 0] if frame.shape[2] == 1 else large)
