"""Weights & Biases: a run there that goes on where this one does."""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from framefill.errors import InputError
from framefill.files import write_text
from framefill.trackers.gif import gif

if TYPE_CHECKING:
    import wandb

PROJECT = "framefill"  # where the variable WANDB_PROJECT says nothing else
IDENTITY = "wandb-id.txt"


def open_wandb(
    folder: Path, run_name: str, settings: Mapping[str, object], step: int
) -> "WeightsAndBiases":
    """Begin a run at Weights & Biases, or go on with the one that the run folder names.

    The variables of wandb hold: WANDB_MODE=offline keeps everything in the run folder.

    Args:
        folder: The run folder; its wandb-id.txt keeps the run's name at Weights & Biases.
        run_name: What it is called there.
        settings: The run's config.
        step: Steps taken so far; not asked for here, as what comes again is passed over there.

    Raises:
        InputError: wandb isn't installed, or wandb-id.txt was altered.
    """
    try:
        import wandb
    except ImportError as error:
        raise InputError(
            "tracker 'wandb' needs the wandb library: pip install 'framefill[wandb]', or leave it "
            "out of log.trackers"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        dir=folder,
        id=_identity(folder),
        resume="allow",
        name=run_name,
        config=dict(settings),
        # Our progress bar is not captured, and nothing is printed into it.
        settings=wandb.Settings(silent=True, console="off"),
    )
    return WeightsAndBiases(run)


class WeightsAndBiases:
    """Hands everything to a run of wandb, whose service uploads it.

    Args:
        run: The open run.
    """

    def __init__(self, run: "wandb.Run") -> None:
        self.run = run

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """As `framefill.trackers.tracker.Tracker.numbers`."""
        self._log(step, dict(values))

    def picture(self, step: int, name: str, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
        """As `framefill.trackers.tracker.Tracker.picture`."""
        import wandb

        self._log(step, {name: wandb.Image(pixels)})

    def video(self, step: int, name: str, frames: UInt8[np.ndarray, "f h w 3"], fps: float) -> None:
        """As `framefill.trackers.tracker.Tracker.video`."""
        import wandb

        # As a file: of arrays wandb makes videos only with another library.
        with TemporaryDirectory() as folder:
            path = Path(folder) / "video.gif"
            path.write_bytes(gif(frames, fps))
            self._log(step, {name: wandb.Video(str(path))})

    def close(self) -> None:
        """As `framefill.trackers.tracker.Tracker.close`; waits until all is uploaded."""
        self.run.finish()

    def _log(self, step: int, values: Mapping[str, object]) -> None:
        # Steps there only rise. After a resume the same steps give the same numbers once more.
        if step >= self.run.step:
            self.run.log(dict(values), step=step)


def _identity(folder: Path) -> str:
    """Return the run's name at Weights & Biases, made up and kept if there is none yet."""
    path = folder / IDENTITY
    if not path.exists():
        write_text(path, f"{secrets.token_hex(8)}\n")
    with path.open(encoding="utf-8", errors="replace") as file:
        identity = file.read(100).strip()
    if not re.fullmatch(r"[\w-]{1,64}", identity, re.ASCII):
        raise InputError(
            f"{path} holds no name of a run at Weights & Biases: remove it to begin a new run there"
        )
    return identity
