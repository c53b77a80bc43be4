"""TIFF files and their pages through tifffile, whose exceptions become InputErrors."""

import logging
import lzma
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from framefill.data.video import BROKEN, first_line
from framefill.errors import InputError

DAMAGE = (
    *(*BROKEN, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError),
    *(lzma.LZMAError, Image.DecompressionBombError),
)


def load_tifffile() -> Any:
    """Import tifffile.

    Raises:
        InputError: it isn't installed.
    """
    try:
        import tifffile
    except ImportError as error:
        raise InputError(
            "TIFF stacks need the tifffile library: pip install 'framefill[tiff]'"
        ) from error
    return tifffile


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turn what tifffile raises into an InputError, and silence what it logs of odd files."""
    logger, silent = logging.getLogger("tifffile"), logging.NullHandler()
    passed_on, logger.propagate = logger.propagate, False
    logger.addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of large strips; what is odd is checked
            yield
    except InputError:
        raise
    except DAMAGE as error:
        what = first_line(error)
        if "imagecodecs" in what:
            raise InputError(
                f"{name} has a compression that needs a codec: pip install imagecodecs"
            ) from error
        raise InputError(f"{name} can't be read as a TIFF file ({what})") from error
    finally:
        logger.removeHandler(silent)
        logger.propagate = passed_on


def open_file(path: Path) -> Any:
    """Open a file (tifffile)."""
    # Of these formats it would guess where pages are.
    no = {"is_lsm": False, "is_scanimage": False, "is_ndpi": False}
    return load_tifffile().TiffFile(path, **no)


def page_at(file: Any, offset: int) -> Any:
    """Return the page that begins at an offset (tifffile), read anew."""
    file.filehandle.seek(offset)
    return load_tifffile().TiffPage(file, index=0)
