"""Which frames of a video are filled when, and from which.

A plan is plain data. It is made without a model, from the roles of the video's frames and the
masks that the model was trained with, so it can be printed and tested on its own. The same masks
say which tasks a model can do.
"""

import heapq
import re
from collections.abc import Mapping
from dataclasses import replace

from framefill.errors import InputError
from framefill.masks import BlockMasks, Masks, MixedMasks
from framefill.roles import check_row
from framefill.windows import Front, Window, at, nearly_allowed, windows_at


def plan(row: str, masks: Masks, *, advance: int | None = None) -> list[Window]:
    """Plan how a model fills the targets of a video.

    Targets nearest to given frames come first, so a gap is filled from both its ends and errors
    have the shortest way to grow. Each target is filled once, from frames that exist by then.

    Args:
        row: The roles of the video's frames: K given, T to be filled in, - neither.
        masks: The masks that the model was trained with.
        advance: Frames kept of each window, those nearest to its known frames; None: all. With 1
            a video grows one frame at a time.

    Raises:
        InputError: the row has no targets, the model was not trained for such a task, or
            `advance` is below 1.

    >>> [(w.frames, w.row) for w in plan("KTTT", BlockMasks(past=1, target=2))]
    [((0, 1, 2), 'KTT'), ((2, 3, 4), 'KTT')]
    """
    check_row(row)
    if advance is not None and advance < 1:
        raise InputError(f"advance {advance} must be at least 1")
    windows = _plan(row, masks, advance)
    if windows is None:
        raise InputError(_refusal(row, masks))
    return windows


def can_fill(row: str, masks: Masks) -> bool:
    """Say whether a model trained with these masks has a plan for a row."""
    return _plan(row, masks, None) is not None


def tasks(masks: Masks) -> dict[str, int]:
    """Return the tasks that a model trained with these masks can do.

    Returns:
        Task by task, how many given frames it needs on each side that it has: "predict" (given
        frames before the targets), "rewind" (after), "interpolate" (on both sides) and
        "generate" (0).

    >>> tasks(BlockMasks(past=2, target=3))
    {'predict': 2}
    """
    able = {}
    for name, row in (
        ("predict", "{known}{targets}"),
        ("rewind", "{targets}{known}"),
        ("interpolate", "{known}{targets}{known}"),
    ):
        for known in range(1, masks.frames + 1):
            given, targets = "K" * known, "T" * _block(masks)
            if can_fill(row.format(known=given, targets=targets), masks):
                able[name] = known
                break
    if can_fill("T" * _block(masks), masks):
        able["generate"] = 0
    return able


def _block(masks: Masks) -> int:
    """Return how many targets the windows of a model have at least."""
    if isinstance(masks, MixedMasks):
        return min(_block(part) for part in masks.parts)
    return masks.target if isinstance(masks, BlockMasks) else 1


def _plan(row: str, masks: Masks, advance: int | None) -> list[Window] | None:
    exists = [letter == "K" for letter in row]
    waiting = [letter == "T" for letter in row]
    ahead, behind = _distances(row), _distances(row[::-1])[::-1]
    fronts: list[Front] = []

    def open_gap(frame: int, *, backward: bool) -> None:
        if 0 <= frame < len(row) and waiting[frame]:
            distance = (behind if backward else ahead)[frame]
            heapq.heappush(fronts, Front(distance, backward, frame))

    for frame in range(len(row)):
        if waiting[frame]:
            if frame == 0 or not waiting[frame - 1]:
                open_gap(frame, backward=False)
            if frame == len(row) - 1 or not waiting[frame + 1]:
                open_gap(frame, backward=True)
    windows = []
    while any(waiting):
        window = _next_window(masks, exists, waiting, fronts, advance)
        if window is None:
            return None
        windows.append(window)
        for frame in window.fills:
            waiting[frame], exists[frame] = False, True
        for frame in window.fills:
            open_gap(frame + 1, backward=False)
            open_gap(frame - 1, backward=True)
    filler = {frame: window for window in windows for frame in window.fills}
    return windows if all(_heeds(filler, row, run) for run in _runs(row)) else None


def _runs(row: str) -> list[range]:
    """Return the runs of targets."""
    return [range(*match.span()) for match in re.finditer("T+", row)]


def _heeds(filler: Mapping[int, Window], row: str, run: range) -> bool:
    """Say whether given frames beside a run of targets have a say in how it is filled.

    `filler` has the window that fills each frame. A model of the past alone would fill a gap as
    if nothing came after, and so drop what was given.
    """
    before = run.start > 0 and row[run.start - 1] == "K"
    after = run.stop < len(row) and row[run.stop] == "K"
    return any(
        window.sees_around([f for f in window.fills if f in run], before=before, after=after)
        for window in {id(filler[f]): filler[f] for f in run}.values()
    )


def _distances(row: str) -> list[int]:
    """Return how far back the nearest K is from each frame; the row's length if there is none."""
    distances, last = [], None
    for frame, letter in enumerate(row):
        last = frame if letter == "K" else last
        distances.append(len(row) if last is None else frame - last)
    return distances


def _next_window(
    masks: Masks,
    exists: list[bool],
    waiting: list[bool],
    fronts: list[Front],
    advance: int | None,
) -> Window | None:
    """Take the front nearest to given frames at which the model was trained to fill."""
    parts = [masks]
    if isinstance(masks, MixedMasks):
        parts = [
            part for part, weight in zip(masks.parts, masks.weights, strict=True) if weight > 0
        ]
    passed: list[Front] = []
    blind = None
    while fronts:
        front = heapq.heappop(fronts)
        if not waiting[front.frame]:
            continue
        passed.append(front)
        for part in parts:
            windows = [
                _keeping(window, exists, waiting, front, advance)
                for window in windows_at(part, exists, waiting, front)
                if masks.allows(window.row) or nearly_allowed(part, window.row)
            ]
            gap = _gap_around(front.frame, exists, waiting)
            seeing = [window for window in windows if not _closes_blindly(gap, window)]
            if not seeing and windows and len(gap) > 1:
                half = min(len(gap) // 2, advance or len(gap))
                seeing = [_keeping(windows[0], exists, waiting, front, half, within=gap)]
            if seeing:
                for other in passed:
                    heapq.heappush(fronts, other)
                return seeing[0]
            blind = blind or next(iter(windows), None)
    return blind


def _keeping(
    window: Window,
    exists: list[bool],
    waiting: list[bool],
    front: Front,
    advance: int | None,
    within: range | None = None,
) -> Window:
    """Say which of a window's targets are kept: the `advance` nearest to the front.

    Other gaps that end where the window does are left to one that sees both their sides.
    """
    pairs = zip(window.frames, window.row, strict=True)
    fills = [f for f, letter in pairs if letter == "T" and at(waiting, f)]
    if within is not None:
        fills = [f for f in fills if f in within]
    for edge in {fills[0], fills[-1]}:
        gap = _gap_around(edge, exists, waiting)
        if front.frame not in gap and gap and not window.sees_around(gap):
            fills = [f for f in fills if f not in gap]
    kept = fills[::-1][:advance] if front.backward else fills[:advance]
    return replace(window, fills=tuple(sorted(kept)))


def _gap_around(frame: int, exists: list[bool], waiting: list[bool]) -> range:
    """Return the waiting frames around one, if frames that exist are on both their sides."""
    start, end = frame, frame + 1
    while at(waiting, start - 1):
        start -= 1
    while at(waiting, end):
        end += 1
    return range(start, end if at(exists, start - 1) and at(exists, end) else start)


def _closes_blindly(gap: range, window: Window) -> bool:
    """Say whether a window fills the rest of a gap without seeing what is on both its sides."""
    return bool(gap) and set(gap) <= set(window.fills) and not window.sees_around(gap)


def _refusal(row: str, masks: Masks) -> str:
    needs = {
        "predict": "after {} or more given frames",
        "rewind": "before {} or more given frames",
        "interpolate": "gaps of {block} or more between {} or more given frames on each side",
        "generate": "from nothing",
    }
    able = [
        f"{task} ({needs[task].format(known, block=_block(masks))})"
        for task, known in tasks(masks).items()
    ]
    shown = row if len(row) <= 60 else f"{row[:60]}..."
    listed = ", ".join(able) or "do nothing"
    return f"this model was not trained to fill {shown}: it can {listed}"
