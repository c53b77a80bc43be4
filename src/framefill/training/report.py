"""What a step has to say: its numbers, and the losses of its clips by noise level and by task."""

import re
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64
from torch import Tensor

from framefill.roles import row_of
from framefill.types import Roles

TASKS = {
    "predict": "K+T+",
    "rewind": "T+K+",
    "interpolate": "K+T+K+",
    "generate": "T+",
    "infill": ".*",
}


@dataclass(frozen=True, eq=False)
class ClipLosses:
    """The losses of a step's clips, of all processes, without those that have no target.

    Args:
        values: Of each clip, without its weight.
        levels: Noise level of each clip's TARGET frames.
        tasks: Names of what was asked of them.
    """

    values: Float64[Tensor, " b"]
    levels: Float64[Tensor, " b"]
    tasks: tuple[str, ...]

    @classmethod
    def of(cls, table: Float64[Tensor, "b 3"]) -> "ClipLosses":
        """Read a table with losses, levels and numbers of tasks."""
        names = tuple(TASKS)
        return cls(table[:, 0], table[:, 1].contiguous(), tuple(names[int(n)] for n in table[:, 2]))


def no_losses() -> ClipLosses:
    """Return the losses of no clips."""
    return ClipLosses.of(torch.zeros(0, 3, dtype=torch.float64))


@dataclass(frozen=True)
class Report:
    """What one optimiser step has to say.

    Args:
        step: Steps taken so far.
        loss: Mean loss of the batch.
        grad_norm: Norm of the gradient before clipping.
        lr: Learning rate of the step.
        skipped: Clips of the batch without a valid target, which count for nothing.
        bad: Why the step moved no weight, if it didn't; nothing for a good one.
        scale: Factor of the loss in float16's gradients; 1 in other precisions.
        clips: The losses of its clips.
        asked: One of the processes was asked to stop.
    """

    step: int
    loss: float
    grad_norm: float
    lr: float
    skipped: int = 0
    bad: str = ""
    scale: float = 1.0
    clips: ClipLosses = field(default_factory=no_losses, compare=False, repr=False)
    asked: bool = False


def task_numbers(roles: Roles) -> Float64[Tensor, " b"]:
    """Return what is asked of each clip, as a number among `TASKS`; ABSENT frames don't count.

    >>> from framefill.roles import roles_from
    >>> task_numbers(roles_from("KKT-", "TKK-", "KTK-", "-T--", "TKTK")).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    found = []
    for roles_of_clip in roles.cpu():
        row = row_of(roles_of_clip[None]).replace("-", "")
        found.append(
            next(number for number, shape in enumerate(TASKS.values()) if re.fullmatch(shape, row))
        )
    return torch.tensor(found, dtype=torch.float64)
