"""Time stamps: even grids, holes, other frame rates, and the stamps of new frames."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.data.clock import grid_of, seconds, step_of, times_of
from framefill.data.footage import Footage, InMemory, Same, Track
from framefill.data.timeline import even, even_video, resampled
from framefill.data.video import Stored, Video
from framefill.errors import InputError

START = np.datetime64("2020-02-28T23:50:00", "ns")


def clock(places: Any, *, step: float = 300.0, dates: bool = False) -> np.ndarray:
    """Stamps of frames at these places of an even grid."""
    offsets = np.asarray(places) * step
    if dates:
        return START + np.rint(offsets * 1e9).astype("timedelta64[ns]")
    return 1e6 + offsets


def numbered(count: int, dtype: Any = np.uint8) -> np.ndarray:
    """Frames of 2 x 2 pixels that hold their own number."""
    return np.broadcast_to(np.arange(count)[:, None, None, None], (count, 2, 2, 1)).astype(dtype)


def footage_of(frames: np.ndarray, **fields: Any) -> Footage:
    settings: dict[str, Any] = {
        "name": "clip.nc",
        "path": Path("clip.nc"),
        "length": len(frames),
        "shape": frames.shape[1:],
        "dtype": frames.dtype,
        "reader": InMemory(frames),
    }
    return Footage(**{**settings, **fields})


def numbers(frames: np.ndarray) -> list[float]:
    """The numbers of frames, -1 for NaN throughout."""
    found = []
    for frame in frames:
        assert len(np.unique(frame)) == 1  # also of NaN
        found.append(-1 if np.isnan(frame).all() else frame.flat[0].item())
    return found


@st.composite
def kept_places(draw: st.DrawFn) -> list[int]:
    """Places of an even grid of which some, but the lesser part, are lost."""
    gaps = draw(st.lists(st.integers(2, 9), max_size=8))
    steps = draw(st.permutations([1] * (len(gaps) + draw(st.integers(2, 30))) + gaps))
    return [0, *np.cumsum(steps).tolist()]


@settings(deadline=None)
@given(kept_places(), st.floats(1e-3, 1e6), st.booleans(), st.sampled_from([0, 1e-3, 0.02]))
def test_the_grid_is_found_again_when_frames_are_removed(
    places: list[int], step: float, dates: bool, jitter: float
) -> None:
    """Also where stamps are a little off, as rounded ones are, however many frames there are."""
    off = np.random.default_rng(places).uniform(-jitter, jitter, len(places))
    times = clock(np.array(places) + off, step=step, dates=dates)
    grid = grid_of(times, "clip")
    if places[-1] == len(places) - 1:
        assert grid is None
    else:
        assert grid is not None
        assert grid.tolist() == places


@pytest.mark.parametrize("dates", [False, True])
def test_frames_that_are_not_there_are_missing(dates: bool) -> None:
    places = [0, 1, 2, 5, 6, 9]
    footage = footage_of(
        numbered(6),
        times=clock(places, dates=dates),
        tracks={
            "speed": Track("vector", 2, InMemory(np.arange(12, dtype=np.float32).reshape(6, 2))),
            "terrain": Track("static", 1, Same(np.ones((2, 2, 1), np.float32))),
        },
    )
    whole = even(footage)
    assert whole.length == 10
    assert whole.dtype == np.float32
    assert whole.stored == Stored("uint8", pytest.approx(np.nan, nan_ok=True))
    assert whole.present is not None
    assert np.flatnonzero(whole.present).tolist() == places
    expected = [0, 1, 2, -1, -1, 3, 4, -1, -1, 5]
    assert numbers(whole.take(range(10))) == expected
    assert numbers(whole.take([2, 3, 3, 5])) == [2, -1, -1, 3]
    assert numbers(whole.take([3, 7])) == [-1, -1]
    assert (whole.times == clock(range(10), dates=dates)).all()
    vectors = whole.tracks["speed"].reader([2, 3, 5])
    assert np.isnan(vectors[1]).all()
    assert vectors[[0, 2]].tolist() == [[4, 5], [6, 7]]
    assert whole.tracks["terrain"].reader([3]).shape == (2, 2, 1)
    part = whole.section(2, 6)
    assert numbers(part.take(range(4))) == [2, -1, -1, 3]
    assert part.present is not None
    assert part.present.tolist() == [True, False, False, True]
    again = pickle.loads(pickle.dumps(whole))
    assert numbers(again.take(range(10))) == expected


@pytest.mark.parametrize(
    ("dtype", "floating"),
    [("uint8", "float32"), ("uint16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_missing_frames_make_floats_that_hold_every_value(dtype: str, floating: str) -> None:
    frames = numbered(4, np.dtype(dtype)) + np.dtype(dtype).type(250)
    times = clock([0, 1, 2, 4])
    footage = footage_of(frames, times=times)
    whole, video = even(footage), even_video(Video(frames, times=times))
    for made in (whole.take(range(5)), video.frames):
        assert made.dtype == floating
        assert numbers(made) == [250, 251, 252, -1, 253]
    stored = None if frames.dtype.kind == "f" else dtype
    for each in (whole.stored, video.stored):
        assert (each and each.dtype) == stored
    known = Stored("int16", -999.0)
    assert even(footage_of(frames, times=times, stored=known)).stored == known
    assert even_video(Video(frames, times=times, stored=known)).stored == known


def test_frames_that_a_file_says_are_missing_stay_missing_on_the_grid() -> None:
    present = np.array([True, False, True, True])
    footage = footage_of(numbered(4, np.float32), times=clock([0, 1, 2, 4]), present=present)
    whole = even(footage)
    assert whole.present is not None
    assert whole.present.tolist() == [True, False, True, False, True]


def test_a_video_in_memory_gets_the_same_holes() -> None:
    video = Video(
        numbered(4),
        times=clock([0, 1, 2, 4], dates=True),
        conditions={
            "speed": np.arange(4, dtype=np.float32)[:, None],
            "wind": numbered(4, np.float32),
            "terrain": np.ones((2, 2, 1), np.float32),
        },
    )
    whole = even_video(video)
    assert numbers(whole.frames) == [0, 1, 2, -1, 3]
    assert whole.times is not None
    assert (whole.times == clock(range(5), dates=True)).all()
    assert whole.conditions["speed"][[0, 1, 2, 4], 0].tolist() == [0, 1, 2, 3]
    assert np.isnan(whole.conditions["speed"][3]).all()
    assert numbers(whole.conditions["wind"]) == [0, 1, 2, -1, 3]
    assert whole.conditions["terrain"].shape == (2, 2, 1)


@pytest.mark.parametrize(
    "times",
    [
        None,
        clock(range(6)),
        clock([0, 1, 2, 3.4, 4.4, 5.4]),  # off the grid
        np.cumsum([0, 0.04, 0.02, 0.09, 0.033, 0.05]),  # a variable frame rate
        clock([0, 1, 2, 3, 4, 1000]),  # a grid of nearly nothing else
    ],
)
def test_without_an_even_grid_with_holes_nothing_changes(times: np.ndarray | None) -> None:
    frames = numbered(6)
    footage, video = footage_of(frames, times=times), Video(frames, times=times)
    assert even(footage) is footage
    assert even_video(video) is video


def test_stamps_in_whole_milliseconds_are_an_even_grid() -> None:
    """30 frames a second are 33 or 34 ms apart."""
    places = [*range(40), *range(45, 90)]
    times = np.round(np.array(places) / 30, 3)
    grid = grid_of(times, "clip")
    assert grid is not None
    assert grid.tolist() == places


@pytest.mark.parametrize("dates", [False, True])
@pytest.mark.parametrize(
    ("places", "number"), [([0, 2, 1, 3], 2), ([0, 1, 1, 2], 2), ([3, 2, 1, 0], 1)]
)
def test_stamps_that_do_not_ascend_are_refused(places: list[int], number: int, dates: bool) -> None:
    times = clock(places, dates=dates)
    match = rf"clip\.nc: the time of frame {number} .*isn't after .*frame {number - 1} .*sort"
    with pytest.raises(InputError, match=match):
        even(footage_of(numbered(4), times=times))
    with pytest.raises(InputError, match=rf"clip\.nc: the time of frame {number} "):
        even_video(Video(numbered(4), times=times, source="clip.nc"))


def test_two_frames_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InputError, match=r"time of frame 1 \(0\.0\) isn't after .*\(5\.0\)"):
        even(footage_of(numbered(2), times=np.array([5.0, 0.0])))


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_stamps_that_are_no_numbers_are_refused(bad: float, place: int) -> None:
    times = clock(range(4))
    times[place] = bad
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match="the time of frame"):
        grid_of(times, "clip")


def test_dates_that_are_none_are_refused() -> None:
    times = clock(range(4), dates=True)
    times[2] = np.datetime64("NaT")
    with pytest.raises(InputError, match="the time of frame 2"):
        grid_of(times, "clip")


@pytest.mark.parametrize("unit", ["D", "s", "ms", "us", "ns"])
def test_dates_of_any_unit_count_in_seconds(unit: str) -> None:
    days = np.array(["2024-02-28", "2024-02-29", "2024-03-01", "2024-03-03"], f"datetime64[{unit}]")
    assert seconds(days).tolist() == [0, 86400, 2 * 86400, 4 * 86400]
    assert step_of(days) == 86400
    grid = grid_of(days, "clip")
    assert grid is not None
    assert grid.tolist() == [0, 1, 2, 4]


# --- other frame rates --------------------------------------------------------------------------


def rate(footage: Footage, fps: float) -> list[float]:
    made = resampled(footage, fps)
    assert made.fps == fps
    assert made.times is None
    assert made.dtype == footage.dtype
    return numbers(made.take(range(made.length)))


def test_frames_at_a_lower_rate_are_the_nearest_in_time() -> None:
    footage = footage_of(numbered(13), fps=30.0)
    assert rate(footage, 10.0) == [0, 3, 6, 9, 12]
    assert rate(footage, 15.0) == [0, 2, 4, 6, 8, 10, 12]
    assert rate(footage, 12.5) == [0, 2, 5, 7, 10, 12]
    assert rate(footage, 30.0) == list(range(13))


def test_frames_at_a_higher_rate_repeat() -> None:
    footage = footage_of(numbered(3), fps=10.0)
    assert rate(footage, 30.0) == [0, 0, 1, 1, 1, 2, 2]
    assert rate(footage_of(numbered(1), fps=10.0), 30.0) == [0]


def test_a_variable_rate_becomes_constant() -> None:
    times = 100 + np.array([0, 0.1, 0.12, 0.3, 0.8, 1.0])
    footage = footage_of(numbered(6), times=times, fps=5.0)  # stamps say more than a rate
    assert rate(footage, 10.0) == [0, 1, 2, 3, 3, 3, 4, 4, 4, 5, 5]


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=30), st.floats(0.2, 50.0), st.booleans())
def test_no_other_frame_is_nearer(steps: list[float], fps: float, dates: bool) -> None:
    since = np.concatenate([[0.0], np.cumsum(steps)])
    times = clock(since, step=1.0, dates=dates)
    exact = seconds(times)
    found = np.array(rate(footage_of(numbered(len(since)), times=times), fps)).astype(int)
    ticks = np.arange(len(found)) / fps
    distance = np.abs(exact[None] - ticks[:, None])
    assert np.allclose(distance[np.arange(len(found)), found], distance.min(axis=1), atol=1e-9)
    assert ticks[-1] <= exact[-1] + 1e-6
    assert ticks[-1] + 1 / fps > exact[-1] - 1e-6  # up to the end


def test_holes_stay_holes_at_another_rate() -> None:
    footage = even(
        footage_of(
            numbered(5),
            times=clock([0, 1, 2, 5, 6], step=0.1),
            tracks={
                "speed": Track("vector", 1, InMemory(np.arange(5, dtype=np.float32)[:, None])),
                "terrain": Track("static", 1, Same(np.ones((2, 2, 1), np.float32))),
            },
        )
    )
    slow = resampled(footage, 5.0)
    assert numbers(slow.take(range(slow.length))) == [0, 2, -1, 4]
    assert slow.present is not None
    assert slow.present.tolist() == [True, True, False, True]
    speed = slow.tracks["speed"].reader(range(4))[:, 0]
    assert speed[[0, 1, 3]].tolist() == [0, 2, 4]
    assert np.isnan(speed[2])
    assert slow.tracks["terrain"].reader([0]).shape == (2, 2, 1)


def test_nothing_is_taken_at_a_rate_where_times_are_unknown() -> None:
    with pytest.raises(InputError, match=r"clip\.nc has neither time stamps nor a frame rate, so "):
        resampled(footage_of(numbered(5)), 5.0)


# --- the stamps of new frames -------------------------------------------------------------------


@pytest.mark.parametrize("dates", [False, True])
@pytest.mark.parametrize(
    ("row", "given_places"),
    [
        ("KKKTT", [0, 1, 2]),  # predict
        ("TTKKK", [2, 3, 4]),  # rewind
        ("KTTKTTK", [0, 3, 6]),  # interpolate, upsample
        ("KTKTTTKT", [0, 2, 6]),  # infill
        ("K-KTT", [0, 2]),  # a history with a hole
        ("TK-KT", [1, 3]),
    ],
)
def test_new_frames_go_on_with_the_step(row: str, given_places: list[int], dates: bool) -> None:
    whole = clock(range(len(row)), dates=dates)
    made = times_of(row, whole[given_places])
    assert made is not None
    assert made.dtype == whole.dtype
    assert (made == whole).all()


def test_uneven_stamps_are_spaced_evenly_between() -> None:
    made = times_of("TKTKKTKTT", np.array([0.0, 4.0, 5.0, 9.0]))
    assert made is not None
    assert made.tolist() == [-2, 0, 2, 4, 5, 7, 9, 11, 13]


@pytest.mark.parametrize("given_times", [None, np.array([3.0])])
def test_one_stamp_is_no_clock(given_times: np.ndarray | None) -> None:
    assert times_of("KTT", given_times) is None
    assert times_of("TTT", np.array([])) is None


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 10**17), min_size=2, max_size=12),
    st.lists(st.integers(0, 3), min_size=13, max_size=13),
)
def test_not_a_bit_of_given_dates_is_changed(steps: list[int], new: list[int]) -> None:
    """Also of days of nanoseconds over the years."""
    stamps = np.datetime64("1990-01-01", "ns") + np.cumsum(steps).astype("timedelta64[ns]")
    row = "".join("T" * count + "K" for count in new[: len(steps)]) + "T" * new[-1]
    made = times_of(row, stamps)
    assert made is not None
    assert (made[[letter == "K" for letter in row]] == stamps).all()


@settings(deadline=None)
@given(
    st.floats(-1e9, 1e9),
    st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=12),
    st.lists(st.integers(0, 3), min_size=13, max_size=13),
)
def test_not_a_bit_of_given_seconds_is_changed(
    start: float, steps: list[float], new: list[int]
) -> None:
    stamps = start + np.cumsum(steps)
    row = "".join("T" * count + "K" for count in new[: len(steps)]) + "T" * new[-1]
    made = times_of(row, stamps)
    assert made is not None
    assert (made[[letter == "K" for letter in row]] == stamps).all()
    assert (np.diff(made) >= 0).all()
