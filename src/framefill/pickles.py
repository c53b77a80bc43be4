"""Files that torch.save wrote: read with care, and with no code of theirs run."""

import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framefill.errors import InputError

UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError),
    *(ValueError, LookupError, TypeError, AttributeError, struct.error),
)


def load_pickle(path: Path, what: str) -> Any:
    """Read a file of torch.save; nothing in it is executed.

    Args:
        path: The file.
        what: What the user should have given.

    Raises:
        InputError: the file is missing, damaged, or holds more than numbers and their containers.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file: give {what}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        # The rest of what torch says is advice to load the file without care.
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        raise InputError(f"{path} can't be read ({reason}): give {what}") from error


def check_weights_by_name(weights: Any, path: Path, what: str) -> dict[str, Tensor]:
    """Return what was read if it is plain floating-point tensors by name.

    Raises:
        InputError: it is something else; the message names it.
    """
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"{path} holds no weights by name: give {what}")
    if "param_groups" in weights:
        raise InputError(f"{path} is an optimiser's state: give {what}")
    for name, value in weights.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise InputError(f"{path}: {name} is no tensor of plain floating-point numbers")
    return dict(weights)


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_floating_point()
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
    )
