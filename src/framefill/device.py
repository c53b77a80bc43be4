"""Where and how precisely the network computes, by word."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from framefill.errors import InputError

Precision = Literal["auto", "float32", "bfloat16", "float16"]


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


def precision_on(device: torch.device, word: str) -> torch.dtype:
    """Return the type of number that a word means on a device.

    "auto" is bfloat16 on CUDA, float16 where CUDA has no bfloat16, and float32 elsewhere.

    Raises:
        InputError: as `check_precision`.
    """
    check_precision(word)
    if word != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
            word
        ]
    if device.type != "cuda":
        return torch.float32
    # Emulated bfloat16 is slower than either.
    real = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if real else torch.float16


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the context in which the network computes (`precision_on`)."""
    dtype = precision_on(device, precision)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()
