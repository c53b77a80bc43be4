"""The numbers of a training between two lines of metrics.jsonl."""

import time
from collections import defaultdict
from typing import Any

import psutil
import torch

from framefill.config import Config
from framefill.randomness import generator_for
from framefill.training import Report

STREAM_LEVELS = 8  # what a key of randomness is for
BANDS = 8  # of noise levels, each drawn equally often
DRAWS = 4096


class Telemetry:
    """Adds up what steps report, and how fast they are.

    Args:
        config: The run's.
        device: Whose memory is watched.
        spent: Seconds that the run took before.
    """

    def __init__(self, config: Config, device: torch.device, spent: float) -> None:
        self.batch, self.device, self.spent = config.optim.batch, device, spent
        drawn = config.diffusion.schedule.draw(DRAWS, generator_for(0, STREAM_LEVELS))
        ends = torch.linspace(0, 1, BANDS + 1)
        self.edges = drawn.double().quantile(ends.double())
        self.started = self.since = time.monotonic()
        self._forget()

    @property
    def seconds(self) -> float:
        """Time that the run has taken, before it was resumed too."""
        return self.spent + time.monotonic() - self.started

    def _forget(self) -> None:
        self.since, self.steps, self.bad = time.monotonic(), 0, 0
        self.by_level: defaultdict[str, list[float]] = defaultdict(list)
        self.by_task: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, report: Report) -> None:
        """Take in a step."""
        self.steps += 1
        self.bad += bool(report.bad)
        if report.bad:
            return  # its losses may be no numbers
        places = torch.bucketize(report.clips.levels, self.edges[1:-1]).tolist()
        for place, task, loss in zip(
            places, report.clips.tasks, report.clips.values.tolist(), strict=True
        ):
            self.by_level[self._band(place)].append(loss)
            self.by_task[task].append(loss)

    def line(self, report: Report) -> dict[str, Any]:
        """Return the line of a step, with the means since the last one, and begin anew.

        Its loss, gradient and learning rate are those of this very step.
        """
        taken = max(time.monotonic() - self.since, 1e-9)
        values = {
            "step": report.step,
            "loss": report.loss,
            "grad_norm": report.grad_norm,
            "lr": report.lr,
            "skipped": report.skipped,
            "bad": self.bad,
            "scale": report.scale,
            "by_level": _means(self.by_level),
            "by_task": _means(self.by_task),
            "clips_per_second": round(self.steps * self.batch / taken, 3),
            "memory": memory(self.device),
            "seconds": round(self.seconds, 3),
        }
        self._forget()
        return values

    def _band(self, place: int) -> str:
        return f"{self.edges[place]:.3g}-{self.edges[place + 1]:.3g}"


def _means(losses: dict[str, list[float]]) -> dict[str, float]:
    return {name: sum(values) / len(values) for name, values in sorted(losses.items())}


def memory(device: torch.device) -> int:
    """Return the bytes that this process holds now: of the GPU, or of main memory."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)
