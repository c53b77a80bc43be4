"""The weights by name that a file holds, and putting them into a network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from framefill.errors import InputError
from framefill.pickles import check_weights_by_name, load_pickle

WRAPPERS = ("module", "model", "state_dict")  # under which trainers keep the weights
COUNTER = "num_batches_tracked"  # of batch normalisation while it trains; a whole number


@dataclass(frozen=True, eq=False)
class State:
    """Weights by name.

    Args:
        weights: What the file holds.
        path: The file.
        what: What the user should have given, for messages.
    """

    weights: dict[str, Tensor]
    path: Path
    what: str

    def shape(self, name: str, axes: int) -> tuple[int, ...]:
        """Return the shape of a weight.

        Raises:
            InputError: it is not there, or has another number of axes.
        """
        if name not in self.weights:
            raise InputError(f"{self.path} has no {name}: give {self.what}")
        shape = tuple(self.weights[name].shape)
        if len(shape) != axes:
            raise InputError(
                f"{self.path} has {name} of shape {shape}, not of {axes} axes: give {self.what}"
            )
        return shape

    def fill(
        self,
        module: nn.Module,
        *,
        official: Callable[[str], str] = str,
        unused: tuple[str, ...] = (),
    ) -> None:
        """Give a module these weights, in float32; it may be on the meta device before.

        Args:
            module: The module; afterwards its parameters are on the CPU.
            official: From a name in the module to the one in the file.
            unused: How names start that may be in the file and that the module doesn't need.

        Raises:
            InputError: a weight is missing, unknown or of another shape.
        """
        expected = module.state_dict()
        names = {official(name): name for name in expected if not name.endswith(COUNTER)}
        for name, ours in names.items():
            needed = tuple(expected[ours].shape)
            if (shape := self.shape(name, len(needed))) != needed:
                raise InputError(
                    f"{self.path} has {name} of shape {shape}, not {needed}: give {self.what}"
                )
        for name in self.weights:
            if name not in names and not name.startswith(unused):
                raise InputError(f"{self.path} has {name}, which is unknown: give {self.what}")
        weights = {ours: self.weights[name].float() for name, ours in names.items()}
        counters = {name: torch.tensor(0) for name in expected if name.endswith(COUNTER)}
        module.load_state_dict(weights | counters, assign=True)


def read_state(path: Path, what: str) -> State:
    """Read the weights of a file, .safetensors or of torch.save; nothing in it is executed.

    Args:
        path: The file.
        what: What the user should have given, for messages.

    Raises:
        InputError: the file is missing or damaged, or holds something else.
    """
    held: Any
    if path.suffix == ".safetensors":
        try:
            held = load_file(path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} can't be read ({error}): give {what}") from error
    else:
        held = load_pickle(path, what)
        for key in WRAPPERS:
            if isinstance(held, dict) and isinstance(held.get(key), dict):
                held = held[key]
    if isinstance(held, dict):
        held = {name: held[name] for name in held if not str(name).endswith(COUNTER)}
    return State(check_weights_by_name(held, path, what), path, what)
