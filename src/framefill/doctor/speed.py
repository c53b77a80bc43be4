"""How fast clips are read, and whether that keeps up with training."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from framefill.config import Clips, Config
from framefill.data.own import OwnClips
from framefill.data.sample import Sample
from framefill.doctor.asked import Asked
from framefill.doctor.few_clips import TRIED_CLIPS, in_memory
from framefill.doctor.report import Finding, Speed
from framefill.training import TrainState, train_steps

SPEED_SECONDS = 4.0  # spent on measuring how fast clips are read, and as long for a whole batch


def measure_speed(config: Config, clips: Clips, device: torch.device) -> Speed:
    """Measure how fast one process reads clips, and how fast training would use them.

    Args:
        config: Measured.
        clips: The training clips.
        device: To take a few steps on.
    """
    samples: list[Sample] = []
    started = time.perf_counter()
    while len(samples) < TRIED_CLIPS and time.perf_counter() - started < SPEED_SECONDS:
        samples.append(clips.clip(len(samples)))
    reading = len(samples) / max(time.perf_counter() - started, 1e-9)
    batch = config.optim.batch
    few = in_memory(samples, config)
    one = _step_seconds(config, few, 1, device)
    measured, seconds = 1, one * batch
    if one * batch < SPEED_SECONDS:
        measured, seconds = batch, _step_seconds(config, few, batch, device)
    return Speed(
        device=str(device),
        clips_per_second=reading,
        step_seconds=seconds,
        measured_batch=measured,
        batch=batch,
    )


def _step_seconds(config: Config, clips: OwnClips, batch: int, device: torch.device) -> float:
    """Return the time of a step, after a first one; inf if the device's memory doesn't suffice."""
    optim = replace(config.optim, batch=batch, steps=config.optim.steps + 2)
    config = replace(config, optim=optim, workers=0)
    try:
        steps = train_steps(config, TrainState.start(config, device), clips)
        next(steps)
        started = time.perf_counter()
        next(steps)
    except torch.OutOfMemoryError:
        return math.inf
    return time.perf_counter() - started


def judge_speed(speed: Speed, asked: Asked, config: Config) -> Iterator[Finding]:
    """Say whether reading keeps up with training."""
    if math.isinf(speed.step_seconds):
        yield Finding(
            subject="memory",
            weight="stops",
            text=f"a batch of {speed.batch} clips doesn't fit into the memory of {speed.device}",
            settings={"optim.microbatch": max(1, speed.batch // 4)},
        )
        return
    reading = speed.clips_per_second * max(1, config.workers)
    if reading >= speed.needed:
        return
    workers = math.ceil(1.2 * speed.needed / speed.clips_per_second)
    processors = os.cpu_count() or 1
    text = (
        f"reading gives {reading:.1f} clips per second and training takes {speed.needed:.1f}: it "
        "would wait for data"
    )
    if workers < processors:
        yield Finding(subject="workers", weight="harms", text=text, settings={"workers": workers})
    elif asked.data.suffix == ".pack" or any(asked.data.glob("*.pack")):
        yield Finding(
            subject="workers", weight="note", text=text, settings={"workers": processors - 1}
        )
    else:
        yield Finding(
            subject="speed",
            weight="harms",
            text=f"{text}; {workers} processes would keep up and there are {processors} "
            "processors: decode all of it once (framefill pack)",
        )
