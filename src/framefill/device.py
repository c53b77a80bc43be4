"""Where and how precisely the network computes, by word."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from framefill.errors import InputError

Precision = Literal["auto", "float32", "bfloat16"]


def choose_device(word: str) -> torch.device:
    """Return the device that a word names; "auto": the best that there is.

    Raises:
        InputError: there is no such device here.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if word == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if present[name]))
    kind, _, index = word.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if not present.get(kind, False) or (index and not (index.isdigit() and int(index) < count)):
        here = ", ".join(name for name, is_here in present.items() if is_here)
        raise InputError(f"device {word!r} is not here: use auto or one of {here}")
    return torch.device(word)


def check_precision(word: str) -> None:
    """Refuse a word that names no precision.

    Raises:
        InputError: it is none of `Precision`.
    """
    if word not in get_args(Precision):
        raise InputError(f"no precision {word!r}: use {', '.join(get_args(Precision))}")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the context in which the network computes; "auto" is bfloat16 on CUDA only."""
    check_precision(precision)
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()
