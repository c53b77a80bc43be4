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
from framefill.offers import windows_at
from framefill.roles import check_row
from framefill.windows import Frames, Front, Window


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
    frames, fronts = Frames(row), Fronts(row)
    for run in _runs(row):
        fronts.open(run.start, backward=False)
        fronts.open(run.stop - 1, backward=True)
    windows = []
    while frames.left:
        window = _next_window(masks, frames, fronts, advance)
        if window is None:
            return None
        windows.append(window)
        for frame in window.fills:
            frames.fill(frame)
        for frame in window.fills:
            if frames.waiting(frame + 1):
                fronts.open(frame + 1, backward=False)
            if frames.waiting(frame - 1):
                fronts.open(frame - 1, backward=True)
        fronts.wake(range(window.fills[0] - masks.frames, window.fills[-1] + masks.frames + 1))
    filler = {frame: window for window in windows for frame in window.fills}
    return windows if all(_heeds(filler, frames, run) for run in _runs(row)) else None


class Fronts:
    """The ends of gaps where filling can go on, those nearest to given frames first.

    Fronts at which a model has nothing good to go on wait until all others are used up, or until
    something near them is filled; so each is looked at a few times, however long the video.
    """

    def __init__(self, row: str) -> None:
        self._ahead, self._behind = _distances(row), _distances(row[::-1])[::-1]
        self._queue: list[Front] = []
        self._late: dict[int, set[bool]] = {}

    def open(self, frame: int, *, backward: bool) -> None:
        """Add a front."""
        distance = (self._behind if backward else self._ahead)[frame]
        heapq.heappush(self._queue, Front(False, distance, backward, frame))

    def pop(self) -> Front | None:
        """Take the next front."""
        return heapq.heappop(self._queue) if self._queue else None

    def postpone(self, front: Front) -> None:
        """Put a front behind all others."""
        heapq.heappush(self._queue, front._replace(late=True))
        self._late.setdefault(front.frame, set()).add(front.backward)

    def wake(self, near: range) -> None:
        """Look again at the postponed fronts near frames that were filled."""
        if self._late:
            for frame in near:
                for backward in self._late.pop(frame, ()):
                    self.open(frame, backward=backward)


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
    beside = [frame for frame in (run.start - 1, run.stop) if frames.given(frame)]
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
    masks: Masks, frames: Frames, fronts: Fronts, advance: int | None
) -> Window | None:
    """Take the front nearest to given frames at which the model was trained to fill.

    Windows that see nothing, or not what is beside the front, or not what is on both sides of a
    gap that they close, come last.
    """
    while (front := fronts.pop()) is not None:
        if not frames.waiting(front.frame):
            continue
        blind = None
        for part in _parts(masks):
            windows = [
                _keeping(window, front, advance)
                for window in windows_at(part, frames, front)
                if masks.allows(window.row) or _nearly_allowed(part, window.row)
            ]
            gap = frames.gap_around(front.frame, part.frames)
            seeing = [window for window in windows if not _closes_blindly(gap, window)]
            if not seeing and windows and len(gap) > 1:
                half = min(len(gap) // 2, advance or len(gap))
                seeing = [_keeping(windows[0], front, half, within=gap)]
            beside = front.frame + (1 if front.backward else -1)
            for window in seeing:
                if window.knows(beside) or ("K" in window.row and not frames.exists(beside)):
                    return window
            blind = blind or next(iter(windows), None)
        if not front.late:
            fronts.postpone(front)
        elif blind:
            return blind
    return None


def _parts(masks: Masks) -> list[BlockMasks | RandomMasks | ContextMasks]:
    """Return the schemes that a training used."""
    if not isinstance(masks, MixedMasks):
        return [masks]
    pairs = zip(masks.parts, masks.weights, strict=True)
    return [part for part, weight in pairs if weight > 0]


def _nearly_allowed(part: Masks, row: str) -> bool:
    """Accept what training comes nearest to, where it never shows what a user has.

    A past or a future that is shorter than the block, its rest ABSENT, though training shows it
    whole or not at all; and two known frames, for gaps, where random masks draw one.
    """
    if isinstance(part, RandomMasks):
        alone = row.replace("K", "T", 1), "T".join(row.rsplit("K", 1))
        return row.count("K") == 2 and all(map(part.allows, alone))
    if not isinstance(part, BlockMasks):
        return False
    end = part.past + part.target
    past, future = row[: part.past], row[end:]
    if part.drop_past > 0 and past.lstrip("-") == past.count("K") * "K" != "":
        past = "K" * part.past
    if part.drops_future and future.rstrip("-") == future.count("K") * "K" != "":
        future = "K" * part.future
    return part.allows(past + row[part.past : end] + future)


def _keeping(
    window: Window, front: Front, advance: int | None, within: range | None = None
) -> Window:
    """Keep the `advance` targets of a window that are nearest to its front."""
    if advance is None:
        return window
    fills = [f for f in window.fills if within is None or f in within]
    kept = sorted(fills, key=lambda frame: abs(frame - front.frame))[:advance]
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
