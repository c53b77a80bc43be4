"""Which clips of held-out data an evaluation is made on."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int64

from framefill.data.clips import VideoClips
from framefill.data.digits import MovingDigits
from framefill.data.own import OwnClips
from framefill.data.sample import Sample

Order = Literal["in_turn", "spread"]
Start = Literal["random", "first", "even"]
Clips = MovingDigits | VideoClips | OwnClips
ENDLESS = 2**62


@dataclass(frozen=True, eq=False)
class Selection:
    """Some clips of a source, by number: clip i is always the same, whoever asks for it.

    Args:
        source: Held-out clips.
        clips: How many are selected.
        order: Of videos: "in_turn" takes one clip of each, and starts again; "spread" takes number
            round(i / (clips - 1) * (videos - 1)), as MCVD's loaders do.
        start: Where in its video a clip starts: "random", at the "first" frame, or "even", which
            spreads the clips over all starts of all videos, whatever `order` is.
    """

    source: Clips
    clips: int
    order: Order = "in_turn"
    start: Start = "random"

    def clip(self, number: int) -> Sample:
        """Return a clip of the selection."""
        if not isinstance(self.source, VideoClips):
            return self.source.clip(number)
        if self.start == "even":
            place = _spread(number, self.clips, int(self._ends[-1]))
            video = int(np.searchsorted(self._ends, place, side="right"))
            before = int(self._ends[video - 1]) if video else 0
            return self.source.cut(video, place - before)
        videos = len(self.source.footage)
        video = number % videos
        if self.order == "spread":
            video = _spread(number, self.clips, videos)
        if self.start == "first":
            return self.source.cut(video, 0)
        rng = np.random.default_rng([self.source.seed, True, number])
        return self.source.cut(video, int(rng.integers(self.source.starts(video))))

    @property
    def videos(self) -> int:
        """Number of different videos that there are."""
        if isinstance(self.source, MovingDigits):
            return ENDLESS
        if isinstance(self.source, OwnClips):
            return len(self.source.dataset)
        return len(self.source.footage)

    @property
    def windows(self) -> int:
        """Number of different clips that could be selected."""
        if not isinstance(self.source, VideoClips):
            return self.videos
        return self.videos if self.start == "first" else int(self._ends[-1])

    @cached_property
    def _ends(self) -> Int64[np.ndarray, " videos"]:
        """How many clips can start in each video and those before it."""
        if not isinstance(self.source, VideoClips):
            return np.array([self.videos])
        return np.cumsum([self.source.starts(n) for n in range(len(self.source.footage))])


def _spread(number: int, count: int, most: int) -> int:
    """Return the place of a number among others that are spread evenly from 0 to most - 1."""
    return round(number / (count - 1) * (most - 1)) if count > 1 else 0
