"""BAIR robot pushing: a robot arm that pushes things."""

import re
from pathlib import Path

from framefill.data.benchmarks.entry import Benchmark
from framefill.data.benchmarks.listing import (
    is_shard_folder,
    own_entries,
    shard_count,
    shard_videos,
)
from framefill.data.examples import record_offsets
from framefill.data.footage import Footage, Layout
from framefill.data.records import open_records
from framefill.data.sample import Split
from framefill.data.sidecar import with_sidecar
from framefill.errors import InputError

FOLDER = "softmotion30_44k"
NAME = re.compile(r"traj_\d+_to_\d+\.tfrecords?")
TRAIN, TEST = 43_264, 256  # trajectories
FRAMES = 30  # of each
GUIDE = """\
BAIR robot pushing (Ebert et al. 2017)

Get it   http://rail.eecs.berkeley.edu/datasets/bair_robot_pushing_dataset_v0.tar, about 30 GB
Licence  CC BY 4.0
Content  43,264 trajectories to train and 256 to test, 30 frames of 64x64 RGB each, two cameras,
         with the arm's action (4 numbers) and position (3) at each frame

On the disk, the tar file unpacked; the folder itself or the one above it:

  softmotion30_44k/
    train/traj_0_to_255.tfrecords ...
    test/traj_0_to_255.tfrecords

Needs    pip install 'framefill[tfrecord]'

MCVD's HDF5 files are read too: a folder whose name begins with BAIR (BAIR_h5), with
train/shard_0001.hdf5 and test/shard_0001.hdf5; they have no actions.

Camera   image_aux1, as in nearly all published results; --data.variables image_main for the other
Actions  --data.conditions action endeffector_pos

Splits   official   train/ and test/, used by all

Checked  that videos have 30 frames; how many trajectories there are
"""


def _recognise(path: Path) -> bool:
    return any(_files(path, part) for part in ("train", "test")) or _is_converted(path)


def _search(path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
    if not (files := _files(path, part)):
        videos = [each.footage for each in shard_videos(path / part)]
        return [with_sidecar(each, layout) for each in videos if each is not None]
    found = [footage for file in files for footage in open_records(file, layout)]
    for footage in found:
        if footage.length != FRAMES:
            raise InputError(
                f"{footage.name} has {footage.length} frames, and BAIR's have {FRAMES}: choose "
                "--data.benchmark none to take any"
            )
    return found


def _note(path: Path, split: str) -> str:
    train, test = (
        sum(len(record_offsets(file)) for file in _files(path, part)) or shard_count(path / part)
        for part in ("train", "test")
    )
    return f"{train:,} of {TRAIN:,} trajectories to train and {test} of {TEST} to test"


def _files(path: Path, part: str) -> list[Path]:
    base = path / FOLDER if (path / FOLDER).is_dir() else path
    return [each for each in own_entries(base / part) if NAME.fullmatch(each.name)]


def _is_converted(path: Path) -> bool:
    # MCVD's files of BAIR and of Cityscapes differ in the size of the frames at most.
    named = path.absolute().name.lower().startswith("bair")
    return named and any(is_shard_folder(path / part) for part in ("train", "test"))


BAIR = Benchmark(
    name="bair",
    summary="BAIR robot pushing: a robot arm among things; 64x64, RGB, 30 frames, actions",
    guide=GUIDE,
    splits=("official",),
    recognise=_recognise,
    search=_search,
    note=_note,
)
