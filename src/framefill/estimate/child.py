"""The process of a trial: `python -m framefill.estimate.child`, a `Request` in, findings out.

The request is one line of JSON; each finding is one, as soon as it is known, since the process may
not live to tell the next. It ends when whoever asked is gone.
"""

import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import torch

from framefill.config import Clips
from framefill.device import choose_device
from framefill.errors import InputError
from framefill.estimate.filling import settle, time_filling
from framefill.estimate.made_up import clips_of
from framefill.estimate.memory import peak_bytes
from framefill.estimate.trial import Request
from framefill.serialise import from_data, to_data
from framefill.training import TrainState, train_steps

TIMED, TRIES = 3, 40  # steps that are timed; that are taken until as many were good ones
EXHAUSTED = ("out of memory", "can't allocate memory", "ALLOC_FAILED")


class _Trial:
    """A trial, from its request to what it finds.

    Args:
        request: What is to be measured.
        out: Takes the findings.
    """

    def __init__(self, request: Request, out: TextIO) -> None:
        self.request, self.out = request, out
        # How long compiling takes would be counted as training.
        self.config = replace(request.config, compile=False, workers=0)
        place = choose_device(request.device)
        self.device = torch.device("cuda", place.index or 0) if place.type == "cuda" else place

    def tell(self, **found: object) -> None:
        """Tell what was found."""
        _tell(self.out, **found)

    def run(self) -> None:
        """Measure it all."""
        free = self._limited()
        base = peak_bytes(self.device)
        self.tell(device=_in_words(self.device), free_bytes=free, base_peak=base)
        state = TrainState.start(self.config, self.device)
        settle(self.device)
        self.tell(reached="state", state_peak=peak_bytes(self.device))
        clips = clips_of(self.config)
        first = self._steps(state, clips, 1, 1)
        again = self._steps(state, clips, 1, 1) if first < self.request.seconds / 4 else first
        one = min(first, again)
        self.tell(reached="clip", clip_peak=peak_bytes(self.device), clip_seconds=one)
        size, count = self._affordable(one)
        if size > 1 or self.config.optim.batch == 1:
            self._steps(state, clips, size, 1)
            seconds = self._steps(state, clips, size, count)
            peak = peak_bytes(self.device)
            self.tell(reached="batch", clips=size, steps=count, step_seconds=seconds, peak=peak)
        self.tell(read_seconds=self._reading(clips, state.step))
        if self.request.sampling_seconds:
            found = time_filling(
                self.config, state.average, clips, self.device, self.request.sampling_seconds
            )
            self.tell(filling=to_data(found))

    def _limited(self) -> int | None:
        """Keep to what may be used of a GPU; return what it has free."""
        if self.device.type != "cuda":
            return None
        torch.cuda.set_device(self.device)
        free, whole = torch.cuda.mem_get_info(self.device)
        if (most := self.request.most_bytes) is not None:
            torch.cuda.set_per_process_memory_fraction(min(1.0, most / whole), self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return free

    def _affordable(self, one: float) -> tuple[int, int]:
        """Return how many clips a step may have, and how many steps there is time for.

        Args:
            one: Seconds of a step of a single clip.
        """
        optim, room = self.config.optim, self.request.seconds / one
        if room >= 2 * optim.batch:
            return optim.batch, min(TIMED, int(room / optim.batch) - 1)
        held = min(optim.microbatch or optim.batch, optim.batch)
        size = max(1, int(room / 2))
        return (size if size < held else size // held * held), 1

    def _steps(self, state: TrainState, clips: Clips, size: int, count: int) -> float:
        """Take steps that move the weights; return the mean seconds of one.

        Raises:
            InputError: there are none.
        """
        optim = replace(self.config.optim, batch=size, steps=state.step + TRIES)
        steps = train_steps(replace(self.config, optim=optim), state, clips)
        taken, trouble = 0.0, ""
        good = 0
        while good < count:
            started = time.perf_counter()
            report = next(steps, None)
            settle(self.device)
            if report is None:
                raise InputError(f"no step moves a weight: {trouble}")
            if report.bad or report.skipped == size:
                trouble = report.bad or "no clip has a frame to fill that isn't missing"
                continue
            taken += time.perf_counter() - started
            good += 1
        return taken / count

    def _reading(self, clips: Clips, step: int) -> float:
        """Return the seconds of reading a clip: of a batch that was not read before."""
        batch, number = self.config.optim.batch, 0
        started = time.perf_counter()
        while number < batch and time.perf_counter() - started < self.request.seconds / 4:
            clips.clip((step + TRIES) * batch + number)
            number += 1
        return (time.perf_counter() - started) / number


def _tell(out: TextIO, **found: object) -> None:
    """Tell what was found, at once."""
    out.write(json.dumps(found) + "\n")
    out.flush()


def _in_words(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        count = torch.get_num_threads()
        return f"{device} ({count} thread{'s' if count > 1 else ''})"
    return str(device)


def _is_exhausted(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in EXHAUSTED)


def _go_first() -> None:
    """Should the machine's memory run out, let this process be the one that is ended."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")


def _end_with_the_asker() -> None:
    while os.read(0, 1024):  # sys.stdin's lock would be missed when Python ends
        pass
    os._exit(1)


def main() -> None:
    """Answer the request on standard input."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # findings alone go out, whatever libraries print
    _go_first()
    line = sys.stdin.readline()
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    try:
        request = from_data(json.loads(line), Request, source="the request")
        _Trial(request, out).run()
    except InputError as error:
        _tell(out, refused=str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_exhausted(error):
            raise
        _tell(out, end="memory", said="memory ran out")
    out.close()
    os._exit(0)  # without waiting for the thread that reads


if __name__ == "__main__":
    main()
