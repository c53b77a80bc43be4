"""The doctor: is the data sane, and can a model learn it?

It ends with what to change, as commands that can be pasted.
"""

import json
import math
import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framefill.conditions import in_model_range
from framefill.config import Clips, Config
from framefill.data.clips import VideoClips, class_name
from framefill.data.examine import (
    Facts,
    Gathered,
    Look,
    ValueFacts,
    examine,
    gather,
    looked_at,
)
from framefill.data.own import OwnClips, OwnConfig
from framefill.data.sample import Sample
from framefill.data.sheet import SheetRow, save_sheet
from framefill.data.videos import ALL_CLASSES, VideosConfig
from framefill.device import choose_device
from framefill.diffusion import compose
from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.gaps import without_gaps
from framefill.masks import Masks
from framefill.metrics.baselines import copy_last, linear_blend, nearest_known
from framefill.model import Model
from framefill.nn.config import SpaceTimeConfig
from framefill.randomness import generator_for
from framefill.roles import roles_from, row_of
from framefill.sampling import DpmSolver2M
from framefill.scaling import measured_conditions
from framefill.serialise import from_data, to_data, write_json
from framefill.told import Told
from framefill.training import TrainState, train_steps

Weight = Literal["stops", "harms", "note"]
Value = bool | int | float | str | tuple[str, ...]
COLORS: Mapping[Weight, str] = {"stops": "bold red", "harms": "yellow", "note": "dim"}
MEANINGS: Mapping[Weight, str] = {
    "stops": "training would refuse this",
    "harms": "training runs, and learns less",
    "note": "good to know",
}
STREAM_DOCTOR = 6  # what a key of randomness is for
NAMED = 5  # files named in a line
WIDE = 4  # times the recipe's pixels, up to which frames are taken at their own size
SKEW = 30  # times the median, from which the largest values call for the logarithm
NARROW = 64  # levels of 8 bits, below which the fixed range -1..1 of all 256 is a waste
UNEVEN = 1.05  # ratio of frame rates
SHEET_CLIPS, TRIED_CLIPS = 4, 16
SPEED_SECONDS = 4.0  # spent on measuring how fast clips are read, and as long for a whole batch
FEW_STEPS, MOST_STEPS = 200, 20_000
OVERFIT_BATCH, OVERFIT_EVALUATIONS = 4, 20
IN_STORE = (  # settings of the data that have no meaning for a packed store
    *("fit", "resize", "fps", "variables", "axes", "missing", "benchmark", "split", "holdout"),
)
MAGENTA, PLUM = (255, 0, 255), (110, 0, 110)  # hatching of what is missing


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that the user should know.

    Args:
        subject: What it is about, in one word.
        weight: "stops": training would refuse; "harms": it would learn less; "note": neither.
        text: In words.
        settings: What to change in the recipe's settings, by flag without dashes.
        unfit: Files to be taken out.
    """

    subject: str
    weight: Weight
    text: str
    settings: Mapping[str, Value] = field(default_factory=dict)
    unfit: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast clips are read and used.

    Args:
        device: Where steps were taken.
        clips_per_second: That one process reads.
        step_seconds: Of a training step; inf: a batch doesn't fit into the device's memory.
        measured_batch: Clips of the steps that were timed; the rest is in proportion.
        batch: Clips of a step.
    """

    device: str
    clips_per_second: float
    step_seconds: float
    measured_batch: int
    batch: int

    @property
    def needed(self) -> float:
        """Clips per second that training takes."""
        return self.batch / self.step_seconds


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """What became of training on a single clip.

    Args:
        row: Roles of the clip's frames that were filled and scored.
        steps: Steps taken.
        seconds: That they took.
        first_loss: Mean loss of the second quarter of the steps.
        last_loss: Of the last quarter.
        psnr: Of the filled frames, in dB; None: they are exact.
        baselines: PSNR of fillings that need no model, by name; None: exact.
        verdict: "learned", "too few steps", "not learned" or "nothing moves".
    """

    row: str
    steps: int
    seconds: float
    first_loss: float
    last_loss: float
    psnr: float | None
    baselines: dict[str, float | None]
    verdict: Literal["learned", "too few steps", "not learned", "nothing moves"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the doctor found.

    Args:
        facts: About the data.
        findings: What to know, the most important first.
        speed: Of reading and training; None: no training clip could be made.
        overfit: Of a single clip, if it was asked for.
        commands: To be pasted, in order.
        config: The settings with all advised changes, before anything is measured.
    """

    facts: Facts
    findings: list[Finding]
    speed: Speed | None
    overfit: Overfit | None
    commands: list[str]
    config: Config


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked of the doctor.

    Args:
        data: The file or folder.
        recipe: Name of the recipe, or the file that the configuration is from.
        plain: The recipe's configuration as it is.
        config: The same with the user's own settings.
    """

    data: Path
    recipe: str
    plain: Config
    config: Config

    @property
    def videos(self) -> VideosConfig:
        """The configuration of the data.

        Raises:
            InputError: the recipe makes its own data.
        """
        if not isinstance(self.config.data, VideosConfig):
            raise InputError(
                f"recipe {self.recipe} makes its own data and takes none: choose another, such as "
                "small-st"
            )
        return replace(self.config.data, path=self.data)

    def without_path(self, config: Config) -> VideosConfig:
        """Return the configuration of the data with the path that the recipe's own has."""
        here, plain = config.data, self.plain.data
        if not isinstance(here, VideosConfig) or not isinstance(plain, VideosConfig):
            return self.videos
        return replace(here, path=plain.path)


def doctor(
    asked: Asked,
    *,
    out: Path,
    full: bool = False,
    overfit: bool = False,
    minutes: float = 3.0,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Look at data, and at what a recipe would make of it.

    Nothing that is wrong with the data raises an error: it is what the report is about.

    Args:
        asked: The data and the recipe.
        out: New folder for report.json and sheet.png.
        full: Read all frames of all videos instead of a sample.
        overfit: Train on a single clip, to see whether it can be learned.
        minutes: That this may take.
        device: "auto", "cpu", "cuda" or "mps".
        say: Takes messages for the user.

    Raises:
        InputError: the path holds no videos, `out` exists, the recipe makes its own data, or
            there is no such device.
    """
    if out.exists():
        raise InputError(f"{out} exists: choose another folder for --out")
    if not 0 < minutes < math.inf:
        raise InputError(f"minutes {minutes} must be above 0")
    place = choose_device(device)
    look = Look(videos=None, frames=None, seconds=None) if full else Look()
    say("opening the videos")
    gathered = gather(asked.videos)
    say("looking at their frames")
    facts = examine(gathered, asked.videos, look)
    findings = diagnose(facts, asked)
    config, more = advised(asked, findings)
    findings += more
    speed = fit = None
    with atomic_folder(out) as draft:
        try:
            ready, clips = prepared(config, gathered, look)
            save_sheet(draft / "sheet.png", sheet_rows(ready, clips))
            say("measuring how fast clips are read and steps are taken")
            speed = measure_speed(ready, clips, place)
            findings += judge_speed(speed, asked, config)
            if overfit and math.isfinite(speed.step_seconds):
                say(f"training on a single clip for {minutes:g} minutes")
                fit = overfit_clip(ready, clips, speed, minutes, place)
        except InputError as error:
            findings.append(Finding(subject="training", weight="stops", text=str(error)))
        config, _ = advised(asked, findings)
        findings.sort(key=lambda each: list(COLORS).index(each.weight))
        report = Report(
            facts=facts,
            findings=findings,
            speed=speed,
            overfit=fit,
            commands=commands(asked, config, findings),
            config=config,
        )
        write_json(draft / "report.json", as_data(report))
    return report


def as_data(report: Report) -> dict[str, object]:
    """Return a report as plain JSON data; numbers that JSON can't hold are null."""
    plain: dict[str, object] = {
        "facts": asdict(report.facts),
        "findings": [asdict(each) for each in report.findings],
        "speed": None if report.speed is None else asdict(report.speed),
        "overfit": None if report.overfit is None else asdict(report.overfit),
        "commands": report.commands,
    }
    text = json.dumps(plain, default=str)
    found: dict[str, object] = json.loads(text, parse_constant=lambda word: None)
    return found


# What is wrong -----------------------------------------------------------------------------------


def diagnose(facts: Facts, asked: Asked) -> list[Finding]:
    """Return what there is to say about data, in the order in which it is to be mended."""
    found: list[Finding] = []
    for examined in (
        _files,
        _division,
        _lengths,
        _sizes,
        _channels,
        _dtypes,
        _values,
        _gaps,
        _times,
        _stills,
        _copies,
        _classes,
        _conditions,
    ):
        found += examined(facts, asked)
    return found


def _files(facts: Facts, asked: Asked) -> Iterator[Finding]:
    for number, each in enumerate(facts.refused):
        if number == 50:
            rest = len(facts.refused) - number
            yield Finding(subject="files", weight="stops", text=f"and {rest} more like these")
            return
        yield Finding(
            subject="files", weight="stops", text=each.reason, unfit=_files_of([each.name], asked)
        )
    if facts.passed_over:
        kinds = ", ".join(f"{count} {kind}" for kind, count in islice(facts.passed_over.items(), 8))
        yield Finding(subject="files", weight="note", text=f"passed over, as no videos: {kinds}")


def _division(facts: Facts, asked: Asked) -> Iterator[Finding]:
    if "train" in facts.remarks:
        settings: dict[str, Value] = {"data.benchmark": "none"} if facts.benchmark else {}
        yield Finding(
            subject="training part",
            weight="stops",
            text=facts.remarks["train"],
            settings=settings if facts.of("train") else {},
        )
    elif not facts.of("test"):
        yield Finding(
            subject="test part",
            weight="stops" if asked.config.log.sample_every else "harms",
            text=f"{facts.remarks.get('test', 'nothing is held out')}; or train without pictures "
            "of held-out clips, and without a way to tell learning from memorizing",
            settings={"log.sample_every": 0} if asked.config.log.sample_every else {},
        )


def _lengths(facts: Facts, asked: Asked) -> Iterator[Finding]:
    config = asked.config
    span = (config.masks.frames - 1) * asked.videos.every + 1
    if asked.videos.short == "pad":
        return
    for part in ("train", "test"):
        videos = facts.of(part)
        short = [each.name for each in videos if each.length < span]
        if not short:
            continue
        all_of_them = len(short) == len(videos)
        yield Finding(
            subject="lengths",
            weight="stops" if all_of_them else "harms" if 2 * len(short) > len(videos) else "note",
            text=f"{len(short)} of {len(videos)} videos to {part} are shorter than a clip, which "
            f"spans {span} frames: {_some(short, facts)}",
            settings={"data.short": "pad"} if 2 * len(short) > len(videos) else {},
        )


def _sizes(facts: Facts, asked: Asked) -> Iterator[Finding]:
    sizes = Counter((each.shape[0], each.shape[1]) for each in facts.videos)
    config, plain = asked.videos, asked.plain.data
    wanted = (config.height, config.width)
    if not sizes or (config.fit == "none" and set(sizes) == {wanted}):
        return
    counted = ", ".join(f"{h}x{w} ({count})" for (h, w), count in islice(sizes.most_common(), 6))
    if config.fit != "none":
        yield from _converted(sizes, counted, asked)
        return
    chosen = wanted != (plain.height, plain.width)
    usual = sizes.most_common(1)[0][0]
    settings = {"data.fit": "crop"} if chosen else _size_for(usual, len(sizes) > 1, asked)
    text = f"frames are {counted} and the recipe takes {wanted[0]}x{wanted[1]} (height x width)"
    divisor = asked.config.network.divisor
    if usual[0] % divisor or usual[1] % divisor:
        text += f"; its network needs both divisible by {divisor}"
    own = _rounded(usual, divisor)
    pixels = math.prod(own) / (wanted[0] * wanted[1])
    if pixels > WIDE and not chosen:
        text += (
            f"; at their own size, --data.height {own[0]} --data.width {own[1]} --data.fit crop, "
            f"training takes about {pixels:.0f} times as long"
        )
    yield Finding(subject="sizes", weight="stops", text=text, settings=settings)


def _converted(sizes: Counter[tuple[int, int]], counted: str, asked: Asked) -> Iterator[Finding]:
    """Say what becomes of frames that are converted to the size of the recipe."""
    config = asked.videos
    height, width = config.height, config.width
    larger = [size for size in sizes if size[0] > height or size[1] > width]
    smaller = [size for size in sizes if size[0] < height and size[1] < width]
    if config.fit == "pad" and larger:
        yield Finding(
            subject="sizes",
            weight="stops",
            text=f"frames are {counted}, larger than {height}x{width}, and fit pad cuts nothing",
            settings={"data.fit": "crop"},
        )
    if config.fit != "pad" and len(smaller) == len(sizes):
        usual = sizes.most_common(1)[0][0]
        times = height * width / math.prod(usual)
        yield Finding(
            subject="sizes",
            weight="harms",
            text=f"frames of {counted} are enlarged to {height}x{width}: {times:.1f} times the "
            "work, and nothing more to learn",
            settings=_size_for(usual, len(sizes) > 1, asked),
        )
    bent = [size for size in sizes if abs(math.log(size[0] / size[1] * width / height)) > 0.1]
    if config.fit == "stretch" and bent:
        yield Finding(
            subject="sizes",
            weight="note",
            text=f"frames of {counted} change their shape when they become {height}x{width}: "
            "--data.fit crop keeps it",
        )


def _size_for(size: tuple[int, int], several: bool, asked: Asked) -> dict[str, Value]:
    """Return the settings for frames of a size: their own if a network can take it."""
    divisor = asked.config.network.divisor
    area = asked.videos.height * asked.videos.width
    height, width = size
    if height * width <= WIDE * area:
        if not (height % divisor or width % divisor):
            new, fit = size, "crop" if several else "none"
        elif isinstance(asked.config.network, SpaceTimeConfig) and not several:
            new, fit = (-(-height // divisor) * divisor, -(-width // divisor) * divisor), "pad"
        else:
            new, fit = _rounded(size, divisor), "crop"
    else:
        factor = math.sqrt(area / (height * width)) / divisor
        new, fit = (_multiple(divisor, height * factor), _multiple(divisor, width * factor)), "crop"
    settings: dict[str, Value] = {"data.height": new[0], "data.width": new[1]}
    return settings if fit == "none" else settings | {"data.fit": fit}


def _rounded(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """Return the nearest smaller size that a divisor divides, or the divisor itself."""
    height, width = size
    return _multiple(divisor, height // divisor), _multiple(divisor, width // divisor)


def _multiple(divisor: int, parts: float) -> int:
    return divisor * max(1, round(parts))


def _channels(facts: Facts, asked: Asked) -> Iterator[Finding]:
    counts = Counter(each.shape[2] for each in facts.videos)
    config = asked.videos
    if not counts:
        return
    usual = counts.most_common(1)[0][0]
    gray = usual == 3 and {(0, 1), (0, 2), (1, 2)} <= set(facts.same_channels)
    if len(counts) > 1:
        counted = ", ".join(f"{channels} ({count})" for channels, count in counts.most_common())
        colors = set(counts) <= {1, 3}
        yield Finding(
            subject="channels",
            weight="stops" if config.fit == "none" or not colors else "note",
            text=f"videos have different numbers of channels: {counted}",
            settings={"data.channels": 1 if gray else 3, "data.fit": "crop"} if colors else {},
        )
    elif gray and config.channels != 1:
        yield Finding(
            subject="channels",
            weight="harms",
            text="red, green and blue are the same: gray frames stored as RGB, three times the "
            "values to learn",
            settings={"data.channels": 1, "data.fit": "crop"},
        )
    elif usual != config.channels and not (
        config.fit != "none" and {usual, config.channels} <= {1, 3}
    ):
        yield Finding(
            subject="channels",
            weight="stops",
            text=f"frames have {_count(usual, 'channel')} and the recipe takes {config.channels}",
            settings={"data.channels": usual},
        )
    elif usual == 1 and config.channels == 3:
        yield Finding(
            subject="channels",
            weight="harms",
            text="gray frames are made RGB: three times the values to learn",
            settings={"data.channels": 1},
        )
    if facts.same_channels and not gray:
        names = [each.name for each in facts.channels]
        pairs = ", ".join(f"{names[i]} = {names[j]}" for i, j in facts.same_channels[:NAMED])
        yield Finding(
            subject="channels",
            weight="harms",
            text=f"channels that are the same: {pairs}; leave one of them out",
        )


def _dtypes(facts: Facts, asked: Asked) -> Iterator[Finding]:
    counts = Counter(each.dtype for each in facts.videos)
    if len(counts) > 1:
        first = {each.dtype: each.name for each in reversed(facts.videos)}
        names = ", ".join(
            f"{dtype} ({count}, such as {_short(first[dtype], facts)})"
            for dtype, count in counts.most_common()
        )
        yield Finding(
            subject="dtypes",
            weight="stops",
            text=f"videos hold different types of values: {names}; convert them to one",
        )


def _values(facts: Facts, asked: Asked) -> Iterator[Finding]:
    scaling = asked.config.scaling
    eight = {each.dtype for each in facts.videos} == {"uint8"}
    for each in facts.channels:
        if each.infinite:
            yield Finding(
                subject="values",
                weight="stops",
                text=f"{each.name} has {each.infinite} infinite values: make them NaN, which means "
                "missing",
            )
        if each.low is None:
            yield Finding(
                subject="values", weight="stops", text=f"{each.name} is missing everywhere"
            )
        elif each.low == each.high:
            yield _constant(each, facts, asked)
    yield from _marks(facts.channels)
    known = [each for each in facts.channels if each.low is not None and each.low != each.high]
    if not known:
        return
    low, high = min(cast(float, e.low) for e in known), max(cast(float, e.high) for e in known)
    if eight and high - low < NARROW:
        ends = (scaling.transform, scaling.low, scaling.high)
        given = scaling.by in ("auto", "given") and ends == ("linear", None, None)
        does = "" if given else "; the recipe measures the range, which takes care of it"
        yield Finding(
            subject="values",
            weight="harms" if given else "note",
            text=f"8-bit values reach only {low:g}..{high:g} of 0..255{does}",
            settings={"scaling.by": "range"} if given else {},
        )
    skewed = [each for each in known if _is_skewed(each)]
    plain = scaling.transform == "linear" and scaling.by != "given"
    if len(skewed) == len(known) == len(facts.channels) and not eight and plain:
        soft = min(_step(each) for each in skewed)
        yield Finding(
            subject="values",
            weight="harms",
            text=f"values span orders of magnitude: half of those above {low:g} are below "
            f"{_quantile(skewed[0], 1):.3g}, and they reach {high:.3g}; on a linear scale most of "
            "them are nearly the same",
            settings={
                "scaling.transform": "log",
                "scaling.low": low,
                "scaling.soft": soft,
            },
        )


def _constant(each: ValueFacts, facts: Facts, asked: Asked) -> Finding:
    names = asked.videos.variables
    place = [channel.name for channel in facts.channels].index(each.name)
    settings: dict[str, Value] = {}
    if len(names) == len(facts.channels) > 1:
        kept = tuple(name for number, name in enumerate(names) if number != place)
        settings = {"data.variables": kept, "data.channels": len(kept)}
    return Finding(
        subject="values",
        weight="stops",
        text=f"{each.name} is {each.low:g} everywhere, which tells nothing: leave it out",
        settings=settings,
    )


def _marks(channels: Sequence[ValueFacts]) -> Iterator[Finding]:
    marked = {each.mark: each for each in channels if each.mark is not None}
    for number, (mark, each) in enumerate(marked.items()):
        yield Finding(
            subject="missing",
            weight="harms",
            text=f"{each.mark_share:.1%} of {each.name} are {mark:g}, far from all other values: "
            "if that means missing, say so",
            settings={"data.missing": mark} if number == 0 else {},
        )


def _is_skewed(each: ValueFacts) -> bool:
    if each.quantiles is None or each.low is None or each.low < 0 or each.mark is not None:
        return False
    small, middle, top = (value - each.low for value in each.quantiles)
    return small > 0 and top > SKEW * middle


def _step(each: ValueFacts) -> float:
    """Return what a small value is worth: a round number, for the soft end of a logarithm."""
    return float(f"{_quantile(each, 0) - cast(float, each.low):.0e}")


def _quantile(each: ValueFacts, number: int) -> float:
    return cast(tuple[float, float, float], each.quantiles)[number]


def _gaps(facts: Facts, asked: Asked) -> Iterator[Finding]:
    share = max((each.missing for each in facts.channels), default=0.0)
    frames = sum(each.missing for each in facts.videos)
    listens = isinstance(asked.config.network, SpaceTimeConfig)
    if share > 0 or frames:
        looked = sum(each.looked for each in facts.videos)
        learns = (
            "nothing is learned of them"
            if listens
            else "this recipe's network isn't told where, and sees 0 there: choose a recipe whose "
            "name ends in -st"
        )
        yield Finding(
            subject="missing",
            weight="note" if listens else "harms",
            text=f"{share:.2%} of the values are missing, and {frames} of {looked} frames as a "
            f"whole; {learns}",
        )


def _times(facts: Facts, asked: Asked) -> Iterator[Finding]:
    config = asked.videos
    holes = [each for each in facts.videos if each.holes]
    if holes:
        total = sum(each.length for each in facts.videos)
        count = sum(each.holes for each in holes)
        yield Finding(
            subject="times",
            weight="note",
            text=f"the time stamps of {_count(len(holes), 'video')} have holes: {count} of {total} "
            f"frames are missing, and taken as ABSENT ({_some([e.name for e in holes], facts)})",
        )
    rates = {each.fps for each in facts.videos}
    known = [rate for rate in rates if rate]
    slowest = round(min(known), 3) if known and None not in rates else 0.0
    settings: dict[str, Value] = {"data.fps": slowest} if slowest else {}
    if config.fps:
        return
    if len(known) > 1 and max(known) > UNEVEN * min(known):
        yield Finding(
            subject="times",
            weight="harms",
            text=f"videos have different frame rates, {_rate(min(known))} to {_rate(max(known))}: "
            "the same motion looks slower in some of them",
            settings=settings,
        )
    elif irregular := [each.name for each in facts.videos if each.irregular]:
        yield Finding(
            subject="times",
            weight="harms",
            text=f"the frames of {_count(len(irregular), 'video')} are unevenly spaced in time: "
            f"{_some(irregular, facts)}",
            settings=settings,
        )


def _stills(facts: Facts, asked: Asked) -> Iterator[Finding]:
    looked = [each for each in facts.videos if each.looked]
    constant = [e.name for e in looked if e.constant and e.constant + e.missing == e.looked]
    frozen = [
        e.name for e in looked if e.pairs and e.still == e.pairs and e.name not in set(constant)
    ]
    for names, what in (
        (constant, "hold frames of a single value and nothing else"),
        (frozen, "never change"),
    ):
        if names:
            yield Finding(
                subject="still",
                weight="harms",
                text=f"{_count(len(names), 'video')} {what}: {_some(names, facts)}; take them out",
                unfit=_files_of(names, asked),
            )
    flat = sum(each.constant for each in looked if each.name not in set(constant))
    frames = sum(each.looked for each in looked)
    if flat:
        yield Finding(
            subject="still",
            weight="harms" if flat > 0.05 * frames else "note",
            text=f"{flat} of {frames} frames are of a single value, such as black ones",
        )
    moving = [e for e in looked if e.pairs and e.name not in {*constant, *frozen}]
    repeated = Counter(each.repeats for each in moving if each.repeats > 1)
    if repeated and sum(repeated.values()) > 0.8 * len(moving):
        times = asked.videos.every * repeated.most_common(1)[0][0]
        span = (asked.config.masks.frames - 1) * times + 1
        fits = sum(each.length >= span for each in facts.of("train")) > 0
        yield Finding(
            subject="still",
            weight="harms",
            text=f"each frame comes {repeated.most_common(1)[0][0]} times in a row: the videos "
            "were filmed at a lower rate than they are stored at",
            settings={"data.every": times} if fits else {},
        )
        return
    still, pairs = sum(each.still for each in moving), sum(each.pairs for each in moving)
    if still > 0.2 * pairs:
        yield Finding(
            subject="still",
            weight="harms",
            text=f"{still} of {pairs} frames are the same as the one before: a model learns to "
            "copy",
        )


def _copies(facts: Facts, asked: Asked) -> Iterator[Finding]:
    for names in facts.copies[:NAMED]:
        parts = {name.split(":")[0] for name in names}
        yield Finding(
            subject="copies",
            weight="note" if len(parts) == 1 else "harms",
            text=f"the same frames: {_some(names, facts)}"
            + ("" if len(parts) == 1 else "; what is tested on must not be trained on"),
        )
    leaks = [each for each in facts.shared if each.equal or each.near > 0.1 * each.compared]
    for each in leaks[:NAMED]:
        yield Finding(
            subject="leak",
            weight="harms" if each.near > 0.05 * each.compared else "note",
            text=f"{each.near} of {each.compared} frames of the test video "
            f"{_short(each.test, facts)} are in the training video {_short(each.train, facts)}"
            f" ({each.equal} exactly): scores on it say nothing",
        )
    if len(leaks) > NAMED:
        yield Finding(
            subject="leak", weight="harms", text=f"and {len(leaks) - NAMED} more test videos"
        )
    if facts.shared_times:
        yield Finding(
            subject="leak",
            weight="harms",
            text=f"training and test have {facts.shared_times} time stamps in common: unless they "
            "are of different places, test on times that training never sees",
        )


def _classes(facts: Facts, asked: Asked) -> Iterator[Finding]:
    train, test = (facts.classes.get(part, {}) for part in ("train", "test"))
    if new := [name for name in test if name not in train]:
        yield Finding(
            subject="classes",
            weight="stops" if asked.videos.classes else "note",
            text=f"classes to test on that are never trained on: {', '.join(new[:20])}",
        )
    if train and asked.videos.classes and max(train.values()) > 10 * min(train.values()):
        rare = min(train, key=lambda name: train[name])
        yield Finding(
            subject="classes",
            weight="note",
            text=f"class {rare} has {_count(train[rare], 'video')} and the largest "
            f"{max(train.values())}: every video is drawn equally often",
        )


def _conditions(facts: Facts, asked: Asked) -> Iterator[Finding]:
    for each in facts.conditions:
        if each.low is None:
            yield Finding(
                subject="conditions", weight="stops", text=f"condition {each.name} is never known"
            )
        elif each.low == each.high:
            yield Finding(
                subject="conditions",
                weight="note",
                text=f"condition {each.name} is always {each.low:g}, which tells nothing",
            )
        elif each.missing > 0.5:
            yield Finding(
                subject="conditions",
                weight="note",
                text=f"{each.missing:.0%} of condition {each.name} are unknown",
            )
    if facts.unused:
        yield Finding(
            subject="conditions",
            weight="note",
            text=f"conditions beside the videos that aren't used: {', '.join(facts.unused[:20])}; "
            f"--data.conditions {' '.join(facts.unused[:20])}",
        )


def _files_of(names: Sequence[str], asked: Asked) -> tuple[str, ...]:
    """Return the names that are files of their own, which can be taken out."""
    return tuple(name for name in names if Path(name) != asked.data and Path(name).is_file())


def _some(names: Sequence[str], facts: Facts) -> str:
    shown = ", ".join(_short(name, facts) for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"


def _short(name: str, facts: Facts) -> str:
    return name.replace(f"{facts.path}{os.sep}", "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _rate(fps: float) -> str:
    return f"{fps:.4g} per second" if fps >= 0.1 else f"one every {1 / fps:.4g} seconds"


# What to change ----------------------------------------------------------------------------------


def advised(asked: Asked, findings: Sequence[Finding]) -> tuple[Config, list[Finding]]:
    """Return the configuration with what the findings advise, and what came of it.

    Of findings that differ, the first one counts.
    """
    settings: dict[str, Value] = {}
    for each in findings:
        for flag, value in each.settings.items():
            settings.setdefault(flag, value)
    config = replace(asked.config, data=asked.videos)
    try:
        return _changed(config, settings), []
    except InputError as error:
        return config, [Finding(subject="settings", weight="stops", text=str(error))]


def _changed(config: Config, settings: Mapping[str, Value]) -> Config:
    data = to_data(config)
    for flag, value in settings.items():
        *parts, name = flag.split(".")
        part = data
        for each in parts:
            part = part[each]
        part[name] = value
    return from_data(data, Config, source="the advised settings")


def commands(asked: Asked, config: Config, findings: Sequence[Finding]) -> list[str]:
    """Return the commands that put the advice into practice."""
    data, lines = str(asked.data), []
    folders: dict[Path, list[str]] = {}
    for name in dict.fromkeys(name for each in findings for name in each.unfit):
        folders.setdefault(Path(name).parent, []).append(name)
    for folder, names in folders.items():
        aside = Path(f"{asked.data}-left-out") / folder.relative_to(asked.data)
        lines.append(shlex.join(["mkdir", "-p", str(aside)]))
        lines.append(shlex.join(["mv", "-n", *names, str(aside)]))
    videos = asked.without_path(config)
    if any(each.subject == "speed" for each in findings):
        data = f"{asked.data}-packed"
        size = _flags(asked.plain.data, videos, "--data.")
        pack = ["framefill", "pack", str(asked.data), "--out", data, "--recipe", asked.recipe]
        lines.append(shlex.join([*pack, *size]))
        done = {name: getattr(asked.plain.data, name) for name in IN_STORE}
        videos = replace(videos, **done)
    flags = _flags(asked.plain, replace(config, data=videos), "--")
    if needs_hands(findings):
        again = ["framefill", "doctor", data, "--recipe", asked.recipe, "--out", "doctor-2"]
        return [*lines, shlex.join([*again, *flags])]
    name = asked.data.resolve().name.split(".")[0]
    run = ["framefill", "train", asked.recipe, "--data", data, "--out", f"{name}-run"]
    return [*lines, shlex.join([*run, *flags])]


def needs_hands(findings: Sequence[Finding]) -> bool:
    """Say whether something stops training that no command mends."""
    return any(each.weight == "stops" and not each.settings and not each.unfit for each in findings)


def _flags(old: object, new: object, start: str) -> list[str]:
    """Return the flags that make one configuration of another."""
    words = []
    for name in (each.name for each in fields(old)):  # type: ignore[arg-type]
        before, after = getattr(old, name), getattr(new, name)
        flag = f"{start}{name}"
        if before == after or (is_dataclass(after) and type(before) is not type(after)):
            continue
        if isinstance(after, tuple) and any(map(is_dataclass, after)):
            continue  # no flag can say that
        words += _flags(before, after, f"{flag}.") if is_dataclass(after) else _words(flag, after)
    return words


def _words(flag: str, value: object) -> list[str]:
    """Return a flag and its value as words of a command."""
    if isinstance(value, bool):
        start, dot, name = flag.removeprefix("--").rpartition(".")
        return [flag if value else f"--{start}{dot}no-{name}"]
    if isinstance(value, tuple):
        return [flag, *map(str, value)]
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


# What training would see -------------------------------------------------------------------------


def prepared(config: Config, gathered: Gathered, look: Look) -> tuple[Config, VideoClips]:
    """Return a configuration that is measured, on what is looked at, and its training clips.

    Raises:
        InputError: training would refuse the data.
    """
    data = cast(VideosConfig, config.data)
    if data.classes == ALL_CLASSES:
        names = {class_name(each) for each in gathered.found["train"]}
        data = replace(data, classes=tuple(sorted(names)))
        config = replace(config, data=data)
    frames, seed = config.masks.frames, config.seed
    clips = gathered.clips(data, "train", frames=frames, seed=seed)
    if config.log.sample_every:
        gathered.clips(data, "test", frames=frames, seed=seed)
    sample = looked_at(clips.footage, look, data.channels)
    normaliser = config.normaliser
    if config.scaling.measures(clips.footage):
        normaliser = config.scaling.normaliser(sample)
        if sum(each.length for each in sample) < sum(each.length for each in clips.footage):
            # What wasn't looked at may reach farther, which isn't to be refused here.
            normaliser = replace(normaliser, clip=True)
    conditions = measured_conditions(data.conditions, data.condition_dropout, sample)
    config = config.scaled(normaliser, conditions)
    normaliser.to_clip(clips[0])
    return config, clips


def sheet_rows(config: Config, clips: Clips) -> list[SheetRow]:
    """Return rows of what the network sees: clips in model range, and with their roles and noise.

    What is missing is hatched in magenta. Of other channels than 1 or 3 the first is shown.

    Args:
        config: Measured.
        clips: The training clips.
    """
    rows = []
    for number in range(SHEET_CLIPS):
        generator = generator_for(config.seed, STREAM_DOCTOR, number)
        clip = config.normaliser.to_clip(clips.clip(number)["frames"])[None]
        missing = clip[0].isnan().any(dim=1).numpy()
        roles = config.masks.sample(1, generator)
        known, roles, _ = without_gaps(clip, roles)
        level = config.diffusion.schedule.draw(999, generator).median()
        levels = config.loss.draw_levels(config.diffusion, roles, generator, level[None])
        noise = torch.randn(clip.shape, generator=generator)
        noisy = config.diffusion.noisy(known, noise, levels)
        canvas = compose(noisy, noisy, roles)
        limits, row = config.normaliser.limits, row_of(roles)
        shown = "" if clip.shape[2] in (1, 3) else ", channel 0"
        rows += [
            SheetRow(f"clip {number}{shown}", _picture(known[0], missing, limits), "R" * len(row)),
            SheetRow(f"with noise of level {level:.2g}", _picture(canvas[0], missing, limits), row),
        ]
    return rows


def _picture(
    frames: Float[torch.Tensor, "f c h w"],
    missing: Bool[np.ndarray, "f h w"],
    limits: tuple[float, float],
) -> UInt8[np.ndarray, "f h w 3"]:
    """Draw frames in model range, the ends of the range black and white."""
    shown = frames if frames.shape[1] == 3 else frames[:, :1].expand(-1, 3, -1, -1)
    share = ((shown - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
    pixels = (share * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy().copy()
    rows, columns = np.indices(missing.shape[1:])
    stripes = np.where(((rows + columns) // 2 % 2 == 0)[..., None], MAGENTA, PLUM)
    pixels[missing] = np.broadcast_to(stripes, pixels.shape)[missing]
    return pixels


# Speed -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Few:
    """A data set of clips that are in memory (`framefill.data.own.Dataset`)."""

    samples: list[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def clip(self, i: int) -> Sample:
        return self.samples[i]


def _in_memory(samples: list[Sample], config: Config) -> OwnClips:
    few = _Few(samples)
    own = OwnConfig.of(few)
    return OwnClips(few, own, frames=config.masks.frames, split="train", seed=config.seed)


def measure_speed(config: Config, clips: Clips, device: torch.device) -> Speed:
    """Measure how fast one process reads clips, and how fast training would use them.

    Args:
        config: Measured.
        clips: The training clips.
        device: To take a few steps on.
    """
    samples: list[Sample] = []
    started = time.perf_counter()
    while len(samples) < TRIED_CLIPS and time.perf_counter() - started < SPEED_SECONDS:
        samples.append(clips.clip(len(samples)))
    reading = len(samples) / max(time.perf_counter() - started, 1e-9)
    batch = config.optim.batch
    few = _in_memory(samples, config)
    one = _step_seconds(config, few, 1, device)
    measured, seconds = 1, one * batch
    if one * batch < SPEED_SECONDS:
        measured, seconds = batch, _step_seconds(config, few, batch, device)
    return Speed(
        device=str(device),
        clips_per_second=reading,
        step_seconds=seconds,
        measured_batch=measured,
        batch=batch,
    )


def _step_seconds(config: Config, clips: OwnClips, batch: int, device: torch.device) -> float:
    """Return the time of a step, after a first one; inf if the device's memory doesn't suffice."""
    optim = replace(config.optim, batch=batch, steps=config.optim.steps + 2)
    config = replace(config, optim=optim, workers=0)
    try:
        steps = train_steps(config, TrainState.start(config, device), clips)
        next(steps)
        started = time.perf_counter()
        next(steps)
    except torch.OutOfMemoryError:
        return math.inf
    return time.perf_counter() - started


def judge_speed(speed: Speed, asked: Asked, config: Config) -> Iterator[Finding]:
    """Say whether reading keeps up with training."""
    if math.isinf(speed.step_seconds):
        yield Finding(
            subject="memory",
            weight="stops",
            text=f"a batch of {speed.batch} clips doesn't fit into the memory of {speed.device}",
            settings={"optim.microbatch": max(1, speed.batch // 4)},
        )
        return
    reading = speed.clips_per_second * max(1, config.workers)
    if reading >= speed.needed:
        return
    workers = math.ceil(1.2 * speed.needed / speed.clips_per_second)
    processors = os.cpu_count() or 1
    text = (
        f"reading gives {reading:.1f} clips per second and training takes {speed.needed:.1f}: it "
        "would wait for data"
    )
    if workers < processors:
        yield Finding(subject="workers", weight="harms", text=text, settings={"workers": workers})
    elif asked.data.suffix == ".pack" or any(asked.data.glob("*.pack")):
        yield Finding(
            subject="workers", weight="note", text=text, settings={"workers": processors - 1}
        )
    else:
        yield Finding(
            subject="speed",
            weight="harms",
            text=f"{text}; {workers} processes would keep up and there are {processors} "
            "processors: decode all of it once (framefill pack)",
        )


# A single clip -----------------------------------------------------------------------------------


def overfit_clip(
    config: Config, clips: Clips, speed: Speed, minutes: float, device: torch.device
) -> Overfit:
    """Train on a single clip and fill frames of it: what can't learn that can't learn the data.

    Args:
        config: Measured.
        clips: The training clips; of the first few the one is taken that moves most.
        speed: Says how many steps there is time for.
        minutes: For training.
        device: To train on.
    """
    sample = max((clips.clip(number) for number in range(TRIED_CLIPS)), key=_motion)
    batch = min(OVERFIT_BATCH, config.optim.batch)
    second = speed.step_seconds * batch / speed.batch
    steps = round(min(max(60 * minutes / second, 1), MOST_STEPS))
    optim = replace(
        config.optim,
        steps=steps,
        batch=batch,
        microbatch=0,
        warmup=min(config.optim.warmup, steps // 10),
        decay=0.3,
        ema_power=16.7,  # an average of the last twentieth of the steps, however few they are
        more_ema=(),
        drop=1.0,
        drop_every=0,
        inverse_decay=0.0,
    )
    short = replace(config, optim=optim, workers=0)
    state, started = TrainState.start(short, device), time.monotonic()
    losses = []
    for report in train_steps(short, state, _in_memory([sample], short)):
        losses.append(report.loss)
        if time.monotonic() - started > 60 * minutes:
            break
    row = usual_row(config.masks, config.seed)
    psnr, baselines = _scores(short, Model(state.average, short.model()), sample, row, device)
    quarter = max(1, len(losses) // 4)
    first, last = np.mean(losses[quarter : 2 * quarter] or losses), np.mean(losses[-quarter:])
    found = Overfit(
        row=row,
        steps=len(losses),
        seconds=time.monotonic() - started,
        first_loss=float(first),
        last_loss=float(last),
        psnr=psnr,
        baselines=baselines,
        verdict="learned",
    )
    return replace(found, verdict=_verdict(found))


def _verdict(found: Overfit) -> Literal["learned", "too few steps", "not learned", "nothing moves"]:
    best = [math.inf if each is None else each for each in found.baselines.values()]
    if math.isinf(max(best)):
        return "nothing moves"
    if found.psnr is None or found.psnr > max(best):
        return "learned"
    falling = found.last_loss < 0.95 * found.first_loss
    return "too few steps" if falling or found.steps < FEW_STEPS else "not learned"


def usual_row(masks: Masks, seed: int) -> str:
    """Return the row that training shows most often among those with KNOWN and TARGET frames."""
    drawn = masks.sample(1000, generator_for(seed, STREAM_DOCTOR))
    rows = Counter(row_of(each[None]) for each in drawn)
    compared = {row: count for row, count in rows.items() if "K" in row and "T" in row}
    return max(compared or rows, key=lambda row: (rows[row], row))


def _motion(sample: Sample) -> float:
    """Return how much changes from frame to frame; clips with gaps come last."""
    frames = sample["frames"].astype(np.float64)
    if not np.isfinite(frames).all():
        return -1 / (1 + float(np.isfinite(frames).mean()))
    return float(abs(np.diff(frames, axis=0)).mean())


def _scores(
    config: Config, model: Model, sample: Sample, row: str, device: torch.device
) -> tuple[float | None, dict[str, float | None]]:
    """Return the PSNR of a row's targets as a model fills them, and as baselines do."""
    normaliser = config.normaliser
    clip = normaliser.to_clip(sample["frames"])[None]
    clip, roles, valid = without_gaps(clip, roles_from(row))
    label = sample.get("label")
    conditions = {
        each.name: in_model_range(
            each, torch.from_numpy(sample["conditions"][each.name])[None].float()
        )
        for each in config.conditions
    }
    told = Told(valid, None if label is None else torch.tensor([label]), conditions)
    filled = model.complete(
        clip.to(device),
        roles.to(device),
        [generator_for(config.seed, STREAM_DOCTOR, 1)],
        sampler=DpmSolver2M(steps=OVERFIT_EVALUATIONS),
        guidance=1.0,
        precision=config.precision,
        told=told.to(device),
    )
    truth = normaliser.to_frames(clip[0], np.dtype(np.float32))
    ways = {"model": normaliser.to_frames(filled[0], np.dtype(np.float32))}
    row = row_of(roles)  # in which frames that are missing aren't asked for
    given = [letter == "K" for letter in row]
    if any(given):
        ways |= {
            "copy last": copy_last(truth, row),
            "nearest": nearest_known(truth, row),
            "linear": linear_blend(truth, row),
        }
    # What learns nothing but the mean beats the others where frames have little in common.
    mean = truth[given or slice(None)].mean(axis=0)
    ways["mean of given frames"] = np.broadcast_to(mean, truth.shape)
    there = np.ones(truth.shape[:3], bool) if valid is None else valid[0, :, 0].numpy()
    there = there & np.array([letter == "T" for letter in row])[:, None, None]
    span = normaliser.high - normaliser.low
    scores = {name: _psnr(truth[there], frames[there], span) for name, frames in ways.items()}
    return scores.pop("model"), scores


def _psnr(
    truth: Shaped[np.ndarray, "n c"], frames: Shaped[np.ndarray, "n c"], span: float
) -> float | None:
    error = float((((truth.astype(np.float64) - frames) / span) ** 2).mean()) if truth.size else 0.0
    return -10 * math.log10(error) if error else None


# On the screen -----------------------------------------------------------------------------------


def print_report(report: Report, out: Path, console: Console) -> None:
    """Print what was found, the commands last."""
    console.print(_overview(report.facts))
    if report.facts.channels:
        console.print(_value_table(report.facts))
    if report.findings:
        _print_findings(report.findings, console)
    if report.speed is not None:
        console.print(_speed_line(report.speed), soft_wrap=True, highlight=False)
    if report.overfit is not None:
        _print_overfit(report.overfit, console)
    files = f"{out / 'report.json'}" + (
        f"; what the network sees: {out / 'sheet.png'}" if report.speed else ""
    )
    console.print(f"all facts: {files}", soft_wrap=True, highlight=False)
    first = "mend what stops training, then:" if needs_hands(report.findings) else "to train:"
    console.print(first, style="bold")
    for line in report.commands:
        console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)


def _overview(facts: Facts) -> Table:
    table = Table("what", "is there", title=facts.path, title_justify="left")
    videos = facts.videos
    count = ", ".join(f"{len(facts.of(part))} to {part}" for part in ("train", "test"))
    table.add_row("videos", f"{count}{f' ({facts.note})' if facts.note else ''}")
    if facts.benchmark:
        table.add_row("data set", facts.benchmark)
    table.add_row("formats", _counted(each.suffix for each in videos))
    if lengths := sorted(each.length for each in videos):
        middle = lengths[len(lengths) // 2]
        table.add_row(
            "frames", f"{sum(lengths):,}; per video {lengths[0]} / {middle} / {lengths[-1]}"
        )
    table.add_row("size", _counted("x".join(map(str, each.shape)) for each in videos))
    table.add_row("dtype", _counted(each.dtype for each in videos))
    table.add_row("rate", _counted("unknown" if e.fps is None else _rate(e.fps) for e in videos))
    if holes := sum(each.holes for each in videos):
        table.add_row("holes in time", f"{holes:,} frames")
    for part, classes in facts.classes.items():
        if classes:
            table.add_row(
                f"classes to {part}",
                ", ".join(f"{name} ({count})" for name, count in islice(classes.items(), 12)),
            )
    looked = [each for each in videos if each.looked]
    frames = sum(each.looked for each in looked)
    table.add_row(
        "looked at",
        f"{frames:,} of {sum(e.length for e in videos):,} frames, of {len(looked)} of "
        f"{len(videos)} videos; values of {facts.measured:,} frames",
    )
    return table


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values).most_common()
    shown = ", ".join(f"{value} ({count})" for value, count in counts[:6])
    return shown if len(counts) <= 6 else f"{shown} and {len(counts) - 6} more"


def _value_table(facts: Facts) -> Table:
    unit = f" [{facts.units}]" if facts.units else ""
    table = Table(title=f"values{unit}", title_justify="left")
    table.add_column("channel")
    for name in ("low", "high", "mean", "deviation", "missing", "infinite"):
        table.add_column(name, justify="right")
    for each in [*facts.channels, *facts.conditions][:40]:
        numbers = (each.low, each.high, each.mean, each.deviation)
        cells = ["" if number is None else f"{number:.5g}" for number in numbers]
        table.add_row(each.name, *cells, f"{each.missing:.2%}", str(each.infinite))
    return table


def _print_findings(findings: Sequence[Finding], console: Console) -> None:
    table = Table(title="findings", title_justify="left", show_lines=True)
    table.add_column("")
    table.add_column("about")
    table.add_column("what", overflow="fold")
    for each in findings:
        words = [
            word for name, value in each.settings.items() for word in _words(f"--{name}", value)
        ]
        text = Text(f"{each.text} -> {shlex.join(words)}" if words else each.text)
        table.add_row(each.weight, each.subject, text, style=COLORS[each.weight])
    console.print(table)
    used = {each.weight for each in findings}
    meant = "; ".join(f"{word}: {text}" for word, text in MEANINGS.items() if word in used)
    console.print(meant, style="dim", highlight=False)


def _speed_line(speed: Speed) -> str:
    if math.isinf(speed.step_seconds):
        return f"speed: {speed.clips_per_second:.1f} clips per second are read"
    return (
        f"speed: a step of {speed.batch} clips takes {speed.step_seconds:.2f} s on {speed.device}, "
        f"{speed.needed:.1f} clips per second; one process reads {speed.clips_per_second:.1f}"
    )


def _print_overfit(found: Overfit, console: Console) -> None:
    spent = f"a single clip, after {found.steps} steps in {found.seconds:.0f} s:"
    console.print(spent, highlight=False)
    table = Table(f"{found.row} filled by")
    table.add_column("PSNR", justify="right")
    for name, value in {"model": found.psnr, **found.baselines}.items():
        table.add_row(name, "exact" if value is None else f"{value:.2f}")
    console.print(table)
    says = {
        "learned": "the model can learn this clip",
        "too few steps": "not yet: give it more steps (--minutes), or a faster machine",
        "not learned": "the model doesn't learn this clip, and the loss doesn't fall any more: "
        "look at sheet.png, then at --optim.lr",
        "nothing moves": "nothing moves in this clip, so there is nothing to learn from it",
    }
    console.print(f"verdict: {says[found.verdict]}", style="bold", highlight=False)
