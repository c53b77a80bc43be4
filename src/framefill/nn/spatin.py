"""SPATIN: known frames scale and shift the features of every normalisation (MCVD, Section 3.3).

Space-time adaptive normalisation is SPADE (Park et al. 2019, Equation 1), with the known frames in
place of a map of labels.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Convolution = Callable[[int, int, int], nn.Module]


class Maps(NamedTuple):
    """How one normalisation changes its features, at every position."""

    scale: Tensor
    shift: Tensor


class SpatinNorm(nn.Module):
    """Normalisation whose scale and shift at each position come from the known frames.

    They depend neither on the noisy frames nor on the noise level, so one set of them serves all
    steps of a walk: `forward` asks the context for them.

    Args:
        norm: Normalisation without a scale and shift of its own.
        enter: From known frames to what `conv` takes.
        conv: Makes a convolution, given features in, features out and the side of its window.
        known: Features in of the first convolution.
        hidden: Features out of the first convolution.
        channels: Features that are normalised.
    """

    def __init__(
        self,
        norm: nn.Module,
        *,
        enter: nn.Module | None = None,
        conv: Convolution,
        known: int,
        hidden: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.norm, self.enter = norm, enter
        self.shared = conv(known, hidden, 3)
        self.scale, self.shift = conv(hidden, channels, 3), conv(hidden, channels, 3)

    def maps(self, known: Float[Tensor, "b k h w"], size: tuple[int, int]) -> Maps:
        """Return scales and shifts for features of a size.

        Args:
            known: The known frames as channels, zeros where they are ABSENT.
            size: Height and width of the features.
        """
        entering = F.interpolate(known, size, mode="nearest")
        if self.enter is not None:
            entering = self.enter(entering)
        hidden = F.silu(self.shared(entering))
        return Maps(self.scale(hidden), self.shift(hidden))

    def forward(
        self, features: Float[Tensor, "b c *f h w"], context: "Context"
    ) -> Float[Tensor, "b c *f h w"]:
        """Return normalised features, scaled and shifted."""
        height, width = features.shape[-2:]
        maps = context(self, (height, width))
        return torch.addcmul(maps.shift, self.norm(features), 1 + maps.scale)


Context = Callable[[SpatinNorm, tuple[int, int]], Maps]  # where a norm gets its maps from
