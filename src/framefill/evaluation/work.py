"""The work of an evaluation, in units that any process can do in any order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from framefill.data.selection import Selection
from framefill.evaluation.measures import Arrays, Measures
from framefill.held_out import HeldOut, together
from framefill.model import Model
from framefill.randomness import generator_for
from framefill.settings import Settings
from framefill.windows import Window

STREAM_EVALUATE = 3  # what a key of randomness is for


@dataclass(frozen=True, eq=False)
class Work:
    """Clips to fill and to measure.

    A trajectory depends on its clip's number and its own alone. A unit is the clips that are
    filled together, so that their arithmetic, too, does not depend on how many processes there are.

    Args:
        model: On the device to compute on.
        windows: How a clip is filled.
        selection: The clips.
        settings: How they are filled: so many `samples` of each, `batch` of them at once.
        measures: What is measured.
    """

    model: Model
    windows: Sequence[Window]
    selection: Selection
    settings: Settings
    measures: Measures

    @property
    def units(self) -> list[range]:
        """The numbers of the clips of each unit."""
        size = max(1, self.settings.batch // self.settings.samples)
        count = self.selection.clips
        return [range(start, min(start + size, count)) for start in range(0, count, size)]

    def clips(self, numbers: Sequence[int]) -> HeldOut:
        """Return clips by their numbers."""
        return together([(number, self.selection.clip(number)) for number in numbers])

    def done(self, unit: range) -> tuple[Arrays, HeldOut, Float32[np.ndarray, "n k f h w c"]]:
        """Return what a unit's clips come to, its clips, and what filled them."""
        held, samples = self.clips(unit), self.settings.samples
        pairs = [(place, sample) for place in range(len(unit)) for sample in range(samples)]
        filled = self.filled(held, pairs).reshape(len(unit), samples, *held.truth.shape[1:])
        return self.measures.of(held.truth, filled), held, filled

    def filled(
        self, held: HeldOut, pairs: Sequence[tuple[int, int]]
    ) -> Float32[np.ndarray, "p f h w c"]:
        """Fill clips.

        Args:
            held: The clips.
            pairs: Place of a clip among them, and number of the trajectory.

        Returns:
            Floats in the user's units: scores are of what the model gave, not of what a file would
            hold. Known frames are the true ones, NaN where these have gaps.
        """
        model, settings = self.model, self.settings
        clip = model.config.normaliser.to_clip(held.truth)
        frames = []
        for start in range(0, len(pairs), settings.batch):
            now = pairs[start : start + settings.batch]
            places = [place for place, _ in now]
            videos = held.told(model, settings.label, places).fill_video(
                clip[places].to(model.device),
                self.windows,
                [generator_for(settings.seed, STREAM_EVALUATE, held.numbers[n], s) for n, s in now],
                sampler=settings.sampler_for(model),
                guidance=settings.guidance,
                precision=settings.precision,
            )
            frames.append(model.config.normaliser.to_frames(videos, np.dtype(np.float32)))
        filled = np.concatenate(frames)
        known = [n for n, letter in enumerate(self.measures.protocol.row) if letter == "K"]
        filled[:, known] = held.truth[[place for place, _ in pairs]][:, known]
        return filled
