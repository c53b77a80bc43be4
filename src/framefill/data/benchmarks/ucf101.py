"""UCF-101: 101 actions from the web."""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from framefill.data.benchmarks.entry import Benchmark
from framefill.data.benchmarks.listing import (
    is_shard_folder,
    lines_of,
    open_films,
    own_entries,
    shard_videos,
)
from framefill.data.footage import Footage, Layout
from framefill.data.mcvd_shards import find_shards, number_in
from framefill.data.sample import Split
from framefill.data.sidecar import with_sidecar
from framefill.errors import InputError

VIDEOS, LISTS = "UCF-101", "ucfTrainTestlist"
SPLITS = ("3", "1", "2")
TRAIN_FILES = {"1": 9537, "2": 9586, "3": 9624}  # of 13,320
LINE = re.compile(r"(\w+)/(v_\w+_g\d\d_c\d\d\.avi)(?:\s+\d+)?")
GUIDE = """\
UCF-101 (Soomro, Zamir and Shah 2012)

Get it   https://www.crcv.ucf.edu/data/UCF101/UCF101.rar, 6.5 GB, and
         https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip
Licence  none stated; videos from YouTube, for research
Content  13,320 .avi files of 101 classes, 320x240, mostly 25 frames per second, RGB

On the disk, both unpacked:

  ucf101/
    UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi ...
    ucfTrainTestlist/trainlist01.txt testlist01.txt ... testlist03.txt

MCVD's HDF5 files (UCF101_h5/shard_0001.hdf5) are read too; they hold one split, 3 unless it was
chosen otherwise, 64x85 pixels, of which MCVD cuts out 64x64 (--data.fit crop), and classes as
numbers.

Splits   3   9,624 files to train, 3,696 to test (MCVD, which tests on every tenth); the default
         1   9,537 and 3,783
         2   9,586 and 3,734
Class    the folder's name, as the lists have it

Checked  that no file is in both lists; how many files of the lists there are. Folders and files
         whose names differ from the lists in case alone (HandstandPushups) are found.
"""


class Listed(NamedTuple):
    """The class of a file, and the file if it is there."""

    label: str
    path: Path | None


def _recognise(path: Path) -> bool:
    lists = (path / LISTS / "trainlist01.txt").is_file()
    return (lists and (path / VIDEOS).is_dir()) or is_shard_folder(path, "num_train", "num_test")


def _search(path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
    if not (path / VIDEOS).is_dir():
        return _of_shards(path, split, part, layout)
    listed = _listed(path, split)[part]
    return open_films([(each, label) for label, each in listed if each is not None], layout)


def _note(path: Path, split: str) -> str:
    if not (path / VIDEOS).is_dir():
        train, test = (_number(path, name) for name in ("num_train", "num_test"))
        return f"{train:,} videos to train and {test:,} to test"
    return " and ".join(
        f"{sum(each.path is not None for each in listed):,} of {len(listed):,} files to {part}"
        for part, listed in _listed(path, split).items()
    )


def _listed(path: Path, split: str) -> dict[Split, list[Listed]]:
    """Return the files of the two lists of a split.

    Raises:
        InputError: a list is missing or damaged, or a file is in both.
    """
    there = _files(path / VIDEOS)
    names: dict[Split, list[tuple[str, str]]] = {
        "train": _names(path / LISTS / f"trainlist0{split}.txt"),
        "test": _names(path / LISTS / f"testlist0{split}.txt"),
    }
    train, test = ({file.lower() for _, file in names[part]} for part in ("train", "test"))
    if train & test:
        raise InputError(
            f"{path / LISTS} has {min(train & test)} in both lists of split {split}: fetch it again"
        )
    return {
        part: [
            Listed(label, there.get((label.lower(), file.lower()))) for label, file in names[part]
        ]
        for part in names
    }


def _names(path: Path) -> list[tuple[str, str]]:
    """Return the classes and the names of a list's files."""
    matches = [(line, LINE.fullmatch(line)) for line in lines_of(path)]
    for line, match in matches:
        if match is None:
            raise InputError(f"{path} has the line {line[:80]!r}: Class/v_Class_g01_c01.avi is one")
    return [(match[1], match[2]) for _, match in matches if match is not None]


def _files(folder: Path) -> dict[tuple[str, str], Path]:
    """Return all files by class and name, in small letters."""
    return {
        (place.name.lower(), file.name.lower()): file
        for place in own_entries(folder)
        for file in own_entries(place)
    }


def _of_shards(path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
    train, test = _number(path, "num_train"), _number(path, "num_test")
    held = {files: name for name, files in TRAIN_FILES.items()}.get(train, SPLITS[0])
    if held != split:
        raise InputError(f"{path} holds split {held} by its numbers: choose --data.split {held}")
    videos = shard_videos(path)
    if len(videos) != train + test:
        raise InputError(
            f"{path} announces {train + test} videos and has {len(videos)}: complete it"
        )
    chosen = videos[:train] if part == "train" else videos[train:]
    found = [each.footage for each in chosen if each.footage is not None]
    return [replace(with_sidecar(each, layout), label=each.label) for each in found]


def _number(path: Path, name: str) -> int:
    number = number_in(find_shards(path)[0], name)
    if number is None or number < 0:
        raise InputError(f"{path} says nothing of {name}: make it anew")
    return number


UCF101 = Benchmark(
    name="ucf101",
    summary="UCF-101: 101 actions from the web; 320x240, RGB, classes",
    guide=GUIDE,
    splits=SPLITS,
    recognise=_recognise,
    search=_search,
    note=_note,
)
