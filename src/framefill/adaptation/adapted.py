"""A trained model's weights for other frames, clips, classes or conditions."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from framefill.adaptation.compared import refuse_others
from framefill.adaptation.origins import Origin, origins, without_what_goes
from framefill.adaptation.wording import changes
from framefill.errors import InputError
from framefill.model import Model
from framefill.model_config import ModelConfig


@dataclass(frozen=True, eq=False)
class Adapted:
    """The start of a training.

    Attributes:
        config: Of the model that is trained.
        weights: Of its network, on the CPU; none is shared with the model they come from.
        changes: For the user, a line for each thing that differs from that model.
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    changes: tuple[str, ...]


def adapted(model: Model, to: ModelConfig) -> Adapted:
    """Carry a model's weights over to another configuration of the same network.

    Free to change are the frames' size and channels, the masks as far as the network takes them,
    classes, conditions, and what no weight depends on: dropout, normaliser, sampler, guidance.
    Nothing is random. What a network hasn't seen yet, it does not read at first (zero weights), so
    on the old data it does what it did:

    * Frames of another size: every network is convolutional, and its attention has no positions.
    * Channels, gray to color or back (1 and 3): gray is the case R = G = B, inputs sum up to the
      old ones, outputs are the mean (`framefill.adaptation.blends`). Any other number: the first
      channels stay, further ones are not read and written as the mean of these; dropped ones are
      as if they were 0 (nearly so in MCVD's 3-D networks with SPATIN or separable convolutions,
      in which a channel of zeros still counts).
    * Clips, where frames are channels of an image: a frame is its place beside the target block,
      new places are not read, further target frames are written as the last one. MCVD's 3-D
      networks have sizes that depend on the clips and must keep them, all but past and future
      where SPATIN reads these. RaMViD's network and the space-time network take any clips.
    * Classes: those of one name (else number) stay, others start as the mean; the first ever start
      at zero; without any the network goes on as without a label.
    * Conditions, by name: new ones are not read, dropped ones count as unknown.

    Args:
        model: What to start from.
        to: What is to be trained: `dataclasses.replace` of the model's own configuration.

    Raises:
        InputError: the configuration has another network or another meaning of its output, which
            the message names; or the network can't have these masks.
    """
    with torch.device("meta"):
        needed = to.build().state_dict()  # refuses masks that the network can't have
        expected = model.config.build().state_dict()
    refuse_others(to, model.config)
    old = {name: value.detach().cpu() for name, value in model.network.state_dict().items()}
    _check(old, expected)
    settled, found = without_what_goes(old, to, model.config), origins(to, model.config, needed)
    weights = {}
    for name, value in needed.items():
        origin = found.get(name, Origin(name))
        if origin.name is None:
            weights[name] = torch.zeros(value.shape)
        elif origin.name in settled:
            weights[name] = origin.of(settled[origin.name])
    _check(weights, needed)
    return Adapted(to, weights, tuple(changes(to, model.config)))


def _check(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not those of a network."""
    for name in sorted({*weights, *expected}):
        have, need = (
            list(each[name].shape) if name in each else "nothing" for each in (weights, expected)
        )
        if have != need:
            raise InputError(f"{name} has shape {have} and needs {need}: it is another network's")
