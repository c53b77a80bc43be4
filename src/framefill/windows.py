"""Windows: what a model sees in one call, and how far the filling of a video has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


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
        letters: For each frame, K given, F filled, T still to be filled, - none of these.
        left: Number of frames that are still to be filled.
    """

    def __init__(self, row: str) -> None:
        self.letters = list(row)
        self.left = row.count("T")

    def fill(self, frame: int) -> None:
        """Note that a frame is filled."""
        self.letters[frame] = "F"
        self.left -= 1

    def given(self, frame: int) -> bool:
        """Say whether the user gave a frame."""
        return self._letter(frame) == "K"

    def exists(self, frame: int) -> bool:
        """Say whether a frame is given or filled."""
        return self._letter(frame) in "KF"

    def waiting(self, frame: int) -> bool:
        """Say whether a frame is still to be filled."""
        return self._letter(frame) == "T"

    def _letter(self, frame: int) -> str:
        return self.letters[frame] if 0 <= frame < len(self.letters) else "-"

    def gap_around(self, frame: int, most: int) -> range:
        """Return the waiting frames around one, if frames that exist are on both their sides.

        Nothing if there are more than `most`.
        """
        run = self.run_around(frame, most)
        bounded = self.exists(run.start - 1) and self.exists(run.stop)
        return run if bounded and len(run) <= most else range(0)

    def run_around(self, frame: int, most: int) -> range:
        """Return the waiting frames around one, or little more than `most` of them."""
        start, end = frame, frame + 1
        while self.waiting(start - 1) and end - start <= most:
            start -= 1
        while self.waiting(end) and end - start <= most:
            end += 1
        return range(start, end)

    def scene(self, front: "Front", reach: int) -> str:
        """Return the letters of the `reach` frames before and after a front, in its direction.

        Index `reach` is the front's own frame.
        """
        start, stop = front.frame - reach, front.frame + reach + 1
        inside = "".join(self.letters[max(start, 0) : max(stop, 0)])
        letters = ("-" * max(-start, 0) + inside).ljust(stop - start, "-")
        return letters[::-1] if front.backward else letters


class Front(NamedTuple):
    """An end of a gap, where filling can go on; the least one is next."""

    late: bool  # nothing good to go on was found there when last looked at
    distance: int  # to the nearest frame that was given
    backward: bool  # filling proceeds towards the start of the video
    frame: int  # the first frame to fill
