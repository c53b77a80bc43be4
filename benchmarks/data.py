"""How fast training clips come from each kind of store, and how long a training waits for them.

`python benchmarks/data.py` writes the same videos as films, images, HDF5 files and a packed store,
into a temporary folder, and draws clips from each with 0 workers and with 2. Then it trains two
recipes for a few steps and takes the time that the training stands still until its next batch is
there. Nothing is asserted: what is printed is true of one machine.
"""

import argparse
import datetime
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import av
import h5py
import numpy as np
import torch
from PIL import Image

from framefill.batch import Batch
from framefill.config import Clips, Config, OptimConfig
from framefill.data.clips import fitted
from framefill.data.digits import DigitsConfig
from framefill.data.films import open_film
from framefill.data.footage import Footage
from framefill.data.pack_write import pack
from framefill.data.timeline import even
from framefill.data.video import Video
from framefill.data.videos import VideosConfig
from framefill.masks import RandomMasks
from framefill.recipes import recipe
from framefill.training import TrainState, batches, train_steps
from framefill.training import steps as steps_module
from framefill.training.ranks import Ranks

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "clips"
FRAMES, SIDE, BATCH = 16, 64, 8  # of the clips
LONGEST = 150  # frames of a video that are used
SHORTEST = 40
WORKERS = 2
SIZE = VideosConfig(height=SIDE, width=SIDE, channels=3, fit="crop", holdout=0.0)


class Wait(NamedTuple):
    """What a few steps of a training took, in seconds.

    Args:
        first: Until the first batch was there, which includes the start of the workers.
        waiting: Until all later batches were there.
        whole: All later steps.
        steps: Number of those.
    """

    first: float
    waiting: float
    whole: float
    steps: int


def film(path: Path, frames: np.ndarray) -> None:
    """Write H.264 with a keyframe every 12 frames, FFmpeg's usual quality."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "12", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def made_films(folder: Path) -> list[Path]:
    """Write films of drifting noise, for where there are no real ones."""
    paths = []
    for number in range(8):
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        picture = np.asarray(coarse.resize((320, 240), Image.Resampling.BICUBIC))
        paths.append(folder / f"made{number}.mp4")
        film(paths[-1], np.stack([np.roll(picture, 2 * step, axis=1) for step in range(LONGEST)]))
    return paths


def sources(folder: Path) -> list[Footage]:
    """Return 8-bit color films without lost frames, real ones if there are any."""
    paths = sorted(REAL.glob("*.mp4")) if REAL.is_dir() else made_films(folder)
    found = [even(open_film(path)) for path in paths]
    return [
        each
        for each in found
        if each.dtype == np.uint8 and each.shape[2] == 3 and each.length >= SHORTEST
    ]


def small(footage: Footage) -> np.ndarray:
    """Return the first frames of a film, cropped and resized."""
    frames = footage.take(range(min(footage.length, LONGEST)))
    return fitted(Video(frames, source=footage.name), SIZE).frames


def write_stores(folder: Path) -> dict[str, Path]:
    """Write the same videos in every way that is compared; paths by what to call them."""
    films = sources(folder)
    names = ("recorded", "films", "images", "plain", "mcvd")
    places = {name: folder / name for name in names}
    for place in places.values():
        place.mkdir()
    with h5py.File(places["mcvd"] / "shard_0001.hdf5", "w") as shard:
        for number, each in enumerate(films):
            shutil.copy(each.path, places["recorded"])
            frames = small(each)
            film(places["films"] / f"{number}.mp4", frames)
            (places["images"] / str(number)).mkdir()
            for time_step, frame in enumerate(frames):
                Image.fromarray(frame).save(places["images"] / str(number) / f"{time_step:04}.png")
                shard[f"{number}/{time_step}"] = frame
            shard[f"len/{number}"] = len(frames)
            with h5py.File(places["plain"] / f"{number}.h5", "w") as file:
                file["frames"] = frames
    pack(replace(SIZE, path=places["plain"]), folder / "packed", splits=("train",))
    count, total = len(films), sum(min(each.length, LONGEST) for each in films)
    kind = "real" if REAL.is_dir() else "made"
    print(f"{count} {kind} videos, {total} frames; clips of {FRAMES} frames, batches of {BATCH}.\n")
    return {
        "MP4 as recorded": places["recorded"],
        f"MP4 of {SIDE}x{SIDE}": places["films"],
        "folders of PNG images": places["images"],
        "HDF5 in MCVD's layout, one array for each frame": places["mcvd"],
        "HDF5, one array for each video": places["plain"],
        "packed store": folder / "packed",
    }


def rate(path: Path, workers: int, seconds: float) -> float:
    """Return clips per second, as a training would get them if its steps took no time."""
    config = replace(
        recipe("bair-ramvid"),
        data=replace(SIZE, path=path),
        masks=RandomMasks(frames=FRAMES, max_known=4),
        optim=OptimConfig(steps=10**6, batch=BATCH),
        workers=workers,
    )
    arriving = batches(config, config.clips("train"), 0)
    for _ in range(2 * WORKERS + 1):  # those that the workers prepare while they start
        next(arriving)
    started, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        next(arriving)
        count += BATCH
    return count / spent


def print_rates(stores: dict[str, Path], seconds: float) -> None:
    """Print a table of all stores."""
    print("| store | size | clips/s, 0 workers | clips/s, 2 workers | against MP4 as recorded |")
    print("|---|---|---|---|---|")
    slowest = 0.0
    for name, path in stores.items():
        rates = [rate(path, workers, seconds) for workers in (0, WORKERS)]
        slowest = slowest or rates[0]
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20
        ratio = rates[0] / slowest
        print(f"| {name} | {size:.1f} MiB | {rates[0]:,.0f} | {rates[1]:,.0f} | {ratio:.0f} x |")
    print()


def waited(config: Config, steps: int, warm: int) -> Wait:
    """Train a few steps and return how long they waited for their data.

    Args:
        config: Of the training.
        steps: How many are taken into account.
        warm: Steps before these, in which memory is allocated and workers start.
    """
    config = replace(config, optim=replace(config.optim, steps=warm + steps))
    waits: list[float] = []

    def timed(config: Config, clips: Clips, start: int, end: int, ranks: Ranks) -> Iterator[Batch]:
        arriving = batches(config, clips, start, end, ranks)
        for _ in range(start, end):
            asked = time.perf_counter()
            batch = next(arriving)
            waits.append(time.perf_counter() - asked)
            yield batch

    clips = config.clips("train")
    state = TrainState.start(config, torch.device("cpu"))
    with mock.patch.object(steps_module, "batches", timed):
        reports = train_steps(config, state, clips)
        for _ in range(warm):
            next(reports)
        started = time.perf_counter()
        for _ in range(steps):
            next(reports)
        whole = time.perf_counter() - started
    return Wait(waits[0], sum(waits[warm:]), whole, steps)


def packed_digits(folder: Path) -> VideosConfig:
    """Return a packed store of clips of the recipe's moving digits."""
    data = recipe("digits").data
    assert isinstance(data, DigitsConfig)
    clips = data.clips(frames=40, split="train", seed=0)
    (folder / "digits").mkdir()
    for number in range(200):
        np.save(folder / "digits" / f"{number}.npy", clips[number])
    size = VideosConfig(height=data.height, width=data.width, channels=1, holdout=0.0)
    pack(replace(size, path=folder / "digits"), folder / "packed-digits", splits=("train",))
    return replace(size, path=folder / "packed-digits")


def print_waits(folder: Path, stores: dict[str, Path], steps: int, large_steps: int) -> None:
    """Print how long trainings wait."""
    print("| recipe | data | step | waiting in a step | share | first batch |")
    print("|---|---|---|---|---|---|")
    digits, large = recipe("digits"), recipe("bair-ramvid")
    packed = replace(digits, data=packed_digits(folder))
    runs = [
        ("digits", f"{where}, {workers} workers", replace(config, workers=workers), steps, 3)
        for where, config in (("made on the fly", digits), ("packed store", packed))
        for workers in (0, WORKERS)
    ]
    if large_steps:
        # Its batch of 32 clips of 20 frames takes an hour on two cores; the network is whole.
        config = replace(
            large,
            data=replace(SIZE, path=stores["packed store"]),
            masks=RandomMasks(frames=8, max_known=4),
            optim=replace(large.optim, batch=1),
            workers=WORKERS,
        )
        name, where = "bair-ramvid, 1 clip of 8 frames", f"packed store, {WORKERS} workers"
        runs.append((name, where, config, large_steps, 1))
    for name, where, config, count, warm in runs:
        wait = waited(config, count, warm)
        step, waiting = wait.whole / count, wait.waiting / count
        print(
            f"| {name} | {where} | {step:.3g} s | {1000 * waiting:.2f} ms | "
            f"{wait.waiting / wait.whole:.2%} | {wait.first:.2f} s |",
            flush=True,
        )


def processor() -> str:
    """Return the name of the processor, as far as the system tells."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each rate")
    parser.add_argument("--steps", type=int, default=100, help="of the recipe digits")
    parser.add_argument("--large-steps", type=int, default=2, help="of bair-ramvid; 0: leave out")
    asked = parser.parse_args()
    print(
        f"{datetime.date.today()}, {processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads; files in the page cache.\n"
    )
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, FRAMEFILL_CACHE=name):
        stores = write_stores(Path(name))
        print_rates(stores, asked.seconds)
        print_waits(Path(name), stores, asked.steps, asked.large_steps)


if __name__ == "__main__":
    main()
