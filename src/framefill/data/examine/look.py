"""How much of the data is looked at."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from framefill.data.footage import Footage
from framefill.data.sample import Split
from framefill.data.timeline import Rearranged

STRETCH = 16  # frames that are read one after another, so that still ones are noticed


@dataclass(frozen=True, kw_only=True)
class Look:
    """How much of the data is looked at.

    Args:
        videos: Most training videos whose frames are read, and a quarter as many to test on;
            None: all of them.
        frames: Most frames of each, in stretches of 16; None: all of them, and all their values.
        seconds: After which no other video is begun; None: never.
        seed: Chooses which.
    """

    videos: int | None = 200
    frames: int | None = 96
    seconds: float | None = 120.0
    seed: int = 0

    def places(self, length: int) -> list[int]:
        """Return which frames of a video are read: the same ones in videos of one length."""
        if self.frames is None or length <= self.frames:
            return list(range(length))
        stretch = min(STRETCH, self.frames)
        rng = np.random.default_rng([self.seed, length])
        starts = rng.choice(length // stretch, self.frames // stretch, replace=False) * stretch
        return [start + i for start in np.sort(starts).tolist() for i in range(stretch)]

    def of(self, footage: Sequence[Footage], part: Split) -> list[int]:
        """Return which videos of a part are read, in an order that favors none."""
        share = 0.25 if part == "test" else 1.0
        most = len(footage) if self.videos is None else max(1, round(share * self.videos))
        rng = np.random.default_rng([self.seed, len(footage)])
        return rng.permutation(len(footage))[:most].tolist()

    def until(self, part: Split) -> float:
        """Return the time (`time.monotonic`) at which to stop with a part that begins now."""
        share = 0.25 if part == "test" else 0.75
        return math.inf if self.seconds is None else time.monotonic() + share * self.seconds


def looked_at(footage: Sequence[Footage], look: Look, channels: int) -> list[Footage]:
    """Return the frames that are looked at, as videos that can be measured like whole ones.

    Args:
        footage: Training videos.
        look: How much of them.
        channels: That they are converted to, as training does.
    """
    chosen = []
    for number in sorted(look.of(footage, "train")):
        each = footage[number]
        places = np.array(look.places(each.length))
        tracks = {
            name: track
            if track.kind == "static"
            else track._replace(reader=Rearranged(track.reader, places, np.dtype(np.float32)))
            for name, track in each.tracks.items()
        }
        sampled = replace(
            each,
            length=len(places),
            reader=Rearranged(each.reader, places, each.dtype),
            times=None,
            present=None,
            tracks=tracks,
        )
        chosen.append(sampled.recolored(channels))
    return chosen
