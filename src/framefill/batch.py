"""From clips of the data to the tensors of a training step."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import Dataset

from framefill.config import Clips
from framefill.errors import InputError


class Batch(NamedTuple):
    """Clips i * size to (i + 1) * size - 1 of the data.

    Args:
        frames: In the user's units [b f h w c].
        classes: Numbers of the clips' classes, or none.
        conditions: In the user's units: [b f k], [b f h w k] or [b h w k].
    """

    frames: torch.Tensor
    classes: Int64[torch.Tensor, " b"] | None
    conditions: dict[str, torch.Tensor]


class Batches(Dataset[Batch | InputError]):
    """Batch number i.

    What is wrong with the data comes as a value: raised in a worker process, it would arrive with
    that process's traceback for a message.
    """

    def __init__(self, clips: Clips, size: int) -> None:
        self.clips, self.size = clips, size

    def __getitem__(self, index: int) -> Batch | InputError:
        """Return a batch, or what is wrong with the data."""
        try:
            samples = [
                self.clips.clip(n) for n in range(index * self.size, (index + 1) * self.size)
            ]
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
