"""Cityscapes: drives through cities, in snippets of 30 frames."""

import itertools
import os
import re
from dataclasses import replace
from pathlib import Path

from framefill.data.benchmarks.entry import Benchmark
from framefill.data.benchmarks.listing import (
    is_shard_folder,
    own_entries,
    shard_count,
    shard_videos,
)
from framefill.data.footage import Footage, Layout
from framefill.data.sample import Split
from framefill.data.sidecar import with_sidecar
from framefill.errors import InputError

FOLDER = "leftImg8bit_sequence"
NAME = re.compile(r"([a-z-]+)_(\d{6})_(\d{6})_leftImg8bit\.png")
SNIPPETS = {"train": 2975, "val": 500, "test": 1525}
FRAMES = 30
FPS = 17.0
GUIDE = """\
Cityscapes (Cordts et al. 2016), the sequences

Get it   https://www.cityscapes-dataset.com (with a login):
         leftImg8bit_sequence_trainvaltest.zip, 324 GB
Licence  its own, for research; it may not be passed on
Content  2,975 snippets to train, 500 to validate and 1,525 to test, 30 frames each, 17 frames per
         second, 2048x1024, RGB

On the disk, the zip file unpacked; the folder itself or the one above it:

  leftImg8bit_sequence/
    train/aachen/aachen_000000_000000_leftImg8bit.png ...
    val/lindau/...
    test/berlin/...

A snippet is 30 images of a city and a sequence with frame numbers that follow on each other. They
need not begin at 0, and a sequence may have several snippets.

MCVD's HDF5 files are read too: a folder whose name begins with Cityscapes (Cityscapes128_h5), with
train/shard_0001.hdf5, test/... and val/... MCVD cuts out the middle 1024x1024 and makes them
128x128 (Lanczos): --data.fit crop is close to that.

Splits   test   train/ to train, test/ to test (MCVD, on 256 of the snippets); the default
         val    train/ to train, val/ to test

Checked  that each snippet has its 30 frames; that no city is in both parts; how many snippets there
         are
"""


def _recognise(path: Path) -> bool:
    try:
        return any(_first(_base(path) / part) for part in SNIPPETS) or _is_converted(path)
    except (InputError, OSError):
        return False


def _search(path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
    from framefill.data.pictures import open_pictures

    folder = "train" if part == "train" else split
    if _is_converted(path):
        videos = [each.footage for each in shard_videos(path / folder)]
        return [with_sidecar(each, layout) for each in videos if each is not None]
    base = _base(path)
    both = {each.name for each in own_entries(base / "train")} & {
        each.name for each in own_entries(base / split)
    }
    if both:
        raise InputError(f"{base} has {sorted(both)[0]} in train and in {split}: fetch it again")
    found = []
    for paths in _snippets(base / folder):
        name = f"{paths[0]} and {FRAMES - 1} more"
        video = replace(open_pictures(paths, name, paths[0]), fps=FPS)
        found.append(with_sidecar(video, layout))
    return found


def _note(path: Path, split: str) -> str:
    folders = ("train", split)
    if _is_converted(path):
        counts = [shard_count(path / folder) for folder in folders]
    else:
        counts = [len(_snippets(_base(path) / folder)) for folder in folders]
    return " and ".join(
        f"{count:,} of {SNIPPETS[folder]:,} snippets of {folder}"
        for folder, count in zip(folders, counts, strict=True)
    )


def _base(path: Path) -> Path:
    return path / FOLDER if (path / FOLDER).is_dir() else path


def _snippets(folder: Path) -> list[list[Path]]:
    """Return the images of each snippet.

    Raises:
        InputError: some lack frames.
    """
    return [snippet for city in own_entries(folder) for snippet in _snippets_of(city)]


def _snippets_of(city: Path) -> list[list[Path]]:
    frames: dict[str, list[int]] = {}
    for name in _names(city):
        if (match := NAME.fullmatch(name)) and match[1] == city.name:
            frames.setdefault(match[2], []).append(int(match[3]))
    found: list[list[Path]] = []
    for sequence, numbers in sorted(frames.items()):
        numbers.sort()
        starts = [at for at in range(len(numbers)) if not at or numbers[at] > numbers[at - 1] + 1]
        for start, stop in itertools.pairwise([*starts, len(numbers)]):
            if (stop - start) % FRAMES:
                raise InputError(
                    f"{city} has {stop - start} frames in a row from {city.name}_{sequence}_"
                    f"{numbers[start]:06} on, and snippets have {FRAMES}: fetch them again, or "
                    "take them out"
                )
            paths = [
                city / f"{city.name}_{sequence}_{n:06}_leftImg8bit.png" for n in numbers[start:stop]
            ]
            found += [paths[at : at + FRAMES] for at in range(0, len(paths), FRAMES)]
    return found


def _names(city: Path) -> list[str]:
    """Return the names of a folder's files; links are left out."""
    if not city.is_dir():
        return []
    with os.scandir(city) as entries:  # says without another look what is a link
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


def _first(folder: Path) -> bool:
    return any(NAME.fullmatch(name) for city in own_entries(folder) for name in _names(city))


def _is_converted(path: Path) -> bool:
    # MCVD's files of BAIR and of Cityscapes differ in the size of the frames at most.
    named = path.absolute().name.lower().startswith("cityscapes")
    return named and any(is_shard_folder(path / part) for part in SNIPPETS)


CITYSCAPES = Benchmark(
    name="cityscapes",
    summary="Cityscapes: drives through cities; 2048x1024, RGB, 30 frames at 17 per second",
    guide=GUIDE,
    splits=("test", "val"),
    recognise=_recognise,
    search=_search,
    note=_note,
)
