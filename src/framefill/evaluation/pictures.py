"""What there is to see of an evaluation: sheets of best, median and worst clips."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.comparison import shown_pixels
from framefill.data.sheet import save_sheet
from framefill.evaluation.measures import BASELINES, baseline_of
from framefill.evaluation.work import Work
from framefill.metrics.frames import psnr
from framefill.metrics.scores import MetricName
from framefill.panels import Panel, sheet_rows

SHOWN = 3  # clips on each sheet


def save_sheets(
    folder: Path, work: Work, per_clip: Mapping[MetricName, Float64[np.ndarray, "n k"]]
) -> list[Path]:
    """Write best.png, median.png and worst.png, or filled.png where there is no truth to compare.

    Clips are ordered by the mean squared error of their mean trajectory. They are filled again:
    from the same seeds it comes out the same.

    Args:
        folder: Where to.
        work: What was filled.
        per_clip: Errors of all trajectories; without any there is no order.

    Returns:
        The files.
    """
    if not per_clip:
        numbers = list(range(min(SHOWN, work.selection.clips)))
        held = work.clips(numbers)
        filled = work.filled(held, [(place, 0) for place in range(len(numbers))])
        panels = [_panel(work, "filled", filled, [""] * len(numbers))]
        return [_save(folder / "filled.png", panels, filled.shape[-1])]
    error = per_clip["mse"]
    mean = error.mean(axis=1)
    order = [int(n) for n in np.argsort(mean, kind="stable") if np.isfinite(mean[n])]
    middle = max(0, (len(order) - SHOWN) // 2)
    chosen = {
        "best": order[:SHOWN],
        "median": order[middle : middle + SHOWN],
        "worst": order[-SHOWN:][::-1],
    }
    return [
        _sheet(folder / f"{name}.png", work, numbers, per_clip)
        for name, numbers in chosen.items()
        if numbers
    ]


def _sheet(
    path: Path,
    work: Work,
    numbers: Sequence[int],
    per_clip: Mapping[MetricName, Float64[np.ndarray, "n k"]],
) -> Path:
    """Draw clips with their best and their worst trajectory and the best baseline."""
    held, row = work.clips(numbers), work.measures.protocol.row
    error, ratio = per_clip["mse"][numbers], per_clip["psnr"][numbers]
    panels = [_panel(work, "true", held.truth, [f"clip {n}" for n in numbers], "R" * len(row))]
    for title, choice in (("best trajectory", error.argmin(1)), ("worst", error.argmax(1))):
        if title == "worst" and error.shape[1] == 1:
            break
        filled = work.filled(held, [(place, int(k)) for place, k in enumerate(choice)])
        notes = [f"{ratio[place, k]:.1f} dB" for place, k in enumerate(choice)]
        panels.append(_panel(work, title if error.shape[1] > 1 else "filled", filled, notes))
    name, videos = _best_baseline(held.truth, row)
    target = [letter == "T" for letter in row]
    span = work.measures.high - work.measures.low
    ratios = psnr(held.truth[:, target], videos[:, target], data_range=span)
    panels.append(_panel(work, name, videos, [f"{ratio:.1f} dB" for ratio in ratios]))
    return _save(path, panels, held.truth.shape[-1])


def _best_baseline(
    truth: Shaped[np.ndarray, "n f h w c"], row: str
) -> tuple[str, Shaped[np.ndarray, "n f h w c"]]:
    """Return the baseline that is nearest to these clips; of equal ones the simplest."""
    fillings = {name: baseline_of(name, truth, row) for name in BASELINES}
    true = truth.astype(np.float64)

    def error(name: str) -> float:
        return float(np.nansum((fillings[name] - true) ** 2))

    best = min(fillings, key=error)
    return best, fillings[best]


def _panel(
    work: Work,
    title: str,
    videos: Shaped[np.ndarray, "n f h w c"],
    notes: Sequence[str],
    marks: str = "",
) -> Panel:
    pixels = shown_pixels(videos, work.model.config.normaliser)
    return Panel(title, pixels, marks or work.measures.protocol.row, tuple(notes))


def _save(path: Path, panels: Sequence[Panel], channels: int) -> Path:
    remark = "" if channels in (1, 3) else "channel 0"
    save_sheet(path, sheet_rows(panels, remark), overwrite=True)
    return path
