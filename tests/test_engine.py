"""The engine: what a step skips, what it averages, in which numbers it computes, what it keeps."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_training import OFTEN, log, same, tiny

import framefill as ff
from framefill.averaging import average_into
from framefill.checkpoint import check_sums, checkpoints, load_checkpoint, prune, save_checkpoint
from framefill.cli import main
from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.device import precision_on
from framefill.errors import InputError
from framefill.files import restore_after_a_kill
from framefill.model import load_model
from framefill.posthoc import rate
from framefill.run import train
from framefill.run_folder import Run
from framefill.serialise import to_data, write_json
from framefill.stopping import StoppedError, signals
from framefill.telemetry import Telemetry
from framefill.training import TrainState, train_steps
from framefill.training.guard import MEMORY, Guard
from framefill.training.ranks import Ranks, joined

CPU = torch.device("cpu")


def state_of(config: Config) -> TrainState:
    return TrainState.start(config, CPU)


def weights_of(state: TrainState) -> list[torch.Tensor]:
    return [each.detach().clone() for each in state.network.parameters()]


# --- bad steps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_bad_step(value: float) -> None:
    guard = Guard()
    assert guard.judge(1.0, 1.0, 1000) == ""
    assert "loss" in guard.judge(value, 1.0, 1000)
    assert "gradient" in guard.judge(1.0, value, 0)
    assert (guard.good, guard.bad, guard.streak) == (1, 2, 2)
    assert guard.judge(1.0, 1.0, 1000) == ""
    assert (guard.bad, guard.streak) == (2, 0)


def test_a_spike_is_judged_by_what_is_usual() -> None:
    guard = Guard()
    for number in range(MEMORY):
        assert guard.judge(2.0, 10.0 * 5**number if number < 3 else 10.0, 50) == ""  # not yet
    assert guard.loss == pytest.approx(2.0)
    assert guard.judge(99.0, 10.0, 50) == ""
    assert "loss 1000, usually 2." in guard.judge(1000.0, 10.0, 50)
    assert "norm of the gradient" in guard.judge(2.0, 1e5, 50)
    assert guard.judge(1000.0, 1e5, 0) == ""


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=300))
def test_the_usual_lies_between_the_extremes(values: list[float]) -> None:
    guard = Guard()
    for value in values:
        guard.judge(value, value, 0)
    assert min(values) * (1 - 1e-9) <= guard.loss <= max(values) * (1 + 1e-9)


def test_a_bad_step_moves_nothing_but_the_count() -> None:
    config = tiny()
    state = state_of(config)
    before = weights_of(state)
    parameter = next(state.network.parameters())
    report = state.descend([(parameter * math.inf).sum()[None]], config.optim, clips=1)
    assert report.step == state.step == 1
    assert report.bad
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(state), strict=True))
    assert not state.optimizer.state
    assert state.guard.streak == 1


# --- averages -----------------------------------------------------------------------------------


def test_averages_of_every_width_follow_their_formula() -> None:
    config = tiny(
        optim=OptimConfig(steps=6, batch=2, lr=1e-2, warmup=0, ema_widths=(0.05, 0.2)),
        log=replace(OFTEN, snapshot_every=3),
    )
    state = state_of(config)
    name, _ = next(state.network.named_parameters())
    expected = {width: state.network.get_parameter(name).double() for width in (0.05, 0.2)}
    for report in train_steps(config, state, config.clips("train")):
        now = state.network.get_parameter(name).detach().double()
        for width, average in expected.items():
            beta = rate(width, report.step)
            expected[width] = beta * average + (1 - beta) * now
    for width, average in state.widths.items():
        assert torch.allclose(average.get_parameter(name).double(), expected[width], atol=1e-6)
    assert not torch.equal(expected[0.05], expected[0.2])


def test_a_run_leaves_snapshots_of_which_an_average_is_made(tmp_path: Path) -> None:
    config = tiny(
        optim=OptimConfig(steps=8, batch=2, lr=1e-2, warmup=0, ema_widths=(0.05, 0.1)),
        log=replace(OFTEN, snapshot_every=2),
    )
    train(config, out=tmp_path / "run", progress=False)
    found = sorted(path.name for path in (tmp_path / "run" / "snapshots").iterdir())
    assert found == ["00000002", "00000004", "00000006", "00000008"]
    average_into(tmp_path / "run", tmp_path / "model", width=0.1)
    stored = tmp_path / "run" / "checkpoints" / "00000008" / "average-width-0.1.safetensors"
    ours, theirs = load_model(tmp_path / "model").network.state_dict(), load_file(stored)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in theirs)
    assert (
        main(["average", str(tmp_path / "run"), "--out", str(tmp_path / "b"), "--width", "9"]) == 2
    )


def test_widths_and_snapshots_go_together() -> None:
    with pytest.raises(InputError, match=r"ema_widths .* go together"):
        tiny(optim=OptimConfig(ema_widths=(0.05,)))
    with pytest.raises(InputError, match="must be between"):
        OptimConfig(ema_widths=(0.5,))


# --- numbers ------------------------------------------------------------------------------------


def test_precision_by_word() -> None:
    assert precision_on(CPU, "auto") == torch.float32
    assert precision_on(CPU, "float16") == torch.float16
    with pytest.raises(InputError, match="no precision 'half'"):
        precision_on(CPU, "half")


def test_float16_finds_its_scale_and_learns_like_float32() -> None:
    """With MCVD's sums over pixels gradients overflow at first: those steps move nothing."""
    found = []
    for precision in ("float32", "float16"):
        config = tiny(optim=OptimConfig(steps=12, batch=4, lr=1e-3, warmup=0), precision=precision)
        loss = replace(config.loss, reduction="half_sum")
        state = state_of(replace(config, loss=loss))
        found.append(
            (list(train_steps(replace(config, loss=loss), state, config.clips("train"))), state)
        )
    (plain, _), (half, state) = found
    halved = [report for report in half if report.bad]
    assert all("too large for float16" in report.bad for report in halved)
    assert half[0].loss == pytest.approx(plain[0].loss, rel=1e-2)
    assert state.guard.bad == 0
    good = [report for report in half if not report.bad]
    assert good[-1].scale == 2.0 ** (16 - len(halved))
    assert len(good) > 3


def test_float16_goes_on_with_its_scale(tmp_path: Path) -> None:
    optim = OptimConfig(steps=6, batch=4, lr=1e-3, warmup=0)
    config = tiny(optim=optim, precision="float16", log=OFTEN)
    train(config, out=tmp_path / "whole", progress=False)
    train(replace(config, optim=replace(optim, steps=4)), out=tmp_path / "parts", progress=False)
    train(config, out=tmp_path / "parts", progress=False)
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert [line["scale"] for line in log(tmp_path / "whole")] == [
        line["scale"] for line in log(tmp_path / "parts")
    ]


def test_a_spike_in_float16_is_skipped_and_the_next_step_is_taken() -> None:
    config = tiny(precision="float16")
    state = state_of(config)
    parameter = next(state.network.parameters())
    for number in range(MEMORY + 3):
        size = 1e5 if number == MEMORY else 1.0
        loss = (parameter.square().sum() * 1e-3 + 1) * size
        report = state.descend([loss[None]], replace(config.optim, spike=1000), clips=1)
        assert bool(report.bad) == (number == MEMORY), report
    assert state.guard.bad == 1


def test_a_compiled_network_computes_the_same(tmp_path: Path) -> None:
    """In a process of its own: the tests' type checks can't be compiled."""
    config = tiny(
        network=replace(tiny().network, multipliers=(1,), dropout=0.0),
        optim=OptimConfig(steps=2, batch=2, lr=1e-3, warmup=0),
        log=OFTEN,
    )
    train(config, out=tmp_path / "plain", progress=False)
    write_json(tmp_path / "config.json", to_data(replace(config, compile=True)))
    command = [sys.executable, "-m", "framefill", "train", str(tmp_path / "config.json")]
    subprocess.run([*command, "--out", str(tmp_path / "compiled")], check=True, capture_output=True)
    plain, compiled = log(tmp_path / "plain"), log(tmp_path / "compiled")
    assert [line["loss"] for line in compiled] == pytest.approx(
        [line["loss"] for line in plain], rel=1e-5
    )


# --- what is written ----------------------------------------------------------------------------


def test_lines_say_losses_by_level_and_by_task(tmp_path: Path) -> None:
    config = tiny(optim=OptimConfig(steps=40, batch=8, lr=1e-3, warmup=0), log=OFTEN)
    config = replace(config, log=replace(OFTEN, log_every=20, save_every=40))
    train(config, out=tmp_path, progress=False)
    lines = log(tmp_path)
    assert [line["step"] for line in lines] == [20, 40]
    for line in lines:
        assert set(line["by_task"]) <= {"predict", "rewind", "interpolate", "generate", "infill"}
        assert len(line["by_level"]) == 8
        assert line["memory"] > 1e7
        assert line["clips_per_second"] > 0
    levels = list(lines[0]["by_level"].values())
    assert levels[0] != levels[-1]


def test_bands_of_levels_are_drawn_equally_often() -> None:
    config = tiny()
    telemetry = Telemetry(config, CPU, 0.0)
    drawn = config.diffusion.schedule.draw(20_000, torch.Generator().manual_seed(3))
    places = torch.bucketize(drawn.double(), telemetry.edges[1:-1])
    assert torch.bincount(places, minlength=8).div(20_000).sub(1 / 8).abs().max() < 0.015


def test_the_best_checkpoints_are_kept_beside_the_newest(tmp_path: Path) -> None:
    run = Run(tmp_path)
    tmp_path.mkdir(exist_ok=True)
    state = state_of(tiny())
    for step, loss in ((1, 0.5), (2, 0.1), (3, 0.3), (4, 0.2), (5, 0.9)):
        state.step = step
        save_checkpoint(run.checkpoints, state)
        with run.validation.open("a") as file:
            file.write(json.dumps({"step": step, "loss": loss, "rows": {}}) + "\n")
    assert run.best(2) == [2, 4]
    prune(run.checkpoints, keep=1, best=run.best(2))
    assert [int(path.name) for path in checkpoints(run.checkpoints)] == [2, 4, 5]


@pytest.mark.parametrize("change", ["shape", "names", "text"])
def test_an_optimiser_of_other_weights_is_refused(tmp_path: Path, change: str) -> None:
    """AdamW would write beyond the memory of its moments."""
    config = tiny(optim=OptimConfig(steps=2, batch=2, lr=1e-3, warmup=0), log=OFTEN)
    train(config, out=tmp_path, progress=False)
    state = state_of(config)
    path = tmp_path / "checkpoints" / "00000002"
    stored = torch.load(path / "optimizer.pt", weights_only=True)
    stored["state"][0] = {
        "shape": {**stored["state"][0], "exp_avg": torch.zeros(3)},
        "names": {"step": torch.tensor(1.0)},
        "text": {**stored["state"][0], "exp_avg": "none"},
    }[change]
    torch.save(stored, path / "optimizer.pt")
    said = json.loads((path / "state.json").read_text())
    write_json(path / "state.json", {key: said[key] for key in said if key not in ("sum", "sums")})
    with pytest.raises(InputError, match="is damaged"):
        load_checkpoint(path, state)
    assert not state.optimizer.state


def test_the_optimiser_keeps_the_rates_of_the_config(tmp_path: Path) -> None:
    config = tiny(optim=OptimConfig(steps=2, batch=2, lr=1e-3, warmup=0), log=OFTEN)
    train(config, out=tmp_path, progress=False)
    path, state = tmp_path / "checkpoints" / "00000002", state_of(config)
    stored = torch.load(path / "optimizer.pt", weights_only=True)
    stored["param_groups"][0].update(maximize=True, betas=(0.1, 0.1))
    torch.save(stored, path / "optimizer.pt")
    said = json.loads((path / "state.json").read_text())
    write_json(path / "state.json", {key: said[key] for key in said if key not in ("sum", "sums")})
    load_checkpoint(path, state)
    (group,) = state.optimizer.param_groups
    assert (group["maximize"], group["betas"]) == (False, config.optim.betas)


def test_nothing_is_removed_while_the_newest_is_damaged(tmp_path: Path) -> None:
    state = state_of(tiny())
    for step in (1, 2, 3):
        state.step = step
        save_checkpoint(tmp_path, state)
    newest = checkpoints(tmp_path)[-1] / "network.safetensors"
    whole = bytearray(newest.read_bytes())
    whole[-1] ^= 1
    newest.write_bytes(whole)
    with pytest.raises(InputError, match="is cut short or altered"):
        prune(tmp_path, keep=1, best=())
    assert [int(path.name) for path in checkpoints(tmp_path)] == [1, 2, 3]


def test_a_run_keeps_its_best(tmp_path: Path) -> None:
    log_config = LogConfig(log_every=1, sample_every=1, save_every=100, keep=1, keep_best=1)
    config = tiny(optim=OptimConfig(steps=4, batch=2, lr=1e-3, warmup=0), log=log_config)
    train(config, out=tmp_path, progress=False)
    looks = [json.loads(line) for line in (tmp_path / "validation.jsonl").read_text().splitlines()]
    assert [look["step"] for look in looks] == [1, 2, 3, 4]
    best = min(looks, key=lambda look: look["loss"])["step"]
    kept = {int(path.name) for path in checkpoints(tmp_path / "checkpoints")}
    assert kept == {4, best}
    for path in checkpoints(tmp_path / "checkpoints"):
        check_sums(path)


def test_what_a_killed_process_left_is_put_in_order(tmp_path: Path) -> None:
    for name in (".00000004-0a1b2c3d", ".00000002-0a1b2c3d-old", ".00000006-0a1b2c3d-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / ".status-0a1b2c3d.json").write_text("")
    (tmp_path / "00000006").mkdir()
    (tmp_path / ".lock").write_text("")
    (tmp_path / "thesis-0a1b2c3d.txt").write_text("years of work")
    restore_after_a_kill(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".lock", "00000002", "00000006", "thesis-0a1b2c3d.txt"]
    assert (tmp_path / "00000002" / "file").read_text() == ".00000002-0a1b2c3d-old"


LIMITED = """
import errno, resource, sys
from pathlib import Path
import torch
from framefill.weights import save_tensors

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save_tensors(Path(sys.argv[1]), {"a": torch.zeros(10_000)})
except OSError as error:
    sys.exit(0 if error.errno == errno.EFBIG else 2)
sys.exit(3)
"""


def test_a_file_that_can_not_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    """In a process of its own, which may write small files alone."""
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "weights.safetensors")]
    assert subprocess.run(command, check=False).returncode == 0


def test_a_model_is_replaced_file_by_file(tmp_path: Path) -> None:
    """At no moment is the folder gone, or without its weights."""
    train(tiny(), out=tmp_path / "run", progress=False)
    model, folder = load_model(tmp_path / "run" / "model"), tmp_path / "run" / "model"
    before = folder.stat().st_ino
    model.save(folder, overwrite=True)
    assert folder.stat().st_ino == before
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    replace(model, config=replace(model.config, guidance=1.5)).save(folder, overwrite=True)
    assert load_model(folder).config.guidance == 1.5


# --- processes and signals ----------------------------------------------------------------------


def test_signals_are_noted_within_steps_and_heard_between_them() -> None:
    with signals() as heard:
        with heard.noted():
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard.asked()
            with pytest.raises(StoppedError), heard.heard():
                raise AssertionError("it was asked before")
        with pytest.raises(StoppedError, match="SIGUSR1"):
            os.kill(os.getpid(), signal.SIGUSR1)


def swallowed() -> None:
    """What a library in C does with what a signal raises in its midst."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException as error:
        raise ValueError("could not determine the shape") from error


def test_what_a_signal_raises_is_not_lost_in_a_library() -> None:
    with pytest.raises(StoppedError, match="SIGTERM"), signals():
        swallowed()
    with signals() as heard, heard.noted(), pytest.raises(StoppedError), heard.heard():
        swallowed()


def test_a_mistake_after_a_signal_is_still_a_mistake() -> None:
    """As where the disk is full when the run is to be saved."""

    def save() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="full"), signals() as heard, heard.noted():
        save()


def test_a_batch_has_to_be_shared_evenly() -> None:
    shares = [Ranks(rank, 4).share(12) for rank in range(4)]
    assert [index for share in shares for index in range(12)[share]] == list(range(12))
    with pytest.raises(InputError, match=r"batch 10 can't be divided among 4 processes"):
        Ranks(0, 4).share(10)


@pytest.mark.parametrize(("count", "said"), [("none", "WORLD_SIZE 'none'"), ("2", "RANK")])
def test_a_launcher_that_says_too_little_is_refused(
    monkeypatch: pytest.MonkeyPatch, count: str, said: str
) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(InputError, match=said), joined("cpu"):
        pass


def test_what_one_process_can_not_do_none_does() -> None:
    def refused() -> None:
        raise InputError("no such file")

    assert Ranks().all_do(lambda: 3) == 3
    with pytest.raises(InputError, match="no such file"):
        Ranks().all_do(refused)


def test_noise_and_dropout_differ_from_clip_to_clip_and_step_to_step() -> None:
    """Of the same clip: in one batch, with the same roles and levels, the losses differ."""
    config = tiny(optim=OptimConfig(steps=2, batch=16, lr=0.0 + 1e-12, warmup=0))
    state = state_of(config)
    reports = list(train_steps(config, state, config.clips("train")))
    values = torch.cat([report.clips.values for report in reports])
    assert len(set(values.tolist())) == len(values)


# --- fine-tuning --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("pretrained") / "run"
    train(
        tiny(optim=OptimConfig(steps=30, batch=8, lr=2e-3, warmup=0), log=OFTEN),
        out=run,
        progress=False,
    )
    return run


def videos(folder: Path, *, channels: int = 1, size: int = 16) -> Path:
    """Moving digits as files of the user's own."""
    clips = DigitsConfig(size=size, glyph=size // 2, speed=1, digits=1).clips(
        frames=12, split="train", seed=5
    )
    folder.mkdir()
    for number in range(3):
        np.save(folder / f"{number}.npy", np.repeat(clips[number], channels, axis=-1))
    return folder


def test_fine_tuning_goes_on_from_a_model(tmp_path: Path, pretrained: Path) -> None:
    data = str(videos(tmp_path / "data"))
    out = str(tmp_path / "tuned")
    command = ["train", str(pretrained), "--data", data, "--out", out]
    few = [
        "--optim.steps",
        "1",
        "--optim.batch",
        "4",
        "--log.log-every",
        "1",
        "--log.sample-every",
        "0",
    ]
    assert main([*command, *few]) == 0
    first = log(tmp_path / "tuned")[0]["loss"]
    assert (
        main(
            ["train", str(pretrained), "--data", data, "--out", f"{out}2", *few, "--start", "None"]
        )
        == 0
    )
    assert first < log(tmp_path / "tuned2")[0]["loss"]
    assert ff.load(out).model.config.masks == tiny().masks


def test_fine_tuning_with_other_channels_and_another_size(
    tmp_path: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = videos(tmp_path / "data", channels=3, size=32)
    command = ["train", str(pretrained), "--data", str(data), "--out", str(tmp_path / "tuned")]
    sizes = ["--data.channels", "3", "--data.height", "32", "--data.width", "32"]
    few = ["--optim.steps", "1", "--optim.batch", "2", "--log.sample-every", "0"]
    assert main([*command, *sizes, *few]) == 0
    said = capsys.readouterr().err
    assert "frames of 32 x 32 pixels instead of 16 x 16" in said
    assert "frames with 3 channels instead of 1" in said
    assert main([*command, *sizes, *few]) == 0  # goes on: its own weights, not those again
    assert "instead of" not in capsys.readouterr().err


def test_fine_tuning_another_network_is_refused(
    tmp_path: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = videos(tmp_path / "data")
    command = ["train", str(pretrained), "--data", str(data), "--out", str(tmp_path / "tuned")]
    assert main([*command, "--network.width", "16"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") <= 2
    assert "width" in said
    assert not (tmp_path / "tuned").exists()
