"""F-PNDM: a fourth-order walk along the noise (Liu et al. 2022, Section 3.3 and Algorithm 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from framefill.errors import InputError, check_fields
from framefill.sampling import Estimator, Fresh, Station, stations
from framefill.schedule import Schedule, TableSchedule
from framefill.types import Clip

RUNGE_KUTTA_STEPS = 3  # until there are four evaluations to extrapolate from
ADAMS_BASHFORTH = (55 / 24, -59 / 24, 37 / 24, -9 / 24)  # weights, newest first


@dataclass(frozen=True, kw_only=True)
class Pndm:
    """Linear multistep sampling of the noise (F-PNDM).

    Its walk has three stations for each step: where it starts, midway, and where it ends. The
    first three steps evaluate the denoiser four times, all others once: steps + 9 in all.

    Args:
        steps: Steps of the walk, at least 4.
        as_published: Walk as MCVD's code does: its noise levels fall while its labels rise, so
            that it never arrives. For comparison with that code only.
        clip: Limit the frames themselves to -1..1 after every step, as `clip_before` does in that
            code; with `as_published` only. (Elsewhere `Diffusion.limits` limits what is estimated.)
    """

    steps: int = 20
    as_published: bool = False
    clip: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.clip and not self.as_published:
            raise InputError("clip goes with as_published: set the diffusion's limits instead")
        if self.steps <= RUNGE_KUTTA_STEPS:
            raise InputError(f"F-PNDM in {self.steps} steps: needs {RUNGE_KUTTA_STEPS + 1} or more")

    def walk(self, schedule: Schedule) -> list[Station]:
        """Return three stations for each step; see `framefill.sampling.Sampler`."""
        if self.as_published:
            return _published_walk(schedule, self.steps)
        levels = schedule.descent(self.steps)
        triples = [(a, schedule.between(a, b), b) for a, b in pairwise(levels)]
        return stations(schedule, [level for triple in triples for level in triple])

    def __call__(
        self, noisy: Clip, estimate: Estimator, walk: Sequence[Station], fresh: Fresh
    ) -> Clip:
        """See `framefill.sampling.Sampler`."""
        history: list[Clip] = []  # noise at the start of the latest steps, newest first
        for step in range(len(walk) // 3):
            here, midway, there = walk[3 * step : 3 * step + 3]
            newest = estimate(noisy, here.level).noise
            history = [newest, *history][: len(ADAMS_BASHFORTH)]
            if step < RUNGE_KUTTA_STEPS:
                noise = self._runge_kutta(noisy, newest, estimate, (here, midway, there))
            else:
                pairs = zip(ADAMS_BASHFORTH, history, strict=True)
                noise = torch.stack([weight * past for weight, past in pairs]).sum(0)
            noisy = self._moved(noisy, noise, here, there)
        return noisy

    def _runge_kutta(
        self,
        noisy: Clip,
        first: Clip,
        estimate: Estimator,
        step: tuple[Station, Station, Station],
    ) -> Clip:
        """Return the mean noise of one step from four evaluations."""
        here, midway, there = step
        second = estimate(self._moved(noisy, first, here, midway), midway.level).noise
        third = estimate(self._moved(noisy, second, here, midway), midway.level).noise
        fourth = estimate(self._moved(noisy, third, here, there), there.level).noise
        return (first + 2 * second + 2 * third + fourth) / 6

    def _moved(self, noisy: Clip, noise: Clip, here: Station, there: Station) -> Clip:
        """Move frames to another level along a given noise (its Equation 11)."""
        clean = (noisy - here.sigma * noise) / here.alpha
        moved = there.alpha * clean + there.sigma * noise
        return moved.clamp(-1, 1) if self.clip else moved


def _published_walk(schedule: Schedule, steps: int) -> list[Station]:
    """The official loop: labels count up from the noisiest level, scales from the cleanest."""
    if not isinstance(schedule, TableSchedule):
        raise InputError("F-PNDM as_published walks a table of levels: use a TableSchedule")
    if 2 * steps > schedule.levels:
        raise InputError(
            f"F-PNDM as_published in {steps} steps runs off the table: at most "
            f"{schedule.levels // 2} here"
        )
    stride = schedule.levels // steps
    labels = list(range(0, schedule.levels, stride))
    walk = []
    for label, before in zip(labels, [-1, *labels], strict=False):
        for told in (label, (label + before) / 2, before):
            scales = stations(schedule, [float(int(told) + 2)])[0]
            walk.append(Station(float(schedule.levels - told), scales.alpha, scales.sigma))
    return walk
