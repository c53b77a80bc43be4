"""How much signal and how much noise there is at each noise level.

noisy = alpha * clean + sigma * noise. Level 0 is clean data in every schedule, so no walk needs
a special case for its last step. What a level above 0 means is the schedule's own: an index for
tables, the standard deviation of the noise for `LogNormalSchedule`.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Generator, Tensor

from framefill.errors import InputError, check_fields
from framefill.types import Levels

PerFrame64 = Float64[Tensor, "b f 1 1 1"]
MAX_LEVELS = 100_000


@dataclass(frozen=True, kw_only=True)
class TableSchedule:
    """A variance-preserving table of levels 0..levels: alpha² + sigma² = 1.

    Level n is step t = n - 1 of RaMViD's code and index i = levels - n of MCVD's, which counts
    from the noisiest.

    Args:
        kind: "linear" in beta, from 1e-4 to 0.02 at 1000 levels (Ho et al. 2020), or "cosine" in
            alpha² (Nichol & Dhariwal 2021, Equation 17).
        levels: Number of levels above zero.
        max_beta: Upper bound of the cosine schedule's betas: 0.999 in RaMViD's code, 1 in MCVD's.
        spacing: Which levels a walk of fewer steps visits. "trailing" counts down evenly from the
            noisiest (MCVD); "linspace" keeps both ends and rounds between (RaMViD, ``"250"``);
            "leading" counts up evenly from the cleanest (RaMViD, ``"ddim50"``).
    """

    kind: Literal["linear", "cosine"] = "linear"
    levels: int = 1000
    max_beta: float = 0.999
    spacing: Literal["trailing", "linspace", "leading"] = "trailing"

    def __post_init__(self) -> None:
        check_fields(self)
        if not 21 <= self.levels <= MAX_LEVELS:
            raise InputError(f"a schedule of {self.levels} levels: needs 21..{MAX_LEVELS}")
        if not 0 < self.max_beta <= 1:
            raise InputError(f"max_beta {self.max_beta} must be above 0 and at most 1")

    @cached_property
    def alpha_squared(self) -> Float64[Tensor, " levels_and_zero"]:
        """Signal variance alpha² of levels 0..levels."""
        if self.kind == "linear":
            scale = 1000 / self.levels
            beta = torch.linspace(scale * 1e-4, scale * 0.02, self.levels, dtype=torch.float64)
        else:
            phase = (torch.linspace(0, 1, self.levels + 1, dtype=torch.float64) + 0.008) / 1.008
            curve = torch.cos(phase * math.pi / 2) ** 2
            if self.max_beta == 1:
                return curve / curve[0]  # the product of the ratios, without rounding one to 0
            beta = (1 - curve[1:] / curve[:-1]).clamp(max=self.max_beta)
        return torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(0)])

    def scales(self, levels: Levels) -> tuple[PerFrame64, PerFrame64]:
        """Return (alpha, sigma) of each frame, in float64 and on the CPU.

        A level between two takes the lower one, and any beyond the table its last.
        """
        squared = self.alpha_squared[levels.cpu().long().clamp(max=self.levels)][
            ..., None, None, None
        ]
        return squared.sqrt(), (1 - squared).sqrt()

    def draw(self, clips: int, generator: Generator) -> Float[Tensor, " clips"]:
        """Draw one level for each clip, uniform on 1..levels (both papers)."""
        return torch.randint(1, self.levels + 1, (clips,), generator=generator).float()

    def draw_up_to(
        self, level: float, *, clips: int, frames: int, generator: Generator
    ) -> Float[Tensor, "clips frames"]:
        """Draw whole levels evenly from 0..level, one per frame.

        Raises:
            InputError: the level is no whole one of this table.
        """
        if level != int(level) or not 0 <= level <= self.levels:
            raise InputError(
                f"noise level {level:g}: this table has the whole ones 0..{self.levels}"
            )
        return torch.randint(0, int(level) + 1, (clips, frames), generator=generator).float()

    def descent(self, steps: int | tuple[int, ...]) -> list[float]:
        """Return the levels of a walk, noisiest first and 0 last.

        Args:
            steps: Number of denoiser evaluations. With "linspace" also one number for each of
                several equal sections of the table, cleanest first (RaMViD's ``"10,10,20,60"``).

        Raises:
            InputError: there are fewer levels than steps, or "leading" can't give that number.
        """
        counts = steps if isinstance(steps, tuple) else (steps,)
        if min(counts) < 1 or sum(counts) > self.levels:
            raise InputError(
                f"{steps} steps with {self.levels} noise levels: needs 1..{self.levels}"
            )
        if len(counts) > 1 and self.spacing != "linspace":
            raise InputError(f"steps in sections {counts} need spacing 'linspace'")
        match self.spacing:
            case "trailing":
                kept = [round(self.levels * i / counts[0]) for i in range(1, counts[0] + 1)]
            case "leading":
                kept = self._leading(counts[0])
            case "linspace":
                kept = self._sections(counts)
        return [float(level) for level in reversed(kept)] + [0.0]

    def between(self, level: float, other: float) -> float:
        """Return the level midway between two, a whole one."""
        return float(round((level + other) / 2))

    def _leading(self, steps: int) -> list[int]:
        """Every n-th step from the cleanest, for the smallest n that gives the number asked for."""
        for stride in range(1, self.levels):
            kept = range(1, self.levels + 1, stride)
            if len(kept) == steps:
                return list(kept)
        raise InputError(f"no whole stride gives {steps} of {self.levels} levels: ask for another")

    def _sections(self, counts: tuple[int, ...]) -> list[int]:
        """Both ends of each section and evenly spaced levels between them, rounded."""
        short, extra = divmod(self.levels, len(counts))
        kept, start = [], 0
        for section, count in enumerate(counts):
            size = short + (section < extra)
            if count > size:
                raise InputError(f"{count} steps in a section of {size} noise levels: too many")
            # Summed, not multiplied: the official code rounds an accumulated position.
            stride, position = (size - 1) / (count - 1) if count > 1 else 1.0, 0.0
            for _ in range(count):
                kept.append(1 + start + round(position))
                position += stride
            start += size
        return kept


@dataclass(frozen=True, kw_only=True)
class LogNormalSchedule:
    """Noise added to unscaled data, alpha = 1; a level is its standard deviation sigma (EDM).

    Training draws ln(sigma) from a normal distribution; sampling walks from `highest` to `lowest`
    evenly in sigma^(1/rho) and then to 0 (Karras et al. 2022, Equation 5 and Table 1).

    Args:
        mean: Mean of ln(sigma) in training.
        std: Standard deviation of ln(sigma) in training.
        lowest: Last level above 0 of a walk, in units of the data.
        highest: First level of a walk.
        rho: Larger values spend more steps near the clean end.
    """

    mean: float = -0.4
    std: float = 1.4
    lowest: float = 0.02
    highest: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.lowest < self.highest:
            raise InputError(f"{self} needs 0 < lowest < highest")
        if self.std <= 0 or self.rho <= 0:
            raise InputError(f"{self} needs std and rho above 0")

    def scales(self, levels: Levels) -> tuple[PerFrame64, PerFrame64]:
        """Return (1, sigma) of each frame, in float64 and on the CPU."""
        sigma = levels.cpu().double()[..., None, None, None]
        return torch.ones_like(sigma), sigma

    def draw(self, clips: int, generator: Generator) -> Float[Tensor, " clips"]:
        """Draw one level for each clip."""
        return (self.mean + self.std * torch.randn(clips, generator=generator)).exp()

    def draw_up_to(
        self, level: float, *, clips: int, frames: int, generator: Generator
    ) -> Float[Tensor, "clips frames"]:
        """Draw levels evenly from 0..level, one per frame."""
        return level * torch.rand(clips, frames, generator=generator)

    def descent(self, steps: int | tuple[int, ...]) -> list[float]:
        """Return the levels of a walk, noisiest first and 0 last.

        Raises:
            InputError: `steps` is not one number of at least 1.
        """
        if isinstance(steps, tuple) or not 1 <= steps <= MAX_LEVELS:
            raise InputError(f"{steps} steps: needs one number in 1..{MAX_LEVELS}")
        high, low = self.highest ** (1 / self.rho), self.lowest ** (1 / self.rho)
        fractions = [i / (steps - 1) if steps > 1 else 0.0 for i in range(steps)]
        return [(high + part * (low - high)) ** self.rho for part in fractions] + [0.0]

    def between(self, level: float, other: float) -> float:
        """Return the level midway between two."""
        return (level + other) / 2


Schedule = TableSchedule | LogNormalSchedule
