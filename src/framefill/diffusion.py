"""The forward process, and what a network's output says about the clean frames.

All four kinds of prediction are readings of one object. With F the network's output,

    clean = skip * noisy + out * F(scale * noisy)        F's target = a * clean + b * noise

and the five numbers depend on the noise level alone (Karras et al. 2022, Table 1, for any
alpha and sigma).
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from framefill.errors import InputError, check_fields
from framefill.roles import Role, having
from framefill.schedule import PerFrame64, Schedule, TableSchedule
from framefill.types import Clip, Levels, Roles


class Reading(NamedTuple):
    """The five numbers that give a network's output its meaning, one of each per frame."""

    scale: PerFrame64  # of the network's input
    skip: PerFrame64  # clean = skip * noisy ...
    out: PerFrame64  # ... + out * F
    clean: PerFrame64  # F's target = clean * (clean frames) ...
    noise: PerFrame64  # ... + noise * (noise)


class Estimate(NamedTuple):
    """The two unknowns of noisy = alpha * clean + sigma * noise, as a network sees them."""

    clean: Clip
    noise: Clip
    spread: Clip | None = None  # learned variance: 0 the smallest, 1 the largest log-variance


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """A noise schedule together with the meaning of the network's input and output.

    Args:
        schedule: Noise schedule.
        predicts: What the output means: "noise" (Ho et al. 2020), "clean", "velocity" (Salimans &
            Ho 2022) or "edm", the preconditioned clean frames (Karras et al. 2022).
        labels: What the network is told of a level: "countdown" (MCVD: levels - level), "step"
            (RaMViD: (level - 1) * 1000 / levels), "index" (RaMViD with rescale_timesteps off:
            level - 1) or "log" (250 * ln(sigma / alpha), EDM).
        data_std: Standard deviation of the clean data in model range; read by "edm" only.
        limits: Range of clean data in model range. Estimates are clipped to it; None: they aren't.
        keep_noise: Leave the noise as predicted when the clean estimate was clipped (MCVD). By
            default it is derived anew, so that both parts still add up to the noisy frames.
        learned_spread: The network has a second half of output channels: where the variance of a
            step lies between its bounds (Nichol & Dhariwal 2021, Equation 15).
    """

    schedule: Schedule = field(default_factory=TableSchedule)
    predicts: Literal["noise", "clean", "velocity", "edm"] = "noise"
    labels: Literal["countdown", "step", "index", "log"] = "step"
    data_std: float = 0.5
    limits: tuple[float, float] | None = (-1.0, 1.0)
    keep_noise: bool = False
    learned_spread: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise InputError(f"limits {self.limits}: the first must be below the second")
        if self.data_std <= 0:
            raise InputError(f"data_std {self.data_std} must be above 0")
        if self.labels != "log" and not isinstance(self.schedule, TableSchedule):
            raise InputError(f"labels {self.labels!r} count the levels of a table: use 'log' here")

    def noisy(self, clean: Clip, noise: Clip, levels: Levels) -> Clip:
        """Return q(noisy | clean) at the given noise: alpha * clean + sigma * noise."""
        alpha, sigma = self.schedule.scales(levels)
        return alpha.to(clean) * clean + sigma.to(clean) * noise

    def target(self, clean: Clip, noise: Clip, levels: Levels) -> Clip:
        """Return what a perfect network would output."""
        reading = self.reading(levels)
        return reading.clean.to(clean) * clean + reading.noise.to(clean) * noise

    def canvas(self, known: Clip, noisy: Clip, roles: Roles, levels: Levels) -> Clip:
        """Lay out what the network sees: KNOWN frames, noisy TARGETs, zeros where ABSENT."""
        return compose(known, noisy, roles) * self.reading(levels).scale.to(known)

    def estimate(
        self, prediction: Float[Tensor, "b f out h w"], noisy: Clip, levels: Levels
    ) -> Estimate:
        """Split `noisy`, at levels above 0, into the parts that the network's output implies.

        Args:
            prediction: The network's output [b f c h w], or [b f 2c h w] with `learned_spread`.
            noisy: The frames at `levels`.
            levels: Noise level of each frame.
        """
        spread = None
        if self.learned_spread:
            prediction, raw = prediction.chunk(2, dim=2)
            spread = (raw + 1) / 2
        alpha, sigma = self.schedule.scales(levels)
        reading = self.reading(levels)
        clean = reading.skip.to(noisy) * noisy + reading.out.to(noisy) * prediction
        if self.limits is None or self.keep_noise:
            # Of the coefficients, not of the frames: at low noise their difference would cancel.
            rest, slope = (1 - alpha * reading.skip) / sigma, alpha * reading.out / sigma
            noise = rest.to(noisy) * noisy - slope.to(noisy) * prediction
            return Estimate(self._clip(clean), noise, spread)
        clean = self._clip(clean)
        noise = (noisy - alpha.to(noisy) * clean) / sigma.to(noisy)
        return Estimate(clean, noise, spread)

    def told(self, levels: Levels) -> Float[Tensor, "b f"]:
        """Return what the network is told of each frame's noise level (see `labels`)."""
        if self.labels == "log" or not isinstance(self.schedule, TableSchedule):
            alpha, sigma = self.schedule.scales(levels)
            ratio = (sigma / alpha).clamp(min=1e-3)  # clean frames have a label too
            return (250 * ratio.log())[..., 0, 0, 0].float().to(levels.device)
        if self.labels == "countdown":
            return self.schedule.levels - levels
        if self.labels == "index":
            return levels - 1
        return (levels - 1) * (1000 / self.schedule.levels)

    def reading(self, levels: Levels) -> Reading:
        """Return the five numbers of every frame, in float64."""
        alpha, sigma = self.schedule.scales(levels)
        one, zero = torch.ones_like(alpha), torch.zeros_like(alpha)
        match self.predicts:
            case "noise":
                return Reading(one, 1 / alpha, -sigma / alpha, zero, one)
            case "clean":
                return Reading(one, zero, one, one, zero)
            case "velocity":
                size = (alpha.square() + sigma.square()).sqrt()
                a, s = alpha / size, sigma / size
                return Reading(1 / size, a / size, -s, -s, a)
            case "edm":
                ratio = sigma / alpha
                size, std = (ratio.square() + self.data_std**2).sqrt(), self.data_std
                return Reading(
                    scale=1 / (alpha * size),
                    skip=std**2 / (alpha * size.square()),
                    out=ratio * std / size,
                    clean=ratio / (std * size),
                    noise=-std / size,
                )

    def _clip(self, clean: Clip) -> Clip:
        return clean if self.limits is None else clean.clamp(*self.limits)


def compose(known: Clip, target: Clip, roles: Roles) -> Clip:
    """Take KNOWN frames from one clip, TARGET frames from another, zeros where ABSENT."""
    frames = torch.where(having(roles, Role.KNOWN), known, target)
    return frames.masked_fill(having(roles, Role.ABSENT), 0.0)
