"""Clips of noise of the right shape, for plans before there is data."""

from dataclasses import dataclass, replace

import numpy as np

from framefill.conditions import Condition
from framefill.config import Clips, Config
from framefill.data.own import OwnClips, OwnConfig
from framefill.data.sample import Sample
from framefill.data.videos import VideosConfig
from framefill.errors import InputError

COUNT = 1024  # clips until they come again


def lacks_data(config: Config) -> bool:
    """Say whether a config doesn't say where its clips are."""
    if isinstance(config.data, VideosConfig):
        return config.data.path is None
    return isinstance(config.data, OwnConfig)


def with_made_up(config: Config) -> Config:
    """Return a config for made-up clips in place of its own.

    Raises:
        InputError: the data have conditions, whose sizes the config doesn't know.
    """
    data = config.data
    names = tuple(each.name for each in config.conditions)
    if isinstance(data, VideosConfig | OwnConfig) and set(data.conditions) != set(names):
        raise InputError(
            f"conditions {', '.join(data.conditions)}: their sizes are known from the data alone; "
            "give it with --data"
        )
    own = OwnConfig(height=data.height, width=data.width, channels=data.channels, conditions=names)
    return replace(config, data=own)


def clips_of(config: Config) -> Clips:
    """Return the training clips of a config; of a Python object's shape, made-up ones.

    Raises:
        InputError: the data can't be read.
    """
    if not isinstance(config.data, OwnConfig):
        return config.clips("train")
    classes = config.model().network_classes
    made = _Noise(config, config.data, classes)
    return OwnClips(
        made,
        config.data,
        frames=config.masks.frames,
        split="train",
        seed=config.seed,
        classes=classes,
    )


@dataclass(frozen=True)
class _Noise:
    """Clips in which every value of the data's range is as likely."""

    config: Config
    own: OwnConfig
    classes: int

    def __len__(self) -> int:
        return COUNT

    def clip(self, i: int) -> Sample:
        rng = np.random.default_rng(i)
        scale, own = self.config.normaliser, self.own
        shape = (self.config.masks.frames, own.height, own.width)
        lows, highs = scale.lows or (scale.low,), scale.highs or (scale.high,)
        frames = rng.uniform(lows, highs, (*shape, own.channels)).astype(scale.dtype)
        conditions = {each.name: _values(each, shape) for each in self.config.conditions}
        sample = Sample(frames=frames, conditions=conditions)
        return Sample(**sample, label=i % self.classes) if self.classes else sample


def _values(condition: Condition, shape: tuple[int, int, int]) -> np.ndarray:
    axes = {"vector": shape[:1], "map": shape, "static": shape[1:]}[condition.kind]
    return np.zeros((*axes, condition.size), np.float32) + np.float32(condition.offset[0])
