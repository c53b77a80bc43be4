"""What a plan says."""

from dataclasses import dataclass

from framefill.estimate.memory import Parts
from framefill.estimate.trial import End, Filling


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Settings that were tried.

    Args:
        flags: What was set otherwise than asked for, as words of a command; none: nothing.
        end: How the trial ended: "done", "memory" or "time".
        said: The same in words, if it is not "done".
        fits: Whether it keeps within the limit; None: the time didn't suffice to find out.
        peak_bytes: Memory that it took at most; None: it ended before that.
        clip_peak_bytes: The same with a single clip.
        step_seconds: Of a step of the whole batch, reading included.
        batch: Clips of a step.
        clips: Clips of the steps that were measured; if that is less than a batch, the seconds are
            in proportion, and memory too if it is less than are held at once.
        steps: Steps that were timed, after a first one.
        scaled_memory: The memory is in proportion.
    """

    flags: tuple[str, ...]
    end: End
    said: str
    fits: bool | None
    peak_bytes: int | None
    clip_peak_bytes: int | None
    step_seconds: float | None
    batch: int
    clips: int
    steps: int
    scaled_memory: bool


@dataclass(frozen=True, kw_only=True)
class Divided:
    """What a number of processes would mean, computed: what they exchange costs nothing here.

    Args:
        processes: Their number.
        clips: Of each step, of each process; None: the batch can't be divided evenly.
        step_seconds: At best; None: no step was timed.
        state_bytes: Weights, gradients and averages that each would hold with --shard.
    """

    processes: int
    clips: int | None
    step_seconds: float | None
    state_bytes: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training would take, and what makes it fit.

    Args:
        recipe: Its name, or the file of its config.
        data: Path of the data, or what there is instead.
        made_up: The clips were noise of the right shape.
        device: In words.
        workers: Processes that make clips beside the training.
        parameters: Weights of the network.
        parts: What its memory is made of, computed.
        limit_bytes: Memory that it may take.
        limit_from: Where that number is from.
        base_bytes: What was taken before there was anything of the training: Python and libraries.
        tried: What was tried: first what was asked for, the last one fits, if any does.
        untried: Settings for which there was no time, as words of commands.
        read_seconds: Of reading a clip by one process; None: not measured, or made up.
        filling: Of a clip with the model's own sampler; None: not measured.
        steps: Optimiser steps of the training.
        price_per_hour: In the user's currency, if it was given.
        divided: What several processes would mean.
        devices: GPUs here, or 1.
        notes: What else to know about the numbers.
    """

    recipe: str
    data: str
    made_up: bool
    device: str
    workers: int
    parameters: int
    parts: Parts
    limit_bytes: int
    limit_from: str
    base_bytes: int
    tried: tuple[Tried, ...]
    untried: tuple[str, ...]
    read_seconds: float | None
    filling: Filling | None
    steps: int
    price_per_hour: float | None
    divided: tuple[Divided, ...]
    devices: int
    notes: tuple[str, ...]

    @property
    def asked(self) -> Tried:
        """What was asked for."""
        return self.tried[0]

    @property
    def chosen(self) -> Tried | None:
        """What fits; None: nothing that was tried."""
        return self.tried[-1] if self.tried[-1].fits else None

    @property
    def step_seconds(self) -> float | None:
        """Of a step of what fits, or else of what was asked for, if it could be timed all the same.

        It is the time on this device.
        """
        return (self.chosen or self.asked).step_seconds

    @property
    def seconds(self) -> float | None:
        """Of all steps, without looks at held-out clips and without checkpoints."""
        return None if self.step_seconds is None else self.steps * self.step_seconds

    @property
    def cost(self) -> float | None:
        """Of all steps; None without a price."""
        if self.seconds is None or self.price_per_hour is None:
            return None
        return self.seconds / 3600 * self.price_per_hour
