"""A few clips in memory, with which the doctor tries things out."""

from dataclasses import dataclass

from framefill.config import Config
from framefill.data.own import OwnClips, OwnConfig
from framefill.data.sample import Sample

STREAM_DOCTOR = 6  # what a key of randomness is for
TRIED_CLIPS = 16  # read to measure speed; the one to overfit is chosen among as many


@dataclass(frozen=True)
class _Few:
    """A data set of clips that are in memory (`framefill.data.own.Dataset`)."""

    samples: list[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def clip(self, i: int) -> Sample:
        return self.samples[i]


def in_memory(samples: list[Sample], config: Config) -> OwnClips:
    """Return clips that are in memory as a data set to train on."""
    few = _Few(samples)
    own = OwnConfig.of(few)
    return OwnClips(few, own, frames=config.masks.frames, split="train", seed=config.seed)
