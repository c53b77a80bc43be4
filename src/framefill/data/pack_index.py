"""What the index of a packed store says, and how it is read."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framefill.data.footage import TrackKind
from framefill.errors import InputError
from framefill.serialise import from_data, read_json

VERSION = 1
INDEX = "index.json"
MOST_INDEX = 2**29  # bytes
MOST_VIDEOS = 10**6
MOST_FRAMES = 2**28  # of a video
AGAIN = "pack the data again"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Consecutive entries of an array file.

    Args:
        file: Its name.
        start: The first one.
        length: How many there are.
    """

    file: str
    start: int
    length: int

    @property
    def stop(self) -> int:
        """The entry behind the last."""
        return self.start + self.length


@dataclass(frozen=True, kw_only=True)
class PackedTrack:
    """A condition, see `framefill.data.footage.Track`; a static one is a run of one entry."""

    kind: TrackKind
    values: Run


@dataclass(frozen=True, kw_only=True)
class PackedStored:
    """See `framefill.data.video.Stored`; `missing` is text, since JSON has no NaN."""

    dtype: str
    missing: str


@dataclass(frozen=True, kw_only=True)
class PackedVideo:
    """A video, see `framefill.data.footage.Footage`.

    `frames` are fewer than `length` where `present` says that some are missing: those have no
    place. The file may hold them in a narrower dtype than `dtype`, in which they are read.
    """

    name: str
    label: str
    length: int
    dtype: str
    frames: Run
    fps: float | None = None
    units: str = ""
    channels: tuple[str, ...] = ()
    stored: PackedStored | None = None
    times: Run | None = None
    present: Run | None = None
    conditions: dict[str, PackedTrack] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PackIndex:
    """The videos in order, and how the arrays were understood that they are from (`Layout`)."""

    version: int
    videos: tuple[PackedVideo, ...]
    variables: tuple[str, ...] = ()
    axes: str = ""
    missing: float | None = None


def read_index(folder: Path) -> PackIndex:
    """Read the index of a packed store; what it says of files isn't checked.

    Raises:
        InputError: there is none, or it is damaged, too large or of another version.
    """
    file = folder / INDEX
    if not file.is_file() or file.is_symlink():
        raise InputError(f"{folder} has no {INDEX}: give a folder that framefill pack made")
    if file.stat().st_size > MOST_INDEX:
        raise InputError(f"{file} has more than {MOST_INDEX:,} bytes: framefill pack makes no such")
    data: Any = read_json(file)
    version = data.get("version") if isinstance(data, dict) else None
    if version != VERSION:
        raise InputError(
            f"{file} has version {str(version)[:20]} and this framefill reads version {VERSION}: "
            f"{AGAIN}, or read it with the framefill that made it"
        )
    if not isinstance(data.get("videos"), list) or not 0 < len(data["videos"]) <= MOST_VIDEOS:
        raise InputError(f"{file} must list 1 to {MOST_VIDEOS:,} videos: {AGAIN}")
    try:
        return from_data(data, PackIndex, source=str(file))
    except InputError as error:
        # Each of the videos may have the same fault.
        found = re.sub(r"\s+", " ", str(error))[:300]
        raise InputError(f"{found}: {AGAIN}") from None
