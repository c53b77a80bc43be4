"""Windows: what a model sees in one call, and which of them its training allows at a place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from framefill.masks import BlockMasks, ContextMasks, Masks, RandomMasks


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

    def knows(self, frame: int) -> bool:
        """Say whether the model sees a frame as KNOWN."""
        return frame in self.frames and self.row[self.frames.index(frame)] == "K"

    def sees_around(self, frames: Sequence[int]) -> bool:
        """Say whether there are KNOWN frames both before and after some of its frames."""
        known = [f for f, letter in zip(self.frames, self.row, strict=True) if letter == "K"]
        return bool(known) and len(frames) > 0 and min(known) < frames[0] <= frames[-1] < max(known)

    def draw(self, total: int) -> str:
        """Return the window as one line under a video of `total` frames: K, T, - or blank."""
        roles = dict(zip(self.frames, self.row, strict=True))
        return "".join(roles.get(position, " ") for position in range(total))


class Frames:
    """How far the filling of a video has come.

    Attributes:
        given: For each frame, whether the user gave it.
        exists: Whether it is given or filled.
        waiting: Whether it is still to be filled.
        left: Number of frames that are still to be filled.
    """

    def __init__(self, row: str) -> None:
        self.given = [letter == "K" for letter in row]
        self.exists = list(self.given)
        self.waiting = [letter == "T" for letter in row]
        self.left = sum(self.waiting)

    def fill(self, frame: int) -> None:
        """Note that a frame is filled."""
        self.waiting[frame], self.exists[frame] = False, True
        self.left -= 1

    def gap_around(self, frame: int, most: int) -> range:
        """Return the waiting frames around one, if frames that exist are on both their sides.

        Nothing if there are more than `most`.
        """
        run = self.run_around(frame, most)
        bounded = at(self.exists, run.start - 1) and at(self.exists, run.stop)
        return run if bounded and len(run) <= most else range(0)

    def run_around(self, frame: int, most: int) -> range:
        """Return the waiting frames around one, or little more than `most` of them."""
        start, end = frame, frame + 1
        while at(self.waiting, start - 1) and end - start <= most:
            start -= 1
        while at(self.waiting, end) and end - start <= most:
            end += 1
        return range(start, end)


class Front(NamedTuple):
    """An end of a gap, where filling can go on; the least one is next."""

    distance: int  # to the nearest frame that was given
    backward: bool  # filling proceeds towards the start of the video
    frame: int  # the first frame to fill


def windows_at(part: Masks, frames: Frames, front: Front) -> list[Window]:
    """Return the windows that a scheme offers at a front, the best one first.

    Args:
        part: One of the schemes of a training.
        frames: What exists so far.
        front: Where to fill.
    """
    match part:
        case ContextMasks():
            return [_context_window(part, frames, front)]
        case RandomMasks():
            return _random_windows(part, frames, front)
        case BlockMasks():
            return _block_windows(part, frames, front)
        case _:
            return []


def _context_window(masks: ContextMasks, frames: Frames, front: Front) -> Window:
    """A block of targets at the front, with all that exists around it."""
    step, length = -1 if front.backward else 1, 1
    while length < masks.target and at(frames.waiting, front.frame + step * length):
        length += 1
    first = front.frame - length + 1 if front.backward else front.frame
    places = tuple(range(first - masks.past, first - masks.past + masks.frames))
    block = range(first, first + length)
    row = "".join("T" if f in block else "K" if at(frames.exists, f) else "-" for f in places)
    return Window(places, row)


def _random_windows(masks: RandomMasks, frames: Frames, front: Front) -> list[Window]:
    """At most `max_known` existing frames beside the front; all other frames are targets.

    Those with the longest context come first.
    """
    step = -1 if front.backward else 1
    longest = 0
    while longest < masks.max_known and at(frames.exists, front.frame - step * (longest + 1)):
        longest += 1
    windows = []
    for context in range(longest, min(longest, 1) - 1, -1):
        edge = front.frame - step * context
        start = edge - masks.frames + 1 if front.backward else edge
        places = tuple(range(start, start + masks.frames))
        row = "".join("K" if at(frames.exists, f) else "T" for f in places)
        windows.append(Window(places, row))
    return windows


def _block_windows(masks: BlockMasks, frames: Frames, front: Front) -> list[Window]:
    """The block of targets at the front, with what exists of its past and its future.

    The block has one length, so it may cover frames that were filled before, but none that were
    given: those would be replaced by the model's own for all that it sees.
    """
    first = front.frame - masks.target + 1 if front.backward else front.frame
    if any(at(frames.given, f) for f in range(first, first + masks.target)):
        return []
    places = tuple(range(first - masks.past, first - masks.past + masks.frames))
    sides = "".join("K" if at(frames.exists, f) else "-" for f in places)
    past, future = sides[: masks.past], sides[masks.past + masks.target :]
    rows = [past + "T" * masks.target + side for side in (future, "-" * masks.future)]
    return [Window(places, row) for row in dict.fromkeys(rows)]


def nearly_allowed(part: Masks, row: str) -> bool:
    """Accept what training comes nearest to, where it never shows what a user has.

    A past or a future that is shorter than the block, its rest ABSENT, though training shows it
    whole or not at all; and more known frames than random masks draw.
    """
    if isinstance(part, RandomMasks):
        return "K" in row
    if not isinstance(part, BlockMasks):
        return False
    end = part.past + part.target
    past, future = row[: part.past], row[end:]
    if part.drop_past > 0 and past.lstrip("-") == past.count("K") * "K" != "":
        past = "K" * part.past
    if part.drops_future and future.rstrip("-") == future.count("K") * "K" != "":
        future = "K" * part.future
    return part.allows(past + row[part.past : end] + future)


def at(flags: list[bool], frame: int) -> bool:
    """Return a frame's flag; False outside the video."""
    return 0 <= frame < len(flags) and flags[frame]
