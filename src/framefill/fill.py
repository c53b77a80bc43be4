"""The user's verbs: predict, rewind, interpolate, fill, upsample and generate."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from jaxtyping import Float, Shaped
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from framefill.data.read import to_video
from framefill.data.timeline import even_video as even
from framefill.data.video import Video
from framefill.device import choose_device
from framefill.errors import FillWarning, InputError, suggestion
from framefill.filled import Filled
from framefill.gaps import reach
from framefill.masks import RandomMasks
from framefill.model import CARD, CONFIG, WEIGHTS, Model, load_model
from framefill.nn.config import SpaceTimeConfig
from framefill.planning import can_fill
from framefill.randomness import generator_for
from framefill.roles import check_row
from framefill.rows import kept_frames, missing_frames, of_frames, row_of, whole
from framefill.settings import Options, Settings
from framefill.types import Clip

Source = Video | Shaped[np.ndarray, "..."] | Path | str
CARRIED = Path(__file__).parent / "models"  # the models that ship with the package
MAX_FRAMES = 1_000_000
LIMIT_BYTES = 2**35  # of what is filled at once, all samples together
GAPS_UNSEEN = (
    "the given frames have missing pixels, which this network takes for ones in the middle of its "
    "range: only the space-time network is told of them"
)
NEVER_GENERATED = (
    "this model was trained with given frames in every clip (unconditional rate 0) and never to "
    "generate from nothing: expect poor videos, or train with --masks.unconditional 0.25"
)
STREAM_FILL = 2  # what a key of randomness is for


@dataclass(frozen=True)
class Filler:
    """A model with the user's verbs.

    Every verb takes a video as a path, a `Video` or an array [f h w c] or [f h w] in the units of
    the model's data, and the options of `Settings`; every verb returns `Filled` frames.
    """

    model: Model

    @property
    def tasks(self) -> dict[str, int]:
        """The tasks that the model was trained for, with the given frames that each needs."""
        return self.model.tasks

    def predict(self, video: Source, frames: int, **options: Unpack[Options]) -> Filled:
        """Fill in `frames` frames after the end of a video.

        Where frames of its own are missing they stay so, unless the model needs them filled.
        """
        given = even(to_video(video))
        new = "T" * _count(frames, "frames")
        return self._fill(*self._with_own(given, "{}" + new), options)

    def rewind(self, video: Source, frames: int, **options: Unpack[Options]) -> Filled:
        """Fill in `frames` frames before the start of a video; see `predict`."""
        given = even(to_video(video))
        new = "T" * _count(frames, "frames")
        return self._fill(*self._with_own(given, new + "{}"), options)

    def interpolate(self, video: Source, between: int, **options: Unpack[Options]) -> Filled:
        """Fill in `between` frames between each two frames of a video.

        The frame rate stays, so the result plays in slow motion; see `upsample` for the other.
        """
        given = whole(to_video(video), "interpolation")
        gap = "T" * _count(between, "between")
        row = gap.join("K" * len(given.frames))
        return self._fill(given, row, options)

    def upsample(self, video: Source, factor: int, **options: Unpack[Options]) -> Filled:
        """Multiply the frame rate of a video: fill in factor - 1 frames between each two."""
        given = whole(to_video(video), "upsampling")
        if factor < 2:
            raise InputError(f"factor {factor} leaves nothing to fill: use 2 or more")
        row = ("T" * (factor - 1)).join("K" * len(given.frames))
        faster = replace(given, fps=given.fps and given.fps * factor)
        return self._fill(faster, row, options)

    def fill(
        self,
        video: Source,
        known: Sequence[int] | None = None,
        *,
        roles: str | None = None,
        **options: Unpack[Options],
    ) -> Filled:
        """Fill in any frames of a video.

        Args:
            video: The video; what its unknown frames hold is not read.
            known: Positions of the frames that are given; all others are filled in. None: frames
                that are missing are filled in: NaN throughout, or left out of the time stamps.
            roles: Instead of `known`, one letter per frame: K given, T to be filled in, - neither.
            **options: See `Settings`.
        """
        given = to_video(video)
        if known is not None and roles is not None:
            raise InputError("known and roles say the same in two ways: give one of them")
        if known is None and roles is None:
            given = even(given)
        row = row_of(given, known) if roles is None else roles
        if len(row) != len(given.frames):
            raise InputError(
                f"{len(row)} roles for a video of {len(given.frames)} frames: one each"
            )
        check_row(row)
        return self._fill(given, row, options)

    def generate(self, frames: int, **options: Unpack[Options]) -> Filled:
        """Make videos of `frames` frames from nothing.

        Warns if the model's training never showed a clip without given frames (RaMViD with an
        unconditional rate of 0, whose network can be asked all the same).
        """
        config = self.model.config
        masks = config.masks
        if isinstance(masks, RandomMasks) and masks.unconditional == 0:
            warnings.warn(NEVER_GENERATED, FillWarning, stacklevel=2)
            asked = replace(config, masks=replace(masks, unconditional=1.0))
            return Filler(replace(self.model, config=asked)).generate(frames, **options)
        shape = (0, config.height, config.width, config.channels)
        nothing = Video(np.zeros(shape, config.normaliser.dtype), units=config.normaliser.units)
        return self._fill(nothing, "T" * _count(frames, "frames"), options)

    def _with_own(self, given: Video, row: str) -> tuple[Video, str]:
        """Put the roles of a video's own frames into a row: K, and - where one is missing.

        A model that can't do without them fills the missing ones too.
        """
        missing = missing_frames(given)
        if missing.all():
            raise InputError("all frames of the video are missing: use generate")
        absent, target = (
            row.format("".join(letter if gone else "K" for gone in missing)) for letter in "-T"
        )
        if not missing.any() or can_fill(absent, self.model.config.masks):
            return given, absent
        return of_frames(given, np.flatnonzero(~missing)), target

    def _fill(self, given: Video, row: str, options: Options) -> Filled:
        """Fill a row, of whose K frames `given` holds the values in order.

        It holds either as many frames as the row has, or those of the letters that are not T.
        """
        settings, config = Settings(**options), self.model.config
        self._check(given, row)
        kept = kept_frames(row, len(given.frames))
        known = torch.tensor([letter == "K" for letter in row])
        target = torch.tensor([letter == "T" for letter in row])
        frames = given.frames[kept]
        size = config.height * config.width * config.channels * 4
        if (needed := size * len(row) * settings.samples) > LIMIT_BYTES:
            raise InputError(
                f"{settings.samples} samples of {len(row)} frames take {needed / 2**30:.0f} GiB: "
                f"at most {LIMIT_BYTES // 2**30} at once; ask for fewer frames or samples"
            )
        model = Model(self.model.network.to(choose_device(settings.device)), config)
        model = model.of_class([config.class_number(settings.label)])
        model = model.given(self._conditions(given, row, settings), len(row))
        clip = torch.zeros(len(row), config.channels, config.height, config.width)
        if len(frames):
            clip[known] = config.normaliser.to_clip(frames)
        beyond = ~reach(clip[None], known.nonzero()[:, 0].tolist())[0, 0, 0].numpy()
        out = np.zeros((settings.samples, len(row), *frames.shape[1:]), frames.dtype)
        for first, filled in self._batches(model, clip, row, settings):
            # Given frames that no window reads may have gaps.
            if not torch.isfinite(filled[:, target]).all():
                raise InputError(
                    "the model gave values that are no numbers: try more steps, float32"
                )
            values = config.normaliser.to_frames(filled, out.dtype)
            if given.stored and np.dtype(given.stored.dtype).kind in "ui":
                values = np.rint(values)  # floats only because something is missing
            if beyond.any():
                values[:, :, beyond] = np.nan  # what no given frame shows is not made up
            out[first : first + len(values)] = values
        out[:, known.numpy()] = frames
        absent = [letter == "-" for letter in row]
        out[:, absent] = np.nan if np.issubdtype(out.dtype, np.floating) else 0
        return Filled.of(out, row, given, kept, config.normaliser)

    def _conditions(
        self, given: Video, row: str, settings: Settings
    ) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Return the conditions of all frames: those asked for, else those of the video."""
        asked = dict(settings.conditions or {})
        kept = kept_frames(row, len(given.frames), every="K-")
        for name, values in given.conditions.items():
            known = any(each.name == name for each in self.model.config.conditions)
            if not known or name in asked:
                continue
            if values.ndim == 3:
                asked[name] = values
                continue
            whole = np.full((len(row), *values.shape[1:]), np.nan, np.float32)
            if len(values) == len(row):
                whole[:] = values
            else:
                whole[[letter != "T" for letter in row]] = values[kept]
            asked[name] = whole
        return asked

    def _batches(
        self, model: Model, clip: Float[Tensor, "f c h w"], row: str, settings: Settings
    ) -> Iterator[tuple[int, Clip]]:
        """Yield the number of a batch's first sample, and its filled videos."""
        windows = model.plan(row, advance=settings.advance, slide=settings.slide)
        starts = range(0, settings.samples, settings.batch)
        with Progress(console=Console(stderr=True), disable=not settings.progress) as bar:
            task = bar.add_task("filling", total=len(windows) * len(starts))
            for first in starts:
                numbers = range(first, min(first + settings.batch, settings.samples))
                videos = clip.expand(len(numbers), *clip.shape).to(model.device)
                filled = model.fill_video(
                    videos,
                    windows,
                    [generator_for(settings.seed, STREAM_FILL, number) for number in numbers],
                    sampler=settings.sampler_for(model),
                    guidance=settings.guidance,
                    precision=settings.precision,
                    after_window=lambda: bar.advance(task),
                )
                yield first, filled

    def _check(self, given: Video, row: str) -> None:
        """Refuse frames that are not of the model's size and channels, or that are infinite."""
        config = self.model.config
        size = (config.height, config.width, config.channels)
        if given.frames.shape[1:] != size:
            height, width, channels = given.frames.shape[1:]
            raise InputError(
                f"frames of {height} x {width} with {channels} channel(s), but the model takes "
                f"{config.height} x {config.width} with {config.channels}: convert them with "
                f"--fit stretch, crop, pad or ramvid (in Python: video.fit)"
            )
        kept = given.frames[kept_frames(row, len(given.frames))]
        if kept.dtype.kind != "f" or not np.isnan(kept).any():
            return
        places = kept_frames(row, len(given.frames))
        if missing := [places[i] for i, frame in enumerate(kept) if np.isnan(frame).all()]:
            raise InputError(
                f"given frame {missing[0]} is NaN throughout: give roles with - in its place, or "
                "fill it in too"
            )
        if not isinstance(config.network, SpaceTimeConfig):
            warnings.warn(GAPS_UNSEEN, FillWarning, stacklevel=4)


def load(source: Path | str) -> Filler:
    """Load a model.

    Args:
        source: The name of a model that ships with the package ("digits"; a folder of that name
            is "./digits"), a model folder, a run folder, or the id "owner/name" of a model on the
            Hugging Face hub.

    Raises:
        InputError: there is no such model, or it can't be read.
    """
    path = Path(source)
    carried = sorted(p.name for p in CARRIED.iterdir() if p.is_dir())
    if str(source) in carried:
        return Filler(load_model(CARRIED / str(source)))
    if (path / "model" / CONFIG).is_file():
        return Filler(load_model(path / "model"))
    if path.exists():
        return Filler(load_model(path))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)):
        return Filler(load_model(_fetch(str(source))))
    raise InputError(
        f"no model {str(source)!r}{suggestion(str(source), carried)}: give a model folder, a run "
        f"folder, or one of {', '.join(carried)}"
    )


def _fetch(name: str) -> Path:
    """Download a model folder from the hub, weights and configuration only."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise InputError(
            f"{name!r} is no folder here; to look for it on the hub: pip install 'framefill[hub]'"
        ) from error
    try:
        wanted = [CONFIG, WEIGHTS, CARD]
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (OSError, HfHubHTTPError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name!r} is neither a folder here nor on the hub: {reason}") from error


def _count(number: int, name: str) -> int:
    if number != int(number):
        raise InputError(f"{name} {number}: use a whole number")
    if not 1 <= number <= MAX_FRAMES:
        raise InputError(f"{name} {number}: use 1 to {MAX_FRAMES}")
    return number
