"""What befalls a training that is two processes; and that two come to what one comes to."""

import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from faults import Attempt, differences, drafts, lines, newest, report, server, torchrun, wait_for
from test_training import PUBLISHED, tiny

from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.data.videos import VideosConfig
from framefill.nn.config import ContextConfig
from framefill.normalise import Normaliser
from framefill.serialise import to_data, write_json

STEPS = 16
ROUNDING = 1e-4  # relative, of a loss: sums are rounded in another order


def pair(save_every: int = 1000, **changes: Any) -> Config:
    settings: dict[str, Any] = {
        "data": DigitsConfig(size=8, glyph=6, speed=1, digits=1),
        "network": ContextConfig(
            width=8, multipliers=(1, 1), blocks=1, attention=(), head_width=None, dropout=0.2
        ),
        "optim": OptimConfig(steps=STEPS, batch=4, lr=1e-3, warmup=2),
        "log": LogConfig(log_every=1, sample_every=0, save_every=save_every, trackers=()),
    }
    return tiny(**{**settings, **changes})


def plain(**changes: Any) -> Config:
    """Without dropout, which alone falls as the batch is divided."""
    network = replace(pair().network, dropout=0.0)
    return pair(**{"network": network, **changes})


def written(config: Config, folder: Path) -> Path:
    path = folder / f"{len(list(folder.glob('*.json')))}.json"
    write_json(path, to_data(config))
    return path


def finish(config: Config, run: Path, count: int = 2) -> str:
    """Run to the end; return what the first process says."""
    attempts = server().ranks(written(config, run.parent), run, count)
    for attempt in attempts:
        assert attempt.wait() == 0, attempt.said()
    return attempts[0].said()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing befell."""
    run = tmp_path_factory.mktemp("whole") / "run"
    finish(pair(), run)
    return run


def losses(run: Path) -> np.ndarray:
    return np.array([each["loss"] for each in lines(run)])


def apart(run: Path, other: Path) -> float:
    """Return by how much the losses of two runs differ at most, relative to them."""
    ours, theirs = losses(run), losses(other)
    assert len(ours) == len(theirs) >= 8
    return float((abs(ours - theirs) / theirs).max())


def process_of(attempt: Attempt, rank: int) -> psutil.Process:
    """Find a process of a training that torchrun has started."""
    for child in psutil.Process(attempt.pid).children(recursive=True):
        if child.environ().get("RANK") == str(rank):
            return child
    raise AssertionError(f"no process of rank {rank}")


def test_killed_within_a_step_both_go_on_bit_for_bit(tmp_path: Path, whole: Path) -> None:
    run, config = tmp_path / "run", pair(save_every=STEPS // 2)
    attempts = server().ranks(written(config, tmp_path), run)
    attempts[0].until(lambda: len(lines(run)) >= STEPS // 2 + 2)
    for attempt in attempts:
        attempt.send(signal.SIGKILL)
    assert [attempt.wait() for attempt in attempts] == [-signal.SIGKILL] * 2
    assert newest(run) == STEPS // 2
    assert f"going on at step {STEPS // 2} of {STEPS}" in finish(config, run)
    assert differences(run, whole) == []


@pytest.mark.parametrize("rank", [0, 1])
def test_if_one_process_dies_all_end_and_nothing_is_lost(
    tmp_path: Path, whole: Path, rank: int
) -> None:
    run, config = tmp_path / "run", pair(save_every=1)
    attempts = server().ranks(written(config, tmp_path), run)
    attempts[0].until(lambda: len(lines(run)) >= 4)
    attempts[rank].send(signal.SIGKILL)
    assert attempts[rank].wait() == -signal.SIGKILL
    left = attempts[1 - rank]
    assert left.wait(30) not in (0, 2, 75)
    assert newest(run) >= 3
    assert "Traceback" not in left.said(), left.said()
    finish(config, run)
    assert differences(run, whole) == []
    assert drafts(run) == []


def test_if_one_process_of_torchruns_dies_it_ends_soon(tmp_path: Path, whole: Path) -> None:
    run, config = tmp_path / "run", pair(save_every=1)
    attempt = torchrun(written(config, tmp_path), run)
    attempt.until(lambda: len(lines(run)) >= 4)
    process_of(attempt, 1).kill()
    began = time.monotonic()
    others = psutil.Process(attempt.pid).children(recursive=True)
    assert attempt.wait(45) not in (0, 2, 75)
    report(f"torchrun ends {time.monotonic() - began:.1f} s after one of its processes")
    wait_for(lambda: not any(each.is_running() for each in others), 5)
    assert newest(run) >= 3
    finish(config, run)
    assert differences(run, whole) == []


def test_torchrun_asked_to_stop_loses_no_step(tmp_path: Path, whole: Path) -> None:
    run, config = tmp_path / "run", pair()
    attempt = torchrun(written(config, tmp_path), run)
    attempt.until(lambda: len(lines(run)) >= 3)
    attempt.send(signal.SIGTERM)
    assert attempt.wait(20) != 0
    assert 3 <= newest(run) == lines(run)[-1]["step"] < STEPS
    assert json.loads((run / "status.json").read_text())["state"] == "requeue"
    finish(config, run)
    assert differences(run, whole) == []


def test_if_one_process_is_asked_to_stop_all_do(tmp_path: Path, whole: Path) -> None:
    run, config = tmp_path / "run", pair()
    attempts = server().ranks(written(config, tmp_path), run)
    attempts[0].until(lambda: len(lines(run)) >= 3)
    attempts[1].send(signal.SIGUSR1)
    assert [attempt.wait(10) for attempt in attempts] == [75, 75]
    assert 3 <= newest(run) == lines(run)[-1]["step"] < STEPS
    finish(config, run)
    assert differences(run, whole) == []


def test_faulty_data_of_one_process_ends_all_with_one_message(tmp_path: Path) -> None:
    """The second of two processes has the second half of each batch."""
    frames = np.random.default_rng(0).random((400, 4, 8, 8, 1), np.float32)
    frames[:, :, 0] = np.arange(400).reshape(-1, 1, 1, 1) / 1000
    folder = tmp_path / "films"
    folder.mkdir()
    for split in ("train", "test"):
        np.save(folder / f"{split}.npy", frames)
    data = VideosConfig(height=8, width=8, channels=1, path=folder, axes="vfhwc")
    scale = Normaliser(dtype="float32", offset=(0.5,), scale=(0.5,), low=0, high=1)
    config = pair(save_every=3, data=data, normaliser=scale)
    clips = config.clips("train")
    chosen = [round(1000 * float(clips[index].flat[0])) for index in range(40)]
    faulty = next(n for n in range(18, 40) if n % 4 > 1 and chosen[n] not in chosen[:n])
    frames[chosen[faulty], :, 1:] = np.inf
    np.save(folder / "train.npy", frames)

    run = tmp_path / "run"
    attempts = server().ranks(written(config, tmp_path), run)
    assert [attempt.wait(20) for attempt in attempts] == [2, 2]
    (said,) = [line for attempt in attempts for line in attempt.complaints()]
    assert f"clip {faulty} " in said
    assert "infinity" in said or "infinite" in said
    assert newest(run) == faulty // 4 // 3 * 3


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on(tmp_path: Path, before: int, after: int) -> None:
    half = plain(optim=replace(plain().optim, steps=STEPS // 2))
    run, alone = tmp_path / "run", tmp_path / "alone"
    finish(half, run, before)
    said = finish(plain(), run, after)
    assert f"processes: {before} before, {after} now" in said
    assert "not the same bit for bit" in said
    finish(plain(), alone, 1)
    worst = apart(run, alone)
    report(f"{before} -> {after} processes: losses apart by {worst:.1e}")
    assert worst < ROUNDING
    halves = losses(run)
    assert abs(halves[1:] - halves[:-1]).max() > 100 * ROUNDING


def published(paper: str, **changes: Any) -> Config:
    known = PUBLISHED[paper]
    network = replace(known["network"], dropout=0.0)
    optim = OptimConfig(steps=8, batch=4, lr=1e-3, warmup=2)
    return pair(**{**known, "network": network, "optim": optim, **changes})


@pytest.fixture(scope="module", params=PUBLISHED)
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A published network trained by one process: the paper and the run."""
    run = tmp_path_factory.mktemp(request.param) / "run"
    finish(published(request.param), run, 1)
    return request.param, run


@pytest.mark.parametrize(("shard", "microbatch"), [(False, 0), (True, 0), (False, 1)])
def test_two_processes_learn_what_one_learns(
    tmp_path: Path, one: tuple[str, Path], shard: bool, microbatch: int
) -> None:
    paper, alone = one
    optim = replace(published(paper).optim, microbatch=microbatch)
    config = published(paper, optim=optim, shard=shard)
    run = tmp_path / "run"
    finish(config, run)
    worst = apart(run, alone)
    report(f"{paper}, shard={shard}, microbatch={microbatch}: losses apart by {worst:.1e}")
    assert worst < ROUNDING


def test_what_was_divided_goes_on_whole(tmp_path: Path, one: tuple[str, Path]) -> None:
    paper, alone = one
    half = replace(published(paper).optim, steps=4)
    run = tmp_path / "run"
    finish(published(paper, shard=True, optim=half), run)
    finish(published(paper), run, 1)
    worst = apart(run, alone)
    report(f"{paper}, divided and then whole: losses apart by {worst:.1e}")
    assert worst < ROUNDING
