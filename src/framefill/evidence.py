"""What an evaluation leaves to look at: contact sheets, and the frames themselves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from framefill.data.sheet import SheetRow, save_sheet
from framefill.data.write import to_pixels
from framefill.model_config import ModelConfig
from framefill.normalise import Normaliser

Clips = Shaped[np.ndarray, "n f h w c"]
Samples = Shaped[np.ndarray, "n k f h w c"]
SHOWN_CLIPS = 4  # clips on a sheet


class Kept:
    """The frames of a row, as a file of the model's data would hold them."""

    def __init__(self, normaliser: Normaliser) -> None:
        self.normaliser = normaliser
        self.truth: list[Clips] = []
        self.filled: list[Samples] = []

    def add(self, truth: Clips, filled: Samples) -> None:
        """Add clips and their trajectories."""
        dtype = np.dtype(self.normaliser.dtype)
        whole = np.issubdtype(dtype, np.integer)
        self.truth.append(truth)
        self.filled.append((np.rint(filled) if whole else filled).astype(dtype))

    def also(self, show: Callable[[Clips, Samples], None]) -> Callable[[Clips, Samples], None]:
        """Return a function that shows and adds."""

        def call(truth: Clips, filled: Samples) -> None:
            show(truth, filled)
            self.add(truth, filled)

        return call

    def save(self, path: Path) -> None:
        """Write both arrays."""
        np.savez_compressed(
            path, truth=np.concatenate(self.truth), filled=np.concatenate(self.filled)
        )


class Sheet:
    """A contact sheet of the first clips and one filling of each.

    Frames of other than 1 or 3 channels can't be drawn, and are not.
    """

    def __init__(self, config: ModelConfig, row: str) -> None:
        self.config, self.row = config, row
        self.rows: list[SheetRow] = []
        self.clips = 0

    def add(self, truth: Clips, filled: Samples) -> None:
        """Add clips and the first trajectory of each, until there are enough."""
        limits = self.config.normaliser.low, self.config.normaliser.high
        for video, filling in zip(truth, filled[:, 0], strict=True):
            if self.config.channels not in (1, 3) or self.clips == SHOWN_CLIPS:
                return
            if "K" in self.row:
                pixels = to_pixels(video, limits)
                self.rows.append(SheetRow("true", pixels, "R" * len(self.row)))
            self.rows.append(SheetRow("filled", to_pixels(filling, limits), self.row))
            self.clips += 1

    def save(self, path: Path) -> None:
        """Write the sheet, if there is anything on it."""
        if self.rows:
            save_sheet(path, self.rows)
