"""From clips of the data to the tensors of a training step."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import Dataset

from framefill.config import Clips
from framefill.errors import InputError


class Batch(NamedTuple):
    """This process's part of the clips i * size to (i + 1) * size - 1 of the data.

    Args:
        frames: In the user's units [b f h w c].
        classes: Numbers of the clips' classes, or none.
        conditions: In the user's units: [b f k], [b f h w k] or [b h w k].
    """

    frames: torch.Tensor
    classes: Int64[torch.Tensor, " b"] | None
    conditions: dict[str, torch.Tensor]


class Batches(Dataset[Batch | InputError]):
    """This process's part of batch number i.

    What is wrong with the data comes as a value: raised in a worker process, it would arrive with
    that process's traceback for a message.

    Args:
        clips: The data.
        size: Clips of a whole batch.
        mine: Which of them are this process's; None: all.
    """

    def __init__(self, clips: Clips, size: int, mine: slice | None = None) -> None:
        self.clips, self.size, self.mine = clips, size, mine or slice(0, size)

    def __getitem__(self, index: int) -> Batch | InputError:
        """Return a batch, or what is wrong with the data."""
        try:
            first = index * self.size
            numbers = range(first + self.mine.start, first + self.mine.stop)
            samples = [self.clips.clip(number) for number in numbers]
            labels = [n for each in samples if (n := each.get("label")) is not None]
            return Batch(
                torch.from_numpy(np.stack([each["frames"] for each in samples])),
                torch.tensor(labels) if labels else None,
                {
                    name: torch.from_numpy(
                        np.stack([each["conditions"][name] for each in samples])
                    ).float()
                    for name in samples[0].get("conditions", {})
                },
            )
        except InputError as error:
            return error
