"""A run folder: where what is, whose it is, and what has happened in it."""

import json
import math
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from framefill.config import Config, LogConfig, difference, read_config
from framefill.data.videos import ALL_CLASSES, VideosConfig
from framefill.errors import InputError
from framefill.files import restore_after_a_kill, write_text
from framefill.serialise import read_json, to_data, write_json

READERS_NOTICE = 10.0  # seconds
RunState = Literal["running", "finished", "requeue", "interrupted", "diverged", "failed"]


@dataclass(frozen=True)
class Run:
    """A run folder and what is in it.

    config.json; metrics.jsonl, validation.jsonl and events.jsonl; status.json; checkpoints/<step>/;
    samples/; snapshots/<step>/ of averages; diverged/<step>/, the batches of bad steps; and model/,
    the averaged model, loadable at any time; beside it model-ema-RATE/ for each further average.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """The run's configuration."""
        return self.folder / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per line, for every few steps."""
        return self.folder / "metrics.jsonl"

    @property
    def validation(self) -> Path:
        """One JSON object per line, for every look at held-out clips."""
        return self.folder / "validation.jsonl"

    @property
    def events(self) -> Path:
        """One JSON object per line, for whatever happened beside steps."""
        return self.folder / "events.jsonl"

    @property
    def status(self) -> Path:
        """Where the run stands."""
        return self.folder / "status.json"

    @property
    def checkpoints(self) -> Path:
        """One folder per checkpoint, named after its step."""
        return self.folder / "checkpoints"

    @property
    def samples(self) -> Path:
        """Pictures and videos of clips that the model filled while it was trained."""
        return self.folder / "samples"

    @property
    def snapshots(self) -> Path:
        """Averages of the weights, from which averages of any width are made."""
        return self.folder / "snapshots"

    @property
    def diverged(self) -> Path:
        """What bad steps were taken with."""
        return self.folder / "diverged"

    @property
    def model(self) -> Path:
        """The averaged model of the newest checkpoint."""
        return self.folder / "model"

    def model_at(self, rate: float) -> Path:
        """The model of a further average."""
        return self.folder / f"model-ema-{rate}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training here.

        Raises:
            InputError: one does.
        """
        # The readers of a process that was killed hold its lock until they notice.
        lock = FileLock(self.folder / ".lock", timeout=READERS_NOTICE)
        try:
            with lock:
                yield
        except Timeout as error:
            raise InputError(
                f"another process is training in {self.folder}: wait for it, or choose another "
                "folder for --out"
            ) from error

    def check(self, config: Config) -> None:
        """Refuse a folder that can't be this config's; nothing is touched.

        Raises:
            InputError: it holds something else, or a run of another config.
        """
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file: choose a folder for --out")
        if not self.config.is_file():
            # What begins with a dot is the draft of a file that was not finished.
            if any(not path.name.startswith(".") for path in self.folder.iterdir()):
                raise InputError(
                    f"{self.folder} holds files but no run: choose another folder for --out"
                )
            return
        started = read_config(self.config)
        changes = difference(_identity(started, config), _identity(config, config))
        if changes:
            raise InputError(
                f"{self.folder} holds a run of another config ({'; '.join(changes)}): "
                "choose another folder for --out, or give the same settings to go on"
            )

    def begin(self, config: Config, held: ExitStack) -> None:
        """Make the folder this config's, and put in order what a killed process has left there.

        Args:
            config: The run's.
            held: Closed when the training ends; until then no other process can begin.

        Raises:
            InputError: as `check` and `locked`, or the folder can't be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder} can't be made ({error.strerror or error}): choose another folder"
            ) from error
        held.enter_context(self.locked())
        self.check(config)
        drafted = (self.checkpoints, self.samples, self.snapshots, self.diverged)
        for folder in (self.folder, *drafted, *self.folder.glob("model*")):
            restore_after_a_kill(folder)
        _keep_until(self.events, sys.maxsize)
        write_json(self.config, to_data(config))
        self.samples.mkdir(exist_ok=True)

    def stands(self, state: RunState, step: int, why: str = "") -> None:
        """Write where the run stands."""
        write_json(
            self.status,
            {
                "state": state,
                "step": step,
                "why": why,
                "written": datetime.now(UTC).isoformat(timespec="seconds"),
                "pid": os.getpid(),
                "host": socket.gethostname(),
            },
        )

    def is_finished(self, step: int) -> bool:
        """Say whether all of a step, its model too, was written, and the run ended there."""
        if not self.status.is_file():
            return False
        try:
            said = read_json(self.status)
            return bool(said["state"] == "finished" and said["step"] == step)
        except (InputError, LookupError, TypeError):
            return False

    def note(self, step: int, event: str, why: str = "") -> None:
        """Add to what has happened."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        append(self.events, {"step": step, "event": event, "why": why, "written": now})

    def forget_after(self, step: int) -> float:
        """Drop numbers of steps that were taken but not saved: they are taken, and written, again.

        Returns:
            Seconds that the run has taken up to there.
        """
        _keep_until(self.validation, step)
        kept = _keep_until(self.metrics, step)
        return float(json.loads(kept).get("seconds", 0.0)) if kept else 0.0

    def best(self, count: int) -> list[int]:
        """Return the steps with the lowest loss on held-out clips, the best first."""
        if not self.validation.is_file() or not count:
            return []
        lines = self.validation.read_text(encoding="utf-8").splitlines()
        looks = [json.loads(line) for line in lines if _step_of(line) < math.inf]
        looks = [look for look in looks if isinstance(look.get("loss"), float)]
        found = sorted(looks, key=lambda look: (look["loss"], look["step"]))
        return [look["step"] for look in found[:count]]


def append(path: Path, values: dict[str, Any]) -> None:
    """Add a JSON object to a file of lines.

    Raises:
        InputError: the file can't be written; a cut-off line is dropped when the run goes on.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror or error})") from error


def _identity(config: Config, now: Config) -> Config:
    """Return what of a config decides what is learned, as far as it was decided already."""
    optim, data = replace(config.optim, microbatch=0), config.data
    if config.optim.decay == now.optim.decay == 0:
        # Without a fall towards the end no step depends on how many there are.
        optim = replace(optim, steps=now.optim.steps)
    if isinstance(data, VideosConfig) and isinstance(now.data, VideosConfig):
        path = data.path or now.data.path
        classes = now.data.classes if data.classes == ALL_CLASSES else data.classes
        data = replace(data, path=path, classes=classes)
    return replace(
        config,
        optim=optim,
        data=data,
        log=LogConfig(snapshot_every=config.log.snapshot_every),
        workers=0,
        recompute=now.recompute,
        compile=now.compile,
        precision=now.precision,
        shard=now.shard,
    )


def _keep_until(path: Path, step: int) -> str:
    """Drop the lines of later steps; return the last one left, or nothing."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) < len(lines):
        write_text(path, "".join(f"{line}\n" for line in kept))
    return kept[-1] if kept else ""


def _step_of(line: str) -> float:
    """A line that a crash cut off has no step, and is dropped."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
