"""How the slots of one axis of a weight become those of another: as matrices.

Along an axis of a weight lie slots: channels of a frame, frames of a clip, values of a condition,
classes. A blend says how each slot of the new axis (rows) is blended of those of the old one
(columns). Axes of several things at once have blends made of these: `nested`, `joined`.

What a network reads and what it writes have different rules, so that the new network does on the
old data what the old one did.
"""

from collections.abc import Hashable, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor

from framefill.conditions import Condition
from framefill.masks import BlockMasks, ContextMasks, Masks

Blend = Float64[Tensor, "_ _"]  # new slots, old slots
Blocks = tuple[int, int, int]  # frames of past, target and future
COLOR = 3  # channels


def nested(*blends: Blend) -> Blend:
    """Return the blend of an axis of several things, the outermost first (Kronecker product)."""
    return reduce(torch.kron, blends)


def joined(*blends: Blend) -> Blend:
    """Return the blend of an axis of several parts, one after the other (direct sum)."""
    columns, start, rows = sum(blend.shape[1] for blend in blends), 0, []
    for blend in blends:
        rows.append(F.pad(blend, (start, columns - start - blend.shape[1])))
        start += blend.shape[1]
    return torch.cat(rows)


def same(slots: int) -> Blend:
    """Return the blend of an axis that stays as it is."""
    return torch.eye(slots, dtype=torch.float64)


def matching(new: Sequence[Hashable], old: Sequence[Hashable]) -> Blend:
    """Take each slot from the old one of the same label; others are zero.

    >>> matching(["b", "c"], ["a", "b"]).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    places = {label: place for place, label in enumerate(old)}
    blend = torch.zeros(len(new), len(old), dtype=torch.float64)
    for row, label in enumerate(new):
        if label in places:
            blend[row, places[label]] = 1
    return blend


def mean_elsewhere(blend: Blend) -> Blend:
    """Let slots that come from nowhere start as the mean of the old ones."""
    nowhere = blend.sum(dim=1, keepdim=True) == 0
    return torch.where(nowhere, torch.full_like(blend, 1 / max(1, blend.shape[1])), blend)


def recolors(new: int, old: int) -> bool:
    """Say whether gray frames become colored ones, or these gray."""
    return {new, old} == {1, COLOR}


def channels_read(new: int, old: int) -> Blend:
    """Return the blend of channels that a network reads.

    The first ones stay, further ones are not read at first. Between gray and color, of which gray
    is the case R = G = B, what gray frames give stays: the new weights sum up to the old ones (the
    usual way to inflate weights, as Carreira & Zisserman 2017 do along time).

    >>> channels_read(1, 3).tolist()
    [[1.0, 1.0, 1.0]]
    """
    if recolors(new, old):
        return torch.full((new, old), 1 / new, dtype=torch.float64)
    return matching(range(new), range(old))


def channels_written(new: int, old: int) -> Blend:
    """Return the blend of channels that a network writes.

    The first ones stay, further ones start as the mean of all. Gray is the mean of the colors.

    >>> channels_written(3, 2).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    """
    if recolors(new, old):
        return torch.full((new, old), 1 / old, dtype=torch.float64)
    return mean_elsewhere(matching(range(new), range(old)))


def blocks(masks: Masks) -> Blocks:
    """Return the lengths of past, target and future, of masks that have them.

    Raises:
        TypeError: these have none; networks of blocks refuse them when they are built.
    """
    if isinstance(masks, BlockMasks | ContextMasks):
        return masks.past, masks.target, masks.future
    raise TypeError(f"{masks} has no blocks")


def frames_read(new: Masks, old: Masks, order: str = "past target future") -> Blend:
    """Return the blend of frames that a network reads as channels.

    A frame is known by its place beside the target block: the past counts backwards from the
    block's start, the future onwards from its end. Places that are new are not read at first.

    Args:
        new: Masks of the new training.
        old: Masks of the old training.
        order: Of the blocks along the axis.
    """
    return matching(_places(new, order), _places(old, order))


def _places(masks: Masks, order: str) -> list[tuple[str, int]]:
    past, target, future = blocks(masks)
    distances = {
        "past": range(past, 0, -1),
        "target": range(target),
        "future": range(1, future + 1),
    }
    return [(block, place) for block in order.split() for place in distances[block]]


def frames_written(new: Masks, old: Masks) -> Blend:
    """Return the blend of target frames that a network writes: further ones copy the last."""
    (_, frames, _), (_, known, _) = blocks(new), blocks(old)
    return same(known)[[min(i, known - 1) for i in range(frames)]]


def values_read(new: Sequence[Condition], old: Sequence[Condition]) -> Blend:
    """Return the blend of the values of conditions, which come before their flags, of each.

    The first values of a condition of the same name stay, others are not read at first.
    """
    return matching(_values(new), _values(old))


def _values(conditions: Sequence[Condition]) -> list[tuple[str, str, int]]:
    return [
        (condition.name, part, place)
        for condition in conditions
        for part in ("value", "known")
        for place in range(condition.size)
    ]


def class_rows(
    new: int, old: int, new_names: Sequence[str] = (), old_names: Sequence[str] = ()
) -> Blend:
    """Return the blend of classes: the same are those of one name; new ones start as the mean.

    Where one of two classes has no name, they are the same if their numbers are.

    Args:
        new: Number of new classes.
        old: Number of old classes, at least 1.
        new_names: Names of the first of the new classes.
        old_names: Names of the first of the old classes.

    >>> class_rows(3, 2, ["cat", "dog", "emu"], ["dog", "cat"]).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    """
    sources = [_class_of(number, new_names, old_names) for number in range(new)]
    return mean_elsewhere(matching(sources, range(old)))


def _class_of(number: int, names: Sequence[str], old_names: Sequence[str]) -> int | None:
    """Return the number that a class had, if it is not a new one."""
    name = names[number] if number < len(names) else None
    if name in old_names:
        return old_names.index(name)
    both_named = name is not None and number < len(old_names)
    return None if both_named else number
