"""What a network may be told of a clip beside canvas, labels and roles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from framefill.types import Valid


@dataclass(frozen=True, eq=False)
class Told:
    """Gaps, classes and conditions of clips.

    Attributes:
        valid: False where a KNOWN or TARGET frame has no data; None: nothing is missing.
        classes: Number of each clip's class, or one for all clips; None without classes.
        conditions: In model range, by name, NaN where it isn't known: vectors [b f k], maps
            [b f k h w] and static maps [b 1 k h w]; b may be 1, for all clips.
    """

    valid: Valid | None = None
    classes: Int64[Tensor, " _"] | None = None
    conditions: Mapping[str, Float[Tensor, "..."]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Say whether there is anything to tell."""
        return self.valid is not None or self.classes is not None or bool(self.conditions)

    def of(self, part: slice) -> "Told":
        """Return what is told of some of the clips."""
        return self._each(lambda tensor: tensor[part] if len(tensor) > 1 else tensor)

    def repeated(self, clips: int) -> "Told":
        """Return the same for a batch that holds these clips several times over, one after all."""

        def repeat(tensor: Tensor) -> Tensor:
            times = clips if len(tensor) == 1 else clips // len(tensor)
            return tensor.repeat(times, *[1] * (tensor.ndim - 1))

        return self._each(repeat)

    def at(self, places: Sequence[int]) -> "Told":
        """Return what is told of the frames of a window of the video; those outside are unknown."""
        return replace(
            self,
            valid=None if self.valid is None else _at(self.valid, places, False),
            conditions={
                name: value if _static(value) else _at(value, places, torch.nan)
                for name, value in self.conditions.items()
            },
        )

    def to(self, device: torch.device) -> "Told":
        """Return the same on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Told":
        return Told(
            None if self.valid is None else change(self.valid),
            None if self.classes is None else change(self.classes),
            {name: change(value) for name, value in self.conditions.items()},
        )


def _static(value: Tensor) -> bool:
    return value.ndim == 5 and value.shape[1] == 1


def _at(value: Tensor, places: Sequence[int], outside: float) -> Tensor:
    total = value.shape[1]
    found = value[:, [min(max(place, 0), total - 1) for place in places]].clone()
    found[:, [not 0 <= place < total for place in places]] = outside
    return found
