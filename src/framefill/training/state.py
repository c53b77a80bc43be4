"""All that training changes, and how a step changes it."""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import nn
from torch.amp import GradScaler
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from framefill.batch import Batch
from framefill.config import Config, OptimConfig
from framefill.device import precision_on
from framefill.importance import LossHistory
from framefill.nn.unet import UNet
from framefill.posthoc import rate as rate_of
from framefill.randomness import seed_of
from framefill.training.guard import Guard
from framefill.training.ranks import Ranks
from framefill.training.report import Report
from framefill.training.spread import callable_of, divided, own
from framefill.types import Levels, Roles

STREAM_WEIGHTS = 0  # what a key of randomness is for
LEAST_SCALE = 2.0**-10  # of float16's gradients: below, it is not float16 that is too small


@dataclass(frozen=True, eq=False)
class Suspect:
    """What a step was taken with, on this process: evidence, should it be a bad one.

    Args:
        position: Number of the batch.
        batch: As the data gave it.
        roles: What each frame was to the network.
        levels: Noise level of each frame.
        losses: Of the clips whose part of the batch was computed.
    """

    position: int
    batch: Batch
    roles: Roles
    levels: Levels
    losses: Float[torch.Tensor, " _"]


@dataclass
class TrainState:
    """Everything that training changes, hence everything that a checkpoint must hold.

    Args:
        network: The weights being trained.
        average: Their moving average, which becomes the model.
        optimizer: AdamW, on the network's weights.
        step: Steps taken so far. Data, masks, noise and dropout are functions of it.
        more: Further averages, by rate.
        widths: Power-function averages, of which snapshots are kept, by width.
        history: Of losses, where levels are drawn by them.
        guard: How the steps went.
        scaler: Of the loss, for float16's gradients.
        ranks: The processes that train together.
        called: What is called in a step: the network, or what adds up gradients around it.
        suspect: What the last step was taken with; no part of a checkpoint.
    """

    network: nn.Module
    average: nn.Module
    optimizer: AdamW
    step: int = 0
    more: dict[float, nn.Module] = field(default_factory=dict)
    widths: dict[float, nn.Module] = field(default_factory=dict)
    history: LossHistory | None = None
    guard: Guard = field(default_factory=Guard)
    scaler: GradScaler = field(default_factory=lambda: GradScaler(enabled=False))
    ranks: Ranks = field(default_factory=Ranks)
    called: nn.Module | None = None
    suspect: Suspect | None = None

    @classmethod
    def start(
        cls,
        config: Config,
        device: torch.device,
        ranks: Ranks = Ranks(),
        weights: dict[str, torch.Tensor] | None = None,
    ) -> "TrainState":
        """Return the state before the first step.

        Args:
            config: The run's.
            device: Where this process trains.
            ranks: The processes that train together.
            weights: The first weights; None: drawn by the config's seed.
        """
        torch.manual_seed(seed_of(config.seed, STREAM_WEIGHTS))
        network = config.model().build()
        if weights is not None:
            network.load_state_dict(weights)
        for part in network.modules():
            if isinstance(part, UNet):
                part.recompute = config.recompute
        shard = config.shard and not ranks.alone
        averages = 1 + len(config.optim.more_ema) + len(config.optim.ema_widths)
        copies = [copy.deepcopy(network).eval() for _ in range(averages)]
        for each in (network, *copies):
            if shard:
                divided(each, ranks, device)  # station by station, so it never is there as a whole
            each.to(device)
        state = cls._with(network, copies, config.optim)
        state.ranks, state.history = ranks, config.loss.history(config.diffusion)
        half = precision_on(device, config.precision) == torch.float16
        state.scaler = GradScaler(device.type, enabled=half)
        state.called = callable_of(network, ranks, shard=shard, compiled=config.compile)
        return state

    @classmethod
    def of(cls, network: nn.Module, optim: OptimConfig) -> "TrainState":
        """Return the state before the first step of a network that has its first weights."""
        averages = 1 + len(optim.more_ema) + len(optim.ema_widths)
        return cls._with(network, [copy.deepcopy(network).eval() for _ in range(averages)], optim)

    @classmethod
    def _with(
        cls, network: nn.Module, averages: list[nn.Module], optim: OptimConfig
    ) -> "TrainState":
        optimizer = AdamW(
            network.parameters(),
            lr=optim.lr,
            betas=optim.betas,
            eps=optim.eps,
            weight_decay=optim.weight_decay,
            fused=True,
        )
        average, *others = averages
        more = dict(zip(optim.more_ema, others, strict=False))
        widths = dict(zip(optim.ema_widths, others[len(more) :], strict=True))
        return cls(network, average, optimizer, more=more, widths=widths)

    def descend(
        self,
        parts: Iterable[Float[torch.Tensor, " _"]],
        optim: OptimConfig,
        *,
        clips: int,
        skipped: int = 0,
    ) -> Report:
        """Take one optimiser step down the gradient of a batch's mean loss.

        A step whose loss or gradient is no number, or far beyond the usual, moves nothing.

        Args:
            parts: Losses of this process's clips, part by part: the activations of one are freed
                before the next is asked for.
            optim: How the weights move.
            clips: Number of clips in the whole batch that have a target.
            skipped: Number of those that have none.
        """
        self.optimizer.zero_grad()
        loss = torch.zeros(())
        for losses in parts:
            share = losses.float().sum() / clips
            # Gradients of several processes are averaged, and the loss is a sum.
            torch.autograd.backward(self.scaler.scale(share * self.ranks.count))
            loss += share.detach().cpu()
        total = self.ranks.total(loss.item())
        norm, lr = self._norm(optim), optim.lr_at(self.step)
        bad = self._judged(total, norm, optim.spike)
        self.step += 1
        if not bad:
            self._move(optim, lr)
        self._follow()
        return Report(self.step, total, norm, lr, skipped, bad, self.scaler.get_scale())

    def passed_over(self, optim: OptimConfig, *, clips: int) -> Report:
        """Take a step for which there is no data: no clip of the batch has a target."""
        self.step += 1
        self._follow()
        lr, scale = optim.lr_at(self.step - 1), self.scaler.get_scale()
        return Report(self.step, 0.0, 0.0, lr, clips, scale=scale)

    def _norm(self, optim: OptimConfig) -> float:
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), optim.clip_norm or math.inf)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _judged(self, loss: float, norm: float, spike: float) -> str:
        """Say what is wrong with a step; every process comes to the same."""
        scale = self.scaler.get_scale()
        if self.scaler.is_enabled() and not math.isfinite(norm):
            self.scaler.update(scale * self.scaler.get_backoff_factor())
            if math.isfinite(loss) and scale > LEAST_SCALE:
                return f"gradient too large for float16 at scale {scale:g}, which is halved"
        bad = self.guard.judge(loss, norm, spike)
        if bad and math.isfinite(norm):
            self.scaler.update(scale)  # its scale stays, and it forgets this step
        return bad

    def _move(self, optim: OptimConfig, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.update_average(self.average, optim.ema_at(self.step))
        for rate, average in self.more.items():
            self.update_average(average, rate)

    def _follow(self) -> None:
        """Move the power-function averages, whose profiles count every step, moved or not."""
        for width, average in self.widths.items():
            self.update_average(average, rate_of(width, self.step))

    def update_average(self, average: nn.Module, rate: float) -> None:
        """Move an average to the weights: average = rate * average + (1 - rate) * weights."""
        with torch.no_grad():
            torch._foreach_lerp_(
                own(list(average.parameters())), own(list(self.network.parameters())), 1 - rate
            )
