"""What befalls a training that is one process: kills, signals, torn files, full disks, bad data."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import contents, differences, drafts, events, lines, newest, report, server, small_disk
from safetensors.torch import load_file
from test_training import tiny

from framefill.checkpoint import check_sums, checkpoints, load_checkpoint
from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.data.videos import VideosConfig
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.files import restore_after_a_kill
from framefill.importance import LossHistory
from framefill.model import load_model
from framefill.nn.config import ContextConfig
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.run import train
from framefill.sampling import DpmSolver2M
from framefill.schedule import TableSchedule
from framefill.serialise import to_data, write_json
from framefill.training import TrainState, train_steps

STEPS, LONG = 40, 110


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


def finish(config: Path, run: Path, log: Path | None = None) -> str:
    """Run the same command once more, undisturbed."""
    attempt = server().train(config, run, log=log)
    assert attempt.wait() == 0, attempt.said()
    return attempt.said()


def has_lines(run: Path, count: int) -> bool:
    return len(lines(run)) >= count


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Let what is trained here be rounded as in the processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long run that nothing befell."""
    folder = tmp_path_factory.mktemp("whole")
    finish(written(small(LONG), folder), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run that nothing befell."""
    folder = tmp_path_factory.mktemp("short")
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
    tmp_path: Path, whole: Path, save_every: int
) -> None:
    """At random: while it starts, within steps, while it saves."""
    steps, luck = LONG, random.Random(save_every)
    run = tmp_path / "run"
    config = written(small(steps, save_every), tmp_path)
    watch = Watch(run)
    for attempt_number in range(20):
        wanted = len(lines(run)) + luck.choice([0, 0, 1, 2, 3, 4])
        attempt = server().train(config, run)
        if attempt_number % 4:
            attempt.until(partial(has_lines, run, wanted))
            time.sleep(luck.uniform(0, 0.08))
        else:
            time.sleep(luck.uniform(0, 0.3))
        attempt.send(signal.SIGKILL)
        assert attempt.wait() == -signal.SIGKILL, "it finished too soon to be killed"
        if run.is_dir():
            watch.look()
    report(
        f"save_every={save_every}: 20 kills, 20 survived, work lost at most {max(watch.lost)} "
        f"steps, on average {np.mean(watch.lost):.2f}; drafts {watch.most_drafts}"
    )
    said = finish(config, run)
    assert f"of {steps}" in said
    assert differences(run, whole) == []
    assert max(watch.lost) <= save_every
    assert watch.most_drafts <= 3
    assert drafts(run) == []


def test_killed_before_each_change_of_its_files(tmp_path: Path) -> None:
    """What chance would hardly meet: between any two renamings, before any file is opened."""
    run, reference = tmp_path / "run", tmp_path / "reference"
    config = written(small(4, 1), tmp_path)
    watch, kills = Watch(run), 0
    for die_at in range(1, 200):
        attempt = server().train(config, run, die_at=die_at)
        if attempt.wait() == 0:
            break
        assert attempt.wait() == -signal.SIGKILL, attempt.said()
        kills += 1
        if run.is_dir():
            watch.look()
    assert attempt.wait() == 0
    finish(written(small(4), tmp_path), reference)
    report(f"{kills} kills before changes of files, work lost at most {max(watch.lost)} steps")
    assert kills > 25
    assert differences(run, reference) == []
    assert drafts(run) == []


def test_killed_within_a_step_twenty_and_twenty_steps_are_forty(
    tmp_path: Path, short: Path
) -> None:
    run, config = tmp_path / "run", written(small(save_every=20), tmp_path)
    attempt = server().train(config, run)
    attempt.until(lambda: len(lines(run)) >= 22)
    time.sleep(0.005)
    attempt.send(signal.SIGKILL)
    assert attempt.wait() == -signal.SIGKILL
    assert newest(run) == 20
    assert len(lines(run)) < STEPS
    assert "going on at step 20 of 40" in finish(config, run)
    assert differences(run, short) == []


STOPS = [
    (signal.SIGTERM, 75, 0),
    (signal.SIGTERM, 75, 1),
    (signal.SIGUSR1, 75, 0),
    (signal.SIGINT, 130, 0),
    (signal.SIGINT, 130, 1),
]


@pytest.mark.parametrize(("number", "status", "workers"), STOPS)
def test_asked_to_stop_it_loses_no_step(
    tmp_path: Path, short: Path, number: signal.Signals, status: int, workers: int
) -> None:
    """Clusters and terminals signal the whole group, so those that read the data hear it too."""
    run, config = tmp_path / "run", written(small(workers=workers), tmp_path)
    attempt = server().train(config, run)
    attempt.until(lambda: len(lines(run)) >= 5)
    attempt.send(number, group=True)
    assert attempt.wait(10) == status
    said = attempt.complaints()
    assert len(said) == 1
    assert "interrupted" in said[0] if status == 130 else number.name in said[0]
    stopped = newest(run)
    assert 5 <= stopped == lines(run)[-1]["step"] < STEPS
    told = json.loads((run / "status.json").read_text())
    assert told["state"] == ("interrupted" if status == 130 else "requeue")
    assert told["step"] == stopped
    assert f"going on at step {stopped} of 40" in finish(config, run)
    assert differences(run, short) == []


def test_asked_to_stop_at_any_time_it_comes_to_the_same(tmp_path: Path, short: Path) -> None:
    """Also while it starts, where there is nothing to be saved yet."""
    run, config, luck = tmp_path / "run", written(small(save_every=1), tmp_path), random.Random(0)
    for _ in range(10):
        before = newest(run)
        attempt = server().train(config, run)
        time.sleep(luck.uniform(0, 0.4))
        attempt.send(signal.SIGTERM)
        assert attempt.wait(10) in (75, -signal.SIGTERM)  # the latter before it listens
        assert newest(run) >= before
        taken = lines(run)
        assert newest(run) == (taken[-1]["step"] if taken else 0)
    finish(config, run)
    assert differences(run, short) == []


def test_a_stop_during_the_look_at_held_out_clips_is_heard_at_once(
    tmp_path: Path, short: Path
) -> None:
    assert stopped_during_a_look(tmp_path, short, signal.SIGTERM) == 75


def test_an_interrupt_during_the_look_at_held_out_clips_loses_no_step(
    tmp_path: Path, short: Path
) -> None:
    assert stopped_during_a_look(tmp_path, short, signal.SIGINT) == 130


def stopped_during_a_look(folder: Path, short: Path, number: signal.Signals) -> int:
    """Stop a run whose look takes minutes; return its exit status."""
    log = LogConfig(log_every=1, sample_every=3, save_every=1000, trackers=())
    run = folder / "run"
    slow = written(small(log=log, sampler=DpmSolver2M(steps=900)), folder)
    attempt = server().train(slow, run)
    attempt.until(lambda: "filling held-out clips" in attempt.said())
    time.sleep(0.2)
    attempt.send(number)
    status = attempt.wait(10)
    assert len(attempt.complaints()) == 1
    assert newest(run) == lines(run)[-1]["step"] in (3, 4)
    finish(written(small(sampler=DpmSolver2M(steps=900)), folder), run)
    assert differences(run, short) == []
    return status


def test_killed_while_another_process_reads_the_data_it_can_go_on_at_once(
    tmp_path: Path, short: Path
) -> None:
    """The reader outlives it for some seconds: it must not keep the folder locked."""
    run, config = tmp_path / "run", written(small(save_every=1, workers=1), tmp_path)
    attempt = server().train(config, run)
    attempt.until(lambda: len(lines(run)) >= 3)
    attempt.send(signal.SIGKILL)
    assert attempt.wait() == -signal.SIGKILL
    finish(config, run)
    assert differences(run, short) == []


def test_a_second_process_is_refused_and_harms_nothing(tmp_path: Path, short: Path) -> None:
    run, config = tmp_path / "run", written(small(), tmp_path)
    attempt = server().train(config, run)
    attempt.until(lambda: len(lines(run)) >= 2)
    attempt.send(signal.SIGSTOP)  # for the second one waits a while
    second = server().train(config, run)
    assert second.wait(20) == 2
    assert attempt.running()
    assert second.complaints() == [
        f"framefill: another process is training in {run}: wait for it, or choose another folder "
        "for --out"
    ]
    attempt.send(signal.SIGCONT)
    assert attempt.wait() == 0
    assert differences(run, short) == []


def test_another_config_is_refused_and_harms_nothing(tmp_path: Path, short: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(short, run)
    before = contents(run)
    optim = OptimConfig(steps=STEPS, batch=2, lr=2e-3, warmup=2)
    attempt = server().train(written(small(optim=optim), tmp_path), run)
    assert attempt.wait() == 2
    (said,) = attempt.complaints()
    assert "optim.lr: 0.001 -> 0.002" in said
    assert contents(run) == before


def everything(steps: int = 6) -> Config:
    """A run whose checkpoints hold all that there can be."""
    optim = OptimConfig(
        steps=steps, batch=2, lr=1e-3, warmup=2, more_ema=(0.9,), ema_widths=(0.1,), spike=0.0
    )
    return small(
        optim=optim,
        log=LogConfig(log_every=1, sample_every=0, save_every=3, snapshot_every=1000, trackers=()),
        diffusion=Diffusion(schedule=TableSchedule(levels=21)),
        loss=MaskedLoss(levels="loss_aware"),
    )


FILES = (
    "average-0.9.safetensors",
    "average-width-0.1.safetensors",
    "average.safetensors",
    "history.safetensors",
    "network.safetensors",
    "optimizer.pt",
    "state.json",
)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose checkpoints hold all that there can be, after its last step."""
    run = tmp_path_factory.mktemp("full") / "run"
    train(everything(), out=run, progress=False)
    kept = checkpoints(run / "checkpoints")
    assert [path.name for path in kept] == ["00000003", "00000006"]
    assert sorted(path.name for path in kept[0].iterdir()) == sorted(FILES)
    return run


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


DAMAGES = (truncated, emptied, removed, flipped)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over_and_kept(
    tmp_path: Path, full: Path, name: str, damage: Callable[[Path], None]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(full, run)
    damage(run / "checkpoints" / "00000006" / name)
    harmed = contents(run / "checkpoints" / "00000006")
    said: list[str] = []
    train(everything(), out=run, progress=False, say=said.append)
    passed, went = said
    assert "00000006 is damaged" in passed
    assert "\n" not in passed
    assert went == "going on at step 3 of 6"
    kept = contents(run / "checkpoints" / "00000006.damaged")
    assert list(kept.values()) == list(harmed.values())
    assert differences(run, full) == []


def test_no_byte_of_what_a_checkpoint_says_of_itself_can_change(full: Path, tmp_path: Path) -> None:
    place = shutil.copytree(full / "checkpoints" / "00000006", tmp_path / "00000006")
    written = (place / "state.json").read_bytes()
    unseen = []
    for number in range(len(written)):
        changed = bytearray(written)
        changed[number] ^= 1
        (place / "state.json").write_bytes(changed)
        with suppress(InputError):
            check_sums(place)
            unseen.append(number)
    said = [written[max(0, number - 12) : number + 1] for number in unseen]
    # Blanks between the values say nothing.
    assert [each for each in said if not each[-1:].isspace()] == []


def test_damaged_again_at_the_same_step_it_goes_on_again(tmp_path: Path, full: Path) -> None:
    """A failing disk damages more than one file."""
    run = tmp_path / "run"
    shutil.copytree(full, run)
    for _ in range(2):
        truncated(run / "checkpoints" / "00000006" / "optimizer.pt")
        train(everything(), out=run, progress=False)
    assert differences(run, full) == []
    assert len(list((run / "checkpoints").glob("00000006.damaged*"))) == 2


def test_where_all_checkpoints_are_damaged_nothing_is_begun_anew(
    tmp_path: Path, full: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(full, run)
    for path, damage in zip(checkpoints(run / "checkpoints"), (flipped, removed), strict=True):
        damage(path / "network.safetensors")
    before = contents(run)
    with pytest.raises(InputError, match="no older one can be read: start anew") as caught:
        train(everything(), out=run, progress=False)
    assert "\n" not in str(caught.value)
    assert contents(run) == before


ROOM = 3 << 20  # bytes: two checkpoints and a model take 2 MB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(small_disk(tmp_path / "disk", ROOM))
        except OSError as error:
            pytest.skip(str(error))


def fill_up(disk: Path, but: int) -> Path:
    """Fill a file system but for so many bytes."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - but))
    assert os.statvfs(disk).f_bavail * free.f_frsize == but
    return ballast


def test_where_the_disk_is_full_it_stops_and_goes_on_when_there_is_room(
    disk: Path, tmp_path: Path, short: Path
) -> None:
    run, config = disk / "run", written(small(save_every=1), tmp_path)
    finish(written(small(3, 1), tmp_path), run, tmp_path / "log")
    ballast = fill_up(disk, but=300 << 10)
    attempt = server().train(config, run, log=tmp_path / "log")
    assert attempt.wait() == 2
    (said,) = attempt.complaints()
    assert "No space left on device" in said
    assert "free some space" in said
    assert "the run is whole up to step 3" in said
    assert newest(run) == 3
    ballast.unlink()
    finish(config, run, tmp_path / "log")
    assert differences(run, short) == []


def test_whatever_there_is_no_room_for_nothing_is_lost(
    disk: Path, tmp_path: Path, full: Path
) -> None:
    """From no room at all, for the config, to enough: each file is the one that does not fit."""
    train(everything(3), out=disk / "run", progress=False)
    stopped = shutil.copytree(disk / "run", tmp_path / "stopped")
    refused = 0
    for room in [*range(0, 64 << 10, 8 << 10), *range(64 << 10, ROOM, 100 << 10)]:
        ballast = fill_up(disk, but=room)
        try:
            said = refusal(everything(), disk / "run")
        finally:
            ballast.unlink()
        if not said:
            break
        refused += 1
        assert "No space left on device" in said
        assert "\n" not in said
        assert newest(disk / "run") in (3, 6)
        load_model(disk / "run" / "model")
        shutil.rmtree(disk / "run")
        shutil.copytree(stopped, disk / "run")
    assert refused > 12
    assert differences(disk / "run", full) == []


def refusal(config: Config, run: Path) -> str:
    """Train; return why that was refused, or nothing."""
    try:
        train(config, out=run, progress=False)
    except InputError as error:
        return str(error)
    return ""


def test_where_no_line_can_be_written_no_step_counts(
    disk: Path, tmp_path: Path, short: Path
) -> None:
    run, config = disk / "run", written(small(), tmp_path)
    finish(written(small(3), tmp_path), run, log=tmp_path / "log")
    ballast = fill_up(disk, but=8 << 10)
    attempt = server().train(config, run, log=tmp_path / "refused.log")
    assert attempt.wait() == 2
    (said,) = attempt.complaints()
    assert "metrics.jsonl can't be written (No space left on device)" in said
    assert said.endswith("the run is whole up to step 3")
    assert len(lines(run)) > 4
    ballast.unlink()
    finish(config, run, log=tmp_path / "log")
    assert differences(run, short) == []


def test_where_there_is_no_room_at_all_nothing_is_begun(disk: Path) -> None:
    ballast = fill_up(disk, but=0)
    with pytest.raises(InputError, match="No space left on device") as caught:
        train(small(2), out=disk / "run", progress=False)
    assert "\n" not in str(caught.value)
    ballast.unlink()
    train(small(2), out=disk / "run", progress=False)
    assert newest(disk / "run") == 2


WILD = Normaliser(dtype="float32", offset=(0.5,), scale=(0.5,), low=-1e35, high=1e35)
PATIENCE, EVERY = 3, 3  # bad steps in a row; steps between checkpoints
HUGE = 1e30  # a number still, but not its square


@dataclass(frozen=True)
class Films:
    """Films of one clip each, and which of them each batch is made of."""

    folder: Path
    config: Config
    batches: list[list[int]]

    @property
    def path(self) -> Path:
        return self.folder / "train.npy"

    def spoil(self, batches: Iterable[int], value: float = HUGE) -> None:
        """Put a value into the films of some batches, all but the pixel by which they are known."""
        frames = np.load(self.path)
        frames[[number for batch in batches for number in self.batches[batch]], :, 1:] = value
        np.save(self.path, frames)

    def first_of(self, count: int) -> int:
        """Return the first of so many batches in a row, from the 8th, whose films none else has."""
        for first in range(7, 20):
            here = {number for batch in self.batches[first : first + count] for number in batch}
            others = [*self.batches[:first], *self.batches[first + count :]]
            if not here & {number for batch in others for number in batch}:
                return first
        raise AssertionError("each film occurs twice")


@pytest.fixture
def films(tmp_path: Path) -> Films:
    rng, folder = np.random.default_rng(0), tmp_path / "films"
    folder.mkdir()
    for split, count in (("train", 900), ("test", 2)):
        frames = rng.random((count, 4, 8, 8, 1), np.float32)
        frames[:, :, 0] = np.arange(count).reshape(-1, 1, 1, 1) / 1000
        np.save(folder / f"{split}.npy", frames)
    optim = OptimConfig(steps=24, batch=2, lr=1e-3, warmup=0, patience=PATIENCE)
    data = VideosConfig(height=8, width=8, channels=1, path=folder, axes="vfhwc")
    config = small(save_every=EVERY, data=data, normaliser=WILD, optim=optim)
    clips = config.clips("train")
    found = [round(1000 * float(clips[index].flat[0])) for index in range(60)]
    return Films(folder, config, [found[start : start + 2] for start in range(0, 60, 2)])


def test_infinity_is_refused_before_the_network_sees_it(films: Films, tmp_path: Path) -> None:
    films.spoil([4], np.inf)
    attempt = server().train(written(films.config, tmp_path), tmp_path / "run")
    assert attempt.wait() == 2
    (said,) = attempt.complaints()
    assert "infinity" in said or "infinite" in said
    assert "clip 8" in said
    assert said.endswith("the run is whole up to step 3")
    assert newest(tmp_path / "run") == 3


def test_nan_is_missing_and_no_fault(films: Films, tmp_path: Path) -> None:
    films.spoil([2, 4, 5], np.nan)
    train(films.config, out=tmp_path / "run", progress=False)
    taken = lines(tmp_path / "run")
    assert [each["step"] for each in taken] == list(range(1, 25))
    assert all(np.isfinite(each["loss"]) and each["bad"] == 0 for each in taken)
    found = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert all(bool(value.isfinite().all()) for value in found.values())


def weights_of(state: TrainState) -> list[torch.Tensor]:
    networks = (state.network, state.average)
    return [each.detach().clone() for network in networks for each in network.parameters()]


def test_a_bad_step_moves_no_weight_and_a_good_one_does(films: Films) -> None:
    bad = films.first_of(2)
    films.spoil([bad, bad + 1])
    state = TrainState.start(films.config, torch.device("cpu"))
    before, skipped = weights_of(state), list[int]()
    for taken in train_steps(films.config, state, films.config.clips("train")):
        now = weights_of(state)
        changed = any(not torch.equal(*each) for each in zip(before, now, strict=True))
        assert changed != bool(taken.bad)
        if not changed:
            skipped.append(taken.step - 1)
        before = now
        if taken.step == bad + 4:
            break
    assert skipped == [bad, bad + 1]


def test_a_bad_step_leaves_levels_that_can_be_drawn() -> None:
    """Where they are drawn as often as their losses are large."""
    history = LossHistory.empty(21)
    for level in range(1, 22):
        history.note(torch.full((10,), float(level)), torch.ones(10))
    before = history.probabilities
    history.note(torch.tensor([3.0, 4.0]), torch.tensor([np.inf, np.nan]))
    assert torch.equal(history.probabilities, before)
    history.note(torch.tensor([3.0]), torch.tensor([2.0]))
    assert not torch.equal(history.probabilities, before)


def test_diverging_it_goes_back_once_and_on_with_other_batches(
    films: Films, tmp_path: Path
) -> None:
    bad, run = films.first_of(PATIENCE), tmp_path / "run"
    films.spoil(range(bad, bad + PATIENCE))
    said: list[str] = []
    train(films.config, out=run, progress=False, say=said.append)
    good = bad // EVERY * EVERY
    skipped = [line for line in said if "is skipped: loss nan" in line]
    assert len(skipped) == PATIENCE
    (went,) = [line for line in said if "back to step" in line]
    assert f"{PATIENCE} bad steps in a row up to step {bad + PATIENCE}" in went
    assert f"back to step {good}, and on with other batches" in went
    noted = [(each["event"], each["step"]) for each in events(run)]
    assert noted[1:-1] == [("skipped", bad + 1 + each) for each in range(PATIENCE)] + [
        ("went back", good)
    ]
    assert [each["step"] for each in lines(run)] == list(range(1, 25))
    assert newest(run) == 24

    # What it came to is what the batches after the bad ones lead to from there.
    fresh = TrainState.start(films.config, torch.device("cpu"))
    kept = replace(films.config, optim=replace(films.config.optim, steps=good))
    train(kept, out=tmp_path / "before", progress=False)
    load_checkpoint(tmp_path / "before" / "checkpoints" / f"{good:08d}", fresh)
    fresh.guard.detour = bad + PATIENCE - good
    for taken in train_steps(films.config, fresh, films.config.clips("train")):
        assert not taken.bad
    ours = load_file(run / "checkpoints" / "00000024" / "network.safetensors")
    theirs = fresh.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_batch_of_a_bad_step_is_kept(films: Films, tmp_path: Path) -> None:
    bad, run = films.first_of(PATIENCE), tmp_path / "run"
    films.spoil(range(bad, bad + PATIENCE))
    train(films.config, out=run, progress=False)
    (kept,) = (run / "diverged").iterdir()
    assert kept.name == f"{bad + 1:08d}-rank0"
    told = json.loads((kept / "report.json").read_text())
    assert told["step"] == bad + 1
    assert told["batch"] == bad
    assert told["why"] == "loss nan"
    assert told["loss"] == "nan"
    assert told["lr"] == pytest.approx(1e-3)
    assert told["so_far"]["streak"] == 1
    assert [len(row) for row in told["rows"]] == [4, 4]
    batch = load_file(kept / "batch.safetensors")
    frames = np.load(films.path)[films.batches[bad]]
    assert np.array_equal(batch["frames"].numpy(), frames)
    assert batch["levels"].shape == (2, 4)
    assert not bool(batch["losses"].isfinite().any())


def test_diverging_again_it_stops(films: Films, tmp_path: Path) -> None:
    run, bad = tmp_path / "run", films.first_of(2 * PATIENCE)
    films.spoil(range(bad, bad + 2 * PATIENCE))
    good = bad // EVERY * EVERY
    attempt = server().train(written(films.config, tmp_path), run)
    assert attempt.wait() == 2
    (said,) = attempt.complaints()
    assert "the run went back once already: training diverged" in said
    assert f"whole up to step {good}" in said
    assert newest(run) == good
    assert json.loads((run / "status.json").read_text())["state"] == "diverged"
    weights = load_file(run / "checkpoints" / f"{good:08d}" / "network.safetensors")
    assert all(bool(value.isfinite().all()) for value in weights.values())


def test_killed_while_it_goes_back_it_comes_to_the_same(films: Films, tmp_path: Path) -> None:
    bad, whole = films.first_of(PATIENCE), tmp_path / "whole"
    films.spoil(range(bad, bad + PATIENCE))
    config = written(films.config, tmp_path)
    assert "back to step" in finish(config, whole)
    killed = 0
    # From the first bad step's evidence to the checkpoint that says that it went back, and later.
    for die_at in range(2, 50, 8):
        run = tmp_path / f"run{die_at}"
        attempt = server().train(config, run, die_at=die_at, after="diverged")
        assert attempt.wait() == -signal.SIGKILL, attempt.said()
        killed += 1
        finish(config, run)
        assert differences(run, whole) == []
        assert drafts(run) == []
        assert len(list((run / "diverged").iterdir())) == 1
    assert killed == 6
