"""Training: learns, resumes bit for bit, survives a kill, refuses what would lose a run."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_digits import write_idx

import framefill as ff
from framefill.checkpoint import checkpoints
from framefill.config import Config, LogConfig, OptimConfig, difference, read_config
from framefill.data.digits import DigitsConfig
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, RandomMasks
from framefill.nn.config import ConcatConfig, ContextConfig, VolumeConfig
from framefill.objective import MaskedLoss
from framefill.run import train
from framefill.sampling import Ddpm, DpmSolver2M
from framefill.schedule import TableSchedule
from framefill.serialise import to_data, write_json


def tiny(**changes) -> Config:
    settings = {
        "data": DigitsConfig(size=16, glyph=8, speed=1, digits=1),
        "masks": ContextMasks(past=2, target=1, future=1),
        "network": ContextConfig(
            width=8, multipliers=(1, 2), blocks=1, attention=(), head_width=None, dropout=0.2
        ),
        "optim": OptimConfig(steps=8, batch=4, lr=1e-3, warmup=2),
        "sampler": DpmSolver2M(steps=2),
        "log": LogConfig(log_every=1, sample_every=4, save_every=2),
    }
    return Config(**{**settings, **changes})


OFTEN = LogConfig(log_every=1, sample_every=0, save_every=2)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def same(first: Path, second: Path) -> bool:
    ours, theirs = weights(first), weights(second)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def log(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_folder_holds_what_it_promises(tmp_path: Path) -> None:
    run = tmp_path / "a" / "run"
    model = train(tiny(), out=run, name="tiny", progress=False)
    assert [entry["step"] for entry in log(run)] == list(range(1, 9))
    assert log(run)[0]["lr"] == 0
    assert all(np.isfinite(entry["loss"]) for entry in log(run))
    assert [path.name for path in checkpoints(run / "checkpoints")] == ["00000006", "00000008"]
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        f"0000000{step}{what}"
        for step in (4, 8)
        for what in ("-interpolate.mp4", "-predict.mp4", ".png")
    ]
    assert read_config(run / "config.json") == tiny()
    loaded = ff.load(run)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, loaded.model.network.state_dict()[name])
    card = (run / "model" / "README.md").read_text()
    assert "framefill train tiny" in card
    assert "8 of 8" in card


def test_weights_move_and_the_average_follows(tmp_path: Path) -> None:
    train(tiny(), out=tmp_path, progress=False)
    newest = checkpoints(tmp_path / "checkpoints")[-1]
    network, average = (load_file(newest / f"{n}.safetensors") for n in ("network", "average"))
    moved = [name for name in network if not torch.equal(network[name], average[name])]
    assert len(moved) == len(network)


def test_interrupted_and_resumed_is_the_same_as_in_one_go(tmp_path: Path) -> None:
    """Ctrl-C at any moment is heard when the step is over."""
    config = tiny(optim=OptimConfig(steps=60, batch=4, lr=1e-3, warmup=2), log=OFTEN)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(config, out=whole, progress=False)
    killer = threading.Thread(target=interrupt_after, args=(parts / "metrics.jsonl", 3))
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        train(config, out=parts, progress=False)
    killer.join()
    steps = len(log(parts))
    assert 3 <= steps < 60
    said: list[str] = []
    train(config, out=parts, progress=False, say=said.append)
    assert said == [f"going on at step {steps} of 60"]
    assert same(whole, parts)
    assert [e["loss"] for e in log(whole)] == [e["loss"] for e in log(parts)]


def interrupt_after(metrics: Path, steps: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if metrics.is_file() and metrics.read_text().count("\n") >= steps:
            break
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)


def start(run: Path, config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "framefill", "train", str(config), "--out", str(run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    """A real process, killed without warning at whatever it is doing."""
    config = tiny(optim=OptimConfig(steps=60, batch=4, lr=1e-3, warmup=2), log=OFTEN)
    write_json(tmp_path / "config.json", to_data(config))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(config, out=whole, progress=False)
    process = start(killed, tmp_path / "config.json")
    deadline = time.monotonic() + 120
    while len(checkpoints(killed / "checkpoints")) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(log(killed)) < 60
    finished = start(killed, tmp_path / "config.json")
    _, said = finished.communicate()
    assert finished.returncode == 0, said.decode()
    assert b"going on at step" in said
    assert same(whole, killed)
    assert [e["step"] for e in log(killed)] == list(range(1, 61))


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    train(tiny(), out=tmp_path / "whole", progress=False)
    train(tiny(), out=tmp_path / "torn", progress=False)
    newest = checkpoints(tmp_path / "torn" / "checkpoints")[-1]
    damaged = newest / "optimizer.pt"
    damaged.write_bytes(damaged.read_bytes()[:200])
    said: list[str] = []
    train(tiny(), out=tmp_path / "torn", progress=False, say=said.append)
    assert "00000008 is damaged" in said[0]
    assert (tmp_path / "torn" / "checkpoints" / "00000008.damaged").is_dir()
    assert "going on at step 6 of 8" in said[1]
    assert same(tmp_path / "whole", tmp_path / "torn")


def test_a_run_without_a_readable_checkpoint_is_not_begun_anew(tmp_path: Path) -> None:
    config = tiny(optim=OptimConfig(steps=2, batch=4, lr=1e-3, warmup=1))
    train(config, out=tmp_path, progress=False)
    for path in checkpoints(tmp_path / "checkpoints"):
        (path / "average.safetensors").write_bytes(b"torn")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="no older one can be read"):
        train(config, out=tmp_path, progress=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_missing_test_data_shows_before_the_run_begins(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((5, 28, 28), np.uint8))
    with pytest.raises(InputError, match="t10k-images"):
        train(tiny(), data=tmp_path, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    train(tiny(), out=tmp_path, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    train(tiny(), out=tmp_path, progress=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_config_is_refused_with_the_difference(tmp_path: Path) -> None:
    train(tiny(), out=tmp_path, progress=False)
    other = tiny(seed=5, optim=OptimConfig(steps=8, batch=4, lr=5e-3, warmup=2))
    with pytest.raises(InputError, match=r"optim.lr: 0.001 -> 0.005; seed: 0 -> 5"):
        train(other, out=tmp_path, progress=False)
    train(tiny(log=LogConfig(log_every=3)), out=tmp_path, progress=False)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds files but no run"):
        train(tiny(), out=tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_training_learns(tmp_path: Path) -> None:
    optim = OptimConfig(steps=120, batch=8, lr=2e-3, warmup=5)
    config = tiny(optim=optim, log=LogConfig(log_every=1, sample_every=0, save_every=120))
    train(config, out=tmp_path, progress=False)
    losses = [entry["loss"] for entry in log(tmp_path)]
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:20])


PUBLISHED = {
    "mcvd": {
        "masks": BlockMasks(past=2, target=1, future=1, drop_past=0.5, drop_future=0.5),
        "network": ConcatConfig(
            width=8, multipliers=(1, 2), blocks=1, attention=(1,), head_width=8
        ),
        "diffusion": Diffusion(labels="countdown", keep_noise=True),
        "loss": MaskedLoss(reduction="half_sum"),
        "sampler": Ddpm(steps=3),
    },
    "ramvid": {
        "masks": RandomMasks(frames=4, max_known=2),
        "network": VolumeConfig(width=32, multipliers=(1, 1), blocks=1, attention=(1,)),
        "diffusion": Diffusion(schedule=TableSchedule(spacing="linspace")),
        "sampler": Ddpm(steps=3, variance="large"),
    },
}


@pytest.mark.parametrize("paper", PUBLISHED)
def test_the_published_schemes_train_and_fill(tmp_path: Path, paper: str) -> None:
    optim = OptimConfig(steps=3, batch=2, lr=1e-3, warmup=1)
    config = tiny(**PUBLISHED[paper], optim=optim)
    train(config, out=tmp_path, progress=False)
    given = config.data.clips(frames=3, split="test", seed=0)[0]
    filled = ff.load(tmp_path).predict(given, frames=3)
    assert filled.frames.shape == (1, 6, 16, 16, 1)
    assert np.array_equal(filled.frames[0, :3], given)
    assert (tmp_path / "samples" / "00000003.png").is_file()


def test_workers_change_nothing(tmp_path: Path) -> None:
    train(tiny(), out=tmp_path / "alone", progress=False)
    train(tiny(workers=1), out=tmp_path / "helped", progress=False)
    assert same(tmp_path / "alone", tmp_path / "helped")


def test_difference_names_what_differs() -> None:
    assert difference(tiny(), tiny()) == []
    changed = replace(tiny(), guidance=2.0)
    assert difference(tiny(), changed) == ["guidance: 1.0 -> 2.0"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("optim", "lerning_rate"), 1, "unknown key 'lerning_rate'"),
        (("optim", "stps"), 1, "did you mean 'steps'"),
        (("data", "sze"), 1, "did you mean 'size'"),
        (("optim", "steps"), "many", "steps"),
        (("optim", "steps"), 0, "at least 1"),
        (("network", "type"), "Nope", "Nope"),
        (("diffusion", "predicts"), "future", "predicts"),
    ],
)
def test_a_faulty_config_says_where_and_what(tmp_path: Path, path, value, said: str) -> None:
    data = to_data(tiny())
    section = data
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    write_json(tmp_path / "config.json", data)
    with pytest.raises(InputError) as caught:
        read_config(tmp_path / "config.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_survives_its_file(tmp_path: Path) -> None:
    for config in (tiny(), ff.recipe("digits")):
        write_json(tmp_path / "config.json", to_data(config))
        assert read_config(tmp_path / "config.json") == config
