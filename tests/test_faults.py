"""What befalls a training that is one process: kills, signals, torn files, full disks, bad data."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import torch
from faults import differences, drafts, lines, newest, server, wait_for
from safetensors.torch import load_file
from test_training import tiny

import framefill as ff
from framefill.checkpoint import check_sums, checkpoints, load_checkpoint
from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.data.own import OwnClips, OwnConfig
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.files import restore_after_a_kill
from framefill.model import load_model
from framefill.nn.config import ContextConfig
from framefill.run import train
from framefill.sampling import DpmSolver2M
from framefill.scaling import Scaling
from framefill.serialise import to_data, write_json
from framefill.training import TrainState, train_steps
from framefill.training.ranks import Ranks

STEPS = 40


def small(steps: int = STEPS, save_every: int = 1000, **changes: Any) -> Config:
    """Steps of 20 ms and checkpoints of 60 ms; with dropout, the last thing that is random."""
    log = LogConfig(log_every=1, sample_every=0, save_every=save_every, trackers=())
    settings: dict[str, Any] = {
        "data": DigitsConfig(size=8, glyph=6, speed=1, digits=1),
        "network": ContextConfig(
            width=8, multipliers=(1, 1), blocks=1, attention=(), head_width=None, dropout=0.2
        ),
        "optim": OptimConfig(steps=steps, batch=2, lr=1e-3, warmup=2),
        "log": log,
    }
    return tiny(**{**settings, **changes})


def written(config: Config, folder: Path) -> Path:
    """Write a config where processes find it."""
    path = folder / f"{len(list(folder.glob('*.json')))}.json"
    write_json(path, to_data(config))
    return path


def finish(config: Path, run: Path) -> str:
    """Run the same command once more, undisturbed."""
    attempt = server().train(config, run)
    assert attempt.wait() == 0, attempt.said()
    return attempt.said()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `small()` that nothing befell."""
    folder = tmp_path_factory.mktemp("whole")
    finish(written(small(), folder), folder / "run")
    return folder / "run"


class Watch:
    """Looks at a run whenever it was killed: what was promised must hold at every moment."""

    def __init__(self, run: Path) -> None:
        self.run, self.newest, self.most_drafts = run, 0, 0
        self.model = False
        self.lost: list[int] = []

    def look(self) -> None:
        # A folder that was being replaced is whole beside its place; a resume puts it there first.
        seen = shutil.copytree(self.run, self.run.with_name("seen"), dirs_exist_ok=False)
        try:
            for folder in (seen, seen / "checkpoints"):
                restore_after_a_kill(folder)
            step = newest(seen)
            assert step >= self.newest, "a whole checkpoint is lost"
            # The first checkpoint is written before the first model.
            self.model |= (seen / "model").exists()
            if self.model:
                load_model(seen / "model")
            self.newest = step
            taken = lines(seen)
            self.lost.append(max(taken[-1]["step"] - step, 0) if taken else 0)
            self.most_drafts = max(self.most_drafts, len(drafts(self.run)))
        finally:
            shutil.rmtree(seen)


@pytest.mark.parametrize("save_every", [1, 5])
def test_killed_twenty_times_it_ends_as_if_nothing_had_been(
    tmp_path: Path, save_every: int
) -> None:
    """At random: while it starts, within steps, while it saves."""
    steps, luck = 130, random.Random(save_every)
    run, reference = tmp_path / "run", tmp_path / "reference"
    config = written(small(steps, save_every), tmp_path)
    watch = Watch(run)
    for attempt_number in range(20):
        before, more = len(lines(run)), luck.choice([0, 0, 1, 2, 3, 4, 5])
        attempt = server().train(config, run)
        if attempt_number % 4:
            wait_for(lambda wanted=before + more: len(lines(run)) >= wanted)
            time.sleep(luck.uniform(0, 0.08))
        else:
            time.sleep(luck.uniform(0, 0.3))
        attempt.send(signal.SIGKILL)
        assert attempt.wait() == -signal.SIGKILL, "it finished too soon to be killed"
        if run.is_dir():
            watch.look()
    print(
        f"\nsave_every={save_every}: 20 kills, 20 survived, work lost at most {max(watch.lost)} "
        f"steps, on average {np.mean(watch.lost):.2f}; drafts {watch.most_drafts}"
    )
    said = finish(config, run)
    assert f"of {steps}" in said
    finish(written(small(steps), tmp_path), reference)
    assert differences(run, reference) == []
    assert max(watch.lost) <= save_every
    assert watch.most_drafts <= 3
    assert drafts(run) == []
