"""The frames of a video at other times: on the even grid of its time stamps, or at another rate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from framefill.data.clock import grid_of, seconds
from framefill.data.fitting import floating
from framefill.data.footage import Footage
from framefill.data.video import Stored, Video
from framefill.errors import InputError

NOWHERE = -1
MOST_REPEATED = 1000  # times that a frame may be repeated, on average, at a higher rate


@dataclass(frozen=True, eq=False)
class Rearranged:
    """A reader whose frame i is frame places[i] of another, or missing where that is -1.

    Args:
        reader: The other.
        places: Ascending, but for -1.
        dtype: Of what is returned; a floating one if any frame is missing.
    """

    reader: Callable[[Sequence[int]], Shaped[np.ndarray, "..."]]
    places: Int64[np.ndarray, " f"]
    dtype: np.dtype[np.generic]

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "..."]:
        """Return the frames at some positions, NaN where they are missing."""
        wanted = self.places[list(places)]
        there = wanted != NOWHERE
        # Of frames that are all missing only the shape is needed, which any frame has.
        some = wanted[there] if there.any() else self.places[self.places != NOWHERE][:1]
        found = self.reader([int(place) for place in some])
        if there.all():
            return found.astype(self.dtype, copy=False)
        frames = np.full((len(wanted), *found.shape[1:]), np.nan, self.dtype)
        frames[there] = found[: there.sum()]
        return frames


def even(footage: Footage) -> Footage:
    """Return footage whose time stamps have no holes: frames that are missing there are NaN.

    What has no time stamps, no holes, stamps that fit no even grid, or a frame rate is returned as
    it is: a film shows each frame until the next one comes.

    Raises:
        InputError: the time stamps don't ascend.
    """
    if footage.times is None or footage.fps is not None:
        return footage
    grid = grid_of(footage.times, footage.name)
    if grid is None:
        return footage
    length = int(grid[-1]) + 1
    places = np.full(length, NOWHERE)
    places[grid] = np.arange(footage.length)
    floats = floating(np.empty((0, 1, 1, 1), footage.dtype)).dtype
    tracks = {
        name: track
        if track.kind == "static"
        else track._replace(reader=Rearranged(track.reader, places, np.dtype(np.float32)))
        for name, track in footage.tracks.items()
    }
    return replace(
        footage,
        length=length,
        dtype=floats,
        stored=footage.stored
        or (None if footage.dtype.kind == "f" else Stored(footage.dtype.name, np.nan)),
        reader=Rearranged(footage.reader, places, floats),
        times=_on_grid(footage.times, grid),
        tracks=tracks,
        present=_present(footage, grid),
    )


def even_video(video: Video) -> Video:
    """Return a video whose time stamps have no holes: frames that are missing there are NaN.

    See `even`.

    Raises:
        InputError: the time stamps don't ascend.
    """
    if video.times is None or video.fps is not None:
        return video
    grid = grid_of(video.times, video.source or "the video")
    if grid is None:
        return video
    whole = floating(video.frames)
    length = int(grid[-1]) + 1
    frames = np.full((length, *whole.shape[1:]), np.nan, whole.dtype)
    frames[grid] = whole
    conditions = dict(video.conditions)
    for name, values in video.conditions.items():
        if values.ndim != 3:
            conditions[name] = np.full((length, *values.shape[1:]), np.nan, np.float32)
            conditions[name][grid] = values
    stored = video.stored or (
        None if video.frames.dtype.kind == "f" else Stored(video.frames.dtype.name, np.nan)
    )
    times = _on_grid(video.times, grid)
    return replace(video, frames=frames, times=times, conditions=conditions, stored=stored)


def resampled(footage: Footage, fps: float) -> Footage:
    """Return footage at another frame rate, each frame the nearest in time of the source.

    Above the source's rate frames repeat.

    Raises:
        InputError: nothing is known of the source's times.
    """
    if footage.times is not None:
        since = seconds(footage.times)
    elif footage.fps is not None:
        since = np.arange(footage.length) / footage.fps
    else:
        raise InputError(
            f"{footage.name} has neither time stamps nor a frame rate, so fps={fps:g} can't be "
            "taken from it: use every=, the step between frames"
        )
    count = since[-1] * fps
    if not count <= MOST_REPEATED * len(since):
        raise InputError(
            f"{footage.name} of {since[-1]:g} s has {len(since)} frames: fps={fps:g} would make "
            f"{count:g} of them; ask for a lower rate"
        )
    ticks = np.arange(int(count + 1e-6) + 1) / fps
    after = np.clip(np.searchsorted(since, ticks), 1, max(len(since) - 1, 1))
    before = after - 1
    last = len(since) - 1
    nearer = np.abs(since[np.minimum(after, last)] - ticks) < np.abs(since[before] - ticks)
    places = np.where(nearer, np.minimum(after, last), before).astype(np.int64)
    float32 = np.dtype(np.float32)
    return replace(
        footage,
        length=len(places),
        reader=Rearranged(footage.reader, places, footage.dtype),
        times=None,
        fps=fps,
        present=None if footage.present is None else footage.present[places],
        tracks={
            name: track
            if track.kind == "static"
            else track._replace(reader=Rearranged(track.reader, places, float32))
            for name, track in footage.tracks.items()
        },
    )


def _present(footage: Footage, grid: Int64[np.ndarray, " f"]) -> Bool[np.ndarray, " length"]:
    present = np.zeros(int(grid[-1]) + 1, bool)
    present[grid] = True if footage.present is None else footage.present
    return present


def _on_grid(
    times: Shaped[np.ndarray, " f"], grid: Int64[np.ndarray, " f"]
) -> Shaped[np.ndarray, " length"]:
    """Return the times of all places of a grid; those of frames that are there stay as they are."""
    offsets = np.interp(np.arange(int(grid[-1]) + 1), grid, seconds(times))
    if times.dtype.kind in "mM":
        full = times[0] + np.rint(offsets * 1e9).astype("timedelta64[ns]")
    else:
        full = float(times[0]) + offsets
    full[grid] = times
    return full
