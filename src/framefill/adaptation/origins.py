"""Where each weight of a network comes from, in a network of the same kind for other clips."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from framefill.adaptation.blends import (
    Blend,
    channels_read,
    channels_written,
    class_rows,
    frames_read,
    frames_written,
    joined,
    nested,
    same,
    values_read,
)
from framefill.conditions import Condition
from framefill.model_config import ModelConfig
from framefill.nn.config import (
    ConcatConfig,
    ContextConfig,
    Mcvd3dConfig,
    SpaceTimeConfig,
    SpatinConfig,
    VolumeConfig,
)
from framefill.nn.spacetime import PLANES


@dataclass(frozen=True)
class Origin:
    """Where a weight comes from.

    Args:
        name: Of the old weight; None: from nowhere, it starts at zero.
        blends: Of the weight's first axes, None where an axis stays as it is.
    """

    name: str | None
    blends: tuple[Blend | None, ...] = ()

    def of(self, old: Tensor) -> Tensor:
        """Return what becomes of the old weight, as a tensor of its own."""
        value = old.double()
        for axis, blend in enumerate(self.blends):
            if blend is not None:
                value = torch.tensordot(blend, value, dims=([1], [axis])).movedim(0, axis)
        return value.to(old.dtype, copy=True).contiguous()


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Blends of the axes where clips enter and leave a network.

    Args:
        stem: Of what the first convolution reads.
        head: Of what the last convolution writes.
        known: Of what SPATIN's first convolutions read.
        enter: Of what comes before these, in the 3-D form.
    """

    stem: Blend
    head: Blend
    known: Blend | None = None
    enter: Blend | None = None


def ends(new: ModelConfig, old: ModelConfig) -> Ends:
    """Return the blends where clips enter and leave; both networks are of one kind."""
    read = channels_read(new.channels, old.channels)
    written = channels_written(new.channels, old.channels)
    masks = new.masks, old.masks
    match new.network:
        case ConcatConfig():
            return Ends(
                stem=nested(frames_read(*masks, "target past future"), read),
                head=nested(frames_written(*masks), written),
            )
        case SpatinConfig():
            return Ends(
                stem=nested(frames_read(*masks, "target"), read),
                head=nested(frames_written(*masks), written),
                known=nested(frames_read(*masks, "past future"), read),
            )
        case Mcvd3dConfig(hidden=0):
            return Ends(stem=read, head=written)
        case Mcvd3dConfig():
            enter = frames_read(*masks, "past future")
            return Ends(stem=read, head=written, known=read, enter=enter)
        case ContextConfig(patch=patch):
            pixels, frames = nested(read, same(patch**2)), frames_read(*masks)
            return Ends(
                stem=joined(nested(frames, pixels), frames, frames),
                head=nested(frames_written(*masks), written, same(patch**2)),
            )
        case VolumeConfig():
            return Ends(stem=read, head=nested(_halves(new), written))
        case SpaceTimeConfig(patch=patch):
            maps = values_read(maps_of(new), maps_of(old))
            planes = joined(read, same(1), maps)  # beside the frame: where it is valid
            return Ends(
                stem=joined(nested(planes, same(patch**2)), same(len(PLANES))),
                head=nested(_halves(new), written, same(patch**2)),
            )


def _halves(config: ModelConfig) -> Blend:
    """Prediction and learned spread, one after the other."""
    return same(2 if config.diffusion.learned_spread else 1)


def vectors_of(config: ModelConfig) -> Sequence[Condition]:
    """Return the conditions that enter with the noise level, in the network's order."""
    return [condition for condition in config.conditions if condition.kind == "vector"]


def maps_of(config: ModelConfig) -> Sequence[Condition]:
    """Return the conditions that enter with the frames, in the network's order."""
    return [condition for condition in config.conditions if condition.kind != "vector"]


def origins(new: ModelConfig, old: ModelConfig, names: Collection[str]) -> dict[str, Origin]:
    """Return where the weights of a new network come from; what is missing stays as it is.

    Args:
        new: The new network's configuration.
        old: That of a network of the same kind.
        names: The new network's weights.
    """
    edges = ends(new, old)
    found = [
        *_reading("unet.stem", edges.stem, names),
        *_writing(edges, channels_read(new.channels, old.channels), names),
        *_classes(new, old),
        *_vectors(new, old),
    ]
    for layer in {name.rpartition(".shared.")[0] for name in names if ".shared." in name}:
        if edges.known is not None:
            found += _reading(f"{layer}.shared", edges.known, names)
        if edges.enter is not None:
            found += _reading(f"{layer}.enter.conv", edges.enter, names)
    return dict(found)


def _reading(layer: str, blend: Blend, names: Collection[str]) -> Iterator[tuple[str, Origin]]:
    """Give a convolution other features in; a separable one reads them over space."""
    first = f"{layer}.space" if f"{layer}.space.weight" in names else layer
    yield f"{first}.weight", Origin(f"{first}.weight", (None, blend))


def _writing(edges: Ends, read: Blend, names: Collection[str]) -> Iterator[tuple[str, Origin]]:
    """Give the last convolution other features out.

    The second half of a separable one reads what its first half writes, channels too.
    """
    separable = "unet.head.conv.space.weight" in names
    for layer in ("space", "time") if separable else ("",):
        name = f"unet.head.conv.{layer}".rstrip(".")
        within = read if layer == "time" else None
        yield f"{name}.weight", Origin(f"{name}.weight", (edges.head, within))
        yield f"{name}.bias", Origin(f"{name}.bias", (edges.head,))


def _classes(new: ModelConfig, old: ModelConfig) -> Iterator[tuple[str, Origin]]:
    count, known = new.network_classes, old.network_classes
    name = "embedding.classes.weight"
    if count and not known:
        yield name, Origin(None)
    elif count:
        rows = class_rows(count, known, new.classes, old.classes)
        if isinstance(new.network, SpaceTimeConfig):
            rows = joined(rows, same(1))  # the last row is that of no class
        yield name, Origin(name, (rows,))


def _vectors(new: ModelConfig, old: ModelConfig) -> Iterator[tuple[str, Origin]]:
    before = {condition.name: number for number, condition in enumerate(vectors_of(old))}
    for number, condition in enumerate(vectors_of(new)):
        layer, source, blend = f"embedding.vectors.{number}", None, None
        if condition.name in before:
            source = f"embedding.vectors.{before[condition.name]}"
            blend = values_read([condition], [vectors_of(old)[before[condition.name]]])
        yield f"{layer}.weight", Origin(source and f"{source}.weight", (None, blend))
        yield f"{layer}.bias", Origin(source and f"{source}.bias")


def without_what_goes(
    weights: Mapping[str, Tensor], new: ModelConfig, old: ModelConfig
) -> dict[str, Tensor]:
    """Return weights that go on as where dropped classes and vector conditions are unknown.

    Such a layer adds a constant to the embedding even where nothing is known: it moves into what
    is always added. Maps add none.
    """
    settled = dict(weights)
    volume = isinstance(old.network, VolumeConfig)
    always = "embedding.second.bias" if volume else "embedding.role.weight"
    constants = []
    kept = {condition.name for condition in vectors_of(new)}
    for number, condition in enumerate(vectors_of(old)):
        if condition.name not in kept:
            constants.append(weights[f"embedding.vectors.{number}.bias"])
    if old.network_classes and not new.network_classes:
        rows = weights["embedding.classes.weight"]
        # The row of no class was only trained where classes were hidden.
        hidden = isinstance(old.network, SpaceTimeConfig) and old.network.class_dropout > 0
        constants.append(rows[-1] if hidden else rows[: old.network_classes].mean(dim=0))
    if constants:
        settled[always] = weights[always] + torch.stack(constants).sum(dim=0)
    return settled
