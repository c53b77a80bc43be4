"""History guidance: push a prediction away from the one made without the known frames."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from framefill.diffusion import compose
from framefill.roles import Role
from framefill.types import Clip, Denoiser, Preparable, Roles


@dataclass(frozen=True)
class Guided:
    """A denoiser whose predictions are extrapolated from the blind ones.

    blind + scale * (informed - blind), both in one batch (Ho & Salimans 2022; Song et al. 2025
    for history). The network must have seen rows whose KNOWN frames were dropped to ABSENT.

    Args:
        denoiser: The network.
        scale: 1 changes nothing; 1.5 to 2 trades diversity for agreement with the known frames.
    """

    denoiser: Denoiser
    scale: float

    def __call__(
        self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles
    ) -> Float[Tensor, "b f out h w"]:
        """See `framefill.types.Denoiser`."""
        if not _informed(roles):
            return self.denoiser(canvas, labels, roles)
        canvases, both = _with_blind(canvas, roles)
        informed, blind = self.denoiser(canvases, torch.cat([labels, labels]), both).chunk(2)
        return blind + self.scale * (informed - blind)

    def prepare(self, canvas: Clip, roles: Roles) -> Denoiser:
        """See `framefill.types.Preparable`."""
        if not isinstance(self.denoiser, Preparable):
            return self
        clips = _with_blind(canvas, roles) if _informed(roles) else (canvas, roles)
        return Guided(self.denoiser.prepare(*clips), self.scale)


def _informed(roles: Roles) -> bool:
    return bool((roles == Role.KNOWN).any())


def _with_blind(
    canvas: Clip, roles: Roles
) -> tuple[Float[Tensor, "two_b f c h w"], Int8[Tensor, "two_b f"]]:
    """Append to a batch the same clips without their KNOWN frames."""
    blind = torch.where(roles == Role.KNOWN, Role.ABSENT, roles).to(roles.dtype)
    return torch.cat([canvas, compose(canvas, canvas, blind)]), torch.cat([roles, blind])
