"""The posterior of the forward process between two noise levels (Ho et al. 2020, Equation 7)."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from torch import Tensor

Variance = Literal["small", "large", "learned"]  # of a reverse step: see `framefill.sampling.Ddpm`
Scale = TypeVar("Scale", float, Tensor)  # one number, or one per frame [b f 1 1 1]


@dataclass(frozen=True)
class Posterior(Generic[Scale]):
    """A step from a noisier level to a cleaner one, of frames in model range."""

    ratio: Scale  # forward: noisier = ratio * cleaner + noise of variance `large`
    to_noisy: Scale  # mean of the cleaner frames = to_noisy * noisier ...
    to_clean: Scale  # ... + to_clean * (clean frames)
    small: Scale  # their variance, 0 where the step ends on clean frames
    large: Scale  # variance that the forward process adds between the two


def posterior(
    alpha: Scale, sigma: Scale, alpha_there: Scale, sigma_there: Scale
) -> Posterior[Scale]:
    """Return the posterior q(cleaner | noisier, clean) from the scales of two levels.

    Args:
        alpha: Scale of the clean frames at the level that the step leaves.
        sigma: Scale of the noise there, above 0.
        alpha_there: Scale of the clean frames at the cleaner level that it goes to.
        sigma_there: Scale of the noise there; 0: clean frames.
    """
    ratio = alpha / alpha_there
    added = sigma**2 - (ratio * sigma_there) ** 2
    return Posterior(
        ratio=ratio,
        to_noisy=ratio * sigma_there**2 / sigma**2,
        to_clean=alpha_there * added / sigma**2,
        small=added * (sigma_there / sigma) ** 2,
        large=added,
    )
