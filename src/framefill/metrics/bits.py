"""Bits per dimension: an upper bound on what a model needs to code the frames it fills."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from framefill.completion import estimator
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.roles import Role, having
from framefill.sampling import Ddpm, Fresh
from framefill.schedule import TableSchedule
from framefill.types import Clip, Denoiser, Roles
from framefill.variational import gaussian_kl, posterior_floor, reverse_step, step_bits


@dataclass(frozen=True)
class Bits:
    """The bound of each clip, in bits per value of its TARGET frames, and what it is made of.

    Args:
        total: The sum of all terms [b].
        prior: What remains of the clip in the noisiest frames [b].
        steps: What each step adds, noisiest first [b steps].
        clean_mse: Mean squared error of the clean frames that the network sees, in model range
            [b steps].
        noise_mse: The same of the noise [b steps].
    """

    total: Float[Tensor, " b"]
    prior: Float[Tensor, " b"]
    steps: Float[Tensor, "b steps"]
    clean_mse: Float[Tensor, "b steps"]
    noise_mse: Float[Tensor, "b steps"]


@torch.inference_mode()
def bits_per_dimension(
    denoiser: Denoiser,
    diffusion: Diffusion,
    clip: Clip,
    roles: Roles,
    *,
    sampler: Ddpm,
    width: float,
    fresh: Fresh,
) -> Bits:
    """Return the variational bound on the TARGET frames, given the KNOWN ones.

    Args:
        denoiser: The network, in evaluation mode.
        diffusion: What its output means.
        clip: True frames in -1..1.
        roles: What each frame is to the model, with a target in every clip.
        sampler: Its steps and its variance are those that the bound is of.
        width: Distance between two neighbouring values (`Normaliser.bin_width`).
        fresh: Source of noise, called once per step.

    Raises:
        InputError: the sampler takes fewer than 2 steps, or wants a variance that the network
            did not learn, or the noise levels are no table.
    """
    _check(sampler, diffusion)
    walk = sampler.walk(diffusion.schedule)
    estimate = estimator(denoiser, diffusion, clip, roles)
    targets = having(roles, Role.TARGET).expand(clip.shape)

    def mean(values: Tensor) -> Tensor:
        weighted = torch.where(targets, values, 0.0).flatten(1).sum(1)
        return weighted / targets.flatten(1).sum(1)

    def everywhere(level: float) -> Tensor:
        return torch.full(roles.shape, level)

    floor = posterior_floor(diffusion.schedule, walk[-3].level, walk[-2].level)
    steps, clean_mse, noise_mse = [], [], []
    for here, there in pairwise(walk):
        noise = fresh()
        noisy = diffusion.noisy(clip, noise, everywhere(here.level).to(clip.device))
        parts = estimate(noisy, here.level)
        step = reverse_step(diffusion.schedule, everywhere(here.level), everywhere(there.level))
        bits = step_bits(
            step, floor, parts, clip, noisy, variance=sampler.variance, bin_width=width
        )
        steps.append(mean(bits))
        clean_mse.append(mean((parts.clean - clip) ** 2))
        noise_mse.append(mean((parts.noise - noise) ** 2))
    first, zero = walk[0], torch.zeros(())
    prior = mean(
        gaussian_kl(first.alpha * clip, zero + 2 * math.log(first.sigma), zero, zero) / math.log(2)
    )
    stacked = torch.stack(steps, dim=1)
    return Bits(
        total=stacked.sum(1) + prior,
        prior=prior,
        steps=stacked,
        clean_mse=torch.stack(clean_mse, dim=1),
        noise_mse=torch.stack(noise_mse, dim=1),
    )


def _check(sampler: Ddpm, diffusion: Diffusion) -> None:
    if not isinstance(diffusion.schedule, TableSchedule):
        raise InputError(
            "bits per dimension need noise levels that end in pure noise, those of a table: this "
            f"model has {diffusion.schedule}"
        )
    if len(sampler.walk(diffusion.schedule)) < 3:
        raise InputError("bits per dimension need at least 2 steps: pass a larger --steps")
    if sampler.variance == "learned" and not diffusion.learned_spread:
        raise InputError("variance 'learned' needs a network that learned it: use 'small'")
