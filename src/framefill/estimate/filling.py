"""How long it takes to fill a clip with the model's own sampler."""

import time

import torch
from jaxtyping import Float
from torch import Tensor, nn

from framefill.conditions import in_model_range
from framefill.config import Clips, Config
from framefill.estimate.trial import Filling
from framefill.gaps import without_gaps
from framefill.model import Model
from framefill.randomness import generator_for
from framefill.told import Told
from framefill.types import Clip, Denoiser, Preparable, Roles

STREAM_PLAN = 9  # what a key of randomness is for
LEAST = 2  # evaluations that are timed; the first may hold work that is done once


def settle(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def time_filling(
    config: Config, network: nn.Module, clips: Clips, device: torch.device, seconds: float
) -> Filling:
    """Fill a clip and time it; where that takes too long, its first evaluations.

    Args:
        config: The run's.
        network: In evaluation mode, on the device.
        clips: The data; one is filled.
        device: Where.
        seconds: That this may take, roughly.
    """
    sample = clips.clip(0)
    generator = generator_for(config.seed, STREAM_PLAN)
    frames, roles, valid = without_gaps(
        config.normaliser.to_clip(sample["frames"][None]), config.masks.sample(1, generator)
    )
    conditions = {
        each.name: in_model_range(each, torch.from_numpy(sample["conditions"][each.name])[None])
        for each in config.conditions
    }
    classes = torch.zeros(1, dtype=torch.int64) if config.model().network_classes else None
    told = Told(valid, classes, conditions).to(device)
    timed = _Prepared if isinstance(network, Preparable) else _Timed
    counted = timed(network, device, seconds)
    model = Model(counted, config.model(), told=told)
    settle(device)
    started = time.perf_counter()
    # As `Settings` has it; a training's own precision is no matter of the model's.
    model.complete(frames.to(device), roles.to(device), [generator], precision="auto")
    settle(device)
    spent = time.perf_counter() - started
    left_out = counted.calls - len(counted.times)
    return Filling(
        seconds=spent + left_out * counted.times[-1],
        evaluations=counted.calls,
        measured=len(counted.times),
    )


class _Timed(nn.Module):
    """A network whose first evaluations are timed; from then on it says the same again.

    So the walk goes to its end, whatever the sampler, and how many evaluations that takes is
    counted.
    """

    def __init__(self, network: nn.Module, device: torch.device, seconds: float) -> None:
        super().__init__()
        self.network, self.device, self.seconds = network, device, seconds
        self.listens = bool(getattr(network, "listens", False))
        self.calls, self.times = 0, list[float]()
        self.latest: Float[Tensor, "b f out h w"] | None = None

    def forward(
        self,
        canvas: Clip,
        labels: Float[Tensor, "b f"],
        roles: Roles,
        told: Told | None = None,
    ) -> Float[Tensor, "b f out h w"]:
        self.calls += 1
        enough = sum(self.times) > self.seconds and len(self.times) >= LEAST
        if self.latest is not None and enough:
            return self.latest
        settle(self.device)
        started = time.perf_counter()
        if self.listens:
            self.latest = self.network(canvas, labels, roles, told)
        else:
            self.latest = self.evaluated(canvas, labels, roles)
        settle(self.device)
        self.times.append(time.perf_counter() - started)
        return self.latest

    def evaluated(
        self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles
    ) -> Float[Tensor, "b f out h w"]:
        return self.network(canvas, labels, roles)


class _Prepared(_Timed):
    """The same for a network with work that is done once per walk."""

    ready: Denoiser

    def prepare(self, canvas: Clip, roles: Roles) -> Denoiser:
        if isinstance(self.network, Preparable):
            self.ready = self.network.prepare(canvas, roles)
        return self

    def evaluated(
        self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles
    ) -> Float[Tensor, "b f out h w"]:
        return self.ready(canvas, labels, roles)
