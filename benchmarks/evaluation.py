"""What the parts of an evaluation cost: two ways to do the same, in one run, and their ratio.

--device cuda computes fillings and features on a GPU; the rest is done on the processor as always.
Times are the median of several, in turns, so that what else the machine does falls on both.
"""

import argparse
import datetime
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from skimage.metrics import structural_similarity

from framefill.device import choose_device
from framefill.evaluation.job import Asked, prepare
from framefill.evaluation.provenance import machine
from framefill.evaluation.weights import WeightFiles
from framefill.fill import load
from framefill.metrics.backbones.i3d import I3d
from framefill.metrics.backbones.load import Backbone, load_backbone
from framefill.metrics.ensembles import crps
from framefill.metrics.frames import ssim
from framefill.model import Model
from framefill.protocols.registry import protocol
from framefill.settings import Settings


def compared(first: Callable[[], object], second: Callable[[], object], times: int) -> list[float]:
    """Return the median seconds of both, which take turns."""
    took: list[list[float]] = [[], []]
    for number in range(times + 1):
        for place, action in enumerate((first, second)):
            started = time.perf_counter()
            action()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:  # the first time warms up
                took[place].append(time.perf_counter() - started)
    return [statistics.median(each) for each in took]


def pairwise_crps(truth: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return CRPS by all pairs of samples, as its formula says."""
    k = samples.shape[1]
    away = np.abs(samples - truth[:, None]).mean(axis=(1, 3, 4, 5))
    pairs = sum(np.abs(samples[:, [i]] - samples) for i in range(k))
    return away - pairs.sum(axis=1).mean(axis=(2, 3, 4)) / (2 * k * (k - 1))


def scikit_ssim(truth: np.ndarray, frames: np.ndarray) -> list[float]:
    """Return the similarity of gray frames by scikit-image, one at a time."""
    return [
        structural_similarity(
            a[..., 0],
            b[..., 0],
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
        )
        for a, b in zip(truth, frames, strict=True)
    ]


def full_i3d(folder: str, device: torch.device, batch: int) -> Backbone:
    """Return the whole network, with weights that have learned nothing, read from a file."""
    torch.manual_seed(0)
    path = f"{folder}/i3d.pt"
    torch.save(I3d().state_dict(), path)
    return load_backbone("i3d", Path(path), device=device, batch=batch)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    device = choose_device(asked.device)
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, str, list[float]]] = []

    def add(what: str, one: str, other: str, *actions: Callable[[], object]) -> None:
        rows.append((what, one, other, compared(*actions, asked.times)))

    digits = load("digits").model
    model = Model(digits.network.to(device), digits.config)
    several, single = (
        prepare(
            model,
            Asked(
                protocol=protocol("digits-5-5"),
                source=None,
                data=None,
                clips=8,
                samples=4,
                fit="none",
                weights=WeightFiles(),
                settings=Settings(batch=batch, device=asked.device),
            ),
            lambda line: None,
        ).work
        for batch in (32, 4)
    )
    held = several.clips(range(8))
    pairs = [(place, sample) for place in range(8) for sample in range(4)]
    filled = several.filled(held, pairs).reshape(8, 4, *held.truth.shape[1:])
    add(
        "8 clips, 4 trajectories each (digits)",
        "filling them, 4 at once",
        "32 at once",
        lambda: single.filled(held, pairs),
        lambda: several.filled(held, pairs),
    )
    add(
        "the same",
        "filling them, 32 at once",
        "measuring them",
        lambda: several.filled(held, pairs),
        lambda: several.measures.of(held.truth, filled),
    )
    videos = rng.random((8, 16, 64, 64, 3), np.float32)
    with TemporaryDirectory() as folder:
        one, many = (full_i3d(folder, device, batch) for batch in (1, 8))
    count = 2 if device.type == "cpu" else 8
    add(
        f"features of I3D, {count} videos of 16 frames",
        "one at a time",
        f"{count} at once",
        lambda: one(videos[:count], data_range=1),
        lambda: many(videos[:count], data_range=1),
    )
    truth, samples = rng.random((1, 10, 64, 64, 1)), rng.random((1, 16, 10, 64, 64, 1))
    add(
        "CRPS of 16 samples, 10 frames of 64 x 64",
        "all pairs",
        "sorted",
        partial(pairwise_crps, truth, samples),
        partial(crps, truth, samples, data_range=1.0, fair=True),
    )
    np.testing.assert_allclose(
        pairwise_crps(truth, samples), crps(truth, samples, data_range=1.0), rtol=1e-9
    )
    add(
        "SSIM of 10 frames of 64 x 64",
        "scikit-image",
        "ours",
        partial(scikit_ssim, truth[0], samples[0, 0]),
        partial(ssim, truth[0], samples[0, 0], data_range=1.0),
    )
    print(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {machine(device)}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {asked.times}\n"
    )
    print("| what | one way | ms | the other | ms | ratio |\n|---|---|---|---|---|---|")
    for what, one_way, other_way, (slow, fast) in rows:
        print(
            f"| {what} | {one_way} | {1000 * slow:,.1f} | {other_way} | {1000 * fast:,.1f} | "
            f"{slow / fast:.2f} |"
        )


if __name__ == "__main__":
    main()
