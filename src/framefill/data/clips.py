"""Clips cut from videos, made to suit a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Int64, Shaped

from framefill.data.fitting import Filter, floating
from framefill.data.footage import Footage
from framefill.data.sample import Sample, Split
from framefill.data.video import Video
from framefill.errors import InputError, check_fields

Fit = Literal["none", "stretch", "crop", "pad", "ramvid"]
LEAST = 2  # frames that have to be there for a stretch to become a training clip


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How clips are cut from videos, whatever these are."""

    height: int = 64
    """Height of a frame, in pixels."""
    width: int = 64
    """Width of a frame, in pixels."""
    channels: int = 3
    """Channels of a frame: 1 for gray, 3 for RGB; arrays may have others."""
    fit: Fit = "none"
    """For frames of another size: refuse them (none), resize them (stretch), resize their largest
    centered part of the right shape (crop; ramvid: as the official RaMViD code does), or add
    missing pixels on the right and below (pad). All but none convert gray and RGB too."""
    resize: Filter = "bicubic"
    """Filter for resizing, antialiased."""
    every: int = 1
    """Step between the frames of a clip: 2 takes every other frame of a video."""
    short: Literal["leave_out", "pad"] = "leave_out"
    """Videos that are shorter than a clip are left out, or take part with the rest ABSENT."""
    flip: bool = False
    """Mirror half of the training clips left to right."""
    flip_rows: bool = False
    """Turn half of the training clips upside down."""
    turn: bool = False
    """Turn training clips by a random multiple of 90 degrees; for square frames."""
    classes: tuple[str, ...] = ()
    """Names of classes, in the order of their numbers, for networks that have them: a video's class
    is what its format says or else what its file name has before the first _ (RaMViD). all: those
    of the training videos, in alphabetic order."""
    conditions: tuple[str, ...] = ()
    """Names of what goes along with the frames and is told to the network: arrays of the same file,
    or of NAME.conditions.npz beside it."""
    condition_dropout: tuple[float, ...] = (0.1,)
    """Share of the training clips from which a condition is hidden: one for all, or one each."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("height", "width", "channels", "every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1")
        if self.turn and self.height != self.width:
            raise InputError(f"turn is for square frames, not {self.height} x {self.width}")
        if not all(0 <= share < 1 for share in self.condition_dropout):
            raise InputError(
                f"condition_dropout {self.condition_dropout} must be at least 0 and below 1"
            )
        if len(self.condition_dropout) not in (1, len(self.conditions)):
            raise InputError(
                f"{len(self.condition_dropout)} values of condition_dropout for "
                f"{len(self.conditions)} conditions: give one for all, or one each"
            )


def class_name(footage: Footage) -> str:
    """Return the name of a video's class: as its format says, or its name before the first _."""
    return footage.label or footage.path.stem.split("_")[0]


class VideoClips:
    """Clips without end: clip number i is a function of (seed, split, i) and the files alone.

    In training a clip is any stretch of any video that is long enough, every video and then every
    start with equal probability. In testing clip i is of video i modulo their number, so that the
    first clips show them all, and never mirrored. Where whole frames are missing from a video, a
    stretch needs two that are there, or as many as any has.

    Attributes:
        footage: The videos that clips are taken from.
        left_out: The videos of the split that are shorter than a clip, and so never seen.
        note: How the videos were divided, or nothing.

    Args:
        config: How they are cut.
        footage: The videos of the split.
        note: How the videos were divided, or nothing.
        frames: Length of a clip.
        split: "train" or "test".
        seed: Seed of all clips.

    Raises:
        InputError: there is no video that is long enough, one that can't be read or is damaged, one
            of another frame size or of none of the classes, or several dtypes.
    """

    def __init__(
        self,
        config: Cut,
        footage: list[Footage],
        note: str = "",
        *,
        frames: int,
        split: Split,
        seed: int,
    ) -> None:
        self.config, self.frames, self.seed, self.split = config, frames, seed, split
        self.span = (frames - 1) * config.every + 1
        self.note = note
        self.footage = self._long_enough(footage)
        self.left_out = [each for each in footage if each.length < self.span and not self._padding]
        self.dtype = _common_dtype(self.footage)
        _check_frames(self.footage, config)
        _check_classes(self.footage, config)
        _check_conditions(self.footage, config)
        self._starts = [self._possible_starts(each) for each in self.footage]

    def __len__(self) -> int:
        """Return the number of clips, as many as an index can name."""
        return 2**62

    def __getitem__(self, index: int) -> Shaped[np.ndarray, "f h w c"]:
        """Return the frames of clip number `index`, in the videos' units."""
        return self.clip(index)["frames"]

    def clip(self, index: int) -> Sample:
        """Return clip number `index` and what goes with it.

        Raises:
            InputError: the file has changed, is damaged, or has frames that can't be resized.
        """
        rng, number = self._chosen(index)
        video = self._video(number, int(rng.integers(self.starts(number))))
        if self.split == "train":
            video = _changed(video, self.config, rng)
        return self._sample(video, number)

    def starts(self, number: int) -> int:
        """Return at how many places of video `number` a clip can start."""
        return len(self._starts[number])

    def cut(self, number: int, start: int) -> Sample:
        """Return the clip that begins at a possible start of a video, as it is.

        Args:
            number: Of the video.
            start: Which of its `starts`.

        Raises:
            InputError: as `clip`.
        """
        return self._sample(self._video(number, start), number)

    def first_frame(self, number: int, start: int) -> int:
        """Return the frame of a video at which one of its `starts` is."""
        return int(self._starts[number][start])

    def _video(self, number: int, start: int) -> Video:
        first = self.first_frame(number, start)
        places = [first + i * self.config.every for i in range(self.frames)]
        return self._taken(self.footage[number], places)

    def _sample(self, video: Video, number: int) -> Sample:
        sample = Sample(frames=video.frames, conditions=video.conditions)
        if self.config.classes:
            sample["label"] = self.config.classes.index(class_name(self.footage[number]))
        return sample

    def label(self, index: int) -> int | None:
        """Return the number of the class of clip number `index`; None without classes."""
        if not self.config.classes:
            return None
        return self.config.classes.index(class_name(self.footage[self._chosen(index)[1]]))

    @property
    def _padding(self) -> bool:
        return self.config.short == "pad"

    def _taken(self, footage: Footage, places: Sequence[int]) -> Video:
        """Return fitted frames; NaN where they are before the video's start or after its end."""
        inside = [place for place in places if 0 <= place < footage.length]
        tracks = {name: footage.tracks[name] for name in self.config.conditions}
        read = {name: track.reader(inside) for name, track in tracks.items()}
        frames = footage.take(inside)
        frames = frames.astype(np.result_type(frames.dtype, self.dtype))
        video = fitted(Video(frames, source=footage.name, conditions=read), self.config)
        if len(inside) == len(places):
            return video
        there = np.array([0 <= place < footage.length for place in places])
        spread = {
            name: value if tracks[name].kind == "static" else _spread(value, there)
            for name, value in video.conditions.items()
        }
        return replace(video, frames=_spread(floating(video.frames), there), conditions=spread)

    def _chosen(self, index: int) -> tuple[np.random.Generator, int]:
        """Return a clip's randomness, with the first draw taken, and the number of its video."""
        train = self.split == "train"
        rng = np.random.default_rng([self.seed, not train, index])
        drawn = rng.integers(len(self.footage)) if train else index % len(self.footage)
        return rng, int(drawn)

    def _possible_starts(self, footage: Footage) -> range | Int64[np.ndarray, " n"]:
        """Return where clips of a video can start."""
        spare = footage.length - self.span
        starts = range(min(spare, 0), max(spare, 0) + 1)
        if self.split == "test" and spare < 0:
            return range(1)
        if footage.present is None and spare >= 0:
            return starts
        present = np.ones(footage.length, bool) if footage.present is None else footage.present
        offsets = np.arange(self.frames) * self.config.every
        padded = np.pad(present, (max(-spare, 0), max(-spare, 0)))
        counts = sum(
            padded[max(-spare, 0) + starts.start + offset :][: len(starts)].astype(np.int64)
            for offset in offsets
        )
        least = min(LEAST, self.frames, int(np.max(counts)))
        return np.flatnonzero(np.asarray(counts) >= least) + starts.start

    def _long_enough(self, footage: list[Footage]) -> list[Footage]:
        if self._padding:
            return footage
        if usable := [each for each in footage if each.length >= self.span]:
            return usable
        longest = max(footage, key=lambda each: each.length)
        raise InputError(
            f"clips of {self.frames} frames with every={self.config.every} span {self.span} frames "
            f"and the longest video, {longest.name}, has {longest.length}: make the clips shorter, "
            "give longer videos, or --data.short pad"
        )


def fitted(video: Video, config: Cut) -> Video:
    """Return a video in the frame size of a configuration.

    Raises:
        InputError: it has another size and the configuration doesn't say how to convert it.
    """
    size = (config.height, config.width, config.channels)
    if config.fit != "none":
        return video.fit(
            height=size[0], width=size[1], channels=size[2], how=config.fit, resize=config.resize
        )
    if video.frames.shape[1:] == size:
        return video
    have, want = ("x".join(map(str, shape)) for shape in (video.frames.shape[1:], size))
    height, width, channels = video.frames.shape[1:]
    raise InputError(
        f"{video.source} has frames of {have} and the model takes {want} (height, width, channels):"
        f" --data.fit (in training) or --fit stretch, crop, pad or ramvid converts them, or train "
        f"with --data.height {height} --data.width {width} --data.channels {channels}"
    )


def _spread(
    values: Shaped[np.ndarray, "k ..."], there: Shaped[np.ndarray, " f"]
) -> Shaped[np.ndarray, "f ..."]:
    """Put frames in the places that are there, NaN in the others."""
    spread = np.full((len(there), *values.shape[1:]), np.nan, values.dtype)
    spread[there] = values
    return spread


def _changed(video: Video, config: Cut, rng: np.random.Generator) -> Video:
    """Mirror and turn a training clip, and its maps with it."""
    changes: list[Callable[[Shaped[np.ndarray, "f h w c"]], Shaped[np.ndarray, "f y x c"]]] = []
    if config.flip and rng.random() < 0.5:
        changes.append(lambda frames: frames[:, :, ::-1])
    if config.flip_rows and rng.random() < 0.5:
        changes.append(lambda frames: frames[:, ::-1])
    if config.turn:
        quarters = int(rng.integers(4))
        changes.append(lambda frames: np.rot90(frames, quarters, axes=(1, 2)))
    frames, conditions = video.frames, dict(video.conditions)
    for change in changes:
        frames = change(frames)
        for name, values in conditions.items():
            if values.ndim > 2:
                maps = change(values[None] if values.ndim == 3 else values)
                conditions[name] = maps[0] if values.ndim == 3 else maps
    return replace(video, frames=np.ascontiguousarray(frames), conditions=conditions)


def _common_dtype(footage: list[Footage]) -> np.dtype[np.generic]:
    """Return the dtype of all clips: that of the videos, or floats where some have gaps.

    Raises:
        InputError: the files hold several dtypes.
    """
    whole = {each.dtype for each in footage if each.present is None and each.stored is None}
    if len(whole) > 1:
        first = footage[0]
        other = next(each for each in footage if each.dtype != first.dtype)
        raise InputError(
            f"{first.name} holds {first.dtype} and {other.name} {other.dtype}: convert them to one "
            "dtype"
        )
    return np.result_type(*{each.dtype for each in footage})


def _check_classes(footage: list[Footage], config: Cut) -> None:
    for each in footage if config.classes else ():
        if class_name(each) not in config.classes:
            raise InputError(
                f"{each.name} is of none of the classes {', '.join(config.classes[:20])}: name "
                "files CLASS_anything, or take it out"
            )


def _check_conditions(footage: list[Footage], config: Cut) -> None:
    for name in config.conditions:
        kinds = {(each.tracks[name].kind, each.tracks[name].size): each for each in footage}
        if len(kinds) > 1:
            (kind, size), (other, length) = list(kinds)[:2]
            raise InputError(
                f"condition {name!r} is a {kind} of {size} in {kinds[kind, size].name} and a "
                f"{other} of {length} in {kinds[other, length].name}: make them alike"
            )
        mirrored = config.flip or config.flip_rows or config.turn
        if mirrored and any(kind == "vector" for kind, _ in kinds):
            raise InputError(
                f"condition {name!r} is a vector, which can't be mirrored or turned with the "
                "frames: turn flip, flip_rows and turn off"
            )


def _check_frames(footage: list[Footage], config: Cut) -> None:
    # A white frame of each shape, so that no training stops at the first clip of some video.
    kinds: dict[tuple[int, ...], Footage] = {}
    for each in footage:
        kinds.setdefault(each.shape, each)
    for each in kinds.values():
        # White, and so opaque if it has an alpha channel.
        white = 1 if each.dtype.kind == "f" else int(np.iinfo(each.dtype.name).max)
        fitted(Video(np.full((1, *each.shape), white, each.dtype), source=each.name), config)
