"""The masked training loss: on TARGET frames, and on valid pixels, alone."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from framefill.diffusion import Diffusion
from framefill.errors import InputError, check_fields
from framefill.importance import LossHistory
from framefill.roles import Role, having
from framefill.schedule import TableSchedule
from framefill.types import Clip, Denoiser, Levels, Roles, Valid
from framefill.variational import posterior_floor, reverse_step, step_bits


class LevelDraws(NamedTuple):
    """What is random about the noise levels of a batch, whatever the roles of its frames.

    Args:
        target: Level of each clip's TARGET frames.
        known: Level of each frame, should it be KNOWN.
        weights: Factors of the clips' losses.
    """

    target: Float[Tensor, " b"]
    known: Levels
    weights: Float[Tensor, " b"]

    def of(self, part: slice) -> "LevelDraws":
        """Return those of some of the clips."""
        return LevelDraws(self.target[part], self.known[part], self.weights[part])

    def levels(self, roles: Roles) -> Levels:
        """Return the level of each frame, 0 for clean ones; roles are on the CPU."""
        known = self.known.masked_fill(roles != Role.KNOWN, 0.0)
        return torch.where(roles == Role.TARGET, self.target[:, None], known)


class Draws(NamedTuple):
    """What is random in the loss of a batch.

    Args:
        levels: Noise level of each frame, 0 for clean ones.
        noise: Standard normal noise.
        weights: Factors of the clips' losses.
    """

    levels: Levels
    noise: Clip
    weights: Float[Tensor, " b"]


@dataclass(frozen=True, kw_only=True)
class MaskedLoss:
    """How the error of a prediction becomes one number per clip.

    Args:
        norm: "squared" or "absolute" error of each value.
        reduction: "target_mean" over the values of TARGET frames (RaMViD, Equation 9);
            "half_sum" of squares, or the sum of absolute errors, over them (MCVD's code: its
            gradient clipping at 1 means what it meant only with this scale); "clip_mean" over
            TARGET and KNOWN frames, the latter without noise (RaMViD with exclude_conditional off).
        known_level: KNOWN frames get a little noise, at a level uniform in 0..known_level,
            against drift in long videos, whose KNOWN frames are generated ones.
        kind: "error" of the prediction alone; "hybrid" adds the variational bound, which there
            teaches the learned variance and nothing else (Nichol & Dhariwal 2021, Equation 16);
            "bound" is the bound alone, of prediction and learned variance.
        bound_scale: Factor of the bound in bits per value of the whole clip, of which frames that
            are no TARGETs have none. RaMViD's code: levels / 1000 in "hybrid", levels in "bound".
        bins: Steps from the smallest to the largest value of the data; read by the bound.
        levels: Noise levels drawn evenly, or, for a table of them, as often as their losses are
            large ("loss_aware": `framefill.importance`).
    """

    norm: Literal["squared", "absolute"] = "squared"
    reduction: Literal["target_mean", "half_sum", "clip_mean"] = "target_mean"
    known_level: float = 0.0
    kind: Literal["error", "hybrid", "bound"] = "error"
    bound_scale: float = 1.0
    bins: int = 255
    levels: Literal["uniform", "loss_aware"] = "uniform"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.known_level < 0:
            raise InputError(f"known_level {self.known_level} must be at least 0")
        if self.bound_scale <= 0 or self.bins < 1:
            raise InputError(
                f"bound_scale {self.bound_scale} must be above 0 and bins {self.bins} at least 1"
            )

    def check(self, diffusion: Diffusion) -> None:
        """Refuse a diffusion whose networks have no such loss.

        Raises:
            InputError: the variance is learned and the loss does not teach it, or the other way
                round; or a part of the loss needs a table of noise levels.
        """
        if diffusion.learned_spread != (self.kind != "error"):
            raise InputError(
                f"loss of kind {self.kind!r} with learned_spread {diffusion.learned_spread}: "
                "'hybrid' and 'bound' teach a learned variance, and 'error' can't"
            )
        table = isinstance(diffusion.schedule, TableSchedule)
        if not table and (self.kind != "error" or self.levels == "loss_aware"):
            raise InputError("the bound and loss-aware levels need a table of noise levels")
        if self.known_level and (self.kind != "error" or self.reduction == "clip_mean"):
            raise InputError(
                f"known_level {self.known_level} with kind {self.kind!r} and reduction "
                f"{self.reduction!r}: the bound, and the mean over clips, are of clean KNOWN frames"
            )

    def history(self, diffusion: Diffusion) -> LossHistory | None:
        """Return the state that drawing levels needs, before the first step."""
        schedule = diffusion.schedule
        if self.levels == "uniform" or not isinstance(schedule, TableSchedule):
            return None
        return LossHistory.empty(schedule.levels)

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
        draws = self.draw(diffusion, clip, roles, generator)
        return self.at(denoiser, diffusion, clip, roles, draws.levels, draws.noise, valid)

    def draw(
        self,
        diffusion: Diffusion,
        clip: Clip,
        roles: Roles,
        generator: Generator,
        history: LossHistory | None = None,
    ) -> Draws:
        """Draw what is random in the loss of a batch, from `generator` (CPU).

        Args:
            diffusion: Its schedule draws the levels.
            clip: Read for its shape alone.
            roles: What each frame is to the model.
            generator: On the CPU.
            history: Of losses, for loss-aware levels.
        """
        drawn = self.draw_levels(diffusion, len(roles), roles.shape[1], generator, history)
        noise = torch.randn(clip.shape, generator=generator).to(clip)
        levels = drawn.levels(roles.cpu())
        return Draws(levels.to(clip.device), noise, drawn.weights.to(clip.device))

    def draw_levels(
        self,
        diffusion: Diffusion,
        clips: int,
        frames: int,
        generator: Generator,
        history: LossHistory | None = None,
    ) -> LevelDraws:
        """Draw one level for the TARGET frames of each clip, and small ones for KNOWN frames.

        Args:
            diffusion: Its schedule draws them.
            clips: Number of clips.
            frames: Length of each.
            generator: On the CPU.
            history: Of losses, for loss-aware levels.
        """
        if history is None:
            target, weights = diffusion.schedule.draw(clips, generator), torch.ones(clips)
        else:
            target, weights = history.draw(clips, generator)
        known = diffusion.schedule.draw_up_to(
            self.known_level, clips=clips, frames=frames, generator=generator
        )
        return LevelDraws(target, known, weights)

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
        output = denoiser(canvas, diffusion.told(levels), roles)
        bound = (
            None if self.kind == "error" else self._bound(output, diffusion, clip, noisy, levels)
        )
        if bound is not None:
            bound = self.bound_scale * torch.where(weight, bound, 0.0).flatten(1).mean(1)
            if self.kind == "bound":
                return bound
        target = diffusion.target(clip, noise, levels)
        if self.reduction == "clip_mean":
            weight = ~having(roles, Role.ABSENT).expand(clip.shape)
            weight = weight if valid is None else weight & valid
        error = torch.where(weight, output[:, :, : clip.shape[2]] - target, 0.0)
        loss = self._reduce(error, weight)
        return loss if bound is None else loss + bound

    def _bound(
        self,
        output: Float[Tensor, "b f out h w"],
        diffusion: Diffusion,
        clip: Clip,
        noisy: Clip,
        levels: Levels,
    ) -> Clip:
        """Return the variational bound in bits per value; it is read on TARGET frames alone."""
        prediction, spread = output.float().chunk(2, dim=2)
        if self.kind == "hybrid":
            prediction = prediction.detach()
        here = levels.clamp(min=1)  # of KNOWN frames, whose bound is not read
        free = replace(diffusion, limits=None)
        parts = free.estimate(torch.cat([prediction, spread], dim=2), noisy, here)
        return step_bits(
            reverse_step(diffusion.schedule, here, here - 1),
            posterior_floor(diffusion.schedule, 2.0, 1.0),
            parts,
            clip,
            noisy,
            variance="learned",
            bin_width=2 / self.bins,
        )

    def _reduce(self, error: Clip, weight: Tensor) -> Float[Tensor, " b"]:
        size = error.square() if self.norm == "squared" else error.abs()
        total = size.flatten(1).sum(1)
        if self.reduction == "half_sum":
            return total / 2 if self.norm == "squared" else total
        return total / weight.flatten(1).sum(1).clamp(min=1)
