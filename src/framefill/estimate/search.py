"""Looking for settings that fit, by trying them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from framefill.config import Config
from framefill.costs import Cost
from framefill.device import precision_on
from framefill.estimate.attempt import attempt
from framefill.estimate.change import Change
from framefill.estimate.memory import free_bytes
from framefill.estimate.result import Tried
from framefill.estimate.trial import Filling, Measured, Request

LEAST_SECONDS = 2.0  # for steps of a trial, however little time is left
FAR = 1.5  # times the limit is so far beyond it that it isn't tried
TRIAL_SHARE, FILLING_SHARE = 0.4, 0.15  # of the time, for the first trial


@dataclass
class Search:
    """Tries settings in turn, and remembers what came of it.

    Args:
        config: Of the run, measured on its data.
        device: To try it on, of a known kind.
        price: What the model costs, computed.
        limit: Bytes that the training may take; None: what is free.
        seconds: That all trials may take together, roughly.
        say: Takes messages for the user.

    Attributes:
        tried: What was tried.
        untried: For what there was no time.
        measured: All that the first trial found.
        filling: Of a clip, from the first trial that came so far.
        allowed: Bytes that the training may take, once that is known.
    """

    config: Config
    device: torch.device
    price: Cost
    limit: int | None
    seconds: float
    say: Callable[[str], None]
    tried: list[Tried] = field(default_factory=list)
    untried: list[Change] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    filling: Filling | None = None
    allowed: int = 0

    def run(self) -> None:
        """Try what was asked for, and then, until something fits, what takes less memory.

        Raises:
            InputError: the config can't be trained.
        """
        self.end = time.monotonic() + self.seconds
        self.room = free_bytes() if self.device.type != "cuda" else 0
        for change in self._changes():
            late = bool(self.tried) and time.monotonic() > self.end
            if late and not self._is_known(change):
                self.untried.append(change)
            elif self._try(change).fits is not False:
                break

    def _changes(self) -> Iterator[Change]:
        """Yield what to try next, in the order in which it changes the training.

        What a single clip takes says which of it is hopeless.
        """
        yield Change()
        if self.measured[0].reached == "start":
            return  # the weights themselves, and their averages, don't fit
        config = self.config
        held = min(config.optim.microbatch or config.optim.batch, config.optim.batch)
        least = 1 if held > 1 else None
        if self._clip_fits():
            # Where there was no time for more clips, it is measured already what these take.
            small = [self.tried[0].clips] if self.tried[0].scaled_memory else []
            sizes = [*small, *_halves(small[0] if small else held)]
            yield from (Change(microbatch=size) for size in sizes if not self._hopeless(size))
        half = precision_on(self.device, config.precision) == torch.float32
        precision = "bfloat16" if half and self.device.type == "cuda" else None
        if precision is not None:
            yield Change(microbatch=least, precision="bfloat16")
        if not config.recompute:
            yield Change(recompute=True)
            if least and self._clip_fits():
                yield Change(microbatch=1, recompute=True)
            if precision is not None:
                yield Change(microbatch=least, recompute=True, precision="bfloat16")
        if self.device.type != "cuda" and self._clip_fits():  # batches wait in main memory
            for size in _halves(config.optim.batch):
                yield Change(microbatch=least, recompute=not config.recompute, batch=size)

    def _is_known(self, change: Change) -> bool:
        """Say whether the first trial, which had no time for more clips, has tried just this."""
        if not self.tried or not self.tried[0].scaled_memory:
            return False
        return change == Change(microbatch=self.tried[0].clips)

    def _hopeless(self, size: int) -> bool:
        """Say whether so many clips at once are far beyond the limit, as the first trial has it."""
        found, clip = self.measured[0], self.tried[0].clip_peak_bytes
        if clip is None or found.peak is None or found.clips < 2:
            return False
        each = (found.peak - clip) / (found.clips - 1)
        return clip + (size - 1) * each > FAR * self.allowed

    def _clip_fits(self) -> bool:
        """Say whether a single clip fitted in the last trial."""
        peak = self.tried[-1].clip_peak_bytes
        return peak is not None and peak <= self.allowed

    def _try(self, change: Change) -> Tried:
        config = change.of(self.config)
        first = not self.tried
        if self._is_known(change):
            self.tried.append(self._judged(change, config, self.measured[0]))
            return self.tried[-1]
        left = max(0.0, self.end - time.monotonic())
        wanted = " ".join(change.flags) or "as asked for"
        self.say(f"trying {wanted}: a few steps of {config.optim.batch} clips on {self.device}")
        share = TRIAL_SHARE if first else TRIAL_SHARE / 2
        found = attempt(
            Request(
                config=config,
                device=str(self.device),
                seconds=max(LEAST_SECONDS, share * left),
                sampling_seconds=0.0 if self.filling else FILLING_SHARE * self.seconds,
                most_bytes=self.limit,
            ),
            self.room if self.device.type != "cuda" else None,
        )
        self.measured.append(found)
        self.filling = self.filling or found.filling
        self._allow(found)
        self.tried.append(self._judged(change, config, found))
        return self.tried[-1]

    def _allow(self, found: Measured) -> None:
        if found.free_bytes is not None or self.device.type != "cuda":
            free = self.room if found.free_bytes is None else found.free_bytes
            self.allowed = free if self.limit is None else min(self.limit, free)

    def _judged(self, change: Change, config: Config, found: Measured) -> Tried:
        peak = found.scaled_peak(config, self.price.clip_bytes)
        held = min(config.optim.microbatch or config.optim.batch, config.optim.batch)
        whole = found.reached == "batch" or (found.reached == "clip" and found.end == "done")
        fits = None if found.end == "time" else False
        if whole and peak is not None:  # whatever became of filling a clip
            fits = peak <= self.allowed
        return Tried(
            flags=change.flags,
            end=found.end,
            said=found.said,
            fits=fits,
            peak_bytes=peak if whole else None,
            clip_peak_bytes=found.clip_peak,
            step_seconds=found.scaled_seconds(config) if whole else None,
            batch=config.optim.batch,
            clips=found.clips or 1,
            steps=found.steps or 1,
            scaled_memory=whole and (found.clips or 1) < held,
        )


def _halves(size: int) -> Iterator[int]:
    """Yield half of a size, half of that, and so on down to 1.

    >>> list(_halves(12))
    [6, 3, 1]
    """
    while size > 1:
        size //= 2
        yield size
