"""What a trial is asked, and what it measures: a few real training steps in a process of its own.

The process measures nothing but the training, and if memory runs out it is that process that ends.
"""

from dataclasses import dataclass
from typing import Literal

from framefill.config import Config
from framefill.estimate.memory import batch_bytes

Stage = Literal["start", "state", "clip", "batch"]
End = Literal["done", "memory", "time"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a trial is to measure.

    Args:
        config: The run's, measured on its data; a data set that is a Python object is replaced by
            made-up clips of its shape.
        device: "cpu", "cuda", "cuda:1" or "mps".
        seconds: That training steps may take, roughly.
        sampling_seconds: That filling a clip may take, roughly; 0: no clip is filled.
        most_bytes: Of the GPU's memory, that may be used; None: all of it. Not read on the CPU.
    """

    config: Config
    device: str
    seconds: float
    sampling_seconds: float = 0.0
    most_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How long it takes to fill a clip with the model's own sampler.

    Args:
        seconds: For one clip, by itself.
        evaluations: Calls of the network.
        measured: How many of these were timed; the others are counted like the last of them.
    """

    seconds: float
    evaluations: int
    measured: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a trial found, as far as it came.

    Args:
        end: "done"; "memory": it ran out of memory, or was stopped on the way to that; "time": it
            had no time for a step.
        said: How it ended, in words, if it is not done.
        reached: The last that it got through: nothing, the training state before the first step,
            steps of a single clip, or steps of a batch.
        device: In words.
        free_bytes: Of the GPU's memory, before anything was put there; None on the CPU.
        base_peak: Bytes at most, before there was anything of the training.
        state_peak: Until there was the training state.
        clip_peak: Until after steps of a single clip.
        clip_seconds: Of a step of a single clip.
        peak: Until after steps of `clips` clips.
        step_seconds: Of a step of `clips` clips, reading included.
        steps: Number of steps whose mean that is.
        clips: Of each of these steps: the batch, or less of it where that takes too long.
        read_seconds: Of reading a clip, by one process; None: it wasn't measured.
        filling: Of a clip, if that was asked for.
    """

    end: End = "done"
    said: str = ""
    reached: Stage = "start"
    device: str = ""
    free_bytes: int | None = None
    base_peak: int = 0
    state_peak: int | None = None
    clip_peak: int | None = None
    clip_seconds: float | None = None
    peak: int | None = None
    step_seconds: float | None = None
    steps: int = 0
    clips: int = 0
    read_seconds: float | None = None
    filling: Filling | None = None

    def scaled_peak(self, config: Config, clip_bytes: int) -> int | None:
        """Return the peak of a whole batch's step; None: no step of any clips was taken.

        What was measured with fewer clips than are held at once grows by what each more of them
        needs: as measured, or, where there was a single one, as computed, but no more than that one
        took itself. Batches wait in main memory, so on a GPU they count for nothing.

        Args:
            config: That was tried.
            clip_bytes: What a clip leaves behind for the way back, as computed.
        """
        peak, clips = (self.peak, self.clips) if self.clips else (self.clip_peak, 1)
        if peak is None:
            return None
        held = config.optim.microbatch or config.optim.batch
        more = max(0, min(held, config.optim.batch) - clips)
        each = clip_bytes
        if clips == 1 and self.state_peak is not None:
            each = min(each, peak - self.state_peak)
        if clips > 1 and self.clip_peak is not None:
            each = max(0, peak - self.clip_peak) // (clips - 1)
        waiting = 0 if self.free_bytes is not None else config.optim.batch - clips
        return peak + more * each + waiting * batch_bytes(config, 1)

    def scaled_seconds(self, config: Config) -> float | None:
        """Return the seconds of a whole batch's step, in proportion to the clips that were timed.

        Reading by other processes goes on meanwhile: the slower of the two counts.
        """
        seconds, clips = (self.step_seconds, self.clips) if self.clips else (self.clip_seconds, 1)
        if seconds is None:
            return None
        batch, reading = config.optim.batch, self.read_seconds or 0.0
        if config.workers == 0:
            return seconds * batch / clips
        computing = max(0.0, seconds / clips - reading)
        return batch * max(computing, reading / config.workers)
