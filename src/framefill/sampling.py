"""Walks from noise to data. They know nothing of frames, roles or networks, only an estimate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch

from framefill.diffusion import Estimate
from framefill.errors import InputError, check_fields
from framefill.posterior import Posterior, Variance, posterior
from framefill.schedule import Schedule, TableSchedule
from framefill.types import Clip

Estimator = Callable[[Clip, float], Estimate]  # what is clean and what is noise, at a level
Fresh = Callable[[], Clip]  # standard normal noise, new at every call
MAX_REPEATS = 1000


class Station(NamedTuple):
    """One station of a walk: a noise level and its scales."""

    level: float
    alpha: float
    sigma: float


@runtime_checkable
class Sampler(Protocol):
    """A walk from noise to data."""

    @property
    def steps(self) -> int | tuple[int, ...]:
        """Steps of the walk, as `Schedule.descent` takes them."""
        ...

    def walk(self, schedule: Schedule) -> list[Station]:
        """Return where the walk stops: noisiest first, clean data last.

        Raises:
            InputError: the schedule can't give that many steps.
        """
        ...

    def __call__(
        self, noisy: Clip, estimate: Estimator, walk: Sequence[Station], fresh: Fresh
    ) -> Clip:
        """Return clean data.

        Args:
            noisy: Frames at the first level of the walk.
            estimate: Splits noisy frames at a level into clean frames and noise.
            walk: Where to stop, from `walk`.
            fresh: Source of noise for stochastic walks; called once per step, also where the
                noise has no effect, so that a walk's randomness does not depend on its settings
                (but for `Ddpm.repeats`, whose every call of the network and every return to more
                noise takes one).
        """
        ...


def stations(schedule: Schedule, levels: Sequence[float]) -> list[Station]:
    """Look up the scales of each level of a walk."""
    alpha, sigma = schedule.scales(torch.tensor([list(levels)], dtype=torch.float32))
    pairs = zip(alpha.flatten().tolist(), sigma.flatten().tolist(), strict=True)
    return [Station(level, a, s) for level, (a, s) in zip(levels, pairs, strict=True)]


def mcvd_descent(schedule: Schedule, steps: int | tuple[int, ...]) -> list[float]:
    """Return the levels that MCVD's code visits when asked for a number of steps.

    Every (levels // steps)-th from the noisiest: more of them than asked for, and not down to the
    same last level, where the number does not divide the levels.

    Raises:
        InputError: the schedule is no table, or the steps are sections or more than its levels.
    """
    if not isinstance(schedule, TableSchedule) or isinstance(steps, tuple):
        raise InputError(f"as_published takes one number of steps in a table of levels: {steps}")
    schedule.descent(steps)  # refuses numbers that are out of range
    stride = schedule.levels // steps
    return [float(level) for level in range(schedule.levels, 0, -stride)] + [0.0]


@dataclass(frozen=True, kw_only=True)
class Ddpm:
    """Ancestral sampling from the posterior of the forward process (Ho et al. 2020, Algorithm 2).

    With fewer steps than levels, the posterior is that of the levels visited.

    Args:
        steps: Steps of the walk, each with one evaluation of the denoiser.
        variance: "small" is the posterior's variance, "large" the forward step's (just_beta in
            MCVD's code, sigma_small off in RaMViD's), "learned" the network's own between them
            (Nichol & Dhariwal 2021, Equation 15).
        as_published: Walk as MCVD's code does, which takes other levels where the number of steps
            does not divide theirs (`mcvd_descent`).
        denoise: After the walk, on clean frames, subtract once more the noise that the network
            sees, as that code does; with `as_published` only. It shrinks contrast when steps are
            skipped, as the call has a wrong label then.
        repeats: Times that each step is taken; in between the frames are noised again by as much,
            which brings filled and given frames into harmony (RePaint, Lugmayr et al. 2022,
            Algorithm 1; resample_steps in RaMViD's code).
    """

    steps: int | tuple[int, ...] = 100
    variance: Variance = "small"
    as_published: bool = False
    denoise: bool = False
    repeats: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        _check_published(self)
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise InputError(f"repeats {self.repeats} must be in 1..{MAX_REPEATS}")

    def walk(self, schedule: Schedule) -> list[Station]:
        """See `Sampler`."""
        return _walk(self, schedule)

    def __call__(
        self, noisy: Clip, estimate: Estimator, walk: Sequence[Station], fresh: Fresh
    ) -> Clip:
        """See `Sampler`."""
        for here, there in pairwise(walk):
            step = _step(here, there)
            for repeat in range(self.repeats):
                if repeat > 0:
                    noisy = step.ratio * noisy + math.sqrt(step.large) * fresh()
                parts = estimate(noisy, here.level)
                noisy = step.to_noisy * noisy + step.to_clean * parts.clean
                noise = fresh()
                if step.small > 0:
                    noisy = noisy + self._spread(parts, step.small, step.large) * noise
        return _denoised(noisy, estimate, walk) if self.denoise else noisy

    def _spread(self, parts: Estimate, small: float, large: float) -> float | Clip:
        """Return the standard deviation of a step's noise."""
        if self.variance == "learned":
            if parts.spread is None:
                raise InputError("variance 'learned' needs a network that learned it: use 'small'")
            low, high = math.log(small), math.log(large)
            return torch.exp(0.5 * (low + parts.spread * (high - low)))
        return math.sqrt(small if self.variance == "small" else large)


@dataclass(frozen=True, kw_only=True)
class Ddim:
    """The DDIM family (Song et al. 2021, Equation 12).

    Args:
        steps: Steps of the walk, with one evaluation of the denoiser each.
        eta: Fresh noise per step: 0 is deterministic DDIM, 1 has the variance of `Ddpm`.
        as_published: See `Ddpm`.
        denoise: See `Ddpm`.
    """

    steps: int | tuple[int, ...] = 100
    eta: float = 0.0
    as_published: bool = False
    denoise: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.eta <= 1:
            raise InputError(f"eta {self.eta} must be between 0 and 1")
        _check_published(self)

    def walk(self, schedule: Schedule) -> list[Station]:
        """See `Sampler`."""
        return _walk(self, schedule)

    def __call__(
        self, noisy: Clip, estimate: Estimator, walk: Sequence[Station], fresh: Fresh
    ) -> Clip:
        """See `Sampler`."""
        for here, there in pairwise(walk):
            parts = estimate(noisy, here.level)
            added = max(_step(here, there).large, 0.0)
            spread = self.eta * there.sigma / here.sigma * math.sqrt(added)
            direction = math.sqrt(max(there.sigma**2 - spread**2, 0.0))
            noisy = there.alpha * parts.clean + direction * parts.noise + spread * fresh()
        return _denoised(noisy, estimate, walk) if self.denoise else noisy

    def encode(self, clean: Clip, estimate: Estimator, walk: Sequence[Station]) -> Clip:
        """Return the noise from which the walk without fresh noise leads to given frames.

        The way back up the levels (Song et al. 2021, Section 4.3); it is exact in the limit of
        many steps, and `eta` is not read.

        Args:
            clean: Frames in model range.
            estimate: Splits noisy frames at a level into clean frames and noise.
            walk: The stations of the way down, from `walk`.
        """
        noisy = clean
        for here, there in pairwise(walk[-2::-1]):
            parts = estimate(noisy, here.level)
            noisy = there.alpha * parts.clean + there.sigma * parts.noise
        return noisy


@dataclass(frozen=True, kw_only=True)
class DpmSolver2M:
    """DPM-Solver++(2M): second order from one evaluation a step (Lu et al. 2022, Algorithm 2).

    Args:
        steps: Steps of the walk, with one evaluation of the denoiser each.
        eta: Fresh noise per step: 0 solves the ODE, 1 the SDE (its Appendix, SDE-DPM-Solver++).
    """

    steps: int | tuple[int, ...] = 20
    eta: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.eta <= 1:
            raise InputError(f"eta {self.eta} must be between 0 and 1")

    def walk(self, schedule: Schedule) -> list[Station]:
        """See `Sampler`."""
        return stations(schedule, schedule.descent(self.steps))

    def __call__(
        self, noisy: Clip, estimate: Estimator, walk: Sequence[Station], fresh: Fresh
    ) -> Clip:
        """See `Sampler`."""
        before: tuple[Clip, float] | None = None
        for here, there in pairwise(walk):
            clean, noise = estimate(noisy, here.level).clean, fresh()
            if there.sigma == 0:
                return clean
            log_ratio = math.log(here.alpha / here.sigma)
            width = math.log(there.alpha / there.sigma) - log_ratio
            ahead = clean
            if before is not None:
                clean_before, log_ratio_before = before
                ahead = clean + width / (2 * (log_ratio - log_ratio_before)) * (
                    clean - clean_before
                )
            decay = math.exp(-self.eta * width)
            noisy = there.sigma / here.sigma * decay * noisy
            noisy = noisy - there.alpha * math.expm1(-(1 + self.eta) * width) * ahead
            noisy = noisy + there.sigma * math.sqrt(-math.expm1(-2 * self.eta * width)) * noise
            before = clean, log_ratio
        return noisy


def _step(here: Station, there: Station) -> Posterior[float]:
    return posterior(here.alpha, here.sigma, there.alpha, there.sigma)


def _walk(sampler: Ddpm | Ddim, schedule: Schedule) -> list[Station]:
    if sampler.as_published:
        return stations(schedule, mcvd_descent(schedule, sampler.steps))
    return stations(schedule, schedule.descent(sampler.steps))


def _check_published(sampler: Ddpm | Ddim) -> None:
    if sampler.denoise and not sampler.as_published:
        raise InputError("denoise goes with as_published: other walks end on clean frames")


def _denoised(noisy: Clip, estimate: Estimator, walk: Sequence[Station]) -> Clip:
    """Subtract the noise of the last level above 0, labelled with the number of steps."""
    noisiest, last = walk[0].level, walk[-2]
    return noisy - last.sigma * estimate(noisy, noisiest - (len(walk) - 2)).noise
