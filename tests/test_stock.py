"""Commands about data, and the user's own data through the verbs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import framefill as ff
from framefill.cli import main
from framefill.config import LogConfig, OptimConfig
from framefill.data.benchmarks.registry import BENCHMARKS
from framefill.nn.config import SpaceTimeConfig

TINY = (
    *("--data.height", 8, "--data.width", 12, "--data.channels", 1),
    *("--network.width", 16, "--network.patch", 1, "--network.head-width", 16),
    *("--optim.steps", 4, "--optim.batch", 2, "--optim.lr", 0.01, "--optim.warmup", 0),
    *("--log.sample-every", 0),
)


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos with actions, whose frames are 8 x 12."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        for number in range(2):
            frames = rng.normal(280, 5, (14, 8, 12)).astype(np.float32)
            np.save(tmp_path / part / f"{number}.npy", frames)
            actions = rng.normal(size=(14, 3)).astype(np.float32)
            np.savez(tmp_path / part / f"{number}.conditions.npz", action=actions)
    return tmp_path


def test_published_data_sets_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data") == 0
    listed = capsys.readouterr().out
    for name, benchmark in BENCHMARKS.items():
        assert name in listed
        assert run("data", name, "--help") == 0
        assert capsys.readouterr().out.strip() == benchmark.guide.strip()
    assert run("data", "kht") == 2
    assert "did you mean 'kth'?" in capsys.readouterr().err


def test_a_copy_that_is_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "bair", tmp_path) == 2
    assert "isn't bair as it is published" in capsys.readouterr().err


def test_conditions_from_the_data_to_the_answer(folder: Path) -> None:
    run_folder, out = folder / "run", folder / "next.npz"
    assert run("train", "small-st", "--data", folder, "--out", run_folder, *TINY,
               "--data.conditions", "action") == 0  # fmt: skip
    np.savez(folder / "actions.npz", action=np.ones((17, 3), np.float32))
    words = ("predict", folder / "test" / "0.npy", "--frames", 3, "--model", run_folder)
    assert run(*words, "--steps", 2, "--conditions", folder / "actions.npz", "--out", out) == 0
    told = ff.read(out).frames
    assert told.shape == (17, 8, 12, 1)
    assert run(*words, "--steps", 2, "--out", folder / "own.npz") == 0  # those beside the video
    video = np.load(folder / "test" / "0.npy")
    actions = np.load(folder / "test" / "0.conditions.npz")["action"]
    own = ff.load(run_folder).predict(video, frames=3, steps=2, conditions={"action": actions})
    assert np.array_equal(ff.read(folder / "own.npz").frames, own.frames[0])
    assert not np.array_equal(told, own.frames[0])


def test_training_from_a_packed_store(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path_factory.mktemp("packed")
    assert run("pack", folder, "--out", folder / "store", *TINY[:6]) == 2
    assert "is inside the data" in capsys.readouterr().err
    assert run("pack", folder, "--out", place / "store", *TINY[:6]) == 0
    assert "framefill train" in capsys.readouterr().err
    for data, out in ((folder, "plain"), (place / "store", "packed")):
        words = ("train", "small-st", "--data", data, "--out", place / out, *TINY)
        assert run(*words, "--log.log-every", 1) == 0
    plain, packed = (
        [
            json.loads(line)["loss"]
            for line in (place / out / "metrics.jsonl").read_text("utf-8").splitlines()
        ]
        for out in ("plain", "packed")
    )
    assert len(plain) == 4
    assert plain == packed


def test_the_doctor_ends_with_a_command_that_trains(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("doctor", folder, "--out", folder / "checkup", *TINY[6:]) == 0
    said = capsys.readouterr().out
    assert (folder / "checkup" / "sheet.png").is_file()
    (command,) = [line for line in said.splitlines() if line.strip().startswith("framefill train")]
    assert "--data.height 8" in command
    assert "--data.width 12" in command


def test_padded_frames_come_back_in_their_own_size_and_units(tmp_path: Path) -> None:
    field = np.random.default_rng(0).normal(280, 5, (24, 7, 9)).astype(np.float32)
    field[3, 2:4, 2:4] = np.nan
    times = np.datetime64("2026-03-01", "ns") + np.delete(np.arange(25), 12) * np.timedelta64(
        1, "h"
    )
    coords = {"time": times, "lat": np.arange(7.0), "lon": np.arange(9.0)}
    array = xr.DataArray(field, coords, ("time", "lat", "lon"), attrs={"units": "K"})
    array.to_dataset(name="t2m").to_netcdf(tmp_path / "field.nc")
    pad = ("--data.height", 8, "--data.width", 12, "--data.channels", 1, "--data.fit", "pad")
    words = ("train", "small-st", "--data", tmp_path / "field.nc", "--out", tmp_path / "run")
    assert run(*words, *pad, *TINY[6:]) == 0
    out = tmp_path / "filled.nc"
    words = ("fill", tmp_path / "field.nc", "--fit", "pad", "--model", tmp_path / "run")
    assert run(*words, "--steps", 2, "--out", out) == 0
    filled = xr.open_dataset(out)
    assert filled.t2m.shape == (25, 7, 9)
    assert filled.t2m.attrs["units"] == "K"
    given = np.isin(filled.time.values, times)
    assert np.array_equal(filled.t2m.values[given], field, equal_nan=True)
    assert np.isfinite(filled.t2m.values[~given]).all()
    assert np.array_equal(np.diff(filled.time.values), np.full(24, np.timedelta64(1, "h")))


def test_a_class_may_be_left_out_if_training_hid_it(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        for name in ("dark", "bright"):
            frames = np.full((12, 8, 12, 1), 40 if name == "dark" else 200, np.uint8)
            frames[:, 2:5] += np.arange(12, dtype=np.uint8)[:, None, None, None]
            np.save(tmp_path / part / f"{name}_0.npy", frames)
    config = ff.recipe("small-st")
    network = SpaceTimeConfig(
        width=16,
        multipliers=(1, 2),
        blocks=1,
        attention=(),
        temporal_attention=(1,),
        head_width=16,
        classes=2,
    )
    data = replace(
        config.data, path=tmp_path, height=8, width=12, channels=1, classes=("bright", "dark")
    )
    config = replace(
        config,
        data=data,
        network=network,
        optim=OptimConfig(steps=40, batch=4, lr=1e-2, warmup=0, ema=0.5),
        log=LogConfig(sample_every=0),
    )
    filler = ff.Filler(ff.train(config, out=tmp_path / "run", progress=False))
    free = filler.generate(frames=10, steps=2).frames
    dark = filler.generate(frames=10, steps=2, label="dark").frames
    assert not np.array_equal(free, dark)
    strict = replace(network, class_dropout=0.0)
    config = replace(config, network=strict)
    filler = ff.Filler(ff.train(config, out=tmp_path / "strict", progress=False))
    with pytest.raises(ff.InputError, match="give a label out of bright, dark"):
        filler.generate(frames=10, steps=2)
