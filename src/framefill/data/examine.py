"""Facts about the user's videos: what is there, what is missing, what is there twice.

Nothing is judged here. What can't be opened or read is noted by name, and the rest goes on. Of
large data a sample is looked at: some stretches of frames of some videos.
"""

import math
import os
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import combinations, groupby
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Shaped
from PIL import Image

from framefill.data.benchmarks.registry import recognised
from framefill.data.clips import VideoClips, class_name
from framefill.data.clock import TOLERANCE, seconds, step_of
from framefill.data.collection import PARTS, Place, find_videos
from framefill.data.fitting import LUMA
from framefill.data.footage import Footage, Track
from framefill.data.formats import IMAGES, SUFFIXES, open_footage, suffix_of
from framefill.data.sample import Split
from framefill.data.sidecar import SIDECAR, with_sidecar
from framefill.data.statistics import Tally
from framefill.data.timeline import Rearranged, even, resampled
from framefill.data.video import BROKEN, first_line
from framefill.data.videos import VideosConfig
from framefill.errors import InputError

STRETCH = 16  # frames that are read one after another, so that still ones are noticed
CHUNK_BYTES = 2**27  # of frames that are read at once
MEASURED = 2**22  # values of a chunk of which moments are taken, unless all are asked for
TINT = 4  # levels by which the channels of gray videos differ, once they were compressed
THUMB = 16  # side of the small pictures by which frames are compared
NEAR = 0.5  # of the usual change from frame to frame: nearer frames have the same content
KEPT = 1024  # values of each channel that a stretch adds to those that quantiles are taken of
MOST_KEPT = 2_000_000
MOST_THUMBS, MOST_OF_ONE = 100_000, 4096  # of all training videos, and of one video
AT_ONCE = 256  # frames that are compared with all others at once
MARKS = 0.0005  # share of all values from which an outlying one may stand for missing ones


@dataclass(frozen=True)
class Refused:
    """A file or a video that can't be used, and why."""

    name: str
    reason: str


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


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What could be opened.

    Attributes:
        found: The videos to train and to test on, at their own rate.
        note: How they were divided, or nothing.
        benchmark: Name of the published data set that it is, or nothing.
        remarks: Why there is nothing to train or to test on.
        refused: What can't be opened.
        passed_over: Number of files that are no videos, by suffix.
    """

    found: dict[Split, list[Footage]]
    note: str
    benchmark: str
    remarks: dict[Split, str]
    refused: list[Refused]
    passed_over: dict[str, int]

    def clips(self, config: VideosConfig, part: Split, *, frames: int, seed: int) -> VideoClips:
        """Return the clips of a part; see `VideosConfig.clips`.

        Raises:
            InputError: the part has no videos, or as `VideoClips`.
        """
        if not self.found[part]:
            raise InputError(self.remarks.get(part, f"{config.path} has no videos to {part}"))
        rated = [at_rate(each, config.fps) for each in self.found[part]]
        return VideoClips(config, rated, self.note, frames=frames, split=part, seed=seed)


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is known of one video.

    Attributes:
        name: As in messages.
        part: "train" or "test".
        suffix: Of the file; "folder" of a folder of images.
        length: Frames, those that are missing on an even grid of the time stamps counted too.
        shape: Height, width and channels.
        dtype: Of the values.
        fps: Frames per second, or of the usual time step; None if nothing is known of times.
        holes: Places on the grid of the time stamps without a frame.
        irregular: The time stamps fit no even grid.
        looked: Frames that were looked at; all numbers below are of these.
        missing: Frames without any value.
        constant: Frames of one value in each channel.
        pairs: Neighbouring frames that could be compared.
        still: Pairs of equal frames.
        repeats: How often each frame comes in a row, where that is the same number throughout.
    """

    name: str
    part: Split
    suffix: str
    length: int
    shape: tuple[int, int, int]
    dtype: str
    fps: float | None
    holes: int
    irregular: bool
    looked: int = 0
    missing: int = 0
    constant: int = 0
    pairs: int = 0
    still: int = 0
    repeats: int = 1


@dataclass(frozen=True, kw_only=True)
class ValueFacts:
    """The values of one channel, or of one value of a condition, as far as they were looked at.

    Attributes:
        name: Of the channel or the condition.
        low: The smallest, in the data's units; None, like what follows, if all are missing.
        high: The largest.
        mean: Their mean.
        deviation: Their standard deviation.
        missing: Share that is missing.
        infinite: Number of infinite values.
        quantiles: Of the values above `low`, the 10 %, 50 % and 99.9 % points; None: there are
            hardly any.
        mark: A frequent value far from all others, which may stand for missing ones.
        mark_share: Its share.
    """

    name: str
    low: float | None
    high: float | None
    mean: float | None
    deviation: float | None
    missing: float
    infinite: int = 0
    quantiles: tuple[float, float, float] | None = None
    mark: float | None = None
    mark_share: float = 0.0


@dataclass(frozen=True)
class Shared:
    """A test video with frames that are in a training video too.

    Args:
        test: The test video.
        train: The training video.
        equal: Number of equal frames.
        near: Number of frames nearer to one of the other video than half a usual change.
        compared: Number of frames of the test video that were compared.
    """

    test: str
    train: str
    equal: int
    near: int
    compared: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the data; see the parts.

    Attributes:
        path: Where it is.
        benchmark: See `Gathered`, like the next four.
        note: How it is divided.
        remarks: Why there is nothing to train or to test on.
        refused: What can't be opened or read.
        passed_over: Files that are no videos.
        videos: All videos.
        units: Of the values.
        channels: Of the most common number of channels.
        same_channels: Pairs of channels that are equal everywhere, or nearly so in 8 bits.
        measured: Number of frames whose values these are of.
        conditions: The conditions asked for, each of their values; of maps, each of their channels.
        unused: Names of conditions that lie beside the videos and aren't asked for.
        classes: Number of videos of each class, for train and test; empty without classes.
        copies: Groups of videos with the same frames.
        shared: Test videos with frames of training videos.
        shared_times: Number of time stamps that are in training and in testing.
        look: What was looked at.
    """

    path: str
    benchmark: str
    note: str
    remarks: dict[Split, str]
    refused: list[Refused]
    passed_over: dict[str, int]
    videos: list[VideoFacts]
    units: str
    channels: list[ValueFacts]
    same_channels: list[tuple[int, int]]
    measured: int
    conditions: list[ValueFacts]
    unused: list[str]
    classes: dict[Split, dict[str, int]]
    copies: list[list[str]]
    shared: list[Shared]
    shared_times: int
    look: Look

    def of(self, part: Split) -> list[VideoFacts]:
        """Return the videos of a part."""
        return [each for each in self.videos if each.part == part]


def at_rate(footage: Footage, fps: float) -> Footage:
    """Return footage as training sees it: on its even grid, and at another rate if fps isn't 0."""
    return resampled(even(footage), fps) if fps else even(footage)


@dataclass(frozen=True, kw_only=True)
class _Patient(Place):
    """A place whose faulty files are noted and left out."""

    refused: dict[str, Refused]
    fps: float
    after: Callable[[Path], None]

    def _opened(self, roots: list[Path]) -> list[Footage]:
        found = []
        for path in (path for root in roots for path in self._paths(root)):
            self.after(path)
            try:
                opened = [
                    with_sidecar(each, self.layout) for each in open_footage(path, self.layout)
                ]
            except BROKEN as error:
                self._note(path, error)
                continue
            for each in opened:
                try:
                    at_rate(each, self.fps)
                    found.append(each)
                except InputError as error:
                    self._note(Path(each.name), error)
        if not found:
            raise InputError(f"{self.path} holds no video that can be opened")
        return found

    def _paths(self, root: Path) -> list[Path]:
        """Return the videos below a folder, also beside a folder that mixes things."""
        found, ahead = [], [root]
        while ahead:
            folder = ahead.pop()
            try:
                found += find_videos(folder)
                continue
            except InputError as error:
                if not str(error).startswith(f"{folder} holds no videos"):
                    self._note(folder, error)
            try:
                entries = sorted(each for each in folder.iterdir() if not _passed_over(each))
            except OSError:
                continue
            ahead += [each for each in entries if each.is_dir() and suffix_of(each) not in SUFFIXES]
            found += [each for each in entries if suffix_of(each) in SUFFIXES and not _image(each)]
        return found

    def _note(self, path: Path, error: Exception) -> None:
        # By what is said: the fault of a folder shows in those above it first, then in itself.
        reason = first_line(error)
        self.refused[reason] = Refused(str(path), reason)


def _passed_over(path: Path) -> bool:
    return path.name.startswith(".") or path.is_symlink()


def _image(path: Path) -> bool:
    return suffix_of(path) in IMAGES


def gather(config: VideosConfig, after: Callable[[Path], None] = lambda path: None) -> Gathered:
    """Open all videos of a configuration, and note those that can't be.

    Args:
        config: Where they are.
        after: Called with each path before it is opened.

    Raises:
        InputError: there is no such path, or it holds no videos.
    """
    if config.path is None or not config.path.exists():
        raise InputError(f"{config.path} doesn't exist: check the path")
    refused: dict[str, Refused] = {}
    place = _Patient(
        path=config.path,
        layout=config.layout,
        benchmark=config.benchmark,
        split=config.split,
        holdout=config.holdout,
        refused=refused,
        fps=config.fps,
        after=after,
    )
    plain = replace(place, benchmark="none", split="")
    remarks: dict[Split, str] = {}
    for attempt in (place, plain, replace(plain, holdout=0.0)):
        found, notes = _divided(attempt, remarks)
        if found["train"]:
            break
    if not refused and not any(found.values()):
        find_videos(config.path)  # says what there should be
        raise InputError(remarks["train"])
    known = recognised(config.path) if config.benchmark == "auto" else None
    name = "" if config.benchmark == "none" else known.name if known else config.benchmark
    return Gathered(
        found=found,
        note=next(filter(None, notes), ""),
        benchmark="" if name == "auto" else name,
        remarks=remarks,
        refused=list(refused.values()),
        passed_over=_others(config.path),
    )


def _divided(
    place: _Patient, remarks: dict[Split, str]
) -> tuple[dict[Split, list[Footage]], list[str]]:
    """Return the videos of both parts and how they were found; why not goes to `remarks`."""
    found: dict[Split, list[Footage]] = {}
    notes = []
    for part in PARTS:
        try:
            found[part], note = place.footage(part)
            notes.append(note)
        except InputError as error:
            found[part] = []
            remarks.setdefault(part, str(error))
    return found, notes


def _others(root: Path) -> dict[str, int]:
    """Count the files below a folder that are no videos, by suffix."""
    counts: Counter[str] = Counter()
    for here, folders, files in os.walk(root):
        folders[:] = [each for each in folders if not _known(each) and not each.startswith(".")]
        for name in files:
            path = Path(here, name)
            if path.is_symlink():
                counts["links"] += 1
            elif name.startswith("."):
                counts["hidden"] += 1
            elif not _known(name) and not name.endswith(SIDECAR):
                counts[path.suffix.lower() or "no suffix"] += 1
    return dict(counts.most_common())


def _known(name: str) -> bool:
    return suffix_of(Path(name)) in SUFFIXES


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


def examine(
    gathered: Gathered,
    config: VideosConfig,
    look: Look,
    after: Callable[[str], None] = lambda name: None,
) -> Facts:
    """Look at videos.

    Args:
        gathered: The videos.
        config: Names their conditions and classes.
        look: How much of them.
        after: Called with the name of each video before it is looked at.
    """
    refused = list(gathered.refused)
    videos: list[VideoFacts] = []
    seen: list[_Seen] = []
    values: dict[int, _Values] = {}
    conditions = {name: _Condition() for name in config.conditions}
    for part, footage in gathered.found.items():
        rated = [at_rate(each, config.fps) for each in footage]
        found, until = [_header(each, part) for each in rated], look.until(part)
        sights: dict[int, _Seen] = {}
        faulty = set()
        for number in look.of(footage, part):
            after(found[number].name)
            try:
                sights[number] = _look_at(rated[number], found[number], look, values, conditions)
            except BROKEN as error:
                refused.append(Refused(found[number].name, first_line(error)))
                faulty.add(number)
                continue
            found[number] = sights[number].facts
            if time.monotonic() > until:
                break
        videos += [each for number, each in enumerate(found) if number not in faulty]
        seen += [sights[number] for number in sorted(sights)]
    common = max(values, key=lambda c: values[c].tally.total, default=0)
    first = next((each for part in PARTS for each in gathered.found[part]), None)
    names = first.channels if first is not None and len(first.channels) == common else ()
    measured = values.get(common)
    return Facts(
        path=str(config.path),
        benchmark=gathered.benchmark,
        note=gathered.note,
        remarks=gathered.remarks,
        refused=refused,
        passed_over={} if gathered.benchmark else gathered.passed_over,
        videos=videos,
        units=first.units if first is not None else "",
        channels=measured.facts(names) if measured else [],
        same_channels=measured.same() if measured else [],
        measured=sum(each.frames for each in values.values()),
        conditions=[fact for name, each in conditions.items() for fact in each.facts(name)],
        unused=_unused(gathered, config),
        classes=_classes(gathered, config),
        copies=_copies(seen),
        shared=_shared(seen),
        shared_times=_shared_times(gathered),
        look=look,
    )


def _header(footage: Footage, part: Split) -> VideoFacts:
    """Return what is known of a video, on its even grid, without its frames."""
    times, rate, irregular = footage.times, footage.fps, False
    if times is not None and len(times) > 1:
        step = step_of(times)
        rate = rate or (1 / step if step > 0 else None)
        irregular = bool((abs(np.diff(seconds(times)) - step) > TOLERANCE * step).any())
    holes = 0 if footage.present is None else int((~footage.present).sum())
    return VideoFacts(
        name=footage.name,
        part=part,
        suffix=suffix_of(footage.path) or "folder",
        length=footage.length,
        shape=footage.shape,
        dtype=footage.stored.dtype if footage.stored else footage.dtype.name,
        fps=rate,
        holes=holes,
        irregular=irregular,
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was seen of a video, with what it is compared by.

    Args:
        facts: For the report.
        prints: Of each frame a number that equal frames share.
        told: Which frames have content: neither missing nor constant.
        thumbs: The frames with content, small.
        moves: Which of these are followed by the next frame of the video.
    """

    facts: VideoFacts
    prints: list[bytes]
    told: Bool[np.ndarray, " f"]
    thumbs: Float32[np.ndarray, "told p"]
    moves: list[int]

    @property
    def kind(self) -> tuple[int, str]:
        return self.facts.shape[2], self.facts.dtype


def _look_at(
    footage: Footage,
    facts: VideoFacts,
    look: Look,
    values: dict[int, "_Values"],
    conditions: dict[str, "_Condition"],
) -> _Seen:
    """Read the frames of a video that are looked at."""
    places = look.places(footage.length)
    prints: list[bytes] = []
    missing: list[bool] = []
    constant: list[bool] = []
    thumbs: list[Float32[np.ndarray, " p"]] = []
    measured = values.setdefault(footage.shape[2], _Values(footage.shape[2], look))
    most = max(1, CHUNK_BYTES // (math.prod(footage.shape) * footage.dtype.itemsize))
    for start in range(0, len(places), most):
        now = places[start : start + most]
        frames = footage.take(now)
        measured.add(frames)
        for name, condition in conditions.items():
            condition.add(footage.tracks[name], now)
        prints += [blake2b(frame.tobytes(), digest_size=12).digest() for frame in frames]
        for frame in frames:
            nothing, same = _empty(frame)
            missing.append(nothing)
            constant.append(same)
        thumbs += [_thumb(frame) for frame in frames]
    pairs = [
        i
        for i in range(len(places) - 1)
        if places[i + 1] == places[i] + 1 and not missing[i] and not missing[i + 1]
    ]
    told = ~np.array(missing) & ~np.array(constant)
    seen = replace(
        facts,
        looked=len(places),
        missing=sum(missing),
        constant=sum(constant),
        pairs=len(pairs),
        still=sum(prints[i] == prints[i + 1] for i in pairs),
        repeats=_repeats(places, prints),
    )
    number = np.cumsum(told) - 1  # of each frame among those with content
    moves = [
        int(number[i]) for i in pairs if told[i] and told[i + 1] and number[i + 1] < MOST_OF_ONE
    ]
    return _Seen(seen, prints, told, np.stack(thumbs)[told][:MOST_OF_ONE], moves)


def _empty(frame: Shaped[np.ndarray, "h w c"]) -> tuple[bool, bool]:
    """Say whether a frame is missing, and whether it has one value in each channel."""
    if frame.dtype.kind != "f":
        return False, bool((frame.min(axis=(0, 1)) == frame.max(axis=(0, 1))).all())
    there = ~np.isnan(frame)
    low = np.where(there, frame, np.inf).min(axis=(0, 1))
    high = np.where(there, frame, -np.inf).max(axis=(0, 1))
    return not there.any(), bool(there.any() and (low >= high).all())


def _thumb(frame: Shaped[np.ndarray, "h w c"]) -> Float32[np.ndarray, " p"]:
    """Return a small gray picture of a frame, of its first channel if it is no picture."""
    with np.errstate(all="ignore"):  # what is infinite is replaced
        # The luma is what compression changes least.
        mean = frame @ (np.array(LUMA) / sum(LUMA)) if frame.shape[2] == 3 else frame[..., 0]
        gray = mean.astype(np.float32)
    there = np.isfinite(gray)
    if not there.all():
        gray = np.where(there, gray, gray[there].mean() if there.any() else 0).astype(np.float32)
    small = Image.fromarray(gray).resize((THUMB, THUMB), Image.Resampling.BOX)
    return np.asarray(small, np.float32).reshape(-1)


def _repeats(places: Sequence[int], prints: Sequence[bytes]) -> int:
    """Return how often each frame comes in a row, where that is the same number throughout."""
    ends, inner = [1], []
    for _, group in groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        stretch = [prints[i] for i, _ in group]
        rows = [len(list(row)) for _, row in groupby(stretch)]
        inner += rows[1:-1]
        ends += [rows[0], rows[-1]]  # which the ends of a stretch may have cut short
    usual = min(inner, default=1)
    return usual if len(inner) > 1 and set(inner) == {usual} and max(ends) <= usual else 1


class _Values:
    """The values of frames that come part by part, channel by channel."""

    def __init__(self, channels: int, look: Look) -> None:
        self.look, self.rng = look, np.random.default_rng(look.seed)
        self.tally, self.infinite = Tally(channels), np.zeros(channels, np.int64)
        self.frames = 0
        self.pairs = list(combinations(range(channels), 2))
        self.gaps: dict[tuple[int, int], tuple[float, float]] = {}
        self.kept: list[Shaped[np.ndarray, "n c"]] = []
        self.share, self.bytes = 1.0, True

    def add(self, frames: Shaped[np.ndarray, "f h w c"]) -> None:
        """Take in some frames, of large ones a part."""
        if self.look.frames is not None and frames.size > MEASURED:
            frames = frames[:: -(-frames.size // MEASURED)]
            frames = frames[:, :: -(-frames.size // (MEASURED * len(frames)))]
        self.frames += len(frames)
        self.bytes &= frames.dtype == np.uint8
        if frames.dtype.kind == "f" and (infinite := np.isinf(frames)).any():
            self.infinite += infinite.sum(axis=(0, 1, 2))
            frames = np.where(infinite, np.nan, frames)
        self.tally.add(frames)
        self._compare(frames)
        flat = frames.reshape(-1, frames.shape[3])
        count = max(16, round(KEPT * self.share / frames.shape[3]))
        self.kept.append(flat[self.rng.integers(len(flat), size=count)].astype(np.float64))
        if sum(map(np.size, self.kept)) > MOST_KEPT:
            self.kept, self.share = [np.concatenate(self.kept)[::2]], self.share / 2

    def _compare(self, frames: Shaped[np.ndarray, "f h w c"]) -> None:
        """Drop the pairs of channels that differ here by more than an offset."""
        kept = []
        for pair in self.pairs:
            one, other = (frames[..., channel].astype(np.float64) for channel in pair)
            known = np.isnan(one) == np.isnan(other)
            gap = (one - other)[~np.isnan(one)]
            low, high = self.gaps.get(pair, (math.inf, -math.inf))
            low, high = min(low, gap.min(initial=low)), max(high, gap.max(initial=high))
            if known.all() and high - low <= (TINT if self.bytes else 0):
                self.gaps[pair] = low, high
                kept.append(pair)
        self.pairs = kept

    def facts(self, names: Sequence[str]) -> list[ValueFacts]:
        """Return what is known of each channel."""
        kept = np.concatenate(self.kept)
        found = []
        for number, plain in enumerate(_moments(self.tally)):
            known = kept[:, number][~np.isnan(kept[:, number])]
            mark, share = (None, 0.0) if self.bytes else _mark(known)
            infinite = int(self.infinite[number])
            fact = replace(
                plain,
                name=names[number] if names else f"channel {number}",
                infinite=infinite,
                missing=plain.missing - infinite * len(self.infinite) / max(self.tally.total, 1),
                quantiles=_quantiles(known),
                mark=mark,
                mark_share=share,
            )
            found.append(fact)
        return found

    def same(self) -> list[tuple[int, int]]:
        """Return the pairs of channels that are equal; of bytes, up to a tint."""
        near = TINT if self.bytes else 0
        return [pair for pair in self.pairs if max(map(abs, self.gaps[pair])) <= near]


def _moments(tally: Tally) -> list[ValueFacts]:
    total = tally.total / len(tally.count)
    found = []
    for number, count in enumerate(tally.count):
        there = count > 0
        found.append(
            ValueFacts(
                name="",
                low=float(tally.low[number]) if there else None,
                high=float(tally.high[number]) if there else None,
                mean=float(tally.mean[number]) if there else None,
                deviation=float(np.sqrt(tally.squares[number] / count)) if there else None,
                missing=1 - float(count) / total if total else 0.0,
            )
        )
    return found


def _quantiles(values: Shaped[np.ndarray, " n"]) -> tuple[float, float, float] | None:
    above = values[values > values.min()] if len(values) else values
    if len(above) < 100:
        return None
    small, middle, top = np.quantile(above, (0.1, 0.5, 0.999)).tolist()
    return small, middle, top


def _mark(values: Shaped[np.ndarray, " n"]) -> tuple[float | None, float]:
    """Return the smallest or the largest value if it is frequent and far from all others."""
    each, counts = np.unique(values, return_counts=True)
    if len(each) < 3:
        return None, 0.0
    for end, first, last in ((0, each[1], each[-1]), (-1, each[0], each[-2])):
        gap, rest = abs(each[end] - (first if end == 0 else last)), last - first
        share = counts[end] / counts.sum()
        if gap > 2 * rest and share >= MARKS and counts[end] > 1:
            return float(each[end]), float(share)
    return None, 0.0


class _Condition:
    """The values of a condition, stretch by stretch."""

    def __init__(self) -> None:
        self.tally: Tally | None = None

    def add(self, track: Track, places: Sequence[int]) -> None:
        """Take in the values that go with some frames."""
        read = track.reader(places)
        self.tally = self.tally or Tally(track.size)
        if track.size != len(self.tally.count):
            raise InputError(
                f"a condition has {track.size} values here and {len(self.tally.count)} elsewhere"
            )
        self.tally.add(np.where(np.isinf(read), np.nan, read))

    def facts(self, name: str) -> list[ValueFacts]:
        """Return what is known of each of its values."""
        found = _moments(self.tally) if self.tally else []
        numbered = [f"{name} {number}" for number in range(len(found))]
        return [
            replace(each, name=named if len(found) > 1 else name)
            for each, named in zip(found, numbered, strict=True)
        ]


def _unused(gathered: Gathered, config: VideosConfig) -> list[str]:
    """Return the names in the conditions' file beside the first video, those asked for left out."""
    for footage in (each for part in PARTS for each in gathered.found[part][:1]):
        path = footage.path.with_name(f"{footage.path.name.split('.')[0]}{SIDECAR}")
        if path.is_file():
            try:
                with zipfile.ZipFile(path) as archive:
                    names = [each[:-4] for each in archive.namelist() if each.endswith(".npy")]
            except BROKEN:
                return []
            return [name for name in names if name not in config.conditions]
    return []


def _classes(gathered: Gathered, config: VideosConfig) -> dict[Split, dict[str, int]]:
    everything = [each for footage in gathered.found.values() for each in footage]
    if not config.classes and not any(each.label for each in everything):
        return {}
    return {
        part: dict(Counter(map(class_name, footage)).most_common())
        for part, footage in gathered.found.items()
    }


def _copies(seen: Sequence[_Seen]) -> list[list[str]]:
    """Return groups of videos with the same frames; those without content are no copies."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for each in seen:
        if each.told.any():
            key = (each.facts.length, each.facts.shape, each.facts.dtype, *each.prints)
            groups.setdefault(key, []).append(f"{each.facts.part}: {each.facts.name}")
    return [names for names in groups.values() if len(names) > 1]


def _shared(seen: Sequence[_Seen]) -> list[Shared]:
    """Return the test videos with frames that are in a training video, or close to one of its."""
    train = [each for each in seen if each.facts.part == "train"]
    owner = {mark: each.facts.name for each in train for mark in _with_content(each)}
    found = []
    for each in seen:
        if each.facts.part != "test" or not each.told.any():
            continue
        equal = [owner[mark] for mark in _with_content(each) if mark in owner]
        near = _nearest(each, [other for other in train if other.kind == each.kind])
        if equal or len(near) > 1:
            name = Counter(equal or near).most_common(1)[0][0]
            many = max(len(equal), len(near))
            found.append(Shared(each.facts.name, name, len(equal), many, int(each.told.sum())))
    return found


def _with_content(seen: _Seen) -> list[bytes]:
    return [mark for mark, told in zip(seen.prints, seen.told, strict=True) if told]


def _nearest(seen: _Seen, train: Sequence[_Seen]) -> list[str]:
    """Return the training videos that frames are nearer to than half a usual change."""
    names = [each.facts.name for each in train for _ in each.thumbs][:MOST_THUMBS]
    if not names or not seen.moves:
        return []
    pool = np.concatenate([each.thumbs for each in train])[:MOST_THUMBS].astype(np.float64)
    # On a scale on which a few large values don't decide, which is nearly logarithmic.
    unit = abs(pool).mean() or 1.0
    pool, own = np.arcsinh(pool / unit), np.arcsinh(seen.thumbs / unit)
    changes = np.linalg.norm(own[seen.moves] - own[[i + 1 for i in seen.moves]], axis=1)
    if not changes.any():
        return []
    limit = NEAR * np.median(changes[changes > 0])
    squares, found = (pool**2).sum(axis=1), []
    for start in range(0, len(own), AT_ONCE):
        some = own[start : start + AT_ONCE]
        best = (squares - 2 * some @ pool.T).argmin(axis=1)
        distance = np.linalg.norm(some - pool[best], axis=1)
        found += [names[best[i]] for i in np.flatnonzero(distance < limit)]
    return found


def _shared_times(gathered: Gathered) -> int:
    """Return the number of time stamps that training and test have in common; they need dates."""
    stamps = []
    for part in PARTS:
        dated = [e.times for e in gathered.found[part] if e.times is not None]
        dated = [times for times in dated if times.dtype.kind == "M"]
        stamps.append(np.concatenate(dated) if dated else np.empty(0, "datetime64[ns]"))
    return len(np.intersect1d(stamps[0], stamps[1]))
