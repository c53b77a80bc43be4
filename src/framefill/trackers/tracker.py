"""What a tracker is, and several as one, none of which can stop a training."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8


@runtime_checkable
class Tracker(Protocol):
    """Anything that takes the numbers and pictures of a training, step by step."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers.

        Args:
            step: Steps taken so far.
            values: By name, such as "train/loss" or "train/loss by level/0.1-0.3"; they may be NaN
                or infinite.
        """
        ...

    def picture(self, step: int, name: str, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
        """Take a picture in RGB."""
        ...

    def video(self, step: int, name: str, frames: UInt8[np.ndarray, "f h w 3"], fps: float) -> None:
        """Take a video in RGB, at so many frames per second."""
        ...

    def close(self) -> None:
        """Bring everything to where it belongs; nothing is taken afterwards."""
        ...


class Trackers:
    """Several trackers as one.

    One that raises anything is named in one line and dropped: a full disk or a lost network is no
    reason to stop a training. Without any, nothing happens.

    Args:
        trackers: By name.
        say: Takes messages for the user.
    """

    def __init__(self, trackers: Mapping[str, Tracker], say: Callable[[str], None]) -> None:
        self.trackers, self.say = dict(trackers), say

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """As `Tracker.numbers`."""
        self._each(lambda tracker: tracker.numbers(step, values))

    def picture(self, step: int, name: str, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
        """As `Tracker.picture`."""
        self._each(lambda tracker: tracker.picture(step, name, pixels))

    def video(self, step: int, name: str, frames: UInt8[np.ndarray, "f h w 3"], fps: float) -> None:
        """As `Tracker.video`."""
        self._each(lambda tracker: tracker.video(step, name, frames, fps))

    def close(self) -> None:
        """As `Tracker.close`; a second time does nothing."""
        self._each(lambda tracker: tracker.close())
        self.trackers = {}

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                tell(tracker)
            except Exception as error:
                del self.trackers[name]
                self.say(f"nothing goes to tracker {name} any more: {reason_of(error)}")
                with suppress(Exception):
                    tracker.close()


def reason_of(error: BaseException) -> str:
    """Return what an error of a library says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
