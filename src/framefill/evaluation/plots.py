"""Curves of an evaluation: scores frame by frame, and whether an ensemble is calibrated."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framefill.curves import BLUE, COLORS, GRAY, ORANGE
from framefill.errors import InputError
from framefill.evaluation.measures import BASELINES, MODEL
from framefill.evaluation.results import EnsembleScores, Results, ThresholdScores
from framefill.files import replacing
from framefill.protocols.protocol import Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "lpips": "LPIPS", "mse": "mean squared error"}
Curve = Sequence[float | None]


def save_plots(folder: Path, protocol: Protocol, results: Results) -> list[Path]:
    """Write frames.png, and ensemble.png where there are several trajectories.

    Raises:
        InputError: matplotlib isn't installed.
    """
    places = [place for place, letter in enumerate(protocol.row) if letter == "T"]
    written = []
    if results.frames:
        metrics = [name for name in LABELS if name in protocol.scores and _any(results, name)]
        figure = _figure(len(metrics))
        for number, metric in enumerate(metrics, 1):
            axis = figure.add_subplot(1, len(metrics), number)
            _draw_frames(axis, places, results.frames, metric, results.trajectories)
        written.append(_save(figure, folder / "frames.png"))
    if results.ensemble is not None:
        path = folder / "ensemble.png"
        written.append(
            _ensemble(path, places, results.frames, results.ensemble, results.thresholds)
        )
    return written


def _any(results: Results, metric: str) -> bool:
    return any(value is not None for value in results.frames[MODEL].get(metric, ()))


def _draw_frames(
    axis: "Axes",
    places: Sequence[int],
    frames: Mapping[str, Mapping[str, Curve]],
    metric: str,
    count: int,
) -> None:
    drawn = {"mean" if count > 1 else "model": (frames[MODEL], BLUE, "o-")}
    if count > 1:
        drawn[f"best of {count}"] = (frames["model, best"], BLUE, "o:")
    for label, (values, color, style) in drawn.items():
        _line(axis, places, values[metric], label, color, style)
    for label, beside, color in _baselines(frames, metric):
        _line(axis, places, beside, label, color, ".--")
    _finish(axis, "frame", LABELS[metric])


def _baselines(
    frames: Mapping[str, Mapping[str, Curve]], metric: str
) -> Iterator[tuple[str, Curve, str]]:
    """Yield the label, the values and the color of each baseline; equal ones are one."""
    alike: dict[tuple[float | None, ...], list[str]] = {}
    for name in BASELINES:
        if name in frames:
            alike.setdefault(tuple(frames[name][metric]), []).append(name)
    for names, color in zip(alike.values(), (ORANGE, *COLORS[2:]), strict=False):
        yield " = ".join(names), frames[names[0]][metric], color


def _ensemble(
    path: Path,
    places: Sequence[int],
    frames: Mapping[str, Mapping[str, Curve]],
    scores: EnsembleScores,
    thresholds: Mapping[str, ThresholdScores],
) -> Path:
    """Draw CRPS and spread over skill of each frame, the rank histogram and reliability."""
    count = 3 + bool(thresholds)
    figure = _figure(count)
    axis = figure.add_subplot(1, count, 1)
    _line(axis, places, frames[MODEL]["crps"], "model", BLUE, "o-")
    for label, values, color in _baselines(frames, "crps"):
        _line(axis, places, values, label, color, ".--")
    _finish(axis, "frame", "CRPS, in units of the data's range")
    axis = figure.add_subplot(1, count, 2)
    _line(axis, places, scores.spread_skill_of_frames, "spread / error", BLUE, "o-")
    axis.axhline(1, color=GRAY, linestyle="--", label="calibrated")
    _finish(axis, "frame", "spread / error of the mean")
    axis = figure.add_subplot(1, count, 3)
    ranks = range(len(scores.ranks))
    axis.bar(
        ranks,
        [share or 0.0 for share in scores.ranks],
        color=BLUE,
        width=0.9,
        label="the truth's rank",
    )
    axis.axhline(1 / max(len(scores.ranks), 1), color=GRAY, linestyle="--", label="calibrated")
    _finish(axis, "trajectories below the truth", "share of pixels")
    if thresholds:
        _reliability(figure.add_subplot(1, count, 4), thresholds)
    return _save(figure, path)


def _reliability(axis: "Axes", thresholds: Mapping[str, ThresholdScores]) -> None:
    """Draw how often what was given a chance came true."""
    axis.plot([0, 1], [0, 1], color=GRAY, linestyle="--", label="calibrated")
    for (above, scores), color in zip(thresholds.items(), COLORS * len(thresholds), strict=False):
        pairs = zip(scores.chance, scores.event, strict=True)
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        if known:
            axis.plot(*zip(*known, strict=True), "o-", color=color, label=f"above {above}", ms=4)
    axis.set(xlabel="chance given", ylabel="share that came true")
    axis.legend(fontsize=8, frameon=False, handlelength=4)


def _line(
    axis: "Axes", places: Sequence[int], values: Curve, label: str, color: str, style: str
) -> None:
    shown = [(place, each) for place, each in zip(places, values, strict=True) if each is not None]
    if shown:
        axis.plot(*zip(*shown, strict=True), style, color=color, label=label, ms=4)


def _finish(axis: "Axes", below: str, beside: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set(xlabel=below, ylabel=beside)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(visible=True, color="0.92")
    axis.set_axisbelow(True)
    axis.margins(y=0.25)  # room for the legend
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=8, frameon=False, handlelength=4)


def _figure(columns: int) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("plots need matplotlib: pip install 'framefill[plot]'") from error
    return Figure(figsize=(1 + 4.5 * columns, 4), layout="constrained")


def _save(figure: "Figure", path: Path) -> Path:
    with replacing(path, overwrite=True) as draft:
        figure.savefig(draft, format="png", dpi=120)
    return path
