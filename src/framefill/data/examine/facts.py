"""What is known of the user's videos."""

from dataclasses import dataclass

from framefill.data.examine.look import Look
from framefill.data.sample import Split


@dataclass(frozen=True)
class Refused:
    """A file or a video that can't be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is known of one video.

    Attributes:
        name: As in messages.
        part: "train" or "test".
        suffix: Of the file; "folder" of a folder of images.
        length: Frames, those that are missing on an even grid of the time stamps counted too.
        shape: Height, width and channels.
        dtype: Of the values.
        fps: Frames per second, or of the usual time step; None if nothing is known of times.
        holes: Places on the grid of the time stamps without a frame.
        irregular: The time stamps fit no even grid.
        looked: Frames that were looked at; all numbers below are of these.
        missing: Frames without any value.
        constant: Frames of one value in each channel.
        pairs: Neighbouring frames that could be compared.
        still: Pairs of equal frames.
        repeats: How often each frame comes in a row, where that is the same number throughout.
    """

    name: str
    part: Split
    suffix: str
    length: int
    shape: tuple[int, int, int]
    dtype: str
    fps: float | None
    holes: int
    irregular: bool
    looked: int = 0
    missing: int = 0
    constant: int = 0
    pairs: int = 0
    still: int = 0
    repeats: int = 1


@dataclass(frozen=True, kw_only=True)
class ValueFacts:
    """The values of one channel, or of one value of a condition, as far as they were looked at.

    Attributes:
        name: Of the channel or the condition.
        low: The smallest, in the data's units; None, like what follows, if all are missing.
        high: The largest.
        mean: Their mean.
        deviation: Their standard deviation.
        missing: Share that is missing.
        infinite: Number of infinite values.
        quantiles: Of the values above `low`, the 10 %, 50 % and 99.9 % points; None: there are
            hardly any.
        mark: A frequent value far from all others, which may stand for missing ones.
        mark_share: Its share.
    """

    name: str
    low: float | None
    high: float | None
    mean: float | None
    deviation: float | None
    missing: float
    infinite: int = 0
    quantiles: tuple[float, float, float] | None = None
    mark: float | None = None
    mark_share: float = 0.0


@dataclass(frozen=True)
class Shared:
    """A test video with frames that are in a training video too.

    Args:
        test: The test video.
        train: The training video.
        equal: Number of equal frames.
        near: Number of frames nearer to one of the other video than half a usual change.
        compared: Number of frames of the test video that were compared.
    """

    test: str
    train: str
    equal: int
    near: int
    compared: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the data; see the parts.

    Attributes:
        path: Where it is.
        benchmark: See `Gathered`, like the next four.
        note: How it is divided.
        remarks: Why there is nothing to train or to test on.
        refused: What can't be opened or read.
        passed_over: Files that are no videos.
        videos: All videos.
        units: Of the values.
        channels: Of the most common number of channels.
        same_channels: Pairs of channels that are equal everywhere, or nearly so in 8 bits.
        measured: Number of frames whose values these are of.
        conditions: The conditions asked for, each of their values; of maps, each of their channels.
        unused: Names of conditions that lie beside the videos and aren't asked for.
        classes: Number of videos of each class, for train and test; empty without classes.
        copies: Groups of videos with the same frames.
        shared: Test videos with frames of training videos.
        shared_times: Number of time stamps that are in training and in testing.
        look: What was looked at.
    """

    path: str
    benchmark: str
    note: str
    remarks: dict[Split, str]
    refused: list[Refused]
    passed_over: dict[str, int]
    videos: list[VideoFacts]
    units: str
    channels: list[ValueFacts]
    same_channels: list[tuple[int, int]]
    measured: int
    conditions: list[ValueFacts]
    unused: list[str]
    classes: dict[Split, dict[str, int]]
    copies: list[list[str]]
    shared: list[Shared]
    shared_times: int
    look: Look

    def of(self, part: Split) -> list[VideoFacts]:
        """Return the videos of a part."""
        return [each for each in self.videos if each.part == part]
