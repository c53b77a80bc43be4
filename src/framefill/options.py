"""What commands have in common: the words of the command line and what they stand for."""

import sys
from dataclasses import dataclass
from pathlib import Path

from framefill.data.footage import Layout
from framefill.data.videos import Fit
from framefill.device import Precision
from framefill.settings import Options, SamplerName


def say(line: str) -> None:
    """Tell the user something that is not the answer itself."""
    sys.stderr.write(f"{line}\n")


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which part of a video is read, and how it is made to suit the model."""

    start: int = 0
    """First frame that is read."""
    take: int | None = None
    """Number of frames that are read; none: all."""
    every: int = 1
    """Read every frame, every second one (2), and so on."""
    fit: Fit = "none"
    """Convert to the model's frame size and channels: stretch, crop to the middle, pad with missing
    pixels (the result is without them again), or crop as the official RaMViD code does (ramvid)."""
    video: int = 0
    """Which video of a file that holds several."""
    variables: tuple[str, ...] = ()
    """Names of the arrays that hold the frames, in files that have several."""
    axes: str = ""
    """One letter for each axis of an array: v videos, f frames, h rows, w columns, c channels."""
    missing: float | None = None
    """A value that means missing, beside NaN and what a file itself says."""

    def layout(self, conditions: tuple[str, ...] = ()) -> Layout:
        """Return how arrays are to be understood, and which go along with the frames."""
        return Layout(
            variables=self.variables, axes=self.axes, missing=self.missing, conditions=conditions
        )


@dataclass(frozen=True, kw_only=True)
class FillOptions:
    """How frames are filled."""

    samples: int = 1
    """Different ways to fill the frames; 0, in evaluate: as many as the protocol says."""
    sampler: SamplerName | None = None
    """How to walk from noise to frames; none: the model's own."""
    steps: int | None = None
    """Steps of the walk per window; none: the sampler's own."""
    repeats: int | None = None
    """Times that each step of ddpm is taken, noising again in between; none: the sampler's own."""
    guidance: float | None = None
    """History guidance, 1 for none; none: the model's own."""
    advance: int | None = None
    """Frames kept of each window, 1 for one frame at a time; none: all."""
    slide: int | None = None
    """Predict as RaMViD's script: windows of --advance new frames after the last --slide ones."""
    label: str | None = None
    """Class of what is filled, for models that have classes."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """Of the network's arithmetic."""
    seed: int = 0
    """Of all noise."""
    batch: int = 16
    """Samples that are filled at once."""

    def options(self) -> Options:
        """Return what the verbs take."""
        return Options(
            samples=self.samples,
            sampler=self.sampler,
            steps=self.steps,
            repeats=self.repeats,
            guidance=self.guidance,
            advance=self.advance,
            slide=self.slide,
            label=self.label,
            device=self.device,
            precision=self.precision,
            seed=self.seed,
            batch=self.batch,
            progress=sys.stderr.isatty(),
        )


@dataclass(frozen=True, kw_only=True)
class AskOptions(FillOptions):
    """What is asked of which model, and where the answer goes."""

    model: str = "digits"
    """A model that ships with framefill, a model folder, a run folder or a hub id."""
    conditions: Path | None = None
    """A .npz file with what goes along with the frames, filled ones too, by name: vectors [f k],
    maps [f h w k], static maps [h w k]. None: those of the video's file, if it has any."""
    out: Path | None = None
    """File to write (.mp4 .gif .npy .npz .nc .zarr .h5 .tif .dcm .nii, or a folder of images); a
    contact sheet goes beside it. None: named after the command."""
    summary: tuple[str, ...] = ()
    """Of several samples, files NAME-WORD for each of these words, beside the samples: mean, std,
    median, q10 (any quantile in percent), above5 (the chance of a value above that, any number);
    and a picture of them, NAME-uncertainty.png."""
    overwrite: bool = False
    """Replace files that are there already."""
