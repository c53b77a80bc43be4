"""Pictures of how far samples of one video spread: frame by frame, and as one curve with bands."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from framefill.data.sheet import MARKS, SheetRow
from framefill.data.write import to_picture
from framefill.ensemble import frame_means, largest, mean, quantiles, std
from framefill.errors import InputError
from framefill.files import replacing

Samples = Shaped[np.ndarray, "k f h w c"]

BLUE, ORANGE = ("#{:02x}{:02x}{:02x}".format(*MARKS[mark][1]) for mark in "KT")
BANDS = ((0.05, 0.95, "90 % of the samples", 0.25), (0.25, 0.75, "50 % of the samples", 0.45))
DOTTED = 60  # a longer curve has no dots


def uncertainty_rows(
    samples: Samples, row: str, limits: tuple[float, float], units: str
) -> list[SheetRow]:
    """Return mean, standard deviation, 10 % and 90 % quantile of the samples, to be drawn.

    Of other channels than 1 or 3 the first alone is shown.

    Args:
        samples: Two or more.
        row: The role of each frame.
        limits: The values that are black and white, of all but the standard deviation, which goes
            from 0 to its largest value.
        units: Of the values.
    """
    shown, remark = _shown(samples)
    unit = f" {units}" if units else ""
    spread, (low, high) = std(shown), quantiles(shown, [0.1, 0.9])
    widest = largest(spread)
    span = f"{limits[0]:.4g} to {limits[1]:.4g}{unit}"
    rows = [
        (f"mean{remark}, {span}", mean(shown), limits),
        (f"standard deviation{remark}, 0 to {widest:.3g}{unit}", spread, (0.0, widest or 1.0)),
        (f"10 % quantile{remark}, {span}", low, limits),
        (f"90 % quantile{remark}, {span}", high, limits),
    ]
    return [SheetRow(label, to_picture(frames, ends), row) for label, frames, ends in rows]


def save_fan_chart(
    path: Path, samples: Samples, row: str, units: str, *, overwrite: bool = False
) -> None:
    """Draw the mean of each frame: the median of the samples, and bands of 50 and 90 % of them.

    The mean of a frame is that of its known pixels and of all channels; of other channels than 1
    or 3, of the first.

    Args:
        path: A .png file.
        samples: Two or more.
        row: The role of each frame; given ones are marked, absent ones left out.
        units: Of the values.
        overwrite: Replace what is there.

    Raises:
        InputError: the path has another suffix or exists already, or matplotlib isn't installed.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"fan charts are .png files, but {path} isn't: choose another name")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("fan charts need matplotlib: pip install 'framefill[plot]'") from error
    shown, remark = _shown(samples)
    curves, places = frame_means(shown), np.arange(len(row))
    given, absent = (np.array([letter == mark for letter in row]) for mark in "K-")
    curves[:, absent] = np.nan
    median = np.median(curves, axis=0)
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.add_subplot()
    for low, high, name, alpha in BANDS:
        ends = np.quantile(curves, [low, high], axis=0)
        # The edge shows a frame that has no neighbors.
        axis.fill_between(places, *ends, color=ORANGE, alpha=alpha, linewidth=1.5, label=name)
    dot = "." if len(row) < DOTTED else ""
    axis.plot(places, median, color=ORANGE, marker=dot, label="median")
    if given.any():
        axis.plot(places[given], median[given], "o", color=BLUE, markersize=5, label="given")
    unit = f" ({units})" if units else ""
    axis.set(xlabel="frame", ylabel=f"mean of the frame{remark}{unit}")
    axis.locator_params(axis="x", integer=True)
    axis.grid(visible=True, color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    with replacing(path, overwrite=overwrite) as draft:
        figure.savefig(draft, format="png", dpi=120)


def _shown(samples: Samples) -> tuple[Shaped[np.ndarray, "k f h w d"], str]:
    """Return what can be seen of the channels, and a remark if it isn't all of them."""
    return (samples, "") if samples.shape[4] in (1, 3) else (samples[..., :1], ", channel 0")
