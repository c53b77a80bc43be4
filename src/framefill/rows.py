"""Which frames of a video are given, and which letters of a row they are."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int64

from framefill.data.timeline import even_video
from framefill.data.video import Video
from framefill.errors import InputError


def kept_frames(row: str, count: int, *, every: str = "K") -> list[int]:
    """Return which of a video's `count` frames are the K frames of a row.

    The video has as many frames as the row, or lacks those that are to be filled.
    """
    if count == len(row):
        return [i for i, letter in enumerate(row) if letter in every]
    own = [letter for letter in row if letter != "T"]
    return [i for i, letter in enumerate(own) if letter in every]


def of_frames(given: Video, places: Int64[np.ndarray, " k"]) -> Video:
    """Return some of the frames of a video, with what goes along with them."""
    return replace(
        given,
        frames=given.frames[places],
        times=None if given.times is None else given.times[places],
        conditions={
            name: values if values.ndim == 3 else values[places]
            for name, values in given.conditions.items()
        },
    )


def missing_frames(given: Video) -> Bool[np.ndarray, " f"]:
    """Say which frames are NaN throughout."""
    if given.frames.dtype.kind != "f":
        return np.zeros(len(given.frames), bool)
    return np.isnan(given.frames).reshape(len(given.frames), -1).all(axis=1)


def whole(given: Video, verb: str) -> Video:
    """Refuse a video with less than two frames, or with missing ones."""
    if len(given.frames) < 2:
        raise InputError(f"{verb} needs at least 2 frames, but the video has 1")
    if missing_frames(given).any() or len(even_video(given).frames) != len(given.frames):
        raise InputError(f"{verb} needs a video without missing frames: fill them first")
    return given


def row_of(given: Video, known: Sequence[int] | None) -> str:
    """Return the roles of a video whose known frames are listed, or marked by the lack of NaN."""
    total = len(given.frames)
    if known is None:
        if not np.issubdtype(given.frames.dtype, np.floating):
            raise InputError(
                f"all frames are {given.frames.dtype}, which has no NaN: say which ones are known"
            )
        missing = missing_frames(given)
        if not missing.any():
            raise InputError("no frame is NaN throughout, so there is nothing to fill: give known")
        return "".join("T" if is_missing else "K" for is_missing in missing)
    if not isinstance(known, Iterable) or any(isinstance(i, str) for i in known):
        raise InputError(f"known {known!r}: give the positions of the frames, as whole numbers")
    if wrong := [i for i in known if isinstance(i, bool | np.bool_) or i != int(i)]:
        raise InputError(
            f"known frame {wrong[0]}: give the positions of the frames, as whole numbers"
        )
    if outside := [i for i in known if not 0 <= i < total]:
        raise InputError(
            f"known frame {outside[0]} of a video of {total} frames: use 0..{total - 1}"
        )
    row = "".join("K" if i in set(known) else "T" for i in range(total))
    if "T" not in row:
        raise InputError(f"all {total} frames are known, so there is nothing to fill")
    return row
