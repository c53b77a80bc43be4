"""The demo: all six tasks on held-out digits, with scores beside those of copying."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from framefill.baselines import copy_last
from framefill.config import Config
from framefill.data.write import write
from framefill.errors import InputError
from framefill.fill import Filler
from framefill.filled import Filled
from framefill.metrics.frames import psnr, ssim

Clips = UInt8[np.ndarray, "n f h w c"]


@dataclass(frozen=True)
class Task:
    """One of the six tasks, on clips of which everything is known.

    Args:
        name: The verb.
        row: The roles of a clip's frames, in time.
        run: Asks a model for the task, given one clip.
    """

    name: str
    row: str
    run: Callable[[Filler, Clips, int], Filled]


@dataclass(frozen=True)
class Score:
    """What one task came to, means over clips and over the frames that were filled in.

    Args:
        task: The verb.
        row: The roles of a clip's frames.
        psnr: Of the model, in dB; None where there is no truth.
        ssim: Of the model.
        copy_psnr: Of repeating the last known frame, in dB.
        copy_ssim: Of repeating the last known frame.
        seconds: Per clip.
    """

    task: str
    row: str
    psnr: float | None
    ssim: float | None
    copy_psnr: float | None
    copy_ssim: float | None
    seconds: float


def known(clip: UInt8[np.ndarray, "f h w c"], row: str) -> UInt8[np.ndarray, "k h w c"]:
    """Return the frames of a clip that a row gives."""
    return clip[[letter == "K" for letter in row]]


TASKS = (
    Task("predict", "KKKKKTTTTT", lambda m, c, s: m.predict(c[:5], frames=5, seed=s)),
)
