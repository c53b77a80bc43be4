"""What is scored, how, and of how many clips: a protocol is a value with a name."""

import hashlib
import itertools
import re
from dataclasses import dataclass
from typing import Literal

from framefill.data.clips import Fit
from framefill.data.digits import DigitsConfig
from framefill.data.fitting import Filter
from framefill.data.selection import Order, Start
from framefill.errors import InputError, check_fields
from framefill.metrics.backbones.pictures import Resize
from framefill.metrics.scores import PsnrConvention, SsimConvention
from framefill.roles import check_row

FrameScore = Literal["psnr", "ssim", "mse", "lpips"]
SetScore = Literal["fvd", "kvd", "cd-fvd", "is"]
Span = Literal["all", "filled"]
Rounding = Literal["none", "bytes"]
LONGEST_NAME = 40
NAME = re.compile(rf"[A-Za-z0-9][\w.+-]{{0,{LONGEST_NAME - 1}}}", re.ASCII)
MOST_CLIPS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that decides a score but the model, its own settings and the seed."""

    name: str
    """By which it is called."""
    row: str
    """The roles of each clip's frames: K known, T filled in and scored."""
    clips: int = 64
    """Number of held-out clips."""
    trajectories: int = 4
    """Videos that are filled for each of them; the best and the mean are reported."""
    summary: str = ""
    """What it is, in one line."""
    source: str = ""
    """Where its values are from, and what of them is not certain."""
    benchmark: str = ""
    """The published data set that it is of; "": any data."""
    split: str = ""
    """Which way to divide that into training and testing; "": its first."""
    digits: DigitsConfig | None = None
    """The moving digits that it is of, for those that are made on the fly."""
    videos: int = 0
    """Different test videos that the data has to hold."""
    height: int = 0
    """Height of a frame, in pixels; 0: the model's."""
    width: int = 0
    """Width of a frame, in pixels; 0: the model's."""
    channels: int = 0
    """Channels of a frame; 0: the model's."""
    fit: Fit = "none"
    """How videos of another size are made to fit."""
    filter: Filter = "bicubic"
    """With which filter, antialiased."""
    order: Order = "in_turn"
    """Which videos clips are of: the first ones in turn, or spread evenly over all."""
    start: Start = "random"
    """Where in its video a clip starts: at random (by the seed), at its first frame, or spread
    evenly over all possible starts of all videos."""
    scores: tuple[FrameScore, ...] = ("psnr", "ssim", "mse", "lpips")
    """What every filled frame is scored by."""
    psnr: PsnrConvention = "video"
    """Of a video's mean squared error, or the mean of its frames' own."""
    ssim: SsimConvention | Literal["suited"] = "suited"
    """What SSIM is computed of; suited: to the data (8-bit pictures or channels)."""
    rounding: Rounding = "none"
    """Whether frames are rounded to 8 bits before they are scored."""
    above: tuple[float, ...] = ()
    """Thresholds in the data's units: whether the chances to be above them can be believed."""
    sets: tuple[SetScore, ...] = ("fvd",)
    """What the set of all filled videos is scored by."""
    span: Span = "all"
    """Which frames these are of: all, the known ones with them, or the filled ones alone."""
    resize: Resize = "bilinear"
    """How frames are resized for the networks of these scores."""
    sampler: str = ""
    """How a walk goes from noise to frames; "": as the model's own does."""
    steps: int = 0
    """Steps of that walk per window; 0: as many as the model's own."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_row(self.row)
        if not NAME.fullmatch(self.name):
            raise InputError(
                f"protocol name {self.name!r}: give up to {LONGEST_NAME} letters, digits, -, _, + "
                "and ., the first a letter or digit"
            )
        for field, most in (("clips", MOST_CLIPS), ("trajectories", 10_000)):
            if not 1 <= getattr(self, field) <= most:
                raise InputError(f"{field} {getattr(self, field)} must be in 1..{most}")
        if min(self.videos, self.height, self.width, self.channels, self.steps) < 0:
            raise InputError(f"protocol {self.name} has a number below 0: use 0 for any")

    @property
    def from_nothing(self) -> bool:
        """Whether no frame is known, so that there is nothing to compare a single video with."""
        return "K" not in self.row

    @property
    def scored(self) -> list[int]:
        """The frames that sets of videos are scored on (`span`)."""
        letters = "KT" if self.span == "all" else "T"
        return [place for place, letter in enumerate(self.row) if letter in letters]


def own_protocol(
    row: str,
    *,
    clips: int = 64,
    trajectories: int = 4,
    ssim: SsimConvention | None = None,
    above: tuple[float, ...] = (),
) -> Protocol:
    """Return a protocol for the user's own data, with a name that is made of its row.

    >>> own_protocol("KKKKKTTTTT").name
    'own-K5T5'
    """
    check_row(row)
    runs = [f"{letter}{len(list(group))}" for letter, group in itertools.groupby(row)]
    name = "own-" + "".join(runs).replace("-", "A")
    if len(name) > LONGEST_NAME:
        name = f"own-{len(row)}-frames-{hashlib.sha256(row.encode()).hexdigest()[:8]}"
    return Protocol(
        name=name,
        row=row,
        clips=clips,
        trajectories=trajectories,
        summary="a row of your own",
        ssim=ssim or "suited",
        above=above,
    )
