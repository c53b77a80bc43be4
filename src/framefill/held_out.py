"""Held-out clips, a few at a time: what evaluations are made on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from framefill.config import DataConfig
from framefill.data.sample import Sample
from framefill.errors import InputError
from framefill.model import Model

SEARCHED = 50  # clips looked at for each that is wanted


@dataclass(frozen=True)
class HeldOut:
    """Some clips of the split "test".

    Args:
        numbers: Of the clips, by which all randomness goes.
        truth: Their frames, in the user's units.
        labels: Numbers of their classes, or None.
        conditions: What goes along with them, by name.
    """

    numbers: list[int]
    truth: Shaped[np.ndarray, "n f h w c"]
    labels: list[int | None]
    conditions: dict[str, Shaped[np.ndarray, "n ..."]]

    def told(self, model: Model, label: str | int | None, places: list[int]) -> Model:
        """Return a model that is told of some of the clips.

        Args:
            model: The model.
            label: Class of all of them instead of their own; None: their own.
            places: Of the clips among these, repeated ones allowed.
        """
        labels = model.config.class_numbers(label, [self.labels[place] for place in places])
        conditions = {name: values[places] for name, values in self.conditions.items()}
        return model.of_class(labels).given(conditions, self.truth.shape[1])


def held_out(
    data: DataConfig, *, frames: int, seed: int, clips: int, at_once: int
) -> Iterator[HeldOut]:
    """Yield the first held-out clips of which nothing is missing.

    Args:
        data: Where they come from.
        frames: Length of a clip.
        seed: Of the clips.
        clips: How many.
        at_once: How many to yield together.

    Raises:
        InputError: the data can't be read, or has too few clips without gaps.
    """
    source = data.clips(frames=frames, split="test", seed=seed)
    waiting: list[tuple[int, Sample]] = []
    found = 0
    for number in range(SEARCHED * clips):
        sample = source.clip(number)
        values = sample["frames"]
        if values.dtype.kind == "f" and np.isnan(values).any():
            continue
        waiting.append((number, sample))
        found += 1
        if len(waiting) == at_once or found == clips:
            yield together(waiting)
            waiting = []
        if found == clips:
            return
    raise InputError(
        f"of {SEARCHED * clips} held-out clips {found} have no missing values, and {clips} were "
        "asked for: scores need all values; ask for fewer --clips, or give data without gaps"
    )


def together(samples: list[tuple[int, Sample]]) -> HeldOut:
    """Return clips, each with its number, as one."""
    clips = [sample for _, sample in samples]
    names = clips[0].get("conditions", {})
    return HeldOut(
        [number for number, _ in samples],
        np.stack([clip["frames"] for clip in clips]),
        [clip.get("label") for clip in clips],
        {name: np.stack([clip["conditions"][name] for clip in clips]) for name in names},
    )
