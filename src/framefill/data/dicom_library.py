"""pydicom: imported where it is needed, quiet, and its exceptions as InputErrors."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from framefill.data.video import BROKEN, first_line
from framefill.errors import InputError


def load_pydicom() -> Any:
    """Import pydicom.

    Raises:
        InputError: it isn't installed.
    """
    try:
        import pydicom
        import pydicom.errors
    except ImportError as error:
        raise InputError(
            "DICOM files need the pydicom library: pip install 'framefill[dicom]'"
        ) from error
    return pydicom


def damage() -> tuple[type[Exception], ...]:
    """Return what pydicom raises for damaged files."""
    errors = load_pydicom().errors
    more = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError)
    return (*BROKEN, *more, errors.InvalidDicomError, errors.BytesLengthException)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what pydicom says of values that the standard forbids."""
    logger, silent = logging.getLogger("pydicom"), logging.NullHandler()
    passed_on, logger.propagate = logger.propagate, False
    logger.addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(silent)
        logger.propagate = passed_on


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turn what pydicom raises for damaged files into an InputError, quietly."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except damage() as error:
        what, remedy = " ".join(str(error).split()), ""
        if "plugins" in what:
            what = what.partition("plugins: ")[2]
            remedy = ": unless it is damaged, pip install pylibjpeg pylibjpeg-libjpeg"
        else:
            what = first_line(error)
        raise InputError(f"{name} can't be read as DICOM ({what}){remedy}") from error
