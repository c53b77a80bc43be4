"""What a model costs, counted without a byte of it being allocated."""

from dataclasses import dataclass

import torch
from torch import Tensor

from framefill.model_config import ModelConfig

STATES = 5  # copies of the weights in training: weights, gradients, Adam's two averages, our own


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Args:
        parameters: Number of weights.
        clip_bytes: What one clip leaves behind for the way back, in float32.
    """

    parameters: int
    clip_bytes: int

    @property
    def state_bytes(self) -> int:
        """Memory of a training's weights, gradients and averages, in float32."""
        return STATES * 4 * self.parameters


def cost(config: ModelConfig) -> Cost:
    """Count weights, and the tensors that one clip's forward pass keeps for the backward pass."""
    with torch.device("meta"):
        network = config.build().train()
        frames = config.masks.frames
        clip = torch.zeros(1, frames, config.channels, config.height, config.width)
        labels = torch.zeros(1, frames)
        roles = torch.zeros(1, frames, dtype=torch.int8)
        kept = _Kept({id_of(weight) for weight in network.parameters()})
        with torch.autograd.graph.saved_tensors_hooks(kept.note, lambda tensor: tensor):
            output = network(clip, labels, roles)
        del output
    parameters = sum(weight.numel() for weight in network.parameters())
    return Cost(parameters, kept.total)


class _Kept:
    """The storages that autograd keeps, each counted once."""

    def __init__(self, weights: set[int]) -> None:
        self.seen, self.total = weights, 0
        self.held: list[Tensor] = []  # or a freed storage's number would be given to another

    def note(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is being kept."""
        self.held.append(tensor)
        if id_of(tensor) not in self.seen:
            self.seen.add(id_of(tensor))
            self.total += tensor.untyped_storage().nbytes()
        return tensor


def id_of(tensor: Tensor) -> int:
    """Return the identity of the memory that a tensor would have."""
    return tensor.untyped_storage()._cdata
