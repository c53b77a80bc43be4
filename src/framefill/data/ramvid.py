"""Frames resized and cropped as RaMViD's loader does it (its video_datasets.py).

Pillow can't filter frames that have a palette, so the first frame of a GIF is only sampled by the
official code with the Pillow of today. Here every frame is filtered.
"""

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from framefill.errors import InputError


def fit_as_ramvid(
    frames: Shaped[np.ndarray, "f h w c"], *, height: int, width: int, channels: int, name: str
) -> UInt8[np.ndarray, "f y x d"]:
    """Halve, resize and crop every frame, then convert it to gray or RGB.

    While half a frame still covers height x width, it is halved by a box filter, an odd length to
    the whole pixel below; then it is resized by a bicubic filter to the smallest size that covers
    height x width, and its middle is cut out. The official code makes square frames alone.

    Args:
        frames: uint8, gray or RGB.
        height: Rows of the new frames.
        width: Columns of the new frames.
        channels: 1 takes the luma (ITU-R 601) of the frames once they are resized, 3 repeats gray.
        name: What to call the frames in a message.

    Returns:
        The same array where nothing has to change.

    Raises:
        InputError: the frames are of another dtype, or have or shall have other channels.
    """
    if frames.dtype != np.uint8 or frames.shape[3] not in (1, 3):
        raise InputError(
            f"{name} has frames of {frames.dtype} with {frames.shape[3]} channels and fit ramvid "
            f"takes uint8, gray (1) or RGB (3): convert them, or choose fit stretch or crop"
        )
    if channels not in (1, 3):
        raise InputError(
            f"fit ramvid makes frames gray (1) or RGB (3), but channels={channels} was asked for: "
            f"choose fit stretch or crop"
        )
    if frames.shape[1:] == (height, width, channels):
        return frames
    fitted = np.empty((len(frames), height, width, channels), np.uint8)
    for index, frame in enumerate(frames):
        image = Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0])
        cut = _covering(image, height, width).convert("RGB" if channels == 3 else "L")
        fitted[index] = np.asarray(cut).reshape(height, width, channels)
    return fitted


def _covering(image: Image.Image, height: int, width: int) -> Image.Image:
    while image.width >= 2 * width and image.height >= 2 * height:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = max(width / image.width, height / image.height)
    size = (round(image.width * scale), round(image.height * scale))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
