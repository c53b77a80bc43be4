"""Videos of any length, window by window: first plan which frames are filled when, then fill them.

A plan is plain data. It is made without a model, from the roles of the video's frames and the
masks that the model was trained with, so it can be printed and tested on its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class _Front:
    """An end of a gap, where filling can go on."""

    distance: int  # to the nearest frame that was given
    backward: bool  # filling proceeds towards the start of the video
    frame: int  # the first frame to fill
    room: int  # length of the gap


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
    given = [letter == "K" for letter in row]
    exists = list(given)
    waiting = {i for i, letter in enumerate(row) if letter == "T"}
    windows = []
    while waiting:
        window = _next_window(masks, given, exists, sorted(waiting))
        if window is None:
            return None
        pairs = zip(window.frames, window.row, strict=True)
        fills = tuple(frame for frame, letter in pairs if letter == "T" and frame in waiting)
        windows.append(replace(window, fills=fills))
        waiting -= set(fills)
        for frame in fills:
            exists[frame] = True
    return windows


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
    masks: Masks, given: list[bool], exists: list[bool], waiting: list[int]
) -> Window | None:
    """Return a window that the model was trained for, at the front nearest to given frames."""
    parts = masks.parts if isinstance(masks, MixedMasks) else (masks,)
    for front in sorted(_fronts(given, waiting), key=lambda f: (f.distance, f.backward, f.frame)):
        for part in parts:
            match part:
                case ContextMasks():
                    candidates = _context_window(part, exists, front)
                case RandomMasks():
                    candidates = _random_window(part, exists, front)
                case BlockMasks():
                    candidates = _block_windows(part, exists, front)
            for window in candidates:
                if masks.allows(window.row) or _starts(part, window):
                    return window
    return None


def _fronts(given: list[bool], waiting: list[int]) -> Iterator[_Front]:
    """Return both ends of every gap."""
    known = [i for i, is_given in enumerate(given) if is_given]
    gaps: list[list[int]] = []
    for frame in waiting:
        if gaps and frame == gaps[-1][-1] + 1:
            gaps[-1].append(frame)
        else:
            gaps.append([frame])
    for gap in gaps:
        first, last = gap[0], gap[-1]
        before = [first - i for i in known if i < first]
        after = [i - last for i in known if i > last]
        yield _Front(min(before, default=len(given)), False, first, len(gap))
        yield _Front(min(after, default=len(given)), True, last, len(gap))


def _context_window(masks: ContextMasks, exists: list[bool], front: _Front) -> list[Window]:
    """A block of targets at the front, with all that exists around it."""
    length = min(masks.target, front.room)
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


def _starts(part: BlockMasks | RandomMasks | ContextMasks, window: Window) -> bool:
    """Accept a past that is shorter than the block at the start of a video, its rest ABSENT.

    Training shows the past whole or not at all; half of it is the nearest there is.
    """
    if not isinstance(part, BlockMasks):
        # More known frames than in training are the nearest there is to what the user asks.
        return isinstance(part, RandomMasks) and "K" in window.row
    past = window.row[: part.past]
    whole = "K" * part.past + window.row[part.past :]
    return part.drop_past > 0 and past.endswith("K") and part.allows(whole)


def _at(exists: list[bool], frame: int) -> bool:
    return 0 <= frame < len(exists) and exists[frame]


def _refusal(row: str, masks: Masks) -> str:
    tasks = {
        "predict": "K" * masks.frames + "T" * masks.frames,
        "rewind": "T" * masks.frames + "K" * masks.frames,
        "interpolate": "K" * masks.frames + "T" * masks.frames + "K" * masks.frames,
        "generate": "T" * masks.frames,
    }
    able = [name for name, example in tasks.items() if example != row and can_fill(example, masks)]
    return f"this model was not trained to fill {row}: it can {', '.join(able) or 'do nothing'}"
