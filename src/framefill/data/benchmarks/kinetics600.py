"""Kinetics-600: 600 actions from the web, ten seconds each."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

from framefill.data.benchmarks.entry import Benchmark
from framefill.data.benchmarks.listing import lines_of, open_films
from framefill.data.footage import Footage, Layout
from framefill.data.sample import Split
from framefill.errors import InputError

COLUMNS = ["label", "youtube_id", "time_start", "time_end", "split"]
LISTS = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}
ID = re.compile(r"[\w-]{11}", re.ASCII)
LABEL = re.compile(r"[^/\\\x00-\x1f]{1,100}")
TIME = re.compile(r"\d{1,6}")
GUIDE = """\
Kinetics-600 (Carreira et al. 2018)

Get it   https://storage.googleapis.com/deepmind-media/Datasets/kinetics600.tar.gz is the list; the
         videos are YouTube's, fetched one by one or from mirrors
Licence  the list is CC BY 4.0; the videos belong to those who made them
Content  some 480,000 clips of 10 seconds, of 600 classes; fewer each year, as videos vanish. Papers
         count what they had: 384 thousand to train and 29 thousand to test, for one

On the disk:

  kinetics600/
    train.csv val.csv test.csv     label,youtube_id,time_start,time_end,split; val: or validate.csv
    train/playing basketball/aaaaaaaaaaa_000003_000013.mp4     or without the folder of the class
    val/...
    test/...

Files are found by the lists: ID, start and end in whole seconds with six digits. All are decoded
once to count their frames; make them small before (frames of 64x64 need no more than 64 rows).

Splits   val    trains on train, tests on val, as most; the default
         test   trains on train, tests on test
Class    the label

Checked  that no clip is in both lists; how many clips of the lists there are
"""


class Clip(NamedTuple):
    """A line of a list: the class and the file's name."""

    label: str
    file: str


def _recognise(path: Path) -> bool:
    try:
        with (path / "train.csv").open(encoding="utf-8-sig") as file:
            return next(csv.reader([file.readline(1000)]), []) == COLUMNS
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _search(path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
    lists = _lists(path, split)
    found = [(_file(path, clip, split, part), clip.label or None) for clip in lists[part]]
    return open_films([(file, label) for file, label in found if file is not None], layout)


def _note(path: Path, split: str) -> str:
    counts = [
        f"{sum(_file(path, clip, split, part) is not None for clip in clips):,} of {len(clips):,} "
        f"clips to {part}"
        for part, clips in _lists(path, split).items()
    ]
    return " and ".join(counts)


def _lists(path: Path, split: str) -> dict[Split, list[Clip]]:
    """Return the clips of both lists of a split.

    Raises:
        InputError: a list is missing or damaged, or a clip is in both.
    """
    train, test = _clips(path, "train"), _clips(path, split)
    both = {clip.file for clip in train} & {clip.file for clip in test}
    if both:
        raise InputError(f"{path} has {min(both)} in the lists of train and {split}: fetch them")
    return {"train": train, "test": test}


def _clips(path: Path, name: str) -> list[Clip]:
    files = [path / f"{each}.csv" for each in LISTS[name]]
    file = next((each for each in files if each.is_file()), files[0])
    try:
        rows = list(csv.reader(lines_of(file)))
    except csv.Error as error:
        raise InputError(f"{file} can't be read as a list ({error}): fetch it again") from error
    if not rows or rows[0] != COLUMNS:
        raise InputError(f"{file} has other columns than {','.join(COLUMNS)}: fetch it again")
    return [_clip(row, file) for row in rows[1:]]


def _clip(row: list[str], file: Path) -> Clip:
    label, video, start, end, *_ = [*row, "", "", "", ""]
    strange = not ID.fullmatch(video) or not TIME.fullmatch(start) or not TIME.fullmatch(end)
    if strange or (label and not LABEL.fullmatch(label)) or label in (".", ".."):
        raise InputError(f"{file} has the line {','.join(row)[:120]!r}: fetch it again")
    return Clip(label, f"{video}_{int(start):06}_{int(end):06}.mp4")


def _file(path: Path, clip: Clip, split: str, part: Split) -> Path | None:
    """Return where a clip is; None if it is missing. Links are passed over."""
    for name in LISTS["train" if part == "train" else split]:
        for folder in (path / name / clip.label, path / name):
            file = folder / clip.file
            if file.is_file() and not (file.is_symlink() or folder.is_symlink()):
                return file
    return None


KINETICS600 = Benchmark(
    name="kinetics600",
    summary="Kinetics-600: 600 actions from the web; any size, RGB, classes",
    guide=GUIDE,
    splits=("val", "test"),
    recognise=_recognise,
    search=_search,
    note=_note,
)
