"""The variational bound of one reverse step, in bits (Ho et al. 2020, Equations 5 and 13)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from framefill.diffusion import Estimate
from framefill.posterior import Posterior, Variance, posterior
from framefill.schedule import Schedule
from framefill.types import Clip, Levels

EDGE = 0.999  # as published for 8 bits, for values that are between two of them
TINY = 1e-12


def reverse_step(schedule: Schedule, here: Levels, there: Levels) -> Posterior[Tensor]:
    """Return the posterior q(there | here, clean).

    Args:
        schedule: Noise schedule.
        here: Levels that the step leaves.
        there: Lower levels that it goes to; 0: clean frames.
    """
    return posterior(*schedule.scales(here), *schedule.scales(there))


def posterior_floor(schedule: Schedule, here: float, there: float) -> float:
    """Return the posterior variance of the last step but one, for the last one, which has none.

    Args:
        schedule: Noise schedule.
        here: The level that it leaves.
        there: The level that it goes to, the last one above 0.
    """
    return reverse_step(schedule, torch.tensor([[here]]), torch.tensor([[there]])).small.item()


def log_variance(
    step: Posterior[Tensor], floor: float, parts: Estimate, variance: Variance
) -> Tensor:
    """Return the log-variance of a network's reverse step.

    Args:
        step: The step.
        floor: Takes the place of the posterior variance, which is 0, in the last step: that of
            the step before.
        parts: What the network sees; its spread is read by "learned".
        variance: See `framefill.sampling.Ddpm`; "large" has the floor in the last step, too.

    Raises:
        ValueError: "learned" of a network that did not learn it.
    """
    small = step.small.clamp(min=floor).log()
    large = step.large.log()
    match variance:
        case "small":
            return small
        case "large":
            return torch.where(step.small > 0, large, small)
        case "learned":
            if parts.spread is None:
                raise ValueError("the network did not learn its variance")
            low, high = small.to(parts.spread), large.to(parts.spread)
            return low + parts.spread * (high - low)


def step_bits(
    step: Posterior[Tensor],
    floor: float,
    parts: Estimate,
    clean: Clip,
    noisy: Clip,
    *,
    variance: Variance,
    bin_width: float,
) -> Float[Tensor, "b f c h w"]:
    """Return what one step adds to the bound, in bits for each value.

    The divergence of the network's step from the posterior; in the last step the cost of coding
    the clean frames, whose values are the middles of bins, at the network's mean and variance.

    Args:
        step: The step, with levels above 0 on frames that count.
        floor: See `log_variance`.
        parts: What the network sees in `noisy`.
        clean: True frames in -1..1.
        noisy: The frames that the step leaves.
        variance: See `framefill.sampling.Ddpm`.
        bin_width: Distance between two neighbouring values of the data, in model range.
    """
    mine = log_variance(step, floor, parts, variance).to(noisy)
    mean = step.to_noisy.to(noisy) * noisy + step.to_clean.to(noisy) * parts.clean
    true_mean = step.to_noisy.to(noisy) * noisy + step.to_clean.to(noisy) * clean
    true = step.small.clamp(min=floor).log().to(noisy)
    coding = -_log_likelihood(clean, mean, 0.5 * mine, bin_width)
    last = (step.small == 0).to(noisy.device)
    return torch.where(last, coding, gaussian_kl(true_mean, true, mean, mine)) / math.log(2)


def gaussian_kl(
    mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor
) -> Tensor:
    """Return the divergence KL(one || other) of normal distributions, in nats."""
    ratio = torch.exp(log_variance - other_log_variance)
    distance = (mean - other_mean) ** 2 * torch.exp(-other_log_variance)
    return 0.5 * (other_log_variance - log_variance - 1 + ratio + distance)


def _log_likelihood(clean: Clip, mean: Clip, log_std: Tensor, bin_width: float) -> Clip:
    """Return the logarithm of a bin's share of a normal distribution."""
    precision = torch.exp(-log_std)
    edge = max(EDGE, 1 - bin_width / 2)  # the first and the last bin reach to infinity
    above = _cumulative(precision * (clean - mean + bin_width / 2))
    below = _cumulative(precision * (clean - mean - bin_width / 2))
    share = torch.where(clean > edge, 1 - below, above - below)
    return torch.where(clean < -edge, above, share).clamp(min=TINY).log()


def _cumulative(value: Tensor) -> Tensor:
    """The published bounds are with this approximation of the normal distribution function."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))
