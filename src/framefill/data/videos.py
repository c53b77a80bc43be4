"""Training clips from the user's own videos."""

from dataclasses import dataclass, replace
from pathlib import Path

from framefill.data.clips import Cut, Fit, VideoClips, class_name
from framefill.data.collection import LAYOUT, Place
from framefill.data.footage import Footage, Layout
from framefill.data.sample import Split
from framefill.data.timeline import even, resampled
from framefill.errors import InputError

__all__ = ["ALL_CLASSES", "Fit", "VideoClips", "VideosConfig"]

ALL_CLASSES = ("all",)


@dataclass(frozen=True, kw_only=True)
class VideosConfig(Cut):
    """The user's own videos: a file, or a folder of them.

    Files of other kinds, hidden files and links are passed over. What is not divided into train and
    test (folders, or files of these names) is divided here: the last videos, or the last frames of
    a single one, are held out.
    """

    path: Path | None = None
    """A file, or a folder with train/ and test/, which hold videos, arrays or folders of images, in
    subfolders or not; has to be given."""
    fps: float = 0.0
    """Frames per second of the clips, each frame the nearest in time of the video; 0: the video's
    own."""
    variables: tuple[str, ...] = ()
    """Names of the arrays that hold the frames, in formats whose files have several; several become
    the channels. None: the only one that can be a video."""
    axes: str = ""
    """One letter for each axis of an array: v videos, f frames, h rows, w columns, c channels.
    None: by the names of the dimensions, or fhwc, or fhw."""
    missing: float | None = None
    """A value that means missing, beside NaN and what a file itself says."""
    benchmark: str = "auto"
    """A published data set as it is downloaded (`framefill data`); auto: recognised by its files;
    none: a folder like any other."""
    split: str = ""
    """Which way to divide a benchmark into training and testing; none: its first."""
    holdout: float = 0.1
    """Share held out for testing where the data is not divided already."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fps < 0:
            raise InputError(f"fps {self.fps} must be above 0, or 0 for that of the videos")

    @property
    def layout(self) -> Layout:
        """How arrays are to be understood."""
        return Layout(
            variables=self.variables,
            axes=self.axes,
            missing=self.missing,
            conditions=self.conditions,
        )

    def footage(self, split: Split, least: int = 1) -> tuple[list[Footage], str]:
        """Return the videos of a split, at the configured rate, and a line about their division.

        Args:
            split: "train" or "test".
            least: Frames that are held out of a single video, if it has enough.

        Raises:
            InputError: there are none, or one can't be read.
        """
        if self.path is None:
            raise InputError(f"no videos: give a file or a folder with --data; {LAYOUT}")
        place = Place(
            path=self.path,
            layout=self.layout,
            benchmark=self.benchmark,
            split=self.split,
            holdout=self.holdout,
            least=least,
        )
        found, note = place.footage(split)
        if self.fps:
            return [resampled(even(each), self.fps) for each in found], note
        return [even(each) for each in found], note

    def resolved(self) -> "VideosConfig":
        """Return the same with the names that "all" classes stand for.

        Raises:
            InputError: there are no videos to train on.
        """
        if self.classes != ALL_CLASSES:
            return self
        names = {class_name(each) for each in self.footage("train")[0]}
        return replace(self, classes=tuple(sorted(names)))

    def clips(self, *, frames: int, split: Split, seed: int) -> "VideoClips":
        """Return the clips of this configuration; measures all videos of the split."""
        found, note = self.footage(split, least=(frames - 1) * self.every + 1)
        return VideoClips(self, found, note, frames=frames, split=split, seed=seed)
