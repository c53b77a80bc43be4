"""Filling the TARGET frames of one clip: where roles, network, diffusion and sampler meet."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int8
from torch import Generator, Tensor

from framefill.diffusion import Diffusion, Estimate, compose
from framefill.errors import InputError
from framefill.roles import Role
from framefill.sampling import Estimator, Fresh, Sampler
from framefill.types import Clip, Denoiser, Preparable, Roles


def estimator(denoiser: Denoiser, diffusion: Diffusion, clip: Clip, roles: Roles) -> Estimator:
    """Return what a sampler asks at every step: what is clean and what is noise.

    Before every call of the network KNOWN frames are put back clean and ABSENT ones are zeroed.

    Args:
        denoiser: The network.
        diffusion: What its output means.
        clip: Its KNOWN frames are read; the rest may hold anything, even NaN.
        roles: What each frame is to the model, for every clip.
    """

    def estimate(noisy: Clip, level: float) -> Estimate:
        everywhere = torch.full(roles.shape, level, device=noisy.device)
        levels = torch.where(roles == Role.TARGET, everywhere, 0.0)
        canvas = diffusion.canvas(clip, noisy, roles, levels)
        prediction = denoiser(canvas, diffusion.told(levels), roles)
        return diffusion.estimate(prediction.to(noisy.dtype), noisy, everywhere)

    return estimate


def noise_like(clip: Clip, generators: Sequence[Generator]) -> Fresh:
    """Return a source of standard normal noise for clips, each from its own generator.

    Args:
        clip: Read for its shape, device and dtype.
        generators: One per clip, on the CPU.
    """

    def fresh() -> Tensor:
        draws = [torch.randn(clip.shape[1:], generator=generator) for generator in generators]
        return torch.stack(draws).to(clip)

    return fresh


@torch.inference_mode()
def complete(
    denoiser: Denoiser,
    diffusion: Diffusion,
    clip: Clip,
    roles: Int8[Tensor, "_ _"],
    sampler: Sampler,
    generators: Sequence[Generator],
) -> Clip:
    """Return `clip` with TARGET frames filled in, KNOWN frames untouched and ABSENT ones zero.

    Args:
        denoiser: The network, in evaluation mode.
        diffusion: What its output means.
        clip: Its KNOWN frames are read; the rest may hold anything, even NaN.
        roles: One row for each clip.
        sampler: How to walk down the noise levels.
        generators: One per clip, on the CPU, so that a clip depends neither on its neighbours in
            the batch nor on the device.

    Raises:
        InputError: the numbers of frames or of generators do not match the clips.
    """
    if roles.shape != clip.shape[:2]:
        raise InputError(f"roles {list(roles.shape)} for clips of {list(clip.shape[:2])} frames")
    if len(generators) != len(clip):
        raise InputError(f"{len(generators)} generators for {len(clip)} clips: give one for each")
    fresh = noise_like(clip, generators)
    if isinstance(denoiser, Preparable):
        given = diffusion.canvas(clip, torch.zeros_like(clip), roles, torch.zeros(roles.shape))
        denoiser = denoiser.prepare(given, roles)
    walk = sampler.walk(diffusion.schedule)
    noisy = math.hypot(walk[0].alpha, walk[0].sigma) * fresh()
    filled = sampler(noisy, estimator(denoiser, diffusion, clip, roles), walk, fresh)
    return compose(clip, filled, roles)
