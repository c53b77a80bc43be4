"""History guidance: push a prediction away from the one made without the known frames."""

import torch
from jaxtyping import Float
from torch import Tensor

from framefill.diffusion import compose
from framefill.roles import Role
from framefill.types import Clip, Denoiser, Roles


def guided(denoiser: Denoiser, scale: float) -> Denoiser:
    """Return a denoiser whose predictions are extrapolated from the blind ones.

    blind + scale * (informed - blind), both in one batch (Ho & Salimans 2022; Song et al. 2025
    for history). The network must have seen rows whose KNOWN frames were dropped to ABSENT.

    Args:
        denoiser: The network.
        scale: 1 changes nothing; 1.5 to 2 trades diversity for agreement with the known frames.
    """

    def denoise(
        canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles
    ) -> Float[Tensor, "b f out h w"]:
        if not (roles == Role.KNOWN).any():
            return denoiser(canvas, labels, roles)
        blind = torch.where(roles == Role.KNOWN, Role.ABSENT, roles).to(roles.dtype)
        informed, without = denoiser(
            torch.cat([canvas, compose(canvas, canvas, blind)]),
            torch.cat([labels, labels]),
            torch.cat([roles, blind]),
        ).chunk(2)
        return without + scale * (informed - without)

    return denoise
