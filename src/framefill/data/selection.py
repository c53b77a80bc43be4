"""Which clips of held-out data an evaluation is made on."""

from collections import Counter
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
        start: Where in its video a clip starts: "random", at a different one each time while there
            are any; at the "first" frame; or "even", which spreads the clips over all starts of all
            videos, whatever `order` is.
    """

    source: Clips
    clips: int
    order: Order = "in_turn"
    start: Start = "random"

    def clip(self, number: int) -> Sample:
        """Return a clip of the selection."""
        if not isinstance(self.source, VideoClips):
            return self.source.clip(number)
        video, start = self._place(self.source, number)
        return self.source.cut(video, start)

    def origin(self, number: int) -> tuple[str, int]:
        """Return the name of a clip's video, and the place of its first frame in it."""
        if not isinstance(self.source, VideoClips):
            return "", 0
        video, start = self._place(self.source, number)
        return self.source.footage[video].name, self.source.first_frame(video, start)

    @property
    def videos(self) -> int:
        """Number of different videos that there are."""
        if isinstance(self.source, MovingDigits):
            return ENDLESS
        if isinstance(self.source, OwnClips):
            return len(self.source.dataset)
        return len(self.source.footage)

    @property
    def distinct(self) -> int:
        """How many of the selected clips are different ones."""
        if not isinstance(self.source, VideoClips):
            return min(self.clips, self.videos)
        if self.start == "even":
            return min(self.clips, int(self._ends[-1]))
        visits = Counter(self._video(number) for number in range(self.clips))
        if self.start == "first":
            return len(visits)
        return sum(min(count, self.source.starts(video)) for video, count in visits.items())

    def _place(self, source: VideoClips, number: int) -> tuple[int, int]:
        """Return the video of a clip, and which of its starts."""
        if self.start == "even":
            place = _spread(number, self.clips, int(self._ends[-1]))
            video = int(np.searchsorted(self._ends, place, side="right"))
            return video, place - (int(self._ends[video - 1]) if video else 0)
        video = self._video(number)
        if self.start == "first":
            return video, 0
        rng = np.random.default_rng([source.seed, True, video])
        shuffled = rng.permutation(source.starts(video))
        return video, int(shuffled[self._visit(number) % len(shuffled)])

    def _video(self, number: int) -> int:
        if self.order == "spread":
            return _spread(number, self.clips, self.videos)
        return number % self.videos

    def _visit(self, number: int) -> int:
        """Return how many clips before this one are of the same video."""
        if self.order == "in_turn":
            return number // self.videos
        video, first = self._video(number), number
        while first and self._video(first - 1) == video:
            first -= 1
        return number - first

    @cached_property
    def _ends(self) -> Int64[np.ndarray, " videos"]:
        """How many clips can start in each video and those before it."""
        if not isinstance(self.source, VideoClips):
            return np.array([self.videos])
        return np.cumsum([self.source.starts(n) for n in range(len(self.source.footage))])


def _spread(number: int, count: int, most: int) -> int:
    """Return the place of a number among others that are spread evenly from 0 to most - 1."""
    return round(number / (count - 1) * (most - 1)) if count > 1 else 0
