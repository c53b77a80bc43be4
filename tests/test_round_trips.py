"""Every format from file to file: read, train on it, fill, write back, compare value by value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import framefill as ff
from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.save import save
from framefill.data.video import Stored, Video
from framefill.nn.config import SpaceTimeConfig

FRAMES, HEIGHT, WIDTH = 24, 8, 12
START = np.datetime64("2026-03-01T06:00:00", "ns")
MINUTES = START + np.arange(FRAMES) * np.timedelta64(10, "m")
SECONDS = np.arange(FRAMES) * 0.25


def tiny() -> Config:
    """Two steps of a space-time network that is as small as can be."""
    return replace(
        ff.recipe("small-st"),
        network=SpaceTimeConfig(
            width=16,
            multipliers=(1, 2),
            blocks=1,
            attention=(),
            temporal_attention=(1,),
            head_width=16,
        ),
        optim=OptimConfig(steps=2, batch=2, lr=1e-3),
        log=LogConfig(sample_every=0),
    )


def field(dtype: str, channels: int = 1, *, gaps: bool = False) -> np.ndarray:
    """A field with the values that a dtype is used for; with gaps, some of it missing."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(FRAMES)[:, None, None, None] / 3 + np.arange(WIDTH)[:, None] / 2)
    waves = waves + rng.normal(0, 0.1, (FRAMES, HEIGHT, WIDTH, channels))
    low, high = {"uint8": (0, 255), "uint16": (300, 4000), "int16": (-1000, 900)}.get(
        dtype, (250.0, 310.0)
    )
    values = np.interp(waves, (-1.5, 1.5), (low, high))
    values = (np.rint(values) if dtype != "float32" else values).astype(dtype)
    if gaps:
        values = values.astype(np.float32)
        values[rng.random(values.shape[:3]) < 0.05] = np.nan
    return values


CASES = {
    ".nc": Video(field("float32", gaps=True), units="K", times=MINUTES),
    ".zarr": Video(field("float32", 2, gaps=True), units="K", times=MINUTES, channels=("a", "b")),
    ".h5": Video(field("float32", gaps=True), units="mm/h", times=MINUTES),
    ".hdf5": Video(field("uint16", gaps=True), units="counts", stored=Stored("uint16", 65535)),
    ".tif": Video(field("uint16"), fps=4.0),
    ".tiff": Video(field("float32", gaps=True), fps=4.0),
    ".dcm": Video(field("int16"), fps=4.0),
    ".nii": Video(field("int16"), fps=4.0),
    ".nii.gz": Video(field("float32", gaps=True), fps=4.0),
    ".npy": Video(field("float32", 3, gaps=True)),
    ".npz": Video(field("int16"), times=SECONDS),
    ".tfrecord": Video(field("uint8", 3)),
}


@pytest.mark.parametrize("suffix", CASES)
def test_from_a_file_to_a_file_of_the_same_format(suffix: str, tmp_path: Path) -> None:
    made, source, result = CASES[suffix], tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    save(source, made)
    read = ff.read(source)
    same(read, made)
    channels = made.frames.shape[3]
    config = tiny()
    data = replace(config.data, height=HEIGHT, width=WIDTH, channels=channels)
    model = ff.train(replace(config, data=data), data=source, out=tmp_path / "run", progress=False)
    assert model.config.normaliser.units == made.units
    filled = ff.Filler(model).predict(read, frames=4, steps=2)
    assert filled.frames.dtype == made.frames.dtype
    filled.save(result)
    back = ff.read(result)
    assert len(back.frames) == FRAMES + 4
    assert back.frames.dtype == made.frames.dtype
    assert np.array_equal(back.frames, filled.frames[0], equal_nan=made.frames.dtype.kind == "f")
    assert np.array_equal(
        back.frames[:FRAMES], made.frames, equal_nan=made.frames.dtype.kind == "f"
    )
    assert (back.units, back.channels) == (made.units, made.channels)
    if made.times is not None:
        assert back.times is not None
        step = made.times[1] - made.times[0]
        assert np.array_equal(back.times[:FRAMES], made.times)
        assert np.array_equal(np.diff(back.times), np.full(FRAMES + 3, step))
    if made.fps is not None:
        assert back.fps == pytest.approx(made.fps)


def same(read: Video, made: Video) -> None:
    """What was read is what was written."""
    assert read.frames.dtype == made.frames.dtype
    assert np.array_equal(read.frames, made.frames, equal_nan=made.frames.dtype.kind == "f")
    assert read.units == made.units
    assert read.stored == made.stored
    if made.times is not None:
        assert read.times is not None
        assert np.array_equal(read.times, made.times)


def test_lossless_pictures_come_back(tmp_path: Path) -> None:
    made = Video(field("uint8", 3), fps=5.0)
    save(tmp_path / "images", made)
    assert np.array_equal(ff.read(tmp_path / "images").frames, made.frames)
    gray = Video(field("uint8"), fps=5.0)
    save(tmp_path / "gray.gif", gray)
    back = ff.read(tmp_path / "gray.gif")
    assert np.array_equal(back.frames, np.repeat(gray.frames, 3, axis=3))
    assert back.fps == pytest.approx(5.0)


def test_padded_integers_stay_whole_numbers(tmp_path: Path) -> None:
    given = Video(field("uint8")[:12, :7, :9])
    padded = given.fit(height=HEIGHT, width=WIDTH, channels=1, how="pad")
    assert padded.stored is not None
    assert padded.stored.dtype == "uint8"
    np.save(tmp_path / "clip.npy", field("uint8"))
    config = tiny()
    data = replace(config.data, height=HEIGHT, width=WIDTH, channels=1)
    model = ff.train(
        replace(config, data=data), data=tmp_path / "clip.npy", out=tmp_path / "run", progress=False
    )
    filled = ff.Filler(model).predict(padded, frames=3, steps=2)
    assert np.isnan(filled.frames[:, :, 7:]).all()  # where there was never anything
    own = filled.frames[:, :, :7, :9]
    assert np.array_equal(own, np.rint(own))
    back = filled.cropped(7, 9, np.dtype(np.uint8))
    assert np.array_equal(back.frames[0, :12], given.frames)
