"""What the user's verbs return: filled frames, and ways to look at them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.data.clock import times_of
from framefill.data.formats import suffix_of
from framefill.data.save import save
from framefill.data.sheet import SheetRow, save_sheet
from framefill.data.video import Header, Stored, Video
from framefill.data.write import check_target, to_picture
from framefill.errors import InputError
from framefill.normalise import Normaliser


@dataclass(frozen=True, eq=False)
class Filled:
    """Filled videos.

    Attributes:
        frames: One video per sample, in the type and units of the input; KNOWN frames are the
            input's, bit for bit.
        row: The role of each frame: K given, T filled in, - neither (zeros, or NaN in floats).
        fps: Frames per second, or None.
        units: Units of the values.
        value_range: The values that pictures show as black and white.
        times: Of each frame, where the input's are known; those of new frames go on evenly.
        channels: Names of the channels, where they have any.
        stored: How the input's file stored values that are floats here.
        header: What the input's format knows beside the frames; `save` writes it back.
    """

    frames: Shaped[np.ndarray, "samples f h w c"]
    row: str
    fps: float | None
    units: str
    value_range: tuple[float, float]
    times: Shaped[np.ndarray, " f"] | None = None
    channels: tuple[str, ...] = ()
    stored: Stored | None = None
    header: Header | None = None

    @classmethod
    def of(
        cls,
        frames: Shaped[np.ndarray, "samples f h w c"],
        row: str,
        given: Video,
        kept: Sequence[int],
        normaliser: Normaliser,
    ) -> "Filled":
        """Return filled frames with all that is known of the video that they complete.

        Args:
            frames: Of all samples.
            row: The role of each frame.
            given: The video.
            kept: Which of its frames are the K frames of the row.
            normaliser: The model's.
        """
        times = given.times
        if times is not None and len(times) != len(row):
            times = times_of(row, times[list(kept)])
        return cls(
            frames,
            row,
            given.fps,
            given.units or normaliser.units,
            (normaliser.low, normaliser.high),
            times=times,
            channels=given.channels,
            stored=given.stored,
            header=given.header,
        )

    def cropped(self, height: int, width: int, dtype: np.dtype[np.generic]) -> "Filled":
        """Return the first rows and columns in another dtype: the way back from `fit pad`."""
        return replace(self, frames=self.frames[:, :, :height, :width].astype(dtype))

    def video(self, sample: int) -> Video:
        """Return a sample as a video."""
        return Video(
            self.frames[sample],
            fps=self.fps,
            units=self.units,
            times=self.times,
            channels=self.channels,
            stored=self.stored,
            header=self.header,
        )

    @cached_property
    def mean(self) -> Float64[np.ndarray, "f h w c"]:
        """Mean over the samples."""
        return self.frames.mean(axis=0, dtype=np.float64)

    @cached_property
    def std(self) -> Float64[np.ndarray, "f h w c"]:
        """Standard deviation over the samples: where the model is unsure."""
        return self.frames.std(axis=0, dtype=np.float64)

    def save(self, path: Path | str, *, overwrite: bool = False) -> list[Path]:
        """Write the frames, in the format of the suffix (`framefill.data.save`).

        In the format that the input was of, its coordinates and attributes are written too, and its
        time axis goes on.

        Several samples become several files, NAME-0, NAME-1 and so on. In .mp4 and .gif the
        pixels of small frames are repeated, so that players show them at 128 pixels or more.

        Returns:
            The files written.

        Raises:
            InputError: a file exists already, or the frames don't suit the format.
        """
        paths = sample_paths(Path(path), len(self.frames))
        for target in paths:
            check_target(target, overwrite=overwrite)
        for number, target in enumerate(paths):
            save(
                target,
                self.video(number),
                value_range=self.value_range,
                enlarge=self._enlarge if suffix_of(target) in (".mp4", ".gif") else 1,
                overwrite=overwrite,
            )
        return paths

    def contact_sheet(
        self,
        path: Path | str,
        *,
        truth: Video | Shaped[np.ndarray, "f h w c"] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write a PNG picture of all frames, in which given, filled and true ones differ in color.

        Args:
            path: Where to.
            truth: The true video, of the same frames, to show above the filled ones.
            overwrite: Replace what is there.

        Raises:
            InputError: the truth has another shape, or the file exists already.
        """
        rows = []
        if truth is not None:
            true_frames = truth.frames if isinstance(truth, Video) else truth
            if true_frames.shape != self.frames.shape[1:]:
                shapes = f"{true_frames.shape}, the filled ones {self.frames.shape[1:]}"
                raise InputError(f"the true frames have shape {shapes}: give the same frames")
            rows.append(SheetRow("truth", self._pixels(true_frames), "R" * len(true_frames)))
        for number, frames in enumerate(self.frames):
            label = f"sample {number}" if len(self.frames) > 1 else "filled"
            rows.append(SheetRow(label, self._pixels(frames), self.row))
        save_sheet(path, rows, overwrite=overwrite)

    @property
    def _enlarge(self) -> int:
        """Players show small frames too small: at least 128 pixels on the short side."""
        return max(1, -(-128 // min(self.frames.shape[2:4])))

    def _pixels(self, frames: Shaped[np.ndarray, "f h w c"]) -> Shaped[np.ndarray, "f h w c"]:
        return to_picture(frames, self.value_range)


def sample_paths(path: Path, samples: int) -> list[Path]:
    """Return one path for each sample: the path itself, or NAME-0, NAME-1 and so on.

    >>> [str(p) for p in sample_paths(Path("a/b.gif"), 2)]
    ['a/b-0.gif', 'a/b-1.gif']
    """
    if samples == 1:
        return [path]
    suffix = path.name[len(path.name) - len(suffix_of(path)) :]
    stem = path.name.removesuffix(suffix)
    return [path.with_name(f"{stem}-{i}{suffix}") for i in range(samples)]
