"""The training loop, and all the state that it changes."""

import copy
import math
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int64
from torch import nn
from torch.optim import AdamW
from torch.utils.data import DataLoader

from framefill.batch import Batch, Batches
from framefill.conditions import hidden, in_model_range
from framefill.config import Clips, Config, OptimConfig
from framefill.device import autocast
from framefill.errors import InputError
from framefill.gaps import without_gaps
from framefill.importance import LossHistory
from framefill.model_config import NO_CLASS
from framefill.nn.config import SpaceTimeConfig
from framefill.nn.denoisers import telling
from framefill.nn.unet import UNet
from framefill.randomness import generator_for, seed_of
from framefill.roles import Role, having
from framefill.told import Told
from framefill.types import Clip, Roles

STREAM_WEIGHTS, STREAM_STEP = 0, 1  # what a key of randomness is for


@dataclass(frozen=True)
class Report:
    """What one optimiser step has to say.

    Args:
        step: Steps taken so far.
        loss: Mean loss of the batch.
        grad_norm: Norm of the gradient before clipping.
        lr: Learning rate of the step.
        skipped: Clips of the batch without a valid target, which count for nothing.
    """

    step: int
    loss: float
    grad_norm: float
    lr: float
    skipped: int = 0


@dataclass
class TrainState:
    """Everything that training changes, hence everything that a checkpoint must hold.

    Args:
        network: The weights being trained.
        average: Their moving average, which becomes the model.
        optimizer: AdamW, on the network's weights.
        step: Steps taken so far. Data, masks, noise and dropout are functions of it.
        more: Further averages, by rate.
        history: Of losses, where levels are drawn by them.
    """

    network: nn.Module
    average: nn.Module
    optimizer: AdamW
    step: int = 0
    more: dict[float, nn.Module] = field(default_factory=dict)
    history: LossHistory | None = None

    @classmethod
    def start(cls, config: Config, device: torch.device) -> "TrainState":
        """Return the state before the first step."""
        torch.manual_seed(seed_of(config.seed, STREAM_WEIGHTS))
        network = config.model().build().to(device)
        for part in network.modules():
            if isinstance(part, UNet):
                part.recompute = config.recompute
        state = cls.of(network, config.optim)
        state.history = config.loss.history(config.diffusion)
        return state

    @classmethod
    def of(cls, network: nn.Module, optim: OptimConfig) -> "TrainState":
        """Return the state before the first step of a network that has its first weights."""
        optimizer = AdamW(
            network.parameters(),
            lr=optim.lr,
            betas=optim.betas,
            eps=optim.eps,
            weight_decay=optim.weight_decay,
            fused=True,
        )
        more = {rate: copy.deepcopy(network).eval() for rate in optim.more_ema}
        return cls(network, copy.deepcopy(network).eval(), optimizer, more=more)

    def descend(
        self,
        parts: Iterable[Float[torch.Tensor, " _"]],
        optim: OptimConfig,
        *,
        clips: int,
        skipped: int = 0,
    ) -> Report:
        """Take one optimiser step down the gradient of a batch's mean loss.

        Args:
            parts: Losses of the batch's clips, part by part: the activations of one are freed
                before the next is asked for.
            optim: How the weights move.
            clips: Number of clips in the batch that have a target.
            skipped: Number of those that have none.

        Raises:
            InputError: the loss is not a number any more.
        """
        self.optimizer.zero_grad()
        loss = torch.zeros(())
        for losses in parts:
            share = losses.float().sum() / clips
            torch.autograd.backward(share)
            loss += share.detach().cpu()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), optim.clip_norm or math.inf)
        if not torch.isfinite(norm):
            raise InputError(
                f"loss {loss.item():g} with a gradient of norm {norm.item():g} at step "
                f"{self.step}: training diverged; resume with a smaller --optim.lr in a new folder"
            )
        lr = optim.lr_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.step += 1
        self.update_average(self.average, optim.ema_at(self.step))
        for rate, average in self.more.items():
            self.update_average(average, rate)
        return Report(self.step, loss.item(), norm.item(), lr, skipped)

    def passed_over(self, optim: OptimConfig, *, clips: int) -> Report:
        """Take a step for which there is no data: no clip of the batch has a target."""
        self.step += 1
        return Report(self.step, 0.0, 0.0, optim.lr_at(self.step - 1), clips)

    def update_average(self, average: nn.Module, rate: float) -> None:
        """Move an average to the weights: average = rate * average + (1 - rate) * weights."""
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(self.network.parameters()), 1 - rate
            )


def batches(config: Config, clips: Clips, start: int) -> Iterator[Batch]:
    """Yield the batches from step `start` to the end of the run.

    Raises:
        InputError: the data can't be read.
    """
    loader = DataLoader(
        Batches(clips, config.optim.batch),
        sampler=range(start, config.optim.steps),
        batch_size=None,
        num_workers=config.workers,
        worker_init_fn=_leave_interrupts_to_the_parent,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _leave_interrupts_to_the_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def train_steps(config: Config, state: TrainState, clips: Clips) -> Iterator[Report]:
    """Advance `state` to the end of the run, with a report after each step.

    The caller decides what happens between two steps: log, save, sample, stop. A state that was
    saved and loaded goes on exactly as it would have.

    Args:
        config: The run, measured on its data (`Config.measured`).
        state: Of the run.
        clips: The training data.

    Raises:
        InputError: the loss is not a number any more.
    """
    device = next(state.network.parameters()).device
    state.network.train()
    for batch in batches(config, clips, state.step):
        key = (config.seed, STREAM_STEP, state.step)
        torch.manual_seed(seed_of(*key))  # dropout
        yield _step(config, state, batch, device, generator_for(*key))


def _step(
    config: Config,
    state: TrainState,
    batch: Batch,
    device: torch.device,
    generator: torch.Generator,
) -> Report:
    clip = config.normaliser.to_clip(batch.frames.numpy())
    roles = config.masks.sample(len(clip), generator)
    clip, roles, valid = without_gaps(clip, roles)
    conditions = {
        each.name: in_model_range(each, batch.conditions[each.name]) for each in config.conditions
    }
    conditions = hidden(conditions, config.conditions, generator)
    told = Told(valid, _classes(config, batch, generator), conditions)
    rows = torch.ones(len(clip), dtype=torch.bool)
    if valid is not None:
        targets = valid & having(roles, Role.TARGET)
        rows = targets.flatten(1).any(dim=1)
    if not rows.any():
        return state.passed_over(config.optim, clips=len(clip))
    parts = _losses(
        config, state, clip.to(device), roles.to(device), told.to(device), rows, generator
    )
    return state.descend(parts, config.optim, clips=int(rows.sum()), skipped=int((~rows).sum()))


def _classes(
    config: Config, batch: Batch, generator: torch.Generator
) -> Int64[torch.Tensor, " b"] | None:
    """Return the classes of a batch, some of them hidden if the network is trained without too."""
    if batch.classes is None or not isinstance(config.network, SpaceTimeConfig):
        return batch.classes
    dropped = torch.rand(len(batch.classes), generator=generator) < config.network.class_dropout
    return batch.classes.masked_fill(dropped, NO_CLASS)


def _losses(
    config: Config,
    state: TrainState,
    clip: Clip,
    roles: Roles,
    told: Told,
    rows: Bool[torch.Tensor, " b"],
    generator: torch.Generator,
) -> Iterator[Float[torch.Tensor, " _"]]:
    """Yield the losses of a batch, part by part, times their weights; 0 for clips not in `rows`.

    All that is random is drawn first, so that the parts' size changes nothing but rounding (and
    dropout).
    """
    draws = config.loss.draw(config.diffusion, clip, roles, generator, state.history)
    size = config.optim.microbatch or len(clip)
    for start in range(0, len(clip), size):
        part = slice(start, start + size)
        here = told.of(part)
        with autocast(clip.device, config.precision):
            losses = config.loss.at(
                telling(state.network, here),
                config.diffusion,
                clip[part],
                roles[part],
                draws.levels[part],
                draws.noise[part],
                here.valid,
            )
        if state.history is not None:
            targets = draws.levels[part].where(roles[part] == Role.TARGET, 0.0)
            counted = rows[part].to(losses.device)
            state.history.note(targets.amax(dim=1)[counted], losses[counted])
        yield losses * draws.weights[part] * rows[part].to(losses.device)
