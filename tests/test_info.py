"""Curves and standing of a run: read from real logs, however long, torn or strange they are."""

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import framefill as ff
from framefill.curves import (
    MOST_POINTS,
    Curve,
    log_lines,
    plot_curves,
    read_metrics,
    read_validation,
)
from framefill.errors import InputError
from framefill.info import describe, info_data, info_into, info_of
from framefill.recipes import RECIPES
from framefill.serialise import to_data, write_json

RED = (213, 94, 0)


def line(step: int, **more: object) -> dict[str, object]:
    known = {"step": step, "loss": 1 / step, "grad_norm": 2.0, "lr": 1e-4, "skipped": 0}
    return {**known, "seconds": 0.5 * step, **more}


def modern(step: int, **more: object) -> dict[str, object]:
    known = {
        "bad": 0,
        "clips_per_second": 32.0,
        "memory": 3 * 2**30,
        "by_level": {"0.1-1": 0.5, "0.01-0.1": 0.1 / step, "10-80": 0.9},
        "by_task": {"predict": 0.4, "generate": 0.3},
    }
    return line(step, **{**known, **more})


def look(step: int, loss: float) -> dict[str, object]:
    methods = {"model": step / 100, "copy_last": 15.0, "nearest": 16.0, "linear": 17.0}
    scores = {name: {"psnr": value, "ssim": 0.5} for name, value in methods.items()}
    return {"step": step, "loss": loss, "rows": {"predict": scores, "-KTTK": scores}}


def write_lines(path: Path, *lines: dict[str, object] | str) -> None:
    words = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    path.write_text("".join(f"{word}\n" for word in words))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run of 100 of 7500 steps, with logs of today."""
    folder = tmp_path / "a run"
    folder.mkdir()
    write_json(folder / "config.json", to_data(ff.recipe("digits")))
    write_lines(folder / "metrics.jsonl", *(modern(step) for step in range(1, 101)))
    looks = (look(20, 0.5), look(40, 0.2), look(60, 0.3))
    write_lines(folder / "validation.jsonl", *looks)
    return folder


def stands(run: Path, state: str, **more: object) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    known = {"step": 100, "why": "", "written": now, "pid": os.getpid()}
    status = {"state": state, **known, "host": socket.gethostname(), **more}
    (run / "status.json").write_text(json.dumps(status))


def colors(path: Path) -> set[tuple[int, int, int]]:
    with Image.open(path) as image:
        counted = image.convert("RGB").getcolors(image.width * image.height)
    return {color for _, color in counted}


def test_every_curve_becomes_a_picture(run: Path) -> None:
    drawn = plot_curves(run, run / "curves")
    names = "loss by_level by_task gradient_and_rate speed_and_memory scores"
    assert [path.name for path in drawn] == [f"{name}.png" for name in names.split()]
    assert sorted(path.name for path in (run / "curves").iterdir()) == sorted(
        path.name for path in drawn
    )
    for path in drawn:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width >= 1000
            assert image.height >= 500
        assert len(colors(path)) > 20
    before = drawn[0].read_bytes()
    write_lines(run / "metrics.jsonl", *(line(step, loss=5.0) for step in range(1, 101)))
    plot_curves(run, run / "curves")
    assert drawn[0].read_bytes() != before


def test_an_old_run_has_the_curves_that_it_has_data_for(tmp_path: Path) -> None:
    write_lines(tmp_path / "metrics.jsonl", *(line(step) for step in range(1, 60)))
    drawn = plot_curves(tmp_path, tmp_path / "curves")
    assert [path.name for path in drawn] == ["loss.png", "gradient_and_rate.png"]


def test_without_data_nothing_is_drawn(tmp_path: Path) -> None:
    assert plot_curves(tmp_path, tmp_path / "curves") == []
    assert list(tmp_path.iterdir()) == []


def test_bad_steps_are_marked_and_left_out(run: Path) -> None:
    (loss, *_) = plot_curves(run, run / "good")
    assert RED not in colors(loss)
    lines = [modern(step, loss=float("nan") if step == 50 else 1.0) for step in range(1, 101)]
    write_lines(run / "metrics.jsonl", *lines)
    (loss, *_) = plot_curves(run, run / "bad")
    assert RED in colors(loss)
    history = read_metrics(run)
    assert history.points("marked")[0].tolist() == [50]
    assert 50 not in history.points("loss")[0]
    assert len(history.points("loss")[0]) == 99
    lines = [modern(step, bad=int(step == 7)) for step in range(1, 101)]
    write_lines(run / "metrics.jsonl", *lines)
    assert read_metrics(run).points("marked")[0].tolist() == [7]


def test_scores_are_those_of_the_model_and_of_what_needs_none(run: Path) -> None:
    history = read_validation(run)
    assert history.names("psnr") == ["-KTTK", "predict"]
    assert history.names("psnr", "predict") == ["copy_last", "linear", "model", "nearest"]
    assert history.points("psnr", "-KTTK", "model")[1].tolist() == [0.2, 0.4, 0.6]
    assert history.points("loss")[1].tolist() == [0.5, 0.2, 0.3]


def test_levels_are_in_order(run: Path) -> None:
    assert read_metrics(run).names("by_level") == ["0.01-0.1", "0.1-1", "10-80"]


STRANGE = [
    '{"step": 1, "loss": 1.0, "by_level": {"0-1": 2.0}}',
    '{"step": 2, "loss"',
    "",
    "null",
    "[" * 5000,
    '{"loss": 3.0}',
    '{"step": "3", "loss": 3.0}',
    '{"step": true, "loss": 3.0}',
    '{"step": -3, "loss": 3.0}',
    '{"step": 3.5, "loss": 3.0}',
    '{"step": 1e999, "loss": 3.0}',
    '{"step": 4, "loss": "much", "by_level": 5, "by_task": {"$\\\\frac": 1.0, "_x": 1.0}}',
    '{"step": 5, "loss": ' + "9" * 5000 + "}",
    '{"step": 6, "loss": 1.0, "more": "' + "x" * 200_000 + '"}',
    '{"step": 7, "loss": 2.0, "by_task": {"predict": 1.0, "generate": null, "rewind": []}}',
    '{"step": 8, "loss": 1e300}',
    '{"step": 9, "loss": 0.0}',
    "\x00\xff",
]


def test_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    write_lines(tmp_path / "metrics.jsonl", *STRANGE)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\n" + b'{"step": 10, "loss": 4.0}\n{"step": 11, "lo')
    assert [step for step, _ in log_lines(tmp_path / "metrics.jsonl")] == [1, 4, 5, 7, 8, 9, 10]
    history = read_metrics(tmp_path)
    steps, values = history.points("loss")
    assert list(zip(steps.tolist(), values.tolist(), strict=True)) == [
        (1, 1.0),
        (7, 2.0),
        (9, 0.0),
        (10, 4.0),
    ]
    assert history.points("marked")[0].tolist() == [5, 8]
    assert history.names("by_task") == ["predict"]
    assert len(plot_curves(tmp_path, tmp_path / "curves")) == 3


def test_steps_that_are_taken_again_count_once(tmp_path: Path) -> None:
    first = [line(step, loss=1.0) for step in (10, 20, 30, 40)]
    again = [line(step, loss=2.0) for step in (30, 40, 50)]
    write_lines(tmp_path / "metrics.jsonl", *first, *again)
    steps, values = read_metrics(tmp_path).points("loss")
    assert steps.tolist() == [10, 20, 30, 40, 50]
    assert values.tolist() == [1, 1, 2, 2, 2]


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 40_000))
def test_a_long_curve_is_thinned_by_means(length: int) -> None:
    curve = Curve()
    for step in range(1, length + 1):
        curve.add(step, 3.0 * step)
    steps, values = curve.points
    assert min(length, MOST_POINTS // 2) <= len(steps) <= MOST_POINTS
    assert (np.diff(steps) > 0).all()
    assert np.allclose(values, 3 * steps)
    assert sum(each[3] for each in curve.bins) == length


def test_without_matplotlib_the_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"pip install 'framefill\[plot\]'"):
        plot_curves(run, run / "curves")
    said: list[str] = []
    info_into(run, plot=True, say=said.append)
    assert said[0].split(maxsplit=1) == ["run", str(run)]
    assert said[-1].startswith("curves       none: curves need matplotlib: pip install")


def test_info_says_where_a_run_stands(run: Path) -> None:
    for name in ("checkpoints/00000050", "checkpoints/00000100", "checkpoints/00000075.damaged"):
        (run / name).mkdir(parents=True)
    for name in ("model", "model-ema-0.99", "snapshots/00000100", "samples"):
        (run / name).mkdir(parents=True)
    card = "# digits model\n\n- Trained by: `framefill train digits --out RUN`\n"
    (run / "model" / "README.md").write_text(card)
    lines = [modern(step, bad=int(step in (5, 6)), skipped=step % 2) for step in range(1, 101)]
    write_lines(run / "metrics.jsonl", *lines)
    stands(run, "interrupted", why="SIGINT")
    info = info_of(run)
    assert (info.step, info.steps) == (100, 7500)
    assert (info.checkpoints, info.damaged) == ((50, 100), ("00000075.damaged",))
    assert (info.models, info.snapshots) == (("model", "model-ema-0.99"), (100,))
    assert (info.best.step, info.last.step) == (40, 60)
    assert info.numbers.steps_per_second == pytest.approx(2)
    assert info.seconds_left == pytest.approx(3700)
    assert (info.numbers.bad, info.numbers.skipped) == (2, 50)
    said = dict(each.split(maxsplit=1) for each in describe(info) if not each.startswith("held"))
    assert said["trains"].startswith("digits: 10 frames of 32 x 32, 1 channel(s), ContextMasks")
    assert said["step"] == "100 of 7500 (1.3%)"
    assert said["state"].startswith("interrupted (SIGINT), process")
    assert said["loss"] == "0.01 at step 100"
    assert said["speed"] == "32.0 clips per second"
    assert said["memory"] == "3.00 GiB"
    assert said["time"] == "50 s used, 1 h 1 min left at the speed of late"
    assert said["checkpoints"] == "50, 100"
    assert said["damaged"] == "00000075.damaged"
    assert said["models"] == "model, model-ema-0.99"
    folder = f"'{run}'"
    assert said["next"] == (
        f"the same command goes on from step 100: framefill train '{run}/config.json' "
        f"--out {folder}"
    )
    assert "held out     loss 0.3 at step 60, best 0.2 at step 40" in describe(info)


def test_info_is_plain_json(run: Path) -> None:
    write_lines(run / "metrics.jsonl", modern(1), modern(2, loss=float("nan")))
    stands(run, "failed", why="the disk is full")
    data = json.loads(json.dumps(info_data(info_of(run)), allow_nan=False))
    assert data["numbers"]["loss"] is None
    assert data["numbers"]["grad_norm"] == 2.0
    assert data["status"]["why"] == "the disk is full"
    assert data["best"] == {"step": 40, "loss": 0.2}
    assert any("nan at step 2" in each for each in describe(info_of(run)))


def ended() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_running_run_whose_process_is_gone_was_killed(run: Path) -> None:
    stands(run, "running")
    assert info_of(run).status.state == "running"
    stands(run, "running", host="elsewhere", pid=ended())
    assert info_of(run).status.state == "running"
    stands(run, "running", pid=ended())
    info = info_of(run)
    assert info.status.state == "killed"
    assert any("was killed" in each for each in describe(info))
    assert "goes on from the start" in info.advice
    # Another process has got the number since.
    stands(run, "running", written="2001-01-01T00:00:00+00:00")
    assert info_of(run).status.state == "killed"
    zombie = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert zombie.stdout is not None
    with zombie.stdout:
        zombie.stdout.read()  # its end; but nobody has asked yet how it went
        for _ in range(100):
            stands(run, "running", pid=zombie.pid)
            if info_of(run).status.state == "killed":
                break
        assert info_of(run).status.state == "killed"
    zombie.wait()


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        ("running", "it is running"),
        ("finished", "fill videos with --model"),
        ("requeue", "the same command goes on"),
        ("interrupted", "the same command goes on"),
        ("diverged", "smaller --optim.lr"),
        ("failed", "mend what it says"),
    ],
)
def test_every_state_says_what_to_do(run: Path, state: str, advice: str) -> None:
    stands(run, state, step=7500 if state == "finished" else 100)
    assert advice in info_of(run).advice


@pytest.mark.parametrize(
    "status",
    [
        "",
        "[]",
        '{"state": "sleeping", "step": 5}',
        '{"state": ["running"]}',
        '{"state": "failed", "step": "many", "why": 5, "pid": -1, "written": null}',
        '{"state": "running", "step": NaN}',
        json.dumps({"state": "failed", "why": "x" * 100_000}),
    ],
)
def test_a_strange_status_says_nothing(run: Path, status: str) -> None:
    (run / "status.json").write_text(status)
    info = info_of(run)
    assert info.status.state in ("unknown", "failed")
    assert info.step == 100
    assert describe(info)


def test_nothing_in_a_run_folder_reaches_the_terminal_raw(run: Path) -> None:
    stands(run, "failed", why="\x1b[2Jbad\nline")
    (run / "checkpoints" / "\x1b[31m.damaged").mkdir(parents=True)
    assert all(each.isprintable() for each in describe(info_of(run)))


def test_a_run_that_has_just_begun_has_little_to_say(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    (run / "validation.jsonl").unlink()
    said: list[str] = []
    info_into(run, plot=True, say=said.append)
    assert [each.split()[0] for each in said] == [
        "run", "trains", "data", "step", "state", "next", "curves",
    ]  # fmt: skip
    assert said[-1] == "curves       none yet"
    assert not (run / "curves").exists()


def test_curves_are_drawn_into_the_run_if_asked_for(run: Path) -> None:
    said: list[str] = []
    info_into(run, plot=False, say=said.append)
    assert not (run / "curves").exists()
    info_into(run, plot=True, say=said.append)
    assert f"{run / 'curves'}: loss.png, by_level.png" in said[-1]
    assert (run / "curves" / "scores.png").is_file()


def test_what_is_no_run_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(InputError, match="is no run folder"):
        info_of(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no run folder"):
        info_of(tmp_path)
    carried = next(Path(ff.__file__).parent.glob("models/*/model.safetensors")).parent
    shutil.copytree(carried, tmp_path / "model")
    with pytest.raises(InputError, match="is a model, not a run"):
        info_of(tmp_path / "model")
    (run / "config.json").write_text('{"optim": {"stps": 3}}')
    with pytest.raises(InputError, match="stps"):
        info_of(run)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_described(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "config.json", to_data(ff.recipe(name)))
    info = info_of(tmp_path)
    assert info.step == 0
    assert "frames of" in info.trains
    assert "goes on from the start" in info.advice
