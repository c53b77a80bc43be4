"""The published data sets that are known, by name."""

from pathlib import Path

from framefill.data.benchmarks.bair import BAIR
from framefill.data.benchmarks.cityscapes import CITYSCAPES
from framefill.data.benchmarks.entry import Benchmark
from framefill.data.benchmarks.kinetics600 import KINETICS600
from framefill.data.benchmarks.kth import KTH
from framefill.data.benchmarks.smmnist import SMMNIST
from framefill.data.benchmarks.ucf101 import UCF101

BENCHMARKS: dict[str, Benchmark] = {
    each.name: each for each in (SMMNIST, KTH, BAIR, CITYSCAPES, UCF101, KINETICS600)
}


def recognised(path: Path) -> Benchmark | None:
    """Return the data set that a path is, by files that no other has; None if it is none."""
    return next((each for each in BENCHMARKS.values() if each.recognise(path)), None)
