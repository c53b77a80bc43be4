"""What the files of a run folder say of where the run stands; none of them is trusted."""

import socket
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import psutil

from framefill.curves import log_lines
from framefill.errors import InputError
from framefill.serialise import read_json

Said = Literal["running", "finished", "requeue", "interrupted", "diverged", "failed"]
State = Literal[Said, "killed", "unknown"]

LONGEST_FILE = 1 << 16  # bytes
LONGEST_WORDS = 300
RECENT = 20  # lines that the speed is taken from
CLOCK = 60.0  # seconds that a clock may have been put back


@dataclass(frozen=True)
class Status:
    """What the training process said last of itself.

    Args:
        state: "killed" where it said "running" and is no more, "unknown" where it said nothing.
        step: Steps taken then.
        why: The reason, if there was one.
        written: When, as an ISO time.
        pid: Number of the process; 0: not said.
        host: The machine that it runs on.
    """

    state: State = "unknown"
    step: int = 0
    why: str = ""
    written: str = ""
    pid: int = 0
    host: str = ""


@dataclass(frozen=True)
class Numbers:
    """What the log of a training ends with; None where it doesn't say.

    Args:
        step: Of the last line.
        loss: Of that step.
        grad_norm: Norm of the gradient, before clipping.
        lr: Learning rate.
        clips_per_second: Speed since the line before.
        memory: Bytes that the training held.
        seconds: That the whole run took.
        steps_per_second: Over the last lines.
        bad: Steps that moved no weight, of the whole run.
        skipped: Clips without a target, in the steps that have lines.
    """

    step: int = 0
    loss: float | None = None
    grad_norm: float | None = None
    lr: float | None = None
    clips_per_second: float | None = None
    memory: float | None = None
    seconds: float | None = None
    steps_per_second: float | None = None
    bad: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Look:
    """The loss on held-out clips after a step."""

    step: int
    loss: float


def read_status(path: Path) -> Status:
    """Read what the training process said; what is missing or foreign says nothing."""
    try:
        if not path.is_file() or path.stat().st_size > LONGEST_FILE:
            return Status()
        data = read_json(path)
    except (InputError, OSError):
        return Status()
    if not isinstance(data, dict) or data.get("state") not in get_args(Said):
        return Status()
    status = Status(
        state=data["state"],
        step=_whole(data.get("step"), 1 << 53),
        why=_words(data.get("why")),
        written=_words(data.get("written")),
        pid=_whole(data.get("pid"), 1 << 31),
        host=_words(data.get("host")),
    )
    if status.state == "running" and _is_gone(status):
        return Status("killed", status.step, status.why, status.written, status.pid, status.host)
    return status


def _is_gone(status: Status) -> bool:
    """Whether the process is no more; of other machines that can't be known."""
    if status.host != socket.gethostname() or not status.pid:
        return False
    try:
        process = psutil.Process(status.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        # A process that began later has only got its number.
        return process.create_time() > datetime.fromisoformat(status.written).timestamp() + CLOCK
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def read_numbers(path: Path) -> Numbers:
    """Read the log of a training."""
    step, line, bad, skipped = 0, dict[str, object](), 0.0, 0.0
    recent: deque[tuple[int, float]] = deque(maxlen=RECENT)
    for now, line in log_lines(path):
        if now <= step:  # the run went back
            recent.clear()
        step = now
        bad += _float(line, "bad") or 0.0
        skipped += _float(line, "skipped") or 0.0
        if (seconds := _float(line, "seconds")) is not None:
            recent.append((step, seconds))
    speed = None
    if recent and (taken := recent[-1][1] - recent[0][1]) > 0:
        speed = (recent[-1][0] - recent[0][0]) / taken
    return Numbers(
        step=step,
        loss=_float(line, "loss"),
        grad_norm=_float(line, "grad_norm"),
        lr=_float(line, "lr"),
        clips_per_second=_float(line, "clips_per_second"),
        memory=_float(line, "memory"),
        seconds=_float(line, "seconds"),
        steps_per_second=speed,
        bad=_whole(bad, 1 << 53),
        skipped=_whole(skipped, 1 << 53),
    )


def read_looks(path: Path) -> tuple[Look | None, Look | None]:
    """Return the last look at held-out clips, and the one with the lowest loss."""
    last = best = None
    for step, line in log_lines(path):
        if (loss := _float(line, "loss")) is not None:
            last = Look(step, loss)
            best = last if best is None or not best.loss <= loss else best
    return last, best


def names_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, if there is one."""
    if not folder.is_dir():
        return []
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise InputError(f"{folder} can't be read: {error.strerror}") from error


def steps_in(folder: Path) -> tuple[int, ...]:
    """Return the steps that folders in a folder are named after."""
    names = (name for name in names_in(folder) if name.isascii() and name.isdecimal())
    return tuple(sorted(int(name) for name in names if len(name) < 16))


def _float(line: dict[str, object], name: str) -> float | None:
    value = line.get(name)
    return value if isinstance(value, float) else None


def _whole(value: object, limit: int) -> int:
    """Return a whole number below a limit; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < limit:
        return 0
    return int(value)


def _words(value: object) -> str:
    """Return text that does nothing to a terminal."""
    text = value if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST_WORDS])
