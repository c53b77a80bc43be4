"""Videos of any length, window by window: first plan which frames are filled when, then fill them.

A plan is plain data. It is made without a model, from the roles of the video's frames and the
masks that the model was trained with, so it can be printed and tested on its own.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, Masks, MixedMasks, RandomMasks
from framefill.roles import check_row, roles_from
from framefill.types import Clip, Roles


@dataclass(frozen=True)
class Window:
    """The frames that the model sees in one call.

    Args:
        frames: Positions in the video. Those of ABSENT frames, and of surplus targets, which are
            filled and dropped, may lie outside it.
        row: One role letter for each position, as in `framefill.roles.roles_from`.
        fills: Those of its targets that are kept: each frame of a video is filled by one window.
    """

    frames: tuple[int, ...]
    row: str
    fills: tuple[int, ...] = ()

    def draw(self, total: int) -> str:
        """Return the window as one line under a video of `total` frames: K, T, - or blank."""
        roles = dict(zip(self.frames, self.row, strict=True))
        return "".join(roles.get(position, " ") for position in range(total))


class _Front(NamedTuple):
    """An end of a gap, where filling can go on; the least one is next."""

    distance: int  # to the nearest frame that was given
    backward: bool  # filling proceeds towards the start of the video
    frame: int  # the first frame to fill


def plan(row: str, masks: Masks) -> list[Window]:
    """Plan how a model fills the targets of a video.

    Targets nearest to given frames come first, so a gap is filled from both its ends and errors
    have the shortest way to grow. Each target is filled once, from frames that exist by then.

    Args:
        row: The roles of the video's frames: K given, T to be filled in, - neither.
        masks: The masks that the model was trained with.

    Raises:
        InputError: the row has no targets, or the model was not trained for such a task.

    >>> [(w.frames, w.row) for w in plan("KTTT", BlockMasks(past=1, target=2))]
    [((0, 1, 2), 'KTT'), ((2, 3, 4), 'KTT')]
    """
    check_row(row)
    windows = _plan(row, masks)
    if windows is None:
        raise InputError(_refusal(row, masks))
    return windows


def can_fill(row: str, masks: Masks) -> bool:
    """Say whether a model trained with these masks has a plan for a row."""
    return _plan(row, masks) is not None


def _plan(row: str, masks: Masks) -> list[Window] | None:
    exists = [letter == "K" for letter in row]
    waiting = [letter == "T" for letter in row]
    ahead, behind = _distances(row), _distances(row[::-1])[::-1]
    fronts: list[_Front] = []

    def open_gap(frame: int, *, backward: bool) -> None:
        if 0 <= frame < len(row) and waiting[frame]:
            distance = (behind if backward else ahead)[frame]
            heapq.heappush(fronts, _Front(distance, backward, frame))

    for frame in range(len(row)):
        if waiting[frame]:
            if frame == 0 or not waiting[frame - 1]:
                open_gap(frame, backward=False)
            if frame == len(row) - 1 or not waiting[frame + 1]:
                open_gap(frame, backward=True)
    windows = []
    while any(waiting):
        window = _next_window(masks, exists, waiting, fronts)
        if window is None:
            return None
        windows.append(window)
        for frame in window.fills:
            waiting[frame], exists[frame] = False, True
        for frame in window.fills:
            open_gap(frame + 1, backward=False)
            open_gap(frame - 1, backward=True)
    return windows


def _distances(row: str) -> list[int]:
    """Return how far back the nearest K is from each frame; the row's length if there is none."""
    distances, last = [], None
    for frame, letter in enumerate(row):
        last = frame if letter == "K" else last
        distances.append(len(row) if last is None else frame - last)
    return distances


def rollout(
    fill_window: Callable[[Clip, Roles], Clip], video: Clip, windows: Sequence[Window]
) -> Iterator[Clip]:
    """Fill a video window by window.

    Args:
        fill_window: Fills the TARGET frames of a clip [b f c h w], given roles [b f].
        video: Its frames that no window fills are read, and returned as they are.
        windows: From `plan`.

    Yields:
        The video after each window; frames not yet filled are zero.
    """
    total = video.shape[1]
    hidden = torch.zeros(total, dtype=torch.bool)
    hidden[[frame for window in windows for frame in window.fills]] = True
    video = video.masked_fill(hidden[:, None, None, None].to(video.device), 0.0)
    for window in windows:
        places = torch.tensor(window.frames).clamp(0, total - 1).to(video.device)
        roles = roles_from(window.row).expand(len(video), -1).to(video.device)
        filled = fill_window(video[:, places], roles)
        for frame in window.fills:
            video[:, frame] = filled[:, window.frames.index(frame)]
        yield video


def _next_window(
    masks: Masks, exists: list[bool], waiting: list[bool], fronts: list[_Front]
) -> Window | None:
    """Take the front nearest to given frames at which the model was trained to fill."""
    parts = [masks]
    if isinstance(masks, MixedMasks):
        parts = [
            part for part, weight in zip(masks.parts, masks.weights, strict=True) if weight > 0
        ]
    passed = []
    while fronts:
        front = heapq.heappop(fronts)
        if not waiting[front.frame]:
            continue
        passed.append(front)
        for part in parts:
            for window in _windows_at(part, exists, waiting, front):
                if masks.allows(window.row) or _nearly_allowed(part, window.row):
                    for other in passed:
                        heapq.heappush(fronts, other)
                    pairs = zip(window.frames, window.row, strict=True)
                    fills = [f for f, letter in pairs if letter == "T" and _at(waiting, f)]
                    return replace(window, fills=tuple(fills))
    return None


def _windows_at(
    part: Masks, exists: list[bool], waiting: list[bool], front: _Front
) -> list[Window]:
    match part:
        case ContextMasks():
            return _context_window(part, exists, waiting, front)
        case RandomMasks():
            return _random_window(part, exists, front)
        case BlockMasks():
            return _block_windows(part, exists, front)
        case _:
            return []


def _context_window(
    masks: ContextMasks, exists: list[bool], waiting: list[bool], front: _Front
) -> list[Window]:
    """A block of targets at the front, with all that exists around it."""
    step, length = -1 if front.backward else 1, 1
    while length < masks.target and _at(waiting, front.frame + step * length):
        length += 1
    first = front.frame - length + 1 if front.backward else front.frame
    frames = tuple(range(first - masks.past, first - masks.past + masks.frames))
    block = range(first, first + length)
    row = "".join("T" if f in block else "K" if _at(exists, f) else "-" for f in frames)
    return [Window(frames, row)]


def _random_window(masks: RandomMasks, exists: list[bool], front: _Front) -> list[Window]:
    """At most `max_known` existing frames beside the front; all other frames are targets."""
    step = -1 if front.backward else 1
    context = 0
    while context < masks.max_known and _at(exists, front.frame - step * (context + 1)):
        context += 1
    edge = front.frame - step * context
    start = edge - masks.frames + 1 if front.backward else edge
    frames = tuple(range(start, start + masks.frames))
    return [Window(frames, "".join("K" if _at(exists, f) else "T" for f in frames))]


def _block_windows(masks: BlockMasks, exists: list[bool], front: _Front) -> list[Window]:
    """The block of targets at the front, with what exists of its past and its future."""
    first = front.frame - masks.target + 1 if front.backward else front.frame
    start = first - masks.past
    frames = tuple(range(start, start + masks.frames))
    past = "".join("K" if _at(exists, f) else "-" for f in frames[: masks.past])
    after = frames[masks.past + masks.target :]
    future = ("K" if all(_at(exists, f) for f in after) else "-") * masks.future
    targets = "T" * masks.target
    rows = [past + targets + future, past + targets + "-" * masks.future]
    return [Window(frames, row) for row in dict.fromkeys(rows)]


def _nearly_allowed(part: Masks, row: str) -> bool:
    """Accept what training comes nearest to, where it never shows what a user has.

    A past that is shorter than the block, its rest ABSENT, though training shows it whole or not
    at all; and more known frames than random masks draw.
    """
    if isinstance(part, RandomMasks):
        return "K" in row
    if not isinstance(part, BlockMasks):
        return False
    whole = "K" * part.past + row[part.past :]
    return part.drop_past > 0 and row[: part.past].endswith("K") and part.allows(whole)


def _at(flags: list[bool], frame: int) -> bool:
    return 0 <= frame < len(flags) and flags[frame]


def _refusal(row: str, masks: Masks) -> str:
    tasks = {
        "predict": "K" * masks.frames + "T" * masks.frames,
        "rewind": "T" * masks.frames + "K" * masks.frames,
        "interpolate": "K" * masks.frames + "T" * masks.frames + "K" * masks.frames,
        "generate": "T" * masks.frames,
    }
    able = [name for name, example in tasks.items() if example != row and can_fill(example, masks)]
    shown = row if len(row) <= 60 else f"{row[:60]}..."
    return f"this model was not trained to fill {shown}: it can {', '.join(able) or 'do nothing'}"
