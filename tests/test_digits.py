import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from framefill.batch import Batches
from framefill.config import OptimConfig
from framefill.data.digits import DigitsConfig, glyphs
from framefill.data.idx import read_images
from framefill.errors import InputError
from framefill.recipes import recipe

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
SMALL = DigitsConfig(size=32, glyph=12, speed=2)


def write_idx(path: Path, images: np.ndarray, *, count: int | None = None) -> None:
    header = struct.pack(">IIII", 0x803, count or len(images), *images.shape[1:])
    data = header + images.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_a_clip_is_a_function_of_seed_split_and_number() -> None:
    clips = SMALL.clips(frames=5, split="train", seed=3)
    again = SMALL.clips(frames=5, split="train", seed=3)
    assert np.array_equal(clips[7], again[7])
    others = (clips[8], SMALL.clips(frames=5, split="train", seed=4)[7])
    test = SMALL.clips(frames=5, split="test", seed=3)[7]
    assert all(not np.array_equal(clips[7], other) for other in (*others, test))
    assert clips[2**40].shape == (5, 32, 32, 1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(10, 40),
    st.integers(1, 4),
    st.sampled_from(["stochastic", "reflect"]),
)
def test_digits_stay_inside_and_move_no_faster_than_said(
    number: int, size: int, speed: int, bounce: str
) -> None:
    config = DigitsConfig(size=size, glyph=size // 2, speed=speed, digits=1, bounce=bounce)
    clips = config.clips(frames=20, split="train", seed=0)
    path = np.array(clips._path(np.random.default_rng(number)))
    assert path.min() >= 0
    assert path.max() <= size - config.glyph
    assert np.abs(np.diff(path, axis=0)).max() <= speed
    assert clips[number].max() > 0


def test_velocities_change_at_walls_alone() -> None:
    clips = DigitsConfig(size=64, glyph=8, speed=2, digits=1).clips(
        frames=30, split="train", seed=0
    )
    changes = 0
    for number in range(50):
        path = np.array(clips._path(np.random.default_rng(number)))
        steps = np.diff(path, axis=0)
        for frame in range(1, len(steps)):
            if (steps[frame] != steps[frame - 1]).any():
                changes += 1
                near = (path[frame - 1 : frame + 2] <= 2) | (
                    path[frame - 1 : frame + 2] >= 64 - 8 - 3
                )
                assert near.any()
    assert changes > 0


def test_train_and_test_share_no_handwriting() -> None:
    train, test = glyphs(None, 8, "train"), glyphs(None, 8, "test")
    assert len(train) == 1500
    assert len(test) == 297
    assert train.max() == 255


def test_workers_repeat_no_clip_and_change_nothing() -> None:
    clips = SMALL.clips(frames=3, split="train", seed=0)
    loaders = [
        DataLoader(Batches(clips, 4), sampler=range(6), batch_size=None, num_workers=workers)
        for workers in (0, 2)
    ]
    alone, shared = (
        np.concatenate([batch.frames.numpy() for batch in loader]) for loader in loaders
    )
    assert np.array_equal(alone, shared)
    assert len({clip.tobytes() for clip in shared}) == 24


def test_the_recipe_normalises_to_what_its_noise_levels_expect() -> None:
    config = recipe("digits")
    clips = config.data.clips(frames=config.masks.frames, split="train", seed=1)
    clip = config.normaliser.to_clip(np.stack([clips[i] for i in range(300)]))
    assert clip.mean().item() == pytest.approx(0, abs=0.02)
    assert clip.std().item() == pytest.approx(config.diffusion.data_std, rel=0.03)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"])
@pytest.mark.parametrize("folder", [".", "MNIST/raw"])
def test_mnist_files_are_found_and_read(tmp_path: Path, name: str, folder: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    write_idx(tmp_path / folder / name, images)
    assert np.array_equal(read_images(tmp_path / folder / name), images)
    clips = DigitsConfig(path=tmp_path).clips(frames=4, split="train", seed=0)
    assert clips[0].shape == (4, 64, 64, 1)
    assert len(clips.glyphs) == 5
    with pytest.raises(InputError, match="t10k-images"):
        DigitsConfig(path=tmp_path).clips(frames=4, split="test", seed=0)


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"the real MNIST files are not at {MNIST}")
def test_real_mnist_moves() -> None:
    clips = DigitsConfig(path=MNIST).clips(frames=10, split="test", seed=0)
    assert len(clips.glyphs) == 10_000
    assert clips[0].max() > 200


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    short, foreign, huge, cut = (tmp_path / name for name in ("short", "foreign", "huge", "cut.gz"))
    write_idx(short, images, count=3)
    foreign.write_bytes(b"not digits at all, but text")
    write_idx(huge, images, count=2**31)
    write_idx(cut, images)
    cut.write_bytes(cut.read_bytes()[:20])
    for path, said in (
        (short, "ends after"),
        (foreign, "not an IDX"),
        (huge, "announces"),
        (cut, "damaged"),
    ):
        with pytest.raises(InputError, match=said):
            read_images(path)
    with pytest.raises(InputError, match="no folder"):
        DigitsConfig(path=tmp_path / "nowhere").clips(frames=2, split="train", seed=0)


@pytest.mark.parametrize(
    "changes",
    [{"glyph": 32, "size": 32}, {"digits": 0}, {"speed": 0}, {"speed": 99}, {"size": 8}],
)
def test_impossible_digits_are_refused(changes) -> None:
    with pytest.raises(InputError):
        DigitsConfig(**changes)


def test_learning_rate_rises_and_falls() -> None:
    optim = OptimConfig(steps=100, lr=1.0, warmup=10, decay=0.5)
    assert [optim.lr_at(step) for step in (0, 5, 10, 50, 75, 100)] == [0, 0.5, 1, 1, 0.5, 0]
    assert OptimConfig(ema=0.9).ema_at(7) == 0.9
    assert OptimConfig(ema_power=1.0).ema_at(1) == 0
