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

    def sees_around(
        self, frames: Sequence[int], *, before: bool = True, after: bool = True
    ) -> bool:
        """Say whether there are KNOWN frames before, and after, some of its frames."""
        known = [f for f, letter in zip(self.frames, self.row, strict=True) if letter == "K"]
        return (
            len(frames) > 0
            and (not before or any(f < frames[0] for f in known))
            and (not after or any(f > frames[-1] for f in known))
        )

    def draw(self, total: int) -> str:
        """Return the window as one line under a video of `total` frames: K, T, - or blank."""
        roles = dict(zip(self.frames, self.row, strict=True))
        return "".join(roles.get(position, " ") for position in range(total))


class Front(NamedTuple):
    """An end of a gap, where filling can go on; the least one is next."""

    distance: int  # to the nearest frame that was given
    backward: bool  # filling proceeds towards the start of the video
    frame: int  # the first frame to fill


def windows_at(part: Masks, exists: list[bool], waiting: list[bool], front: Front) -> list[Window]:
    """Return the windows that a scheme offers at a front, the best one first.

    Args:
        part: One of the schemes of a training.
        exists: For each frame of the video, whether it is given or filled.
        waiting: For each frame, whether it is still to be filled.
        front: Where to fill.
    """
    match part:
        case ContextMasks():
            return _context_window(part, exists, waiting, front)
        case RandomMasks():
            return _random_windows(part, exists, front)
        case BlockMasks():
            return _block_windows(part, exists, front)
        case _:
            return []


def _context_window(
    masks: ContextMasks, exists: list[bool], waiting: list[bool], front: Front
) -> list[Window]:
    """A block of targets at the front, with all that exists around it."""
    step, length = -1 if front.backward else 1, 1
    while length < masks.target and at(waiting, front.frame + step * length):
        length += 1
    first = front.frame - length + 1 if front.backward else front.frame
    frames = tuple(range(first - masks.past, first - masks.past + masks.frames))
    block = range(first, first + length)
    row = "".join("T" if f in block else "K" if at(exists, f) else "-" for f in frames)
    return [Window(frames, row)]


def _random_windows(masks: RandomMasks, exists: list[bool], front: Front) -> list[Window]:
    """At most `max_known` existing frames beside the front; all other frames are targets.

    Those with the longest context come first.
    """
    step = -1 if front.backward else 1
    longest = 0
    while longest < masks.max_known and at(exists, front.frame - step * (longest + 1)):
        longest += 1
    windows = []
    for context in range(longest, min(longest, 1) - 1, -1):
        edge = front.frame - step * context
        start = edge - masks.frames + 1 if front.backward else edge
        frames = tuple(range(start, start + masks.frames))
        windows.append(Window(frames, "".join("K" if at(exists, f) else "T" for f in frames)))
    return windows


def _block_windows(masks: BlockMasks, exists: list[bool], front: Front) -> list[Window]:
    """The block of targets at the front, with what exists of its past and its future."""
    first = front.frame - masks.target + 1 if front.backward else front.frame
    start = first - masks.past
    frames = tuple(range(start, start + masks.frames))
    past = "".join("K" if at(exists, f) else "-" for f in frames[: masks.past])
    after = frames[masks.past + masks.target :]
    future = "".join("K" if at(exists, f) else "-" for f in after)
    rows = [past + "T" * masks.target + side for side in (future, "-" * masks.future)]
    return [Window(frames, row) for row in dict.fromkeys(rows)]


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
