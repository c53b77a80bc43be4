"""RaMViD's tasks as plans: few windows, given frames on both sides, none beyond max_known."""

import math
import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_rollout import check

from framefill.masks import BlockMasks, RandomMasks
from framefill.planning import can_fill, plan
from framefill.windows import Window

RAMVID = RandomMasks(frames=16, max_known=4)


def mask(known: Iterable[int], total: int) -> str:
    return "".join("K" if frame in known else "T" for frame in range(total))


def chained(row: str, windows: list[Window]) -> list[Window]:
    """The windows that rest on frames which others filled."""
    return [w for w in windows if any(w.knows(f) and row[f] == "T" for f in w.frames)]


@pytest.mark.parametrize("unconditional", [0, 0.25])
@pytest.mark.parametrize(
    ("row", "needed", "resting"),
    [
        (mask([0], 16), 1, 0),
        (mask(range(5), 16), 1, 0),
        (mask([0], 100), 8, 7),  # 15 frames, then 12 with 4 known ones at a time
        (mask(range(5), 100), 8, 7),
        (mask([0, 15], 16), 1, 0),
        (mask([0, 1, 14, 15], 16), 1, 0),
        (mask([0, 5, 10, 15], 16), 1, 0),
        (mask([0, 16], 17), 2, 1),
        (mask([0, 30], 31), 2, 1),
    ],
)
def test_tasks_of_ramvid_take_as_few_windows_as_they_need(
    row: str, needed: int, resting: int, unconditional: float
) -> None:
    masks = RandomMasks(frames=16, max_known=4, unconditional=unconditional)
    for video in (row, row[::-1]):
        windows = plan(video, masks)
        check(video, masks, windows)
        assert (len(windows), len(chained(video, windows))) == (needed, resting)
        assert all(masks.allows(window.row) for window in windows)


@settings(max_examples=200, deadline=None)
@example({0, 7, 8, 9}, 12)
@example({0, 1, 7, 8}, 10)
@given(st.sets(st.integers(0, 15), min_size=1, max_size=4), st.integers(1, 16))
def test_what_training_shows_takes_one_window(known: set[int], total: int) -> None:
    row = mask(known, total)
    if "K" in row and "T" in row:
        assert [window.draw(total) for window in plan(row, RAMVID)] == [row]


@pytest.mark.parametrize("frames", [16, 20])
@pytest.mark.parametrize("factor", [2, 3, 4, 7, 10, 30])
@pytest.mark.parametrize("count", [2, 9, 200])
def test_frames_between_given_ones_are_seen_from_both_sides(
    frames: int, factor: int, count: int
) -> None:
    masks = RandomMasks(frames=frames, max_known=4)
    row = ("T" * (factor - 1)).join("K" * count)
    windows = plan(row, masks)
    check(row, masks, windows)
    assert all(masks.allows(window.row) for window in windows)
    if shared := min((frames - 1) // factor, 3):  # gaps that one window holds
        assert len(windows) == math.ceil((count - 1) / shared)
        sides = [(w, f // factor * factor) for w in windows for f in w.fills]
        assert all(w.knows(side) and w.knows(side + factor) for w, side in sides)
        assert not chained(row, windows)
    else:  # a gap needs two: one from an end, one that closes it
        assert len(windows) == 2 * (count - 1)
        assert all(w.sees_around(w.fills) for w in chained(row, windows))
        assert len(chained(row, windows)) == count - 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=20).filter(any))
def test_gaps_among_many_given_frames_share_windows_as_far_as_can_be(gaps: list[int]) -> None:
    row = "K" + "".join("T" * gap + "K" for gap in gaps)
    runs = [run.span() for run in re.finditer("T+", row)]
    needed = [0] * (len(runs) + 1)  # from each run on
    for i in reversed(range(len(runs))):
        sides: set[int] = set()
        together = []
        for j, (start, end) in enumerate(runs[i:], i + 1):
            sides |= {start - 1, end}
            if len(sides) <= 4 and end - runs[i][0] + 2 <= 16:
                together.append(needed[j])
        needed[i] = 1 + min(together)
    windows = plan(row, RAMVID)
    assert len(windows) == needed[0]
    assert all(RAMVID.allows(window.row) for window in windows)
    for start, end in runs:
        (window,) = (w for w in windows if start in w.fills)
        assert window.knows(start - 1)
        assert window.knows(end)
    assert not chained(row, windows)


def test_known_frames_are_the_nearest_on_both_sides() -> None:
    (window,) = plan("K" * 9 + "T" * 4 + "K" * 9, RAMVID)
    assert [f for f in range(22) if window.knows(f)] == [7, 8, 13, 14]


def test_a_long_gap_is_closed_by_a_window_that_fills_half_of_itself() -> None:
    closing = plan("K" + "T" * 19 + "K", RandomMasks(frames=20, max_known=19))[-1]
    assert len(closing.fills) == 10
    assert closing.sees_around(closing.fills)


def test_fronts_are_looked_at_again_when_something_near_is_filled() -> None:
    assert can_fill("KKKKTTTTTKT", BlockMasks(past=2, target=2, future=1, drop_future=0.5))


def test_given_frames_are_seen_across_absent_ones() -> None:
    (window,) = plan("K--TTT", RAMVID)
    assert window.knows(0)
    for row in ("K-TTTTTK", "TKTTTTT-KT"):
        assert all("K" in window.row for window in plan(row, RandomMasks(frames=3, max_known=1)))
