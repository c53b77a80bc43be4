"""The windows that a scheme of training offers at a place of a video."""

from dataclasses import replace

from framefill.drafts import random_window
from framefill.masks import BlockMasks, ContextMasks, Masks, RandomMasks
from framefill.windows import Frames, Front, Window


def windows_at(part: Masks, frames: Frames, front: Front) -> list[Window]:
    """Return the windows that a scheme offers at a front, the best one first.

    Args:
        part: One of the schemes of a training.
        frames: What exists so far.
        front: Where to fill.
    """
    match part:
        case ContextMasks():
            return _context_windows(part, frames, front)
        case RandomMasks():
            window = random_window(part, frames, front)
            return [] if window is None else [window]
        case BlockMasks():
            return _block_windows(part, frames, front)
        case _:
            return []


def _context_windows(masks: ContextMasks, frames: Frames, front: Front) -> list[Window]:
    """A block of targets at the front, with all that exists around it.

    A shorter block, in the same window, leaves room for what comes after it: so if the longest
    one hides what is beside the front, one is taken that does not.
    """
    step, longest = -1 if front.backward else 1, 1
    while longest < masks.target and frames.waiting(front.frame + step * longest):
        longest += 1
    windows = [
        _context_window(masks, frames, front.frame - (length - 1 if front.backward else 0), length)
        for length in range(longest, 0, -1)
    ]
    beside = front.frame - step
    return sorted(windows, key=lambda window: frames.exists(beside) > window.knows(beside))[:1]


def _context_window(masks: ContextMasks, frames: Frames, first: int, length: int) -> Window:
    places = tuple(range(first - masks.past, first - masks.past + masks.frames))
    block = tuple(range(first, first + length))
    row = "".join("T" if f in block else "K" if frames.exists(f) else "-" for f in places)
    return Window(places, row, block)


def _block_windows(masks: BlockMasks, frames: Frames, front: Front) -> list[Window]:
    """The block of targets at the front, with what exists of its past and its future.

    The block has one length, so it may cover frames that were filled before, but none that were
    given: those would be replaced by the model's own for all that it sees. A future may be left
    out; and all, if the past is of filled frames alone, and those do not reach to the block.
    """
    first = front.frame - masks.target + 1 if front.backward else front.frame
    block = range(first, first + masks.target)
    if any(frames.given(f) for f in block):
        return []
    places = tuple(range(first - masks.past, first - masks.past + masks.frames))
    sides = "".join("K" if frames.exists(f) else "-" for f in places)
    past, future = sides[: masks.past], sides[masks.past + masks.target :]
    rows = [past + "T" * masks.target + side for side in (future, "-" * masks.future)]
    if past.endswith("-") and not any(map(frames.given, places[: masks.past])):
        rows.append("-" * masks.past + "T" * masks.target + "-" * masks.future)
    fills = tuple(f for f in block if frames.waiting(f))
    windows = [Window(places, row, fills) for row in dict.fromkeys(rows)]
    return [_without_other_ends(window, frames, front) for window in windows]


def _without_other_ends(window: Window, frames: Frames, front: Front) -> Window:
    """Leave other runs that end where a block does to a window that sees what is beside them."""
    fills = window.fills
    for edge in {fills[0], fills[-1]}:
        run = frames.run_around(edge, len(window.frames))
        beside = [f for f in (run.start - 1, run.stop) if frames.exists(f)]
        if front.frame not in run and not all(window.knows(f) for f in beside):
            fills = tuple(f for f in fills if f not in run)
    return window if fills == window.fills else replace(window, fills=fills)
