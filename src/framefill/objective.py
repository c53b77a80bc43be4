"""The masked training loss: on TARGET frames, and on valid pixels, alone."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from framefill.diffusion import Diffusion
from framefill.errors import InputError, check_fields
from framefill.roles import Role, having
from framefill.types import Clip, Denoiser, Levels, Roles, Valid


@dataclass(frozen=True, kw_only=True)
class MaskedLoss:
    """How the error of a prediction becomes one number per clip.

    Args:
        norm: "squared" or "absolute" error of each value.
        reduction: "target_mean" over the values of TARGET frames (RaMViD, Equation 9);
            "half_sum" of squares, or the sum of absolute errors, over them (MCVD's code: its
            gradient clipping at 1 means what it meant only with this scale); "clip_mean" over
            all frames, KNOWN ones without noise (RaMViD with exclude_conditional off).
        known_level: KNOWN frames get a little noise, at a level uniform in 0..known_level,
            against drift in long videos, whose KNOWN frames are generated ones.
    """

    norm: Literal["squared", "absolute"] = "squared"
    reduction: Literal["target_mean", "half_sum", "clip_mean"] = "target_mean"
    known_level: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.known_level < 0:
            raise InputError(f"known_level {self.known_level} must be at least 0")

    def __call__(
        self,
        denoiser: Denoiser,
        diffusion: Diffusion,
        clip: Clip,
        roles: Roles,
        generator: Generator,
        valid: Valid | None = None,
    ) -> Float[Tensor, " b"]:
        """Return the loss of each clip at a random noise level, drawn from `generator` (CPU)."""
        levels = self.draw_levels(diffusion, roles.cpu(), generator).to(clip.device)
        noise = torch.randn(clip.shape, generator=generator).to(clip)
        return self.at(denoiser, diffusion, clip, roles, levels, noise, valid)

    def draw_levels(self, diffusion: Diffusion, roles: Roles, generator: Generator) -> Levels:
        """Draw one level for the TARGET frames of each clip, and small ones for KNOWN frames."""
        target = diffusion.schedule.draw(len(roles), generator)[:, None]
        known = diffusion.schedule.draw_up_to(
            self.known_level, clips=roles.shape[0], frames=roles.shape[1], generator=generator
        )
        known = known.masked_fill(roles != Role.KNOWN, 0.0)
        return torch.where(roles == Role.TARGET, target, known)

    def at(
        self,
        denoiser: Denoiser,
        diffusion: Diffusion,
        clip: Clip,
        roles: Roles,
        levels: Levels,
        noise: Clip,
        valid: Valid | None = None,
    ) -> Float[Tensor, " b"]:
        """Return the loss of each clip at given levels and noise.

        Args:
            denoiser: The network.
            diffusion: What its output means.
            clip: Clean frames, read only where they are KNOWN or TARGET and `valid`.
            roles: What each frame is to the model. A clip without a valid target has loss 0.
            levels: Noise level of each frame, 0 for clean ones.
            noise: Standard normal noise.
            valid: False where the data is missing; None: nothing is missing.
        """
        weight = having(roles, Role.TARGET).expand(clip.shape)
        if valid is not None:
            clip = torch.where(valid, clip, 0.0)
            weight = weight & valid
        if self.reduction == "clip_mean":
            noise = noise * having(roles, Role.TARGET)
        noisy = diffusion.noisy(clip, noise, levels)
        canvas = diffusion.canvas(noisy, noisy, roles, levels)
        prediction = denoiser(canvas, diffusion.told(levels), roles)[:, :, : clip.shape[2]]
        target = diffusion.target(clip, noise, levels)
        if self.reduction == "clip_mean":
            weight = torch.ones_like(weight) if valid is None else valid.expand(clip.shape)
        return self._reduce(torch.where(weight, prediction - target, 0.0), weight)

    def _reduce(self, error: Clip, weight: Tensor) -> Float[Tensor, " b"]:
        size = error.square() if self.norm == "squared" else error.abs()
        total = size.flatten(1).sum(1)
        if self.reduction == "half_sum":
            return total / 2 if self.norm == "squared" else total
        return total / weight.flatten(1).sum(1).clamp(min=1)
