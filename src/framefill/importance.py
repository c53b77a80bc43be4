"""Noise levels drawn as often as they are hard to learn (Nichol & Dhariwal 2021, Section 3.3)."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64, Int64
from torch import Generator, Tensor

from framefill.errors import InputError

UNIFORM_SHARE = 0.001  # of the draws, so that no level is ever left out
REMEMBERED = 10  # losses of each level


@dataclass
class LossHistory:
    """The last losses at each level of a table; training state, as it decides what is drawn.

    Args:
        losses: The last ones of each level, oldest first [levels 10].
        counts: How many of them there are [levels].
    """

    losses: Float64[Tensor, "levels remembered"]
    counts: Int64[Tensor, " levels"] = field(repr=False)

    @classmethod
    def empty(cls, levels: int) -> "LossHistory":
        """Return the history before the first step."""
        losses = torch.zeros(levels, REMEMBERED, dtype=torch.float64)
        return cls(losses, torch.zeros(levels, dtype=torch.int64))

    @property
    def probabilities(self) -> Float64[Tensor, " levels"]:
        """How often each level is drawn: all alike until each has been seen ten times."""
        levels = len(self.counts)
        if (self.counts < REMEMBERED).any():
            return torch.full((levels,), 1 / levels, dtype=torch.float64)
        size = self.losses.square().mean(1).sqrt()
        total = size.sum()
        share = size / total if total > 0 else torch.full_like(size, 1 / levels)
        return (1 - UNIFORM_SHARE) * share + UNIFORM_SHARE / levels

    def draw(
        self, clips: int, generator: Generator
    ) -> tuple[Float[Tensor, " clips"], Float[Tensor, " clips"]]:
        """Draw a level for each clip.

        Returns:
            Levels from 1, and the weights of their losses, with which the mean loss is that of
            levels drawn evenly.
        """
        chances = self.probabilities
        index = torch.multinomial(chances, clips, replacement=True, generator=generator)
        weights = 1 / (len(chances) * chances[index])
        return (index + 1).float(), weights.float()

    def note(self, levels: Float[Tensor, " b"], losses: Float[Tensor, " b"]) -> None:
        """Remember the losses, without weights, of a batch."""
        pairs = zip(levels.tolist(), losses.detach().double().cpu(), strict=True)
        for level, loss in pairs:
            if not loss.isfinite():  # of a bad step: with it no level could be drawn any more
                continue
            index = int(level) - 1
            count = int(self.counts[index])
            if count == REMEMBERED:
                self.losses[index] = self.losses[index].roll(-1)
            else:
                self.counts[index] += 1
            self.losses[index, min(count, REMEMBERED - 1)] = loss

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds."""
        return {"losses": self.losses, "counts": self.counts}

    def check(self, state: dict[str, Tensor]) -> None:
        """Refuse what `state` did not give.

        Raises:
            InputError: it is of another number of levels.
        """
        shapes = {name: tuple(value.shape) for name, value in self.state().items()}
        if {name: tuple(value.shape) for name, value in state.items()} != shapes:
            raise InputError(f"a history of losses of another shape than {shapes}")

    def load(self, state: dict[str, Tensor]) -> None:
        """Bring back what `state` gave.

        Raises:
            InputError: as `check`.
        """
        self.check(state)
        self.losses.copy_(state["losses"])
        self.counts.copy_(state["counts"])
