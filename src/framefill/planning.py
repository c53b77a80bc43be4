"""Which frames of a video are filled when, and from which.

A plan is plain data. It is made without a model, from the roles of the video's frames and the
masks that the model was trained with, so it can be printed and tested on its own. The same masks
say which tasks a model can do.
"""

import heapq
import itertools
import re
from collections.abc import Mapping
from dataclasses import replace

from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, Masks, MixedMasks, RandomMasks
from framefill.roles import check_row
from framefill.windows import Frames, Front, Window, at, nearly_allowed, windows_at


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
    return {name: known for name, (known, _) in _abilities(masks).items()}


def _abilities(masks: Masks) -> dict[str, tuple[int, int]]:
    """Return each task with the given frames that it needs, and the targets it was tried with."""
    able = {}
    blocks = {part.target for part in _parts(masks) if isinstance(part, BlockMasks)}
    for name, row in EXAMPLES.items():
        counts = [0] if name == "generate" else range(1, masks.frames + 1)
        for known, targets in itertools.product(counts, sorted({1, *blocks})):
            if can_fill(row.format(known="K" * known, targets="T" * targets), masks):
                able[name] = known, targets
                break
    return able


EXAMPLES = {
    "predict": "{known}{targets}",
    "rewind": "{targets}{known}",
    "interpolate": "{known}{targets}{known}",
    "generate": "{targets}",
}


def _plan(row: str, masks: Masks, advance: int | None) -> list[Window] | None:
    frames = Frames(row)
    ahead, behind = _distances(row), _distances(row[::-1])[::-1]
    fronts: list[Front] = []

    def open_gap(frame: int, *, backward: bool) -> None:
        if at(frames.waiting, frame):
            distance = (behind if backward else ahead)[frame]
            heapq.heappush(fronts, Front(distance, backward, frame))

    for run in _runs(row):
        open_gap(run.start, backward=False)
        open_gap(run.stop - 1, backward=True)
    windows = []
    while frames.left:
        window = _next_window(masks, frames, fronts, advance)
        if window is None:
            return None
        windows.append(window)
        for frame in window.fills:
            frames.fill(frame)
        for frame in window.fills:
            open_gap(frame + 1, backward=False)
            open_gap(frame - 1, backward=True)
    filler = {frame: window for window in windows for frame in window.fills}
    return windows if all(_heeds(filler, frames, run) for run in _runs(row)) else None


def _runs(row: str) -> list[range]:
    """Return the runs of targets."""
    return [range(*match.span()) for match in re.finditer("T+", row)]


def _heeds(filler: Mapping[int, Window], frames: Frames, run: range) -> bool:
    """Say whether the given frames beside a run of targets have a say in how it is filled.

    A model of the past alone would fill a gap as if nothing came after, and so drop what was
    given.

    Args:
        filler: The window that fills each frame.
        frames: Which frames were given.
        run: The targets.
    """
    windows = list({id(filler[frame]): filler[frame] for frame in run}.values())
    beside = [frame for frame in (run.start - 1, run.stop) if at(frames.given, frame)]
    if beside and not all("K" in window.row for window in windows):
        return False
    if not all(any(window.knows(frame) for window in windows) for frame in beside):
        return False
    return len(beside) < 2 or any(
        window.sees_around([f for f in window.fills if f in run]) for window in windows
    )


def _distances(row: str) -> list[int]:
    """Return how far back the nearest K is from each frame; the row's length if there is none."""
    distances, last = [], None
    for frame, letter in enumerate(row):
        last = frame if letter == "K" else last
        distances.append(len(row) if last is None else frame - last)
    return distances


def _next_window(
    masks: Masks, frames: Frames, fronts: list[Front], advance: int | None
) -> Window | None:
    """Take the front nearest to given frames at which the model was trained to fill."""
    passed: list[Front] = []
    blind = None
    while fronts:
        front = heapq.heappop(fronts)
        if not frames.waiting[front.frame]:
            continue
        passed.append(front)
        for part in _parts(masks):
            windows = [
                _keeping(window, frames, front, advance)
                for window in windows_at(part, frames, front)
                if masks.allows(window.row) or nearly_allowed(part, window.row)
            ]
            gap = frames.gap_around(front.frame, part.frames)
            seeing = [window for window in windows if not _closes_blindly(gap, window)]
            if not seeing and windows and len(gap) > 1:
                half = min(len(gap) // 2, advance or len(gap))
                seeing = [_keeping(windows[0], frames, front, half, within=gap)]
            if seeing:
                for other in passed:
                    heapq.heappush(fronts, other)
                return seeing[0]
            blind = blind or next(iter(windows), None)
    return blind


def _parts(masks: Masks) -> list[BlockMasks | RandomMasks | ContextMasks]:
    """Return the schemes that a training used."""
    if not isinstance(masks, MixedMasks):
        return [masks]
    pairs = zip(masks.parts, masks.weights, strict=True)
    return [part for part, weight in pairs if weight > 0]


def _keeping(
    window: Window,
    frames: Frames,
    front: Front,
    advance: int | None,
    within: range | None = None,
) -> Window:
    """Say which of a window's targets are kept: the `advance` nearest to the front.

    Other runs that end where the window does are left to one that sees what is beside them.
    """
    pairs = zip(window.frames, window.row, strict=True)
    fills = [f for f, letter in pairs if letter == "T" and at(frames.waiting, f)]
    if within is not None:
        fills = [f for f in fills if f in within]
    for edge in {fills[0], fills[-1]}:
        run = frames.run_around(edge, len(window.frames))
        beside = [f for f in (run.start - 1, run.stop) if at(frames.exists, f)]
        if front.frame not in run and not all(window.knows(f) for f in beside):
            fills = [f for f in fills if f not in run]
    kept = fills[::-1][:advance] if front.backward else fills[:advance]
    return replace(window, fills=tuple(sorted(kept)))


def _closes_blindly(gap: range, window: Window) -> bool:
    """Say whether a window fills the rest of a gap without seeing what is on both its sides."""
    return bool(gap) and set(gap) <= set(window.fills) and not window.sees_around(gap)


def _refusal(row: str, masks: Masks) -> str:
    said = {
        "predict": "after {known} or more given frames",
        "rewind": "before {known} or more given frames",
        "interpolate": "gaps of {gap} between {known} or more given frames on each side",
        "generate": "from nothing",
    }
    able = []
    for task, (known, targets) in _abilities(masks).items():
        longer = EXAMPLES[task].format(known="K" * known, targets="T" * (targets + 1))
        gap = f"{targets} or more" if can_fill(longer, masks) else f"exactly {targets}"
        able.append(f"{task} ({said[task].format(known=known, gap=gap)})")
    shown = row if len(row) <= 60 else f"{row[:60]}..."
    listed = ", ".join(able) or "do nothing"
    return f"this model was not trained to fill {shown}: it can {listed}"
