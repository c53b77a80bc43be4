"""Where a run stands, for whoever watches: read from its folder, said in lines."""

import math
import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from framefill.config import Config, read_config
from framefill.curves import METRICS, VALIDATION, plot_curves
from framefill.data.digits import DigitsConfig
from framefill.data.own import OwnConfig
from framefill.errors import InputError
from framefill.model import CARD, CONFIG, WEIGHTS
from framefill.recipes import RECIPES
from framefill.standing import (
    Look,
    Numbers,
    State,
    Status,
    names_in,
    read_looks,
    read_numbers,
    read_status,
    steps_in,
)

LABEL = 13  # letters
MOST_NAMED = 12
MEANING: dict[State, str] = {
    "running": "running",
    "finished": "finished",
    "requeue": "stopped in good time, to be started again",
    "interrupted": "interrupted",
    "diverged": "diverged",
    "failed": "failed",
    "killed": "was killed: it says that it is running, but its process is gone",
    "unknown": "not known: nothing in the folder says so",
}


@dataclass(frozen=True)
class Info:
    """Where a run stands.

    Args:
        folder: The run folder.
        trains: What is trained.
        data: On what.
        step: Steps taken.
        steps: Steps to take.
        status: What its process said last.
        numbers: Of the training.
        last: The last look at held-out clips.
        best: That with the lowest loss.
        seconds_left: At the speed of late.
        checkpoints: Their steps.
        damaged: Names of those that could not be read.
        models: Names of the folders with averaged models.
        snapshots: Steps of the snapshots of averages.
        advice: What to do now.
    """

    folder: str
    trains: str
    data: str
    step: int
    steps: int
    status: Status
    numbers: Numbers
    last: Look | None
    best: Look | None
    seconds_left: float | None
    checkpoints: tuple[int, ...]
    damaged: tuple[str, ...]
    models: tuple[str, ...]
    snapshots: tuple[int, ...]
    advice: str


def info_of(run: Path) -> Info:
    """Return where a run stands.

    Raises:
        InputError: it is no run folder, or can't be read.
    """
    if (run / WEIGHTS).is_file():
        raise InputError(f"{run} is a model, not a run: give the run folder that it is in")
    if not (run / CONFIG).is_file():
        raise InputError(f"{run} is no run folder: give one that was the --out of a training")
    config = read_config(run / CONFIG)
    status, numbers = read_status(run / "status.json"), read_numbers(run / METRICS)
    last, best = read_looks(run / VALIDATION)
    checkpoints, steps = steps_in(run / "checkpoints"), config.optim.steps
    step = max(status.step, numbers.step, *checkpoints, 0)
    speed = numbers.steps_per_second
    models = [name for name in names_in(run) if re.fullmatch(r"model(-ema-[\d.e-]{1,20})?", name)]
    damaged = [name for name in names_in(run / "checkpoints") if name.endswith(".damaged")]
    return Info(
        folder=str(run),
        trains=_trains(run, config),
        data=_data(config),
        step=step,
        steps=steps,
        status=status,
        numbers=numbers,
        last=last,
        best=best,
        seconds_left=max(steps - step, 0) / speed if speed else None,
        checkpoints=checkpoints,
        damaged=tuple(damaged),
        models=tuple(models),
        snapshots=steps_in(run / "snapshots"),
        advice=_advice(run, steps, status.state, step, checkpoints),
    )


def _trains(run: Path, config: Config) -> str:
    head = ""
    with suppress(OSError), (run / "model" / CARD).open(encoding="utf-8", errors="replace") as file:
        head = file.read(4096)
    named = re.search(r"^- Trained by: `framefill train (\S+) ", head, re.MULTILINE)
    recipe = f"{named[1]}: " if named and named[1] in RECIPES else ""
    masks = type(config.masks).__name__
    network = type(config.network).__name__.removesuffix("Config")
    size = f"{config.data.height} x {config.data.width}"
    return (
        f"{recipe}{config.masks.frames} frames of {size}, {config.data.channels} channel(s), "
        f"{masks}, network {network}, {config.optim.batch} clips per step"
    )


def _data(config: Config) -> str:
    path = getattr(config.data, "path", None)
    kinds: dict[type, str] = {
        DigitsConfig: "moving digits",
        OwnConfig: "a dataset of the user's own",
    }
    kind = kinds.get(type(config.data), "videos")
    return kind if path is None else f"{kind} of {path}"


def _advice(run: Path, steps: int, state: State, step: int, checkpoints: tuple[int, ...]) -> str:
    folder = shlex.quote(str(run))
    again = f"framefill train {shlex.quote(str(run / CONFIG))} --out {folder}"
    start = f"step {checkpoints[-1]}" if checkpoints else "the start"
    if state == "running":
        return "it is running; to stop it for now, interrupt it: nothing is lost"
    if state == "diverged":
        return "train with a smaller --optim.lr in another folder"
    if step >= steps:
        return f"fill videos with --model {folder}; train on from it: framefill train {folder}"
    if state == "failed":
        return f"mend what it says; the same command goes on from {start}: {again}"
    return f"the same command goes on from {start}: {again}"


def describe(info: Info) -> list[str]:
    """Return lines that say where a run stands.

    Args:
        info: Of the run.
    """
    numbers, status = info.numbers, info.status
    said = {
        "run": info.folder,
        "trains": info.trains,
        "data": info.data,
        "step": f"{info.step} of {info.steps} ({info.step / info.steps:.1%})",
        "state": _state(status),
        "loss": _value(numbers.loss, ".4g", f" at step {numbers.step}"),
        "held out": _held_out(info),
        "gradient": _value(numbers.grad_norm, ".4g", " (norm)"),
        "rate": _value(numbers.lr, ".3g"),
        "left out": f"{numbers.bad} bad steps" if numbers.bad else "",
        "no target": f"{numbers.skipped} clips, of the steps in the log" if numbers.skipped else "",
        "speed": _value(numbers.clips_per_second, ".1f", " clips per second"),
        "memory": _value(numbers.memory, ".0f") and f"{(numbers.memory or 0) / 2**30:.2f} GiB",
        "time": _time(info),
        "checkpoints": ", ".join(map(str, info.checkpoints[-MOST_NAMED:])),
        "damaged": _some(info.damaged),
        "models": _some(info.models),
        "snapshots": str(len(info.snapshots)) if info.snapshots else "",
        "next": info.advice,
    }
    lines = [f"{label:{LABEL}}{words}" for label, words in said.items() if words]
    return ["".join(each if each.isprintable() else " " for each in line) for line in lines]


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _state(status: Status) -> str:
    why = f" ({status.why})" if status.why else ""
    where = f", process {status.pid} on {status.host}" if status.pid and status.host else ""
    when = f", as of {status.written}" if status.written else ""
    return MEANING[status.state] + why + where + when


def _value(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def _held_out(info: Info) -> str:
    if info.last is None or info.best is None:
        return ""
    best = f"best {info.best.loss:.4g} at step {info.best.step}"
    return f"loss {info.last.loss:.4g} at step {info.last.step}, {best}"


def _time(info: Info) -> str:
    parts = [] if info.numbers.seconds is None else [f"{_span(info.numbers.seconds)} used"]
    if info.seconds_left:
        parts.append(f"{_span(info.seconds_left)} left at the speed of late")
    return ", ".join(parts)


def _span(seconds: float) -> str:
    """Return a length of time in its two largest units.

    >>> _span(7.2), _span(3700), _span(200_000)
    ('7 s', '1 h 1 min', '2 d 7 h')
    """
    if not 0 <= seconds < 1e12:
        return "?"
    whole = round(seconds)
    for size, unit, small, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {part}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def info_into(run: Path, *, plot: bool, say: Callable[[str], None]) -> None:
    """Say where a run stands, and draw its curves into its folder curves.

    Args:
        run: The run folder.
        plot: Draw the curves; where that can't be done, one line says why.
        say: Takes the lines.

    Raises:
        InputError: as `info_of`.
    """
    for line in describe(info_of(run)):
        say(line)
    if not plot:
        return
    try:
        drawn = ", ".join(path.name for path in plot_curves(run, run / "curves"))
    except InputError as error:  # which is no reason to keep the rest back
        say(f"{'curves':{LABEL}}none: {error}")
        return
    say(f"{'curves':{LABEL}}" + (f"{run / 'curves'}: {drawn}" if drawn else "none yet"))


def info_data(info: Info) -> dict[str, object]:
    """Return the same as plain JSON data, with null for numbers that aren't finite."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {name: plain(held) for name, held in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: plain(value) for name, value in asdict(info).items()}
