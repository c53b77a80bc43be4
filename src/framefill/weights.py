"""Tensors in files, and in networks."""

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from framefill.errors import InputError


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors; they are contiguous, and on the CPU.

    Raises:
        OSError: the file can't be written, as where the disk is full.
    """
    try:
        save_file(dict(tensors), path, metadata=None if metadata is None else dict(metadata))
    except SafetensorError as error:
        # The library says what the system said in words of its own.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else 0, str(error), str(path)) from error


def load_weights(network: nn.Module, path: Path) -> None:
    """Load safetensors weights into a network that expects exactly these.

    Raises:
        InputError: the file is damaged, or holds other names or shapes.
    """
    check_weights(network, path)
    network.load_state_dict(load_file(path))


def check_weights(network: nn.Module, path: Path) -> None:
    """Refuse weights that are not those of a network; it may be on the meta device.

    Only the file's header is read, so what a faulty configuration describes is never allocated.

    Raises:
        InputError: the file is damaged, or holds other names or shapes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in set(file.keys())}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} can't be read as safetensors: {error}") from error
    expected = {name: list(value.shape) for name, value in network.state_dict().items()}
    if missing := sorted(set(expected) - set(shapes)):
        raise InputError(f"{path} lacks {missing[0]} and {len(missing) - 1} more: another network?")
    if unknown := sorted(set(shapes) - set(expected)):
        raise InputError(f"{path} has {unknown[0]} and {len(unknown) - 1} more: another network?")
    for name, shape in shapes.items():
        if shape != expected[name]:
            raise InputError(f"{path}: {name} has shape {shape}, the network's {expected[name]}")
