"""Which videos there are below a path, and which of them are for training and which for testing."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track

from framefill.data.benchmarks.entry import Benchmark
from framefill.data.benchmarks.registry import BENCHMARKS, recognised
from framefill.data.footage import Footage, Layout
from framefill.data.formats import IMAGES, SCANS, SUFFIXES, is_dicom, open_footage, suffix_of
from framefill.data.natural import natural
from framefill.data.sample import Split
from framefill.data.sidecar import SIDECAR, inside, with_sidecar
from framefill.data.video import BROKEN
from framefill.errors import InputError, suggestion

PARTS: tuple[Split, ...] = ("train", "test")
LAYOUT = "put the videos to learn from into its folder train and others, held out, into test"
MANY = 20  # videos, from which on a progress bar is shown


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where videos are, and how they are divided.

    Args:
        path: A file or a folder.
        layout: How arrays are to be understood.
        benchmark: Name of a published data set, "auto" to recognise one, or "none".
        split: Which of its ways to divide training from testing; "" for its own first.
        holdout: Share that is held out for testing where the data is not divided already.
        least: Frames that are held out of a single video if it has enough, for one clip at least.
    """

    path: Path
    layout: Layout
    benchmark: str
    split: str
    holdout: float
    least: int = 1

    def __post_init__(self) -> None:
        names = ("auto", "none", *BENCHMARKS)
        if self.benchmark not in names:
            near = suggestion(self.benchmark, names)
            raise InputError(
                f"no benchmark {self.benchmark!r}{near}; there are: {', '.join(names)}"
            )
        if not 0 <= self.holdout < 1:
            raise InputError(f"holdout {self.holdout} must be at least 0 and below 1")

    def footage(self, part: Split) -> tuple[list[Footage], str]:
        """Return the videos of a part, and a line about how they were found, or nothing.

        Raises:
            InputError: there are none, or one can't be read.
        """
        if not self.path.exists():
            raise InputError(f"{self.path} doesn't exist: check the path; {LAYOUT}")
        if (benchmark := self._benchmark()) is not None:
            split = self.split or benchmark.splits[0]
            found = benchmark.find(self.path, split, part, self.layout)
            return found, f"{benchmark.name}: {benchmark.note(self.path, split)}"
        if self.split:
            raise InputError(f"split {self.split!r} is for benchmarks, and {self.path} is none")
        if own := _parts(self.path):
            if part not in own:
                raise InputError(f"{self.path} has {min(own)} and no {part}: {LAYOUT}")
            return self.opened(own[part]), ""
        return self._held_out(self.opened([self.path]), part)

    def _benchmark(self) -> Benchmark | None:
        if self.benchmark == "none":
            return None
        return recognised(self.path) if self.benchmark == "auto" else BENCHMARKS[self.benchmark]

    def opened(self, roots: list[Path]) -> list[Footage]:
        """Open the videos at or below some paths.

        Raises:
            InputError: there are none, or one can't be opened.
        """
        paths = [path for root in roots for path in find_videos(root)]
        shown = _with_progress(paths) if len(paths) >= MANY else paths
        return [
            with_sidecar(each, self.layout)
            for path in shown
            for each in open_footage(path, inside(path, self.layout))
        ]

    def _held_out(self, footage: list[Footage], part: Split) -> tuple[list[Footage], str]:
        if not self.holdout:
            if part == "test":
                raise InputError(f"nothing of {self.path} is held out for testing: {LAYOUT}")
            return footage, ""
        if len(footage) > 1:
            kept = len(footage) - max(1, math.floor(self.holdout * len(footage)))
            chosen = footage[:kept] if part == "train" else footage[kept:]
            return (
                chosen,
                f"held out for testing: the last {len(footage) - kept} videos of {len(footage)}",
            )
        (only,) = footage
        held = max(1, math.floor(self.holdout * only.length))
        if only.length >= 2 * self.least:
            held = max(held, self.least)
        kept = only.length - held
        if kept < 1:
            raise InputError(f"{only.name} has 1 frame, of which nothing can be held out")
        chosen = [only.section(0, kept) if part == "train" else only.section(kept, only.length)]
        return (
            chosen,
            f"held out for testing: the last {only.length - kept} frames of {only.length}",
        )


def _with_progress(paths: list[Path]) -> Iterable[Path]:
    console = Console(stderr=True)
    return track(
        paths, "opening videos", console=console, disable=not console.is_terminal, transient=True
    )


def _parts(path: Path) -> dict[Split, list[Path]]:
    """Return what a folder says is for training and for testing: train/, train.nc, x-train.tar."""
    found: dict[Split, list[Path]] = {}
    if not path.is_dir() or suffix_of(path) in SUFFIXES:
        return found
    try:
        entries = sorted(path.iterdir(), key=natural)
    except OSError as error:
        raise InputError(
            f"{path} can't be listed ({error.strerror}): check its permissions"
        ) from error
    others: list[Path] = []
    for entry in entries:
        if entry.name.endswith(SIDECAR):
            continue
        file = entry.is_file() or suffix_of(entry) in SUFFIXES  # a store is a folder
        stem = entry.name.split(".")[0] if file else entry.name
        for part in PARTS:
            known = entry.is_dir() or suffix_of(entry) in SUFFIXES
            if known and (stem == part or stem.endswith(f"-{part}")):
                found.setdefault(part, []).append(entry)
                break
        else:
            if file and suffix_of(entry) in SUFFIXES and not entry.name.startswith("."):
                others.append(entry)
    named = [each for part in found.values() for each in part if not _is_plain_folder(each)]
    if named and others:
        raise InputError(
            f"{path} has {named[0].name}, which says what it is for, beside {others[0].name}, "
            f"which doesn't: {LAYOUT}"
        )
    return found


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and suffix_of(path) not in SUFFIXES


def find_videos(root: Path) -> list[Path]:
    """Return the videos at or below a path, frame2 before frame10; a folder of images is one.

    Raises:
        InputError: there are none, one folder holds images beside videos, or one can't be listed.
    """
    if root.is_file() or suffix_of(root) in SUFFIXES:
        return [root]
    found: list[Path] = []
    ahead = [root]  # no recursion: folders may be nested deeper than Python calls may
    while ahead:
        here, deeper = _listed(ahead.pop())
        found += here
        ahead += reversed(deeper)
    if found:
        return found
    raise InputError(
        f"{root} holds no videos: fill it with videos (.mp4 .avi .mkv .webm .mov .gif ...), arrays "
        f"(.npy .npz .nc .zarr .h5 .tif .dcm .nii ...) or folders of images ({' '.join(IMAGES)})"
    )


def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the videos and the folders in one folder, itself if it holds images."""
    try:
        entries = sorted(folder.iterdir(), key=natural)
        # Links could lead round in circles, or from train to test.
        own = [path for path in entries if not path.name.startswith(".") and not path.is_symlink()]
        files = [path for path in own if path.is_file() and not path.name.endswith(SIDECAR)]
        stores = [path for path in own if path.is_dir() and suffix_of(path) in SUFFIXES]
        folders = [path for path in own if path.is_dir() and path not in stores]
    except OSError as error:
        raise InputError(
            f"{folder} can't be listed ({error.strerror}): check its permissions, or take it out"
        ) from error
    images = [path for path in files if suffix_of(path) in IMAGES]
    videos = [path for path in files if suffix_of(path) in SUFFIXES and path not in images]
    slices = [path for path in videos if suffix_of(path) in (".dcm", ".dicom")]
    if slices:  # a folder of them is a series
        videos = [path for path in videos if path not in slices]
    links = [p for p in entries if p.is_symlink() and suffix_of(p) in IMAGES]
    if images and links:
        raise InputError(
            f"{folder} holds images ({images[0].name}) beside links to images ({links[0].name}): "
            "put copies in their place, or take them out"
        )
    if slices and (videos or images):
        other = (videos or images)[0]
        raise InputError(
            f"{folder} holds slices of a scan ({slices[0].name}) beside {other.name}: give the "
            "slices a folder of their own"
        )
    if images and videos:
        raise InputError(
            f"{folder} holds images ({images[0].name}) beside videos ({videos[0].name}): give the "
            f"images of each video a folder of their own"
        )
    if stacks := [path for path in images if _is_stack(path)]:
        if stacks != images:
            single = next(path for path in images if path not in stacks)
            raise InputError(
                f"{folder} holds stacks ({stacks[0].name} has several pages) beside single images "
                f"({single.name}): keep them apart, in folders of their own"
            )
        return [*stacks, *stores], folders
    bare = files and not videos and not images
    if images or slices or (bare and is_dicom(folder)):
        return [folder, *stores], folders
    return videos + stores, folders


def _is_stack(path: Path) -> bool:
    """Say whether a TIFF file has several pages; what can't be read is found out later."""
    if suffix_of(path) not in SCANS:
        return False
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except (*BROKEN, Image.DecompressionBombError):
        return False
