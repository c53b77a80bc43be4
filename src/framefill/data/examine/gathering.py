"""Opening the user's videos: what can't be opened is noted by name, and the rest goes on."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from framefill.data.benchmarks.registry import recognised
from framefill.data.clips import VideoClips
from framefill.data.collection import PARTS, Place, find_videos
from framefill.data.examine.facts import Refused
from framefill.data.footage import Footage
from framefill.data.formats import IMAGES, SUFFIXES, open_footage, suffix_of
from framefill.data.sample import Split
from framefill.data.sidecar import SIDECAR, inside, with_sidecar
from framefill.data.timeline import even, resampled
from framefill.data.video import BROKEN, first_line
from framefill.data.videos import VideosConfig
from framefill.errors import InputError


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


def at_rate(footage: Footage, fps: float) -> Footage:
    """Return footage as training sees it: on its even grid, and at another rate if fps isn't 0."""
    return resampled(even(footage), fps) if fps else even(footage)


@dataclass(frozen=True, kw_only=True)
class _Patient(Place):
    """A place whose faulty files are noted and left out."""

    refused: dict[str, Refused]
    fps: float
    after: Callable[[Path], None]

    def opened(self, roots: list[Path]) -> list[Footage]:
        """Return what can be opened of the videos at or below some paths."""
        found = []
        for path in (path for root in roots for path in self._paths(root)):
            self.after(path)
            try:
                layout = inside(path, self.layout)
                opened = [with_sidecar(each, self.layout) for each in open_footage(path, layout)]
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
