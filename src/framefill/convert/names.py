"""Moving weights from one set of parameter names to another, with nothing left over."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from framefill.errors import InputError


def _only(tensors: list[Tensor]) -> Tensor:
    return tensors[0]


def _alone(tensor: Tensor) -> list[Tensor]:
    return [tensor]


@dataclass(frozen=True)
class Renaming:
    """One parameter of ours and where it comes from.

    Args:
        official: Official names that it is made of.
        ours: Its name here.
        join: Makes our tensor from the official ones.
        split: Makes the official ones from ours.
    """

    official: tuple[str, ...]
    ours: str
    join: Callable[[list[Tensor]], Tensor] = _only
    split: Callable[[Tensor], list[Tensor]] = _alone


def layer_renamings(official: str, ours: str) -> Iterator[Renaming]:
    """Rename the weight and the bias of a layer."""
    for kind in ("weight", "bias"):
        yield Renaming((f"{official}.{kind}",), f"{ours}.{kind}")


def rename(
    official: Mapping[str, Tensor], renamings: Sequence[Renaming], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return float32 weights under our names.

    Args:
        official: Weights under official names, of any floating dtype.
        renamings: Where each of our parameters comes from.
        expected: Our network's state dict; only names and shapes are read.

    Raises:
        InputError: official weights are missing, left over or of another shape; the message
            names the first few.
    """
    wanted = {name for renaming in renamings for name in renaming.official}
    if missing := sorted(wanted - set(official)):
        raise InputError(f"the checkpoint lacks {_few(missing)}: is the architecture right?")
    if unknown := sorted(set(official) - wanted):
        raise InputError(f"the checkpoint has more than the network: {_few(unknown)}")
    weights = {}
    for renaming in renamings:
        _check_shapes(official, renaming, expected[renaming.ours])
        value = renaming.join([official[name].to(torch.float32) for name in renaming.official])
        if not value.isfinite().all():
            raise InputError(f"{renaming.official[0]} holds NaN or infinite values: a damaged run?")
        weights[renaming.ours] = value.contiguous()
    return weights


def _check_shapes(official: Mapping[str, Tensor], renaming: Renaming, ours: Tensor) -> None:
    """Refuse official tensors of other shapes than ours is split into, before they are copied."""
    blueprint = torch.empty(ours.shape, device="meta")
    for name, part in zip(renaming.official, renaming.split(blueprint), strict=True):
        if official[name].shape != part.shape:
            found = f"{name} is {list(official[name].shape)} here and {list(part.shape)}"
            raise InputError(f"{found} in the network: is the architecture right?")


def rename_back(ours: Mapping[str, Tensor], renamings: Sequence[Renaming]) -> dict[str, Tensor]:
    """Return weights under official names, in the order of `renamings`: the inverse of `rename`.

    Args:
        ours: Our network's state dict, or as much of it as has names there.
        renamings: Where each of our parameters comes from.
    """
    official = {}
    for renaming in renamings:
        parts = renaming.split(ours[renaming.ours])
        pairs = zip(renaming.official, parts, strict=True)
        official.update({name: part.contiguous().clone() for name, part in pairs})
    return official


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
