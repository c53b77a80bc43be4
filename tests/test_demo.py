"""The demo on the model that ships with the package."""

import json
from pathlib import Path

import pytest

import framefill as ff
from framefill.cli import main
from framefill.demo import TASKS, free_folder
from framefill.fill import CARRIED


def test_the_demo_writes_what_it_says_and_beats_copying(tmp_path: Path, capsys) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--clips", "8", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "predict" in said.out
    assert str(out) in said.err
    names = {path.name for path in out.iterdir()}
    expected = {f"{task.name}{suffix}" for task in TASKS for suffix in (".mp4", ".gif", ".png")}
    assert names == expected | {"tasks.png", "scores.json"}
    scores = {score["task"]: score for score in json.loads((out / "scores.json").read_text())}
    assert list(scores) == [task.name for task in TASKS]
    for name, score in scores.items():
        if name != "generate":
            assert score["psnr"] > score["copy_psnr"]
            assert score["ssim"] > score["copy_ssim"]
    assert len(ff.read(out / "predict.mp4").frames) == 10
    (out / "scores.json").write_text("mine")
    assert main(["demo", "--clips", "1", "--train", "--out", str(out)]) == 2  # before it trains
    assert (out / "scores.json").read_text() == "mine"


def test_the_demo_finds_a_folder_of_its_own(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(free_folder(tmp_path / "demo"))
        names[-1].mkdir()
    assert [path.name for path in names] == ["demo", "demo-2", "demo-3"]


def test_the_carried_model_is_small_and_of_the_committed_recipe() -> None:
    folder = CARRIED / "digits"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000
    model = ff.load("digits").model
    assert model.config == ff.recipe("digits").model()
    assert "framefill train digits" in model.card


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_carried_model_can_do_every_task(task) -> None:
    from framefill.planning import can_fill

    assert can_fill(task.row, ff.load("digits").model.config.masks)
