"""What the user's verbs return: filled frames, and ways to look at them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.data.sheet import SheetRow, save_sheet
from framefill.data.video import Video
from framefill.data.write import check_target, to_pixels, write
from framefill.errors import InputError


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
    """

    frames: Shaped[np.ndarray, "samples f h w c"]
    row: str
    fps: float | None
    units: str
    value_range: tuple[float, float]

    @cached_property
    def mean(self) -> Float64[np.ndarray, "f h w c"]:
        """Mean over the samples."""
        return self.frames.mean(axis=0, dtype=np.float64)

    @cached_property
    def std(self) -> Float64[np.ndarray, "f h w c"]:
        """Standard deviation over the samples: where the model is unsure."""
        return self.frames.std(axis=0, dtype=np.float64)

    def save(self, path: Path | str, *, overwrite: bool = False) -> list[Path]:
        """Write the frames: .mp4, .gif, .npy, .npz, or a folder of PNG images.

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
        for target, frames in zip(paths, self.frames, strict=True):
            write(
                target,
                frames,
                fps=self.fps,
                value_range=self.value_range,
                enlarge=self._enlarge if target.suffix.lower() in (".mp4", ".gif") else 1,
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
        return to_pixels(frames, self.value_range)


def sample_paths(path: Path, samples: int) -> list[Path]:
    """Return one path for each sample: the path itself, or NAME-0, NAME-1 and so on.

    >>> [str(p) for p in sample_paths(Path("a/b.gif"), 2)]
    ['a/b-0.gif', 'a/b-1.gif']
    """
    if samples == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(samples)]
