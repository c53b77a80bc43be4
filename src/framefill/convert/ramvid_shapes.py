"""What the shapes of RaMViD's weights tell of the network that they are of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from framefill.errors import InputError

MISSING = "is it a model*.pt or ema_*.pt of RaMViD?"


@dataclass(frozen=True)
class Shapes:
    """The network of some weights, as far as their names and shapes tell.

    Args:
        channels: Channels of a frame.
        learn_sigma: The output has a second half.
        width: Features at the finest resolution.
        multipliers: Features at each resolution, in units of it.
        blocks: Residual blocks per resolution.
        attention: Resolutions with attention, as indices into multipliers.
        scale_shift: The noise level scales and shifts.
        classes: Number of class labels, or 0.
    """

    channels: int
    learn_sigma: bool
    width: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    scale_shift: bool
    classes: int


def read_shapes(weights: Mapping[str, Tensor]) -> Shapes:
    """Read the architecture from official weights.

    Raises:
        InputError: they are not those of RaMViD's network.
    """
    width, channels = _shape(weights, "input_blocks.0.0.weight", 5)[:2]
    outputs = _shape(weights, "out.2.weight", 5)[0]
    if not width or not channels or outputs not in (channels, 2 * channels):
        raise InputError(f"weights for {channels} channels in and {outputs} out: {MISSING}")
    levels = _levels(weights)
    counts = {len(level) for level in levels}
    features = [{out for out, _ in level} for level in levels]
    attends = [{attention for _, attention in level} for level in levels]
    regular = len(counts) == 1 and all(
        len(out) == len(attention) == 1 for out, attention in zip(features, attends, strict=True)
    )
    if not regular or any(out % width for each in features for out in each):
        raise InputError(f"the resolutions of these weights are not built alike: {MISSING}")
    first = _shape(weights, "input_blocks.1.0.in_layers.2.weight", 5)[0]
    modulation = _shape(weights, "input_blocks.1.0.emb_layers.1.weight", 2)[0]
    labels = _shape(weights, "label_emb.weight", 2)[0] if "label_emb.weight" in weights else 0
    return Shapes(
        channels=channels,
        learn_sigma=outputs == 2 * channels,
        width=width,
        multipliers=tuple(each.pop() // width for each in features),
        blocks=counts.pop(),
        attention=tuple(level for level, each in enumerate(attends) if each.pop()),
        scale_shift=modulation == 2 * first,
        classes=labels,
    )


def _levels(weights: Mapping[str, Tensor]) -> list[list[tuple[int, bool]]]:
    """Return, for each resolution of the way down, each block's features and its attention."""
    pattern = re.compile(r"input_blocks\.(\d{1,3})\.")
    numbers = {int(match[1]) for name in weights if (match := pattern.match(name))}
    levels: list[list[tuple[int, bool]]] = [[]]
    for number in range(1, len(numbers)):
        prefix = f"input_blocks.{number}"
        if f"{prefix}.0.op.weight" in weights:
            levels.append([])
            continue
        out = _shape(weights, f"{prefix}.0.in_layers.2.weight", 5)[0]
        levels[-1].append((out, f"{prefix}.1.qkv.weight" in weights))
    return levels


def _shape(weights: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in weights:
        raise InputError(f"the weights lack {name}: {MISSING}")
    shape = tuple(weights[name].shape)
    if len(shape) != axes:
        raise InputError(f"{name} has shape {list(shape)} and not {axes} axes: {MISSING}")
    return shape
