"""How the data's values become the model's range: given, or measured on the training data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Shaped

from framefill.conditions import Condition
from framefill.data.footage import Footage
from framefill.data.statistics import Moments, measure, measure_condition
from framefill.errors import InputError, check_fields
from framefill.normalise import DataType, Normaliser, Transform

SPREAD = 0.5  # standard deviation in model range, which the noise levels of EDM are made for
MARGIN = 0.5
INTEGERS: tuple[DataType, ...] = ("uint8", "uint16", "int16")


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How the data's values become the model's range."""

    by: Literal["auto", "given", "range", "spread"] = "auto"
    """given: as the normaliser says; range: the smallest value of each channel becomes -1, the
    largest 1; spread: its mean becomes 0, its standard deviation 0.5. auto: given for 8-bit data
    and where the normaliser is not that of 8-bit data, range for all other."""
    transform: Transform = "linear"
    """linear, or log for data that spans orders of magnitude: ln(1 + (value - low) / soft)."""
    soft: float = 1.0
    """What a step of 1 at the low end is worth, in the data's units; read by log alone."""
    low: float | None = None
    """Values below are moved up to it; none: the smallest of the training data."""
    high: float | None = None
    """Values above are moved down to it; none: the largest of the training data."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.soft <= 0:
            raise InputError(f"soft {self.soft} must be above 0")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InputError(f"low {self.low} must be below high {self.high}")

    def measures(self, footage: Sequence[Footage], normaliser: Normaliser | None = None) -> bool:
        """Say whether data has to be measured, rather than scaled by a normaliser."""
        plain = (self.transform, self.low, self.high) == ("linear", None, None)
        if self.by == "given" and not plain:
            raise InputError(
                "scaling by 'given' takes the normaliser as it is: set transform, low and high "
                "there, or choose range or spread"
            )
        if self.by == "auto" and plain and normaliser not in (None, Normaliser()):
            return False
        return self.by in ("range", "spread") or (
            self.by == "auto" and not (stored_as(footage) == "uint8" and plain)
        )

    def normaliser(
        self,
        footage: Sequence[Footage],
        after: Callable[[int], None] = lambda frames: None,
    ) -> Normaliser:
        """Measure videos.

        Args:
            footage: The training data.
            after: Called with the number of frames of each part that was read.

        Raises:
            InputError: the data can't be read, has nothing but one value, or hardly needs the
                logarithm.
        """
        lowest = -np.inf if self.low is None else self.low
        highest = np.inf if self.high is None else self.high

        def within(frames: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
            # For the logarithm the low end has to be known before the data is.
            kept = np.clip(frames.astype(np.float64), lowest, highest)
            return np.log1p((kept - lowest) / self.soft) if self.transform == "log" else kept

        if self.transform == "log" and self.low is None:
            raise InputError(
                "the log transform needs --scaling.low, the value it starts from (0 for rain)"
            )
        plain, changed = measure(footage, transform=within, after=after)
        lows = plain.low if self.low is None else np.full_like(plain.low, self.low)
        highs = plain.high if self.high is None else np.full_like(plain.high, self.high)
        self._check(lows.min(), highs.max())
        offset, scale = self._scale(changed)
        return Normaliser(
            dtype=stored_as(footage) or "float32",
            offset=offset,
            scale=scale,
            low=float(lows.min()),
            high=float(highs.max()),
            lows=tuple(map(float, lows)) if len(lows) > 1 else (),
            highs=tuple(map(float, highs)) if len(lows) > 1 else (),
            units=footage[0].units,
            transform=self.transform,
            soft=self.soft,
            clip=self.low is not None or self.high is not None,
            margin=MARGIN,
        )

    def _scale(self, changed: Moments) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if (changed.low == changed.high).any():
            channel = int(np.flatnonzero(changed.low == changed.high)[0])
            raise InputError(
                f"channel {channel} is {changed.low[channel]:g} in all of the training data: leave "
                "it out, or look at the data with framefill doctor"
            )
        if self.by == "spread":
            offset, scale = changed.mean, changed.deviation / SPREAD
        else:
            offset, scale = (changed.low + changed.high) / 2, (changed.high - changed.low) / 2
        return tuple(map(float, offset)), tuple(map(float, scale))

    def _check(self, low: float, high: float) -> None:
        if self.transform == "log" and (high - low) / self.soft < 5:
            raise InputError(
                f"on data of {low:g}..{high:g} the log transform with soft {self.soft:g} is nearly "
                f"linear: give a --scaling.soft well below {(high - low) / 5:g}, or --scaling."
                "transform linear"
            )


def measured_conditions(
    names: Sequence[str], dropout: Sequence[float], footage: Sequence[Footage]
) -> tuple[Condition, ...]:
    """Return the conditions of a model for some videos, with their means and deviations.

    Args:
        names: Of the conditions.
        dropout: One for all of them, or one each.
        footage: The training data.
    """
    found = []
    for number, name in enumerate(names):
        track, moments = footage[0].tracks[name], measure_condition(footage, name)
        found.append(
            Condition(
                name=name,
                kind=track.kind,
                size=track.size,
                dropout=dropout[number % len(dropout)],
                offset=tuple(map(float, moments.mean)),
                # What never changes tells nothing, and is told as 0.
                scale=tuple(np.where(moments.low == moments.high, 1.0, moments.deviation).tolist()),
            )
        )
    return tuple(found)


def stored_as(footage: Sequence[Footage]) -> DataType | None:
    """Return the integers that the data are, also where gaps make floats of them."""
    names = {each.stored.dtype if each.stored else each.dtype.name for each in footage}
    return next((kind for kind in INTEGERS if names == {kind}), None)
