"""What a network may be told along with the frames: named vectors and maps, each with a dropout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from framefill.errors import InputError, check_fields


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One named condition of a model.

    Model range = (value - offset) / scale, for each of its values; NaN means that it isn't known.

    Args:
        name: As in the data.
        kind: "vector", one for each frame (a robot's actions); "map", one for each frame (a forcing
            field); or "static", one map for all frames of a clip (terrain).
        size: Values of a vector, channels of a map.
        dropout: Share of the training clips in which all of it is hidden, so that the model works
            without it too.
        offset: The value that becomes 0, one for each.
        scale: The distance from it that becomes 1, one for each.
    """

    name: str
    kind: Literal["vector", "map", "static"]
    size: int
    dropout: float = 0.1
    offset: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.size < 1:
            raise InputError(f"condition {self.name!r} of size {self.size}: needs at least 1")
        if not 0 <= self.dropout < 1:
            raise InputError(
                f"dropout {self.dropout} of condition {self.name!r} must be at least 0 and below 1"
            )
        for what, values in (("offset", self.offset), ("scale", self.scale)):
            if len(values) not in (1, self.size):
                raise InputError(
                    f"condition {self.name!r} has {len(values)} values of {what} and size "
                    f"{self.size}"
                )
        if min(self.scale) <= 0:
            raise InputError(f"scale {self.scale} of condition {self.name!r} must be above 0")


def in_model_range(condition: Condition, value: Shaped[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return values of a condition as a network is told them (`framefill.told.Told`).

    Args:
        condition: Its kind and its scale.
        value: In the user's units: vectors [b f k], maps [b f h w k], static maps [b h w k].
    """
    scaled = (value.float() - torch.tensor(condition.offset)) / torch.tensor(condition.scale)
    if condition.kind == "map":
        return rearrange(scaled, "b f h w k -> b f k h w")
    if condition.kind == "static":
        return rearrange(scaled, "b h w k -> b 1 k h w")
    return scaled


def hidden(
    told: Mapping[str, Float[Tensor, "..."]],
    conditions: Sequence[Condition],
    batch: int,
    mine: slice,
    generator: Generator,
) -> dict[str, Float[Tensor, "..."]]:
    """Hide each condition from its share of the clips: NaN, as where it isn't known.

    Args:
        told: Conditions of some clips of a batch, by name.
        conditions: What hides them.
        batch: Clips of the whole batch: luck is drawn for all of them.
        mine: Which of them these are.
        generator: On the CPU.
    """
    kept = {}
    for condition in conditions:
        values = told[condition.name]
        dropped = torch.rand(batch, generator=generator)[mine] < condition.dropout
        kept[condition.name] = values.masked_fill(
            dropped.reshape(-1, *[1] * (values.ndim - 1)), torch.nan
        )
    return kept
