"""Power-function averages of weights, and how those of any width follow from a few snapshots.

Such an average at step t counts the weights of step s in proportion to s^power: it forgets the
start of the training, and stretches with it. Its width is the standard deviation of that profile,
divided by t.

Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models",
section 3 and appendix C.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from framefill.errors import InputError
from framefill.optim_config import WIDTHS

MOST_SNAPSHOTS = 4000  # beyond, the least squares take minutes


def power_of(width: float) -> float:
    """Return the power of the average with a width.

    The width's square is (power + 1) / ((power + 2)^2 (power + 3)): a cubic equation, of which this
    is the largest root.

    >>> round(power_of(0.05), 2), round(power_of(0.1), 2)
    (16.97, 6.94)

    Raises:
        InputError: no useful average has that width.
    """
    low, high = WIDTHS
    if not low <= width <= high:
        raise InputError(f"width {width} must be between {low} and {high}")
    # With power = u - 7/3 the equation is u^3 - linear u + constant = 0.
    precision = 1 / width**2
    linear, constant = precision + 1 / 3, 4 / 3 * precision + 2 / 27
    angle = math.acos(-1.5 * constant / linear * math.sqrt(3 / linear)) / 3
    return 2 * math.sqrt(linear / 3) * math.cos(angle) - 7 / 3


def width_of(power: float) -> float:
    """Return the width of the average of a power, as a share of the steps.

    Raises:
        InputError: the power is below 0, or not finite.
    """
    if not 0 <= power < math.inf:
        raise InputError(f"power {power} must be at least 0 and finite")
    return math.sqrt((power + 1) / (power + 3)) / (power + 2)


def rate(width: float, step: int) -> float:
    """Return what an average keeps of itself after `step` steps: 0 after the first, then more.

    Args:
        width: Of the average.
        step: Steps taken, from 1.

    Raises:
        InputError: no useful average has that width, or the step is below 1.
    """
    _check_step(step)
    return float((1 - 1 / step) ** (power_of(width) + 1))


def coefficients(
    of: Sequence[tuple[int, float]], step: int, width: float
) -> Float64[np.ndarray, " snapshots"]:
    """Return how much of each snapshot gives the average of another width or step.

    The profile of the weighted sum comes as close to that average's as it can, in the sense of
    least squares (`residual` says how close).

    Args:
        of: Step and width of each snapshot, steps from 1.
        step: Of the average. Snapshots of later steps are not used: their coefficients are 0.
        width: Of the average.

    Raises:
        InputError: a width or a step is out of range, or there are too many snapshots.
    """
    _check_step(step)
    goal, found = _Profiles.of([(step, width)]), np.zeros(len(of))
    if (step, width) in of:
        found[of.index((step, width))] = 1
        return found
    places = [place for place, (at, _) in enumerate(of) if at <= step]
    if not places:
        return found
    if len(places) > MOST_SNAPSHOTS:
        raise InputError(
            f"{len(places)} snapshots up to step {step}: at most {MOST_SNAPSHOTS} can be combined; "
            "move some of them away"
        )
    tracked = _Profiles.of([of[place] for place in places])
    # Between profiles of norm 1 the products are cosines, whatever the powers: that keeps the
    # equations well scaled. Widths that are nearly the same still make them nearly singular.
    shares, *_ = np.linalg.lstsq(tracked.cosines(tracked), tracked.cosines(goal)[:, 0], rcond=None)
    found[places] = shares * goal.norms / tracked.norms
    return found


def residual(
    of: Sequence[tuple[int, float]],
    by: Float64[np.ndarray, " snapshots"],
    step: int,
    width: float,
) -> float:
    """Return the part of an average's profile that a weighted sum of snapshots doesn't have.

    The norm of the difference of the two profiles, as a share of the average's own: 0 where the sum
    is the average, 1 where it has nothing of it. Below 1e-7 it is rounding.

    Args:
        of: Step and width of each snapshot.
        by: Coefficient of each (`coefficients`).
        step: Of the average.
        width: Of the average.

    Raises:
        InputError: a width or a step is out of range.
    """
    goal, used = _Profiles.of([(step, width)]), [int(place) for place in np.flatnonzero(by)]
    if not used:
        return 1.0
    tracked = _Profiles.of([of[place] for place in used])
    shares = by[used] * tracked.norms / goal.norms
    common = shares @ tracked.cosines(goal)[:, 0]
    square = 1 - 2 * common + shares @ tracked.cosines(tracked) @ shares
    return math.sqrt(max(float(square), 0.0))


def product(first: tuple[int, float], second: tuple[int, float]) -> float:
    """Return the inner product of the profiles of two averages, each given by step and width.

    The profile of a power at step t is (power + 1) s^power / t^(power + 1) for s in 0..t, and 0
    beyond.

    Raises:
        InputError: a width or a step is out of range.
    """
    one, other = _Profiles.of([first]), _Profiles.of([second])
    return float(one.norms[0] * other.norms[0] * one.cosines(other)[0, 0])


class _Profiles(NamedTuple):
    """Profiles of averages: for each the step where it ends, and its power."""

    steps: Float64[np.ndarray, " n"]
    powers: Float64[np.ndarray, " n"]

    @classmethod
    def of(cls, averages: Sequence[tuple[int, float]]) -> "_Profiles":
        for step, _ in averages:
            _check_step(step)
        powers = {width: power_of(width) for _, width in averages}
        return cls(
            np.asarray([step for step, _ in averages], np.float64),
            np.asarray([powers[width] for _, width in averages], np.float64),
        )

    @property
    def norms(self) -> Float64[np.ndarray, " n"]:
        """The root of the integral of each profile's square."""
        return (self.powers + 1) / np.sqrt((2 * self.powers + 1) * self.steps)

    def cosines(self, others: "_Profiles") -> Float64[np.ndarray, "n m"]:
        """Return the inner products with other profiles, divided by the norms of both.

        The integral of s^(power + other power) up to the earlier of two steps, by logarithms, as
        such powers of steps would overflow.
        """
        steps, powers = self.steps[:, None], self.powers[:, None]
        earlier = np.minimum(steps, others.steps)
        logarithm = (powers + 0.5) * np.log(earlier / steps)
        logarithm += (others.powers + 0.5) * np.log(earlier / others.steps)
        scale = np.sqrt((2 * powers + 1) * (2 * others.powers + 1))
        return scale / (powers + others.powers + 1) * np.exp(logarithm)


def _check_step(step: int) -> None:
    if step < 1:
        raise InputError(f"step {step} must be at least 1: before it there is no average")
