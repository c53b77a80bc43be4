"""MNIST's own file format, IDX."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from framefill.errors import InputError

MAGIC_IMAGES = 0x803
LIMIT_BYTES = 2**28  # MNIST's larger file is 47 MB


def read_images(path: Path) -> UInt8[np.ndarray, "n h w"]:
    """Read an IDX file of images, gzipped or not.

    Raises:
        InputError: it is not such a file, or its size is not what its header says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(16)
            if len(header) < 16 or struct.unpack(">I", header[:4])[0] != MAGIC_IMAGES:
                raise InputError(f"{path} is not an IDX file of images: use MNIST's original files")
            count, height, width = struct.unpack(">III", header[4:])
            size = count * height * width
            if not 0 < size <= LIMIT_BYTES:
                raise InputError(f"{path} announces {size:,} bytes: 1 to {LIMIT_BYTES:,} are read")
            pixels = file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): fetch it again") from error
    if len(pixels) < size:
        raise InputError(f"{path} ends after {len(pixels):,} of {size:,} bytes: fetch it again")
    return np.frombuffer(pixels, np.uint8).reshape(count, height, width)


def find_images(folder: Path, *, train: bool) -> Path:
    """Find MNIST's training or test images in a folder, or in its `MNIST/raw` or `raw`.

    Raises:
        InputError: they are not there.
    """
    name = f"{'train' if train else 't10k'}-images-idx3-ubyte"
    for place in (folder, folder / "MNIST" / "raw", folder / "raw"):
        for candidate in (place / name, place / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    raise InputError(f"{folder} holds no {name} or {name}.gz: give a folder with MNIST's IDX files")
