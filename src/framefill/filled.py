"""What the user's verbs return: filled frames, and ways to look at them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from framefill.data.clock import times_of
from framefill.data.derived import derived_header
from framefill.data.formats import suffix_of
from framefill.data.save import save
from framefill.data.sheet import SheetRow, save_sheet
from framefill.data.siblings import sample_paths
from framefill.data.video import Header, Stored, Video
from framefill.data.write import check_target, to_picture
from framefill.ensemble import Statistic, exceedance, largest, mean, quantiles, std
from framefill.errors import InputError
from framefill.normalise import Normaliser
from framefill.uncertainty import save_fan_chart, uncertainty_rows


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
        return mean(self.frames)

    @cached_property
    def std(self) -> Float64[np.ndarray, "f h w c"]:
        """Standard deviation over the k samples (divided by k): where the model is unsure."""
        return std(self.frames)

    @cached_property
    def median(self) -> Float64[np.ndarray, "f h w c"]:
        """Median over the samples; see `quantile`."""
        self._need_spread()
        return self._where_there(quantiles(self.frames, [0.5]))[0]

    def quantile(self, q: float | Sequence[float]) -> Float64[np.ndarray, "*q f h w c"]:
        """Return quantiles over the samples of each pixel, linear between neighbors.

        Args:
            q: From 0 to 1: 0.9 is what 90 % of the samples are below. Several give a first axis.

        Returns:
            In the units of the frames; NaN where frames are absent or pixels missing.

        Raises:
            InputError: there is but one sample, or a quantile is not in 0..1.
        """
        self._need_spread()
        shares = [q] if isinstance(q, int | float) else list(q)
        found = self._where_there(quantiles(self.frames, shares))
        return found[0] if isinstance(q, int | float) else found

    def exceedance(self, above: float) -> Float64[np.ndarray, "f h w c"]:
        """Return the chance that each pixel is above a threshold: the share of samples that are.

        Args:
            above: In the units of the frames; a value that equals it is not above.

        Returns:
            0 to 1; NaN where frames are absent or pixels missing.

        Raises:
            InputError: there is but one sample, or the threshold is not finite.
        """
        self._need_spread()
        return self._where_there(exceedance(self.frames, above))

    def statistic(self, word: str) -> "Filled":
        """Return a statistic of the samples as frames of their own, to `save` as samples are.

        They are float32 (float64 if the samples are), NaN where frames are absent, and no format
        makes integers of them. Pictures show "std" from 0 to its largest value, chances from 0 to
        1, and all else as the samples.

        Args:
            word: "mean", "std", "median", "q10" (any quantile in percent) or "above273.15" (the
                chance that a value is above that; its unit is "1").

        Raises:
            InputError: the word is none of these, or there is but one sample.
        """
        asked = Statistic.parse(word)
        self._need_spread()
        values = self._where_there(asked.of(self.frames))
        limits, units = self._limits, self.units
        if asked.kind == "std":
            limits = 0.0, largest(values) or 1.0
        elif asked.kind == "above":
            limits, units = (0.0, 1.0), "1"  # as CF calls it
        title = f"{asked.title} of {len(self.frames)} samples"
        dtype = np.float64 if self.frames.dtype == np.float64 else np.float32
        header = derived_header(self.header, title, units=units if asked.kind == "above" else None)
        return replace(
            self,
            frames=values[None].astype(dtype),
            units=units,
            value_range=limits,
            stored=None,
            header=header,
        )

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

    def uncertainty(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write a PNG picture of what the samples agree on, frame by frame.

        Rows: their mean, their standard deviation on a scale of its own, which the label tells, and
        the values that 10 % and 90 % of them are below. Of other channels than 1 or 3 the first
        alone is shown.

        Raises:
            InputError: there is but one sample, or as `contact_sheet`.
        """
        self._need_spread()
        rows = uncertainty_rows(self.frames, self.row, self._limits, self.units)
        save_sheet(path, rows, overwrite=overwrite)

    def fan_chart(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write a PNG chart of the mean of each frame: the samples' median and 50 and 90 % bands.

        The mean is that of the pixels that are known and of all channels; of other channels than 1
        or 3, of the first. Given frames are marked.

        Raises:
            InputError: there is but one sample, the path is none of a new .png file, or matplotlib
                isn't installed.
        """
        self._need_spread()
        save_fan_chart(Path(path), self.frames, self.row, self.units, overwrite=overwrite)

    def _need_spread(self) -> None:
        if len(self.frames) < 2:
            raise InputError("1 sample has no spread: ask for samples=8 or more")

    def _where_there(
        self, values: Float64[np.ndarray, "*q f h w c"]
    ) -> Float64[np.ndarray, "*q f h w c"]:
        """Absent frames of integers hold zeros, of which there is no statistic."""
        values[..., [letter == "-" for letter in self.row], :, :, :] = np.nan
        return values

    @property
    def _limits(self) -> tuple[float, float]:
        """What is black and white where 8-bit samples are shown as they are."""
        return (0.0, 255.0) if self.frames.dtype == np.uint8 else self.value_range

    @property
    def _enlarge(self) -> int:
        """Players show small frames too small: at least 128 pixels on the short side."""
        return max(1, -(-128 // min(self.frames.shape[2:4])))

    def _pixels(self, frames: Shaped[np.ndarray, "f h w c"]) -> Shaped[np.ndarray, "f h w c"]:
        return to_picture(frames, self.value_range)
