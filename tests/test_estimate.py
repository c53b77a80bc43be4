"""Plans: real trials in processes of their own, and what is said when they don't fit or die."""

import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import tyro
from rich.console import Console
from test_training import tiny

from framefill.conditions import Condition
from framefill.config import Config
from framefill.costs import cost
from framefill.data.own import OwnConfig
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.estimate import Plan, make_plan, plan_into, print_plan
from framefill.estimate.attempt import _understood, attempt
from framefill.estimate.change import Change
from framefill.estimate.filling import time_filling
from framefill.estimate.made_up import clips_of, with_made_up
from framefill.estimate.memory import _rooms, batch_bytes, free_bytes, parts_of
from framefill.estimate.result import Tried
from framefill.estimate.search import Search
from framefill.estimate.trial import Measured, Request
from framefill.masks import BlockMasks
from framefill.nn.config import ContextConfig, SpatinConfig, VolumeConfig
from framefill.normalise import Normaliser
from framefill.optim_config import OptimConfig
from framefill.recipes import recipe
from framefill.sampling import DpmSolver2M
from framefill.serialise import to_data

CPU = torch.device("cpu")
LARGE = replace(  # whose activations are far more than its weights, and than what Python takes
    tiny(),
    data=VideosConfig(height=64, width=64, channels=1),
    network=ContextConfig(width=48, multipliers=(1,), blocks=1, attention=(), head_width=None),
    optim=OptimConfig(steps=100, batch=8, warmup=2),
)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def request(config, **changes) -> Request:
    return Request(**{"config": config, "device": "cpu", "seconds": 2.0, **changes})


def printed(config, **options) -> tuple[Plan, str]:
    out = io.StringIO()
    plan = plan_into(config, name="it", console=Console(file=out, width=200), **options)
    return plan, out.getvalue()


def test_a_plan_is_of_real_steps() -> None:
    config = tiny()
    plan, text = printed(config, device="cpu", seconds=20.0, price_per_hour=3.0)
    weights = sum(each.numel() for each in config.model().build().parameters())
    assert plan.parameters == weights
    assert plan.parts.weights == plan.parts.gradients == plan.parts.averages == 4 * weights
    assert plan.parts.adam == 8 * weights
    asked = plan.asked
    assert plan.chosen is asked
    assert asked.fits
    assert (asked.clips, asked.steps, asked.batch) == (4, 3, 4)
    assert asked.peak_bytes is not None
    assert asked.clip_peak_bytes is not None
    assert plan.base_bytes > 50 * 2**20
    assert plan.base_bytes + plan.parts.state < asked.peak_bytes < 4 * 2**30
    assert plan.base_bytes < asked.clip_peak_bytes <= asked.peak_bytes
    assert asked.step_seconds is not None
    assert 0 < asked.step_seconds < 5
    assert plan.seconds == 8 * asked.step_seconds
    assert plan.cost == plan.seconds / 3600 * 3.0
    assert plan.filling is not None
    assert plan.filling.evaluations == plan.filling.measured == 2
    assert 0 < plan.filling.seconds < 5
    assert plan.read_seconds is not None
    assert 0 < plan.read_seconds < asked.step_seconds
    assert not plan.made_up
    assert "it fits: " in text
    assert "measured over 3 steps" in text
    assert "(1 thread)" in text
    assert " at 3 an hour (computed)" in text


def test_what_does_not_fit_is_tried_with_fewer_clips_at_once(tmp_path: Path) -> None:
    video = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 1), dtype=np.uint8)
    np.save(tmp_path / "video.npy", video)
    config = replace(LARGE, data=replace(LARGE.data, path=tmp_path / "video.npy"))
    found = attempt(request(config, seconds=30.0), None)
    assert found.peak is not None
    assert found.clip_peak is not None
    assert found.peak - found.clip_peak > 80 * 2**20
    limit = found.clip_peak + 0.6 * (found.peak - found.clip_peak)
    plan, text = printed(
        LARGE, data=tmp_path / "video.npy", device="cpu", memory_limit=limit / 2**30, seconds=30.0
    )
    assert plan.asked.fits is False
    assert plan.asked.peak_bytes == pytest.approx(found.peak, rel=0.15)
    chosen = plan.chosen
    assert chosen is not None
    assert chosen.flags in (("--optim.microbatch", "4"), ("--optim.microbatch", "2"))
    assert chosen.peak_bytes is not None
    assert found.clip_peak < chosen.peak_bytes <= limit
    assert chosen.step_seconds is not None
    assert plan.seconds == 100 * chosen.step_seconds
    assert chosen.batch == 8
    assert shown_flags(text) == " ".join(chosen.flags)
    assert plan.data == str(tmp_path / "video.npy")


def shown_flags(text: str) -> str:
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("it doesn't fit as asked"))
    return lines[place + 1].strip()


def test_what_can_not_fit_is_said_with_the_smallest_that_was_tried() -> None:
    said: list[str] = []
    config = replace(LARGE, optim=OptimConfig(steps=10, batch=2))
    out = io.StringIO()
    plan = plan_into(
        config,
        name="it",
        device="cpu",
        memory_limit=0.05,  # Python alone takes more
        seconds=20.0,
        as_json=True,
        say=said.append,
        console=Console(file=out, width=80),
    )
    assert plan.chosen is None
    assert [each.flags for each in plan.tried] == [(), ("--recompute",)]
    assert all(each.fits is False and each.peak_bytes for each in plan.tried)
    assert [line.split(":")[0] for line in said] == ["trying as asked for", "trying --recompute"]
    assert plan.made_up
    assert "made-up" in plan.data
    data = json.loads(out.getvalue())
    assert data["tried"] == json.loads(json.dumps(to_data(plan)["tried"]))
    assert data["seconds"] == plan.seconds
    assert data["cost"] is None
    text = io.StringIO()
    print_plan(plan, Console(file=text, width=200))
    assert "nothing that was tried fits: even a single clip at once" in text.getvalue()
    assert "of 51.2 MiB" in text.getvalue()


def trials() -> list[psutil.Process]:
    """The children of this process that try something; the tests may have others."""
    return [
        each for each in psutil.Process().children() if "framefill.estimate.child" in each.cmdline()
    ]


def test_a_trial_that_is_killed_has_run_out_of_memory() -> None:
    def kill() -> None:
        while not (found := trials()):
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(found[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = attempt(request(tiny()), None)
    killer.join()
    assert found.end == "memory"
    assert "ended by the system" in found.said
    search = Search(tiny(), CPU, cost(tiny().model()), None, 20.0, print)
    assert search._judged(Change(), tiny(), found).fits is False


def test_a_trial_is_ended_before_the_memory_is_exhausted() -> None:
    found = attempt(request(tiny()), 30 * 2**20)
    assert found.end == "memory"
    assert found.said.startswith("stopped at 0.")
    assert found.reached == "start"


def test_a_trial_ends_with_whoever_asked_for_it() -> None:
    line = json.dumps(to_data(request(tiny(), seconds=600.0, sampling_seconds=600.0)))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "framefill.estimate.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n".encode())
    process.stdin.flush()
    assert b"device" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(timeout=30) == 1
    process.stdout.close()


def test_what_the_training_refuses_is_told_by_the_plan(tmp_path: Path) -> None:
    gone = replace(LARGE, data=replace(LARGE.data, path=tmp_path / "gone.npy"))
    with pytest.raises(InputError, match=r"gone\.npy"):
        attempt(request(gone), None)


def test_a_fault_of_ours_is_none_of_the_users() -> None:
    with pytest.raises(RuntimeError, match="status 1: KeyError: 'x'"):
        _understood('{"reached": "state"}', "", 1, "Traceback ...\nKeyError: 'x'\n")
    found = _understood('{"reached": "state"}\n{"reached": "cl', "", -9, "")
    assert (found.reached, found.end) == ("state", "memory")


def test_numbers_and_devices_are_checked_first() -> None:
    for options, words in (
        ({"memory_limit": 0.0}, "memory_limit 0"),
        ({"price_per_hour": math.nan}, "price_per_hour nan"),
        ({"seconds": -1.0}, "seconds -1"),
        ({"device": "cuda:99"}, "cuda:99"),
    ):
        with pytest.raises(InputError, match=words):
            make_plan(tiny(), name="it", **options)


def test_made_up_clips_have_all_that_the_network_is_told() -> None:
    wind = Condition(name="wind", kind="vector", size=2)
    rain = Condition(name="rain", kind="map", size=1)
    land = Condition(name="land", kind="static", size=3, offset=(5.0,))
    config = recipe("small-st")
    network = replace(config.network, classes=4)
    normaliser = Normaliser(dtype="int16", offset=(0.0,), scale=(9.0,), low=-9.0, high=9.0)
    config = replace(
        config,
        data=OwnConfig(height=8, width=8, channels=2, conditions=("wind", "rain", "land")),
        network=network,
        conditions=(wind, rain, land),
        normaliser=normaliser,
        diffusion=replace(config.diffusion, limits=None),
    )
    clip = clips_of(with_made_up(config)).clip(3)
    assert clip["frames"].shape == (10, 8, 8, 2)
    assert clip["frames"].dtype == np.int16
    assert -9 <= clip["frames"].min() < 0 < clip["frames"].max() <= 9
    shapes = {name: value.shape for name, value in clip["conditions"].items()}
    assert shapes == {"wind": (10, 2), "rain": (10, 8, 8, 1), "land": (8, 8, 3)}
    assert clip["label"] in range(4)
    found = time_filling(config, config.model().build().eval(), clips_of(config), CPU, seconds=60.0)
    assert found.evaluations == found.measured == 20
    with pytest.raises(InputError, match="conditions wind: their sizes"):
        with_made_up(replace(config, data=VideosConfig(conditions=("wind",)), conditions=()))


@pytest.mark.parametrize(
    "network",
    [
        ContextConfig(width=8, multipliers=(1, 2), blocks=1, attention=(), head_width=None),
        SpatinConfig(width=8, multipliers=(1, 2), blocks=1, attention=()),
        VolumeConfig(width=32, multipliers=(1, 2), blocks=1, attention=(), heads=1),
    ],
    ids=["context", "spatin", "volume"],
)
def test_a_walk_is_timed_by_its_first_steps(network) -> None:
    masks = tiny().masks if isinstance(network, ContextConfig) else BlockMasks(past=2, target=2)
    config = tiny(network=network, masks=masks, sampler=DpmSolver2M(steps=7))
    clips = clips_of(config)
    built = config.model().build().eval()
    calls: list[int] = []
    built.unet.register_forward_hook(lambda *_: calls.append(1))
    found = time_filling(config, built, clips, CPU, seconds=0.0)
    assert (found.evaluations, found.measured, len(calls)) == (7, 2, 2)
    whole = time_filling(config, built, clips, CPU, seconds=60.0)
    assert (whole.evaluations, whole.measured, len(calls)) == (7, 7, 9)
    assert 0 < found.seconds < 10


def test_what_was_measured_with_fewer_clips_is_scaled() -> None:
    config = tiny(optim=OptimConfig(steps=8, batch=16, microbatch=8, warmup=2))
    found = Measured(
        reached="batch",
        free_bytes=1,
        clip_peak=100,
        clip_seconds=3.0,
        peak=160,
        step_seconds=8.0,
        steps=1,
        clips=4,
        read_seconds=0.5,
    )
    assert found.scaled_seconds(config) == 32.0
    assert found.scaled_peak(config, 1000) == 160 + 4 * 20
    whole = replace(found, clips=8)  # as many as are held at once: as it was measured
    assert whole.scaled_peak(config, 1000) == 160
    assert replace(whole, free_bytes=None).scaled_peak(config, 0) == 160 + batch_bytes(config, 8)
    assert batch_bytes(config, 8) == 8 * 4 * 16 * 16 * (1 + 4)
    single = replace(found, clips=0, peak=None, step_seconds=None)
    assert single.scaled_peak(config, 1000) == 100 + 7 * 1000
    assert replace(single, state_peak=70).scaled_peak(config, 1000) == 100 + 7 * 30
    assert single.scaled_seconds(config) == 48.0
    # Two processes read 16 clips in 4 s, while 24 s are computed; with one reader it is 8 s.
    assert found.scaled_seconds(replace(config, workers=2)) == 16 * 1.5
    slow = replace(found, read_seconds=1.9)
    assert slow.scaled_seconds(replace(config, workers=1)) == pytest.approx(16 * 1.9)
    assert Measured().scaled_peak(config, 1) is Measured().scaled_seconds(config) is None


def test_parts_count_every_average() -> None:
    optim = OptimConfig(steps=8, batch=4, microbatch=9, more_ema=(0.9,))
    parts = parts_of(tiny(optim=optim), cost(tiny().model()))
    assert parts.averages == 2 * parts.weights
    assert parts.held == 4
    assert parts.state == 6 * parts.weights


def test_limits_of_containers_count(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    group, old = root / "a" / "b", root / "memory" / "c"
    for folder, most, used, stat in (
        (group, ("memory.max", 1000), ("memory.current", 700), "anon 1\ninactive_file 200\n"),
        (root / "a", ("memory.max", "max"), ("memory.current", 700), ""),
        (old, ("memory.limit_in_bytes", 900), ("memory.usage_in_bytes", 950), ""),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / most[0]).write_text(f"{most[1]}\n")
        (folder / used[0]).write_text(f"{used[1]}\n")
        (folder / "memory.stat").write_text(stat)
    own.write_text("0::/a/b\n")
    assert list(_rooms(own, root)) == [500]
    own.write_text("5:cpu:/c\n4:memory:/c\n")
    assert list(_rooms(own, root)) == [0]
    assert list(_rooms(tmp_path / "nothing", root)) == []
    assert 0 < free_bytes() < psutil.virtual_memory().total


def test_changes_are_flags_that_do_what_they_say() -> None:
    change = Change(microbatch=2, recompute=True, batch=4, precision="bfloat16")
    changed = change.of(tiny())
    assert (changed.optim.batch, changed.optim.microbatch) == (4, 2)
    assert changed.recompute
    assert changed.precision == "bfloat16"
    assert Change().of(tiny()) == tiny()
    read = tyro.cli(
        Config, default=tiny(), args=list(change.flags), config=(tyro.conf.AvoidSubcommands,)
    )
    assert read == changed


def outcome(search: Search, change: Change, *, peak: int | None, clip: int | None) -> None:
    """Note what a trial would have found, for what is to be tried next."""
    found = Measured(
        end="done" if peak else "memory",
        reached="batch" if peak else "clip" if clip else "state",
        clip_peak=clip,
        clip_seconds=1.0 if clip else None,
        peak=peak,
        step_seconds=1.0 if peak else None,
        clips=change.of(search.config).optim.batch if peak else 0,
    )
    search.measured.append(found)
    search.tried.append(search._judged(change, change.of(search.config), found))


def flags(search: Search, *, peak: int | None, clip: int | None) -> list[str]:
    """Return all that is tried if every trial finds the same."""
    words = []
    for change in search._changes():
        words.append(" ".join(change.flags))
        outcome(search, change, peak=peak, clip=clip)
    return words


def a_search(device: torch.device, **changes) -> Search:
    config = tiny(optim=OptimConfig(steps=8, batch=8), **changes)
    search = Search(config, device, cost(config.model()), None, 20.0, print)
    search.allowed = 100
    return search


def test_what_is_tried_in_which_order() -> None:
    cuda = torch.device("cuda")
    assert flags(a_search(CPU), peak=None, clip=90) == [
        "",
        "--optim.microbatch 4",
        "--optim.microbatch 2",
        "--optim.microbatch 1",
        "--recompute",
        "--optim.microbatch 1 --recompute",
        "--optim.batch 4 --optim.microbatch 1 --recompute",
        "--optim.batch 2 --optim.microbatch 1 --recompute",
        "--optim.batch 1 --optim.microbatch 1 --recompute",
    ]
    assert flags(a_search(CPU), peak=None, clip=101) == ["", "--recompute"]
    assert flags(a_search(CPU, recompute=True), peak=None, clip=101) == [""]
    assert flags(a_search(cuda, precision="float32"), peak=None, clip=101) == [
        "",
        "--optim.microbatch 1 --precision bfloat16",
        "--recompute",
        "--optim.microbatch 1 --precision bfloat16 --recompute",
    ]
    assert flags(a_search(cuda, precision="bfloat16"), peak=None, clip=90)[-2:] == [
        "--recompute",
        "--optim.microbatch 1 --recompute",
    ]
    # 4 clips at once would take twice the limit: that isn't tried.
    assert flags(a_search(CPU), peak=510, clip=20)[:3] == [
        "",
        "--optim.microbatch 2",
        "--optim.microbatch 1",
    ]


def test_where_nothing_could_be_measured_it_says_so() -> None:
    search = a_search(CPU)
    outcome(search, Change(), peak=None, clip=None)
    tried: Tried = search.tried[0]
    assert tried.fits is False
    assert tried.peak_bytes is tried.step_seconds is None
    late = replace(search.measured[0], end="time")
    assert search._judged(Change(), search.config, late).fits is None
