"""Evaluations in several processes, and such that are killed: the numbers stay the same."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import wait_for
from test_training import tiny

from framefill.data.digits import DigitsConfig
from framefill.model import Model

ROW = "KKTTKK"
CLIPS = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model folder, and a folder of test videos."""
    folder = tmp_path_factory.mktemp("faults")
    torch.manual_seed(0)
    config = tiny().model()
    Model(config.build().eval(), config).save(folder / "model")
    (folder / "data" / "test").mkdir(parents=True)
    source = DigitsConfig(size=16, glyph=8, speed=1, digits=1).clips(frames=9, split="test", seed=0)
    for number in range(CLIPS):
        np.save(folder / "data" / "test" / f"{number}.npy", source[number])
    return folder / "model", folder / "data"


def command(folders: tuple[Path, Path], out: Path) -> list[str]:
    model, data = folders
    return [
        *("evaluate", str(model), "--data", str(data), "--out", str(out), "--roles", ROW),
        *("--clips", str(CLIPS), "--samples", "3", "--batch", "6", "--steps", "2"),
        *("--device", "cpu"),
    ]


def start(words: list[str], processes: int = 1) -> subprocess.Popen[str]:
    launch = [sys.executable, "-m", "framefill"]
    if processes > 1:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launch += ["--nproc-per-node", str(processes), "-m", "framefill"]
    return subprocess.Popen(
        [*launch, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(words: list[str], processes: int = 1) -> str:
    process = start(words, processes)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


def numbers(out: Path) -> dict[str, Any]:
    data = json.loads((out / "report.json").read_text())
    assert data.pop("made")["date"]
    return data


@pytest.fixture(scope="module")
def whole(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of one process that nothing befell."""
    out = tmp_path_factory.mktemp("whole") / "scores"
    finished(command(folders, out))
    return out


def test_two_processes_come_to_the_same_numbers(
    folders: tuple[Path, Path], whole: Path, tmp_path: Path
) -> None:
    said = finished(command(folders, tmp_path / "scores"), processes=2)
    assert numbers(tmp_path / "scores") == numbers(whole)
    for name in ("clips.csv", "table.md"):
        assert (tmp_path / "scores" / name).read_bytes() == (whole / name).read_bytes()
    made = json.loads((tmp_path / "scores" / "report.json").read_text())["made"]
    assert made["processes"] == 2
    assert said.count("best of 3") == 1, "the first process alone shows the table"
    assert said.count("lpips is left out") == 1


def test_killed_it_goes_on_where_it_was(
    folders: tuple[Path, Path], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    parts = out / "parts"
    process = start(command(folders, out))
    wait_for(lambda: len(list(parts.glob("0*"))) >= 2, seconds=120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = sorted(parts.glob("0*"))
    assert 2 <= len(done) < CLIPS // 2, "killed in the middle"
    done[0].write_bytes(done[0].read_bytes()[:100])  # the disk is not to be trusted either
    (parts / ".0000005-0123abcd.safetensors").write_bytes(b"half a file")
    held = sorted(path.name for path in parts.iterdir())
    other = start([*command(folders, out), "--seed", "1"])
    said, _ = other.communicate(timeout=120)
    assert other.returncode == 2
    assert "holds an unfinished evaluation with settings.seed 0 instead of 1" in said
    assert sorted(path.name for path in parts.iterdir()) == held, "nothing is mixed"
    finished(command(folders, out))
    assert numbers(out) == numbers(whole)
    assert (out / "clips.csv").read_bytes() == (whole / "clips.csv").read_bytes()
    assert not parts.exists()


def test_a_mistake_in_two_processes_is_said_once(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    words = command(folders, tmp_path / "scores")
    words[words.index("--clips") + 1] = "999"
    process = start(words, processes=2)
    said, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    lines = [line for line in said.splitlines() if line.startswith("framefill: ")]
    assert lines, said
    assert all("takes 999 different clips" in line for line in lines)
    assert not (tmp_path / "scores").exists()
