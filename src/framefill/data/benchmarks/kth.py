"""KTH Actions: 25 persons, 6 actions, 4 scenes."""

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
    shard_count,
    shard_videos,
)
from framefill.data.footage import Footage, Layout
from framefill.data.sample import Split
from framefill.data.sidecar import with_sidecar
from framefill.errors import InputError

ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
PERSONS = range(1, 26)
FILES = 599  # of 25 x 6 x 4: person13_handclapping_d3 doesn't exist
TEST_PERSONS = {
    "svg": frozenset(range(21, 26)),
    "predrnn": frozenset(range(17, 26)),
    "official": frozenset((22, 2, 3, 5, 6, 7, 8, 9, 10)),
}
NAME = re.compile(rf"(person(\d\d)_({'|'.join(ACTIONS)})_d[1-4])_uncomp\.avi")
SEQUENCES = "00sequences.txt"
LINE = re.compile(r"(person\d\d_[a-z]+_d\d)\s+frames\s+(\d[\d\s,-]*)")
RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")
GUIDE = """\
KTH Actions (Schuldt, Laptev and Caputo 2004)

Get it   https://www.csc.kth.se/cvap/actions/ : walking.zip jogging.zip running.zip boxing.zip
         handwaving.zip handclapping.zip and 00sequences.txt, about 1.1 GB
Licence  free for research, with a citation; no formal licence
Content  599 .avi files, 160x120, 25 frames per second, gray

On the disk, the zip files unpacked:

  kth/
    00sequences.txt                        may be missing
    boxing/person01_boxing_d1_uncomp.avi   or raw/boxing/...
    handclapping/...
    ...

00sequences.txt says in which frames there is a person. Where it is there, each of its ranges is a
video of its own, of 24 to 362 frames: 106 of the 2,391 are shorter than 40 frames and 269 shorter
than 50, so not all of them have room for 10 + 30 or 10 + 40 frames. Without it each file is one
video, empty scenes included, as in MCVD's data.

MCVD's HDF5 files (KTH64_h5/shard_0001.hdf5) are read too; the .pkl files beside them are not.

Splits   svg        persons 1-20 to train, 21-25 to test (SVG, MCVD); the default
         predrnn    persons 1-16 to train, 17-25 to test (PredRNN, E3D-LSTM, OpenSTL)
         official   of the authors: persons 2, 3, 5-10 and 22 to test, the others, which they divide
                    into training and validation, to train
Class    the action

Checked  the names of the files; that ranges lie within them; how many of the 599 there are
"""


class File(NamedTuple):
    """A file, the number of its person, and what the list calls it."""

    path: Path
    person: int
    action: str
    name: str


def _recognise(path: Path) -> bool:
    try:
        return bool(_files(path)) or is_shard_folder(path, "person", "target")
    except InputError:
        return False


def _search(path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
    if not (files := _files(path)):
        return _of_shards(path, split, part, layout)
    ranges = _ranges(path / SEQUENCES) if (path / SEQUENCES).is_file() else None
    chosen = [each for each in files if _part_of(each.person, split) == part]
    videos = open_films([(each.path, each.action) for each in chosen], layout)
    if ranges is None:
        return videos
    return [
        _section(video, start, stop)
        for each, video in zip(chosen, videos, strict=True)
        for start, stop in _ranges_of(each, ranges)
    ]


def _note(path: Path, split: str) -> str:
    if files := _files(path):
        persons = {each.person for each in files}
        train = sum(_part_of(person, split) == "train" for person in persons)
        return (
            f"{len(files)} of {FILES} files, {train} persons to train and {len(persons) - train} "
            f"to test, {'with' if (path / SEQUENCES).is_file() else 'without'} {SEQUENCES}"
        )
    return f"{shard_count(path)} of {FILES} videos"


def _files(path: Path) -> list[File]:
    """Return the files of a folder, of its raw/, or of their folders for actions."""
    for base in (path, path / "raw"):
        folders = [base, *(base / action for action in ACTIONS)]
        found = [each for folder in folders for each in own_entries(folder)]
        named = [(each, NAME.fullmatch(each.name)) for each in found]
        files = [File(each, int(name[2]), name[3], name[1]) for each, name in named if name]
        if files:
            return [each for each in files if each.person in PERSONS]
    return []


def _part_of(person: int, split: str) -> Split:
    return "test" if person in TEST_PERSONS[split] else "train"


def _ranges(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Return the first frame of each range, counted from 0, and the one behind it."""
    found: dict[str, list[tuple[int, int]]] = {}
    for line in lines_of(path):
        if match := LINE.fullmatch(line):
            pairs = [RANGE.fullmatch(each.strip()) for each in match[2].strip(" ,").split(",")]
            if None in pairs:
                raise InputError(f"{path} has the line {line[:120]!r}, of no ranges: mend it")
            found[match[1]] = [(int(pair[1]) - 1, int(pair[2])) for pair in pairs if pair]
    if not found:
        raise InputError(f"{path} has no lines such as person01_boxing_d1 frames 1-95, 96-185")
    return found


def _ranges_of(file: File, ranges: dict[str, list[tuple[int, int]]]) -> list[tuple[int, int]]:
    if file.name not in ranges:
        raise InputError(f"{file.path} is not in {SEQUENCES}: take it out, or take out the list")
    return ranges[file.name]


def _section(video: Footage, start: int, stop: int) -> Footage:
    if not 0 <= start < stop <= video.length:
        raise InputError(
            f"{video.name} has {video.length} frames and {SEQUENCES} says {start + 1}-{stop}: "
            "fetch it again, or take out the list, and each file is one video"
        )
    return video.section(start, stop)


def _of_shards(path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
    found: list[Footage] = []
    for footage, person, target in shard_videos(path):
        if person is None or person not in PERSONS or target is None or target >= len(ACTIONS):
            raise InputError(
                f"{path} has a video of person {person}, action {target}: make it anew"
            )
        if footage is not None and _part_of(person, split) == part:
            found.append(replace(with_sidecar(footage, layout), label=ACTIONS[target]))
    return found


KTH = Benchmark(
    name="kth",
    summary="KTH Actions: persons who walk, jog, run, box, wave or clap; 160x120, gray",
    guide=GUIDE,
    splits=tuple(TEST_PERSONS),
    recognise=_recognise,
    search=_search,
    note=_note,
)
