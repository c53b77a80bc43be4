"""Stochastic Moving MNIST, which is made of digits while it is used."""

from pathlib import Path

from framefill.data.benchmarks.entry import Benchmark
from framefill.data.footage import Footage, Layout
from framefill.data.idx import find_images
from framefill.data.sample import Split
from framefill.errors import InputError

GUIDE = """\
Stochastic Moving MNIST (Denton and Fergus 2018)

There is nothing to get but the digits: two of them, 32 pixels high, move over 64x64 pixels and
bounce off the walls in random directions. Clips are made while they are used, without end.

Get it   MNIST's train-images-idx3-ubyte.gz and t10k-images-idx3-ubyte.gz, 12 MB, from
         http://yann.lecun.com/exdb/mnist/ or https://ossci-datasets.s3.amazonaws.com/mnist/
Licence  usually given as CC BY-SA 3.0

On the disk, gzipped or not; torchvision's folder (MNIST/raw/) is found too:

  mnist/
    train-images-idx3-ubyte.gz
    t10k-images-idx3-ubyte.gz

Use      framefill train smmnist-concat --data mnist/, and the other recipes for smmnist

Splits   official   digits of the 60,000 to train, of the 10,000 to test. MCVD tests with the first
                    256 of these alone
"""


def _recognise(path: Path) -> bool:
    try:
        return find_images(path, train=True).is_file()
    except InputError:
        return False


def _search(path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
    raise InputError(
        f"{path} holds digits, of which the recipes that begin with smmnist make videos: framefill "
        f"train smmnist-concat --data {path}"
    )


def _note(path: Path, split: str) -> str:
    there = [_recognise(path)]
    try:
        there.append(find_images(path, train=False).is_file())
    except InputError:
        there.append(False)
    words = [
        f"{what} digits" for what, found in zip(("train", "test"), there, strict=True) if found
    ]
    return " and ".join(words) or "no digits"


SMMNIST = Benchmark(
    name="smmnist",
    summary="Stochastic Moving MNIST: two digits that bounce; 64x64, gray, made on the fly",
    guide=GUIDE,
    splits=("official",),
    recognise=_recognise,
    search=_search,
    note=_note,
)
