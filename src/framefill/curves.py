"""The curves of a run: read from its logs, thinned however long they are, and drawn as PNG."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
from jaxtyping import Float64
from numpy.lib.stride_tricks import sliding_window_view

from framefill.data.sheet import MARKS
from framefill.errors import InputError
from framefill.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS, VALIDATION = "metrics.jsonl", "validation.jsonl"
LONGEST_LINE = 1 << 16  # bytes
MOST_POINTS = 4000  # of a curve
MOST_CURVES, MOST_ROWS = 128, 12
LARGEST = 1e30  # what is beyond can't be drawn, and is no value of a training that works
SINGLE = ("loss", "grad_norm", "lr", "clips_per_second", "memory")
MARKED = ("marked",)  # the steps with numbers that aren't finite, or that were no good
NAME, ROW = re.compile(r"[A-Za-z0-9][\w .+-]{0,39}", re.ASCII), re.compile(r"[A-Za-z-][\w-]{0,63}")

Points = tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]  # steps, values

BLUE, ORANGE, GREEN = ("#{:02x}{:02x}{:02x}".format(*MARKS[mark][1]) for mark in "KTR")
RED, PURPLE, SKY, GRAY = "#d55e00", "#cc79a7", "#56b4e9", "#464646"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, GRAY)
# For what has an order, from dark to light: viridis without its yellow end.
SHADES = ("#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743")


def log_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the lines of a log, if there is one, with their steps; others are passed over.

    Every number is a float, so that none is too large.
    """
    if not path.is_file():
        return
    whole = True  # whether what comes is the beginning of a line
    with _opened(path) as file:
        while raw := file.readline(LONGEST_LINE):
            begins, whole = whole, len(raw) < LONGEST_LINE or raw.endswith(b"\n")
            try:
                line = json.loads(raw, parse_int=float) if begins and whole else None
            except (ValueError, RecursionError):
                continue
            step = line.get("step") if isinstance(line, dict) else None
            if line and isinstance(step, float) and step.is_integer() and 0 <= step < 1 << 53:
                yield int(step), line


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error


class Curve:
    """Values over steps; where there are too many, means of more and more neighbors."""

    def __init__(self) -> None:
        self.width = 1  # values per bin
        self.bins: list[list[float]] = []  # last step, sum of steps, sum of values, how many

    def add(self, step: int, value: float) -> None:
        """Add a value at a later step than the last one."""
        if self.bins and self.bins[-1][3] < self.width:
            last = self.bins[-1]
            self.bins[-1] = [step, last[1] + step, last[2] + value, last[3] + 1]
            return
        if len(self.bins) == MOST_POINTS:
            pairs = zip(self.bins[::2], self.bins[1::2], strict=True)
            self.bins = [[b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]] for a, b in pairs]
            self.width *= 2
        self.bins.append([step, step, value, 1])

    def forget_from(self, step: int) -> None:
        """Drop what was noted of a step and of later ones."""
        while self.bins and self.bins[-1][0] >= step:
            self.bins.pop()

    @property
    def points(self) -> Points:
        """Mean steps and mean values."""
        table = np.array(self.bins, np.float64).reshape(-1, 4)
        return table[:, 1] / table[:, 3], table[:, 2] / table[:, 3]


@dataclass
class History:
    """All curves of a log, by what they are of: ("loss",), ("by_level", "0.1-0.3") and so on."""

    curves: dict[tuple[str, ...], Curve] = field(default_factory=dict)
    last: int = -1

    def at(self, step: int) -> None:
        """Go to a step; if that is back, after a resume, the later ones are forgotten."""
        if step <= self.last:
            for curve in self.curves.values():
                curve.forget_from(step)
        self.last = step

    def note(self, name: tuple[str, ...], value: object) -> None:
        """Note a value; one that isn't finite is a mark, and what is no number is passed over."""
        if not isinstance(value, float):
            return
        if not abs(value) < LARGEST:
            name, value = MARKED, 1.0
        if name in self.curves or len(self.curves) < MOST_CURVES:
            self.curves.setdefault(name, Curve()).add(self.last, value)

    def points(self, *name: str) -> Points:
        """Return a curve, or an empty one."""
        return self.curves.get(name, Curve()).points

    def names(self, *prefix: str) -> list[str]:
        """Return the names below a prefix, those that begin with numbers in their order."""
        depth = len(prefix)
        found = [name for name in self.curves if name[:depth] == prefix and len(name) > depth]
        return sorted({name[depth] for name in found}, key=_in_order)


def read_metrics(run: Path) -> History:
    """Return the curves of the training of a run."""
    history = History()
    for step, line in log_lines(run / METRICS):
        history.at(step)
        for name in SINGLE:
            history.note((name,), line.get(name))
        for group in ("by_level", "by_task"):
            for name, value in _named(line.get(group), NAME):
                history.note((group, name), value)
        if line.get("bad"):
            history.note(MARKED, 1.0)
    return history


def read_validation(run: Path) -> History:
    """Return the curves of the looks at held-out clips of a run."""
    history = History()
    for step, line in log_lines(run / VALIDATION):
        history.at(step)
        history.note(("loss",), line.get("loss"))
        for row, methods in _named(line.get("rows"), ROW):
            for method, scores in _named(methods, NAME):
                history.note(("psnr", row, method), dict(_named(scores, NAME)).get("psnr"))
    return history


def _named(data: object, pattern: re.Pattern[str]) -> list[tuple[str, object]]:
    entries = data.items() if isinstance(data, dict) else ()
    return [(name, value) for name, value in entries if pattern.fullmatch(name)]


def _in_order(name: str) -> tuple[float, str]:
    found = re.match(r"\d+(\.\d+)?(e[+-]?\d{1,3})?", name, re.ASCII)
    return (float(found[0]) if found else math.inf, name)


@dataclass(frozen=True, eq=False)
class _Line:
    """A line of a panel: dots of all values, their smooth course, looks now and then, a level."""

    label: str
    points: Points
    color: str
    kind: Literal["dots", "smooth", "looks", "level"] = "smooth"


@dataclass(frozen=True)
class _Panel:
    """One pair of axes."""

    label: str
    lines: list[_Line]
    log: bool = False
    title: str = ""


def plot_curves(run: Path, out: Path) -> list[Path]:
    """Draw the curves of a run, those for which there is data.

    loss.png, by_level.png, by_task.png, gradient_and_rate.png, speed_and_memory.png and scores.png
    take the place of older ones. What isn't finite is left out and marked at the foot.

    Args:
        run: The run folder.
        out: Folder for the pictures; the paths of these are returned.

    Raises:
        InputError: matplotlib isn't installed, or the folder can't be written to.
    """
    metrics, validation = read_metrics(run), read_validation(run)
    marks = metrics.points(*MARKED)[0]
    written = []
    for name, panels in _figures(metrics, validation).items():
        if drawn := [each for each in panels if any(len(line.points[0]) for line in each.lines)]:
            written.append(out / f"{name}.png")
            _draw(drawn, marks[: 0 if name == "scores" else None], written[-1])
    return written


def _figures(metrics: History, validation: History) -> dict[str, list[_Panel]]:
    steps, memory = metrics.points("memory")
    course = _course("training", metrics.points("loss"))
    held_out = _Line("held-out clips", validation.points("loss"), ORANGE, "looks")
    rate = _Line("rate", metrics.points("lr"), GREEN, "looks")
    return {
        "loss": [_Panel("loss", [*course, held_out], log=True)],
        "by_level": [_group(metrics, "by_level", "training loss by noise level")],
        "by_task": [_group(metrics, "by_task", "training loss by task")],
        "gradient_and_rate": [
            _Panel("norm of the gradient", _course("norm", metrics.points("grad_norm")), log=True),
            _Panel("learning rate", [rate]),
        ],
        "speed_and_memory": [
            _Panel("clips per second", _course("speed", metrics.points("clips_per_second"))),
            _Panel("memory (GiB)", [_Line("memory", (steps, memory / 2**30), PURPLE, "looks")]),
        ],
        "scores": [_scores(validation, row) for row in validation.names("psnr")[:MOST_ROWS]],
    }


def _course(label: str, points: Points) -> list[_Line]:
    return [_Line(label, points, BLUE, "dots"), _Line(f"{label}, running median", points, BLUE)]


def _group(metrics: History, group: str, label: str) -> _Panel:
    names = metrics.names(group)
    steep = (len(SHADES) - 1) / max(len(names) - 1, 1)
    shades = [SHADES[round(steep * index)] for index in range(len(names))]
    colors = shades if group == "by_level" else COLORS * len(names)
    curves = [metrics.points(group, name) for name in names]
    return _Panel(label, list(map(_Line, names, curves, colors)), log=True)


def _scores(validation: History, row: str) -> _Panel:
    lines = [_Line("model", validation.points("psnr", row, "model"), BLUE, "looks")]
    others = [name for name in validation.names("psnr", row) if name != "model"]
    for name, color in zip(others, COLORS[1:] * len(others), strict=False):
        points = validation.points("psnr", row, name)
        lines.append(_Line(name.replace("_", " "), points, color, "level"))
    return _Panel("PSNR (dB)", lines, title=row)


def _draw(panels: list[_Panel], marks: Float64[np.ndarray, " n"], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("curves need matplotlib: pip install 'framefill[plot]'") from error
    columns = 2 if len(panels) > 2 else 1
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(7 + 2 * columns, 2 + 2.8 * rows), layout="constrained")
    for place, panel in enumerate(panels, 1):
        _draw_panel(figure.add_subplot(rows, columns, place), panel, marks)
    with replacing(path, overwrite=True) as draft:
        figure.savefig(draft, format="png", dpi=120)


def _draw_panel(axis: "Axes", panel: _Panel, marks: Float64[np.ndarray, " n"]) -> None:
    for place, line in enumerate(panel.lines):
        steps, values = line.points
        few = "." if len(steps) < 40 else ""
        if not len(steps):
            continue
        if line.kind == "dots":
            axis.plot(steps, values, ".", color=line.color, alpha=0.3, ms=3, label=line.label)
        elif line.kind == "level":
            dashes = (4 * place, (4, 8))  # so that levels in the same place can all be seen
            axis.axhline(values[-1], color=line.color, linestyle=dashes, label=line.label)
        else:
            shown = _smooth(values) if line.kind == "smooth" else values
            axis.plot(steps, shown, color=line.color, marker=few, label=line.label)
    if len(marks):
        feet, foot = np.zeros(len(marks)), axis.get_xaxis_transform()
        axis.plot(marks, feet, "|", color=RED, ms=12, mew=2, transform=foot, label="bad steps")
    if panel.log and all((line.points[1] > 0).all() for line in panel.lines):
        axis.set_yscale("log")
    axis.set_title(panel.title, fontsize=9, family="monospace")
    axis.set(xlabel="step", ylabel=panel.label)
    axis.grid(visible=True, which="both", color="0.92")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False, handlelength=4)


def _smooth(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Return a running median, over an odd number of values: about a twentieth, at most 101."""
    half = min(len(values) // 40, 50)
    padded = np.pad(values, half, constant_values=np.nan)  # fewer values at both ends
    return np.nanmedian(sliding_window_view(padded, 2 * half + 1), axis=1)
