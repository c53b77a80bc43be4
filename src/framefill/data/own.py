"""Datasets of the user's own: any object with a length and clips.

class Mine:
    def __len__(self): ...
    def clip(self, i): return {"frames": ...}  # [f h w c], in any units; NaN is missing
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped

from framefill.data.footage import Footage, Same, Track, TrackKind
from framefill.data.sample import Sample, Split
from framefill.data.video import as_frames, first_line
from framefill.errors import InputError

MOST_CLIPS = 10**8


@runtime_checkable
class Dataset(Protocol):
    """What framefill needs of a dataset of the user's own."""

    def __len__(self) -> int:
        """Return the number of clips."""
        ...

    def clip(self, i: int) -> Any:
        """Return clip number i, 0 <= i < len: a dict.

        frames: [f h w c] or [f h w] of one number of frames, height, width and dtype (uint8,
            uint16, int16 or floats); NaN is missing, a frame of NaN is ABSENT.
        label: number of its class, if the network has classes.
        conditions: arrays by name, if any: [f k] vectors, [f h w k] maps, [h w k] static maps.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class OwnConfig:
    """A dataset of the user's own, passed to `framefill.train` as an object."""

    height: int
    """Height of a frame, in pixels."""
    width: int
    """Width of a frame, in pixels."""
    channels: int
    """Channels of a frame."""
    conditions: tuple[str, ...] = ()
    """Names of its conditions."""
    condition_dropout: tuple[float, ...] = (0.1,)
    """Share of the training clips from which a condition is hidden: one for all, or one each."""

    @classmethod
    def of(cls, dataset: Dataset, dropout: tuple[float, ...] = (0.1,)) -> "OwnConfig":
        """Return what the first clip of a dataset says.

        Raises:
            InputError: the clip is none, or there are too many of them.
        """
        if len(dataset) > MOST_CLIPS:
            raise InputError(
                f"the dataset has {len(dataset)} clips: at most {MOST_CLIPS}, since all of them "
                "are measured and put in a random order"
            )
        first = checked(dataset, 0)
        height, width, channels = first["frames"].shape[1:]
        return cls(
            height=height,
            width=width,
            channels=channels,
            conditions=tuple(first.get("conditions", {})),
            condition_dropout=dropout,
        )

    def clips(self, *, frames: int, split: Split, seed: int) -> "OwnClips":
        """Refuse: the object is not in the configuration."""
        raise InputError(
            "this run was trained on a Python object: pass it again, framefill.train(..., "
            "data=dataset), or give a folder with --data"
        )


class OwnClips:
    """Clips without end from a dataset: every clip once in a random order, then all again.

    In testing they come in their own order.

    Args:
        dataset: Of the user's own.
        config: What its clips have to be like.
        frames: Length of a clip.
        split: "train" or "test".
        seed: Of the order.

    Raises:
        InputError: the dataset is empty, or its first clip is not what it should be.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: OwnConfig,
        *,
        frames: int,
        split: Split,
        seed: int,
        classes: int = 0,
    ) -> None:
        self.dataset, self.config, self.frames = dataset, config, frames
        self.classes = classes
        self.split, self.seed = split, seed
        self._latest: tuple[int, Int64[np.ndarray, " n"]] | None = None
        self.first = checked(dataset, 0)
        self.dtype = self.first["frames"].dtype
        self.sample(0)

    def __len__(self) -> int:
        """Return the number of clips, as many as an index can name."""
        return 2**62

    def __getitem__(self, index: int) -> Shaped[np.ndarray, "f h w c"]:
        """Return the frames of clip number `index`."""
        return self.clip(index)["frames"]

    def clip(self, index: int) -> Sample:
        """Return clip number `index` and what goes with it.

        Raises:
            InputError: it is not as the first one.
        """
        epoch, place = divmod(index, len(self.dataset))
        number = place if self.split == "test" else int(self._order(epoch)[place])
        return self.sample(number)

    def sample(self, number: int) -> Sample:
        """Return clip number `number` of the dataset.

        Raises:
            InputError: it is not as the first one.
        """
        sample = checked(self.dataset, number)
        wanted = (self.frames, self.config.height, self.config.width, self.config.channels)
        if sample["frames"].shape != wanted:
            raise InputError(
                f"clip {number} of the dataset has shape {sample['frames'].shape} and this "
                f"training takes {wanted} [f h w c]: make all clips alike, or set masks and frame "
                "size to theirs"
            )
        if sample["frames"].dtype != self.dtype:
            raise InputError(
                f"clip {number} of the dataset holds {sample['frames'].dtype} and the first one "
                f"{self.dtype}: give all clips one dtype"
            )
        conditions, first = (
            {name: values.shape for name, values in sorted(each["conditions"].items())}
            for each in (sample, self.first)
        )
        if conditions != first or set(conditions) != set(self.config.conditions):
            raise InputError(
                f"clip {number} of the dataset has conditions {conditions or 'of none'} and the "
                f"first one {first or 'none'}: give all clips the same"
            )
        self._check_label(sample.get("label"), number)
        return sample

    def _check_label(self, label: object, number: int) -> None:
        if not self.classes and label is not None:
            raise InputError(
                f"clip {number} of the dataset has label {label!r} and the network no classes: set "
                "network.classes to their number, or leave the label out"
            )
        fits = isinstance(label, int | np.integer) and 0 <= label < self.classes
        if self.classes and not fits:
            raise InputError(
                f"clip {number} of the dataset has label {label!r} and the network {self.classes} "
                f"classes: give a number 0..{self.classes - 1}"
            )

    def label(self, index: int) -> int | None:
        """Return the number of the class of clip number `index`, or None."""
        return self.clip(index).get("label")

    @property
    def footage(self) -> list[Footage]:
        """The clips one by one, to be measured."""
        kinds = _tracks(self.clip(0))
        shape = (self.config.height, self.config.width, self.config.channels)
        return [
            Footage(
                name=f"clip {number} of the dataset",
                path=Path(),
                length=self.frames,
                shape=shape,
                dtype=self.dtype,
                reader=_Frames(self, number, None),
                tracks={
                    name: track._replace(reader=_Frames(self, number, name))
                    for name, track in kinds.items()
                },
            )
            for number in range(len(self.dataset))
        ]

    def _order(self, epoch: int) -> Int64[np.ndarray, " n"]:
        if self._latest is None or self._latest[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._latest = epoch, rng.permutation(len(self.dataset))
        return self._latest[1]


@dataclass(frozen=True, eq=False)
class _Frames:
    clips: OwnClips
    number: int
    condition: str | None

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        sample = self.clips.sample(self.number)
        if self.condition is None:
            return sample["frames"][list(places)]
        values = sample["conditions"][self.condition]
        return values if values.ndim == 3 else values[list(places)]


def checked(dataset: Dataset, number: int) -> Sample:
    """Return a clip of a dataset with its channel axis, if it is one.

    Raises:
        InputError: the dataset is empty, or the clip no dict with frames of numbers.
    """
    if not len(dataset):
        raise InputError("the dataset has no clips: its __len__ is 0")
    sample = dataset.clip(number)
    if not isinstance(sample, dict) or "frames" not in sample:
        raise InputError(
            f"clip {number} of the dataset is a {type(sample).__name__}: return a dict with "
            "'frames' [f h w c]"
        )
    if strange := set(sample) - {"frames", "label", "conditions"}:
        raise InputError(
            f"clip {number} of the dataset has {min(strange, key=str)!r}: a clip has frames, "
            "label, conditions"
        )
    try:
        frames = as_frames(np.asanyarray(sample["frames"]), f"clip {number} of the dataset")
        given = dict(sample.get("conditions") or {})
        conditions = {
            name: np.ma.filled(np.ma.asarray(values, np.float32), np.nan)
            for name, values in given.items()
        }
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"clip {number} of the dataset can't be read as numbers ({first_line(error)}): frames "
            "are an array, conditions a dict of arrays"
        ) from error
    for name, values in conditions.items():
        length, size = frames.shape[:1], frames.shape[1:3]
        axes = {2: length, 3: size, 4: (*length, *size)}.get(values.ndim)
        if axes is None or values.shape[:-1] != axes:
            raise InputError(
                f"condition {name!r} of clip {number} has shape {values.shape}: give [f k] "
                "vectors, [f h w k] maps, or a static map [h w k]"
            )
    return cast(Sample, {**sample, "frames": frames, "conditions": conditions})


def _tracks(sample: Sample) -> dict[str, Track]:
    kinds: dict[int, TrackKind] = {2: "vector", 3: "static", 4: "map"}
    return {
        name: Track(kinds[values.ndim], values.shape[-1], Same(values))
        for name, values in sample.get("conditions", {}).items()
    }
