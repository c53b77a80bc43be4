"""Windows of RaMViD's random masks: the given frames are shared out among them."""

import re

from framefill.masks import RandomMasks
from framefill.windows import Frames, Front, Window


def random_window(masks: RandomMasks, frames: Frames, front: Front) -> Window | None:
    """Return the window that closes most gaps, or goes farthest into one that is open."""
    draft = _Draft(masks, frames, front)
    draft.close_gaps()
    draft.look_around(draft.reach // 2)  # the other half is for targets, so far as there are some
    draft.go_on()
    if draft.stop == draft.front:
        return None
    draft.look_around(masks.frames)
    draft.go_back()
    return draft.window(front)


class _Draft:
    """A window of random masks in the making, as seen from its front.

    At most `max_known` of the frames that exist are KNOWN, those nearest to what is filled; all
    others are targets, so that training shows such windows. Targets are kept only where nothing
    that exists lies between them and the KNOWN frames.

    Attributes:
        scene: The frames around the front, in its direction (`Frames.scene`).
        front: The place of the front in the scene.
        known: Places of KNOWN frames.
        first: The first place of which the window makes use.
        stop: The place after the last one.
        early: Where in a window KNOWN frames may begin.
        late: And where they end.
        reach: Most frames from the first KNOWN one to the end of the window.
    """

    def __init__(self, masks: RandomMasks, frames: Frames, front: Front) -> None:
        self.size, self.max_known = masks.frames, masks.max_known
        self.front = 3 * self.size  # two windows beyond one: enough to see how a gap is best shared
        self.scene = frames.scene(front, self.front)
        early, end = masks.within or (0, self.size)
        mirrored = (self.size - end, self.size - early)
        self.early, self.late = mirrored if front.backward else (early, end)
        self.reach = self.size - self.early
        nearest = _last(self.scene, self.front - self.reach + 1, self.front)
        self.known = set() if nearest is None else {nearest}
        self.first, self.stop = self.front if nearest is None else nearest, self.front

    def close_gaps(self) -> None:
        """Take in the gaps ahead that fit as a whole, each with the frames on both its sides.

        Gaps have two sides: a model of one KNOWN frame has to do with two for them.
        """
        most = max(self.max_known, len(self.known) + 1)
        end = self.first + self.size
        while (target := self.scene.find("T", self.stop, end)) >= 0:
            left, right = _last(self.scene, self.first, target), _next(self.scene, target, end)
            known = self.known | {side for side in (left, right) if side is not None}
            if right is None or len(known) > most or not self._fits(known, self.first, right + 1):
                return
            self.known, self.stop = known, right + 1

    def look_around(self, size: int) -> None:
        """Let the model know more of the frames nearest to targets, in a window of this size."""
        first = self.scene.find("T", self.first)
        last = max(first, self.scene.rfind("T", first, self.stop))
        within = (p for p in range(self.first, self.stop) if self.scene[p] == "K")
        inner = [place for place in within if place not in self.known]
        self.known.update(inner[: max(0, self.max_known - len(self.known))])
        while len(self.known) < self.max_known:
            spare = size - (self.stop - self.first)
            before = _last(self.scene, self.first - spare, self.first)
            after = _next(self.scene, self.stop, self.stop + spare)
            pairs = (before, self.first), (after, self.stop - 1)
            near = [p for p, edge in pairs if p is not None and self._can_add(p, edge)]
            if not near:
                return
            place = min(near, key=lambda place: max(first - place, place - last))
            self.known.add(place)
            self.first, self.stop = min(self.first, place), max(self.stop, place + 1)

    def _can_add(self, place: int, edge: int) -> bool:
        """Say whether a frame adds to what the KNOWN one at the window's edge tells.

        Frames that were filled from a given one tell little beside it, unless it is the only one:
        then they show how things move.
        """
        if edge not in self.known or "T" in self.scene[min(place, edge) : max(place, edge)]:
            return False
        echo = len(self.known) > 1 and self.scene[edge] + self.scene[place] == "KF"
        first, stop = min(self.first, place), max(self.stop, place + 1)
        return not echo and self._fits({*self.known, place}, first, stop)

    def _fits(self, known: set[int], first: int, stop: int) -> bool:
        """Say whether a window has these places, its KNOWN frames where training has them."""
        least, most = min(known), max(known)
        return (
            stop - first <= self.size
            and most - least < self.late - self.early
            and stop - least <= self.reach
            and most - first < self.late
        )

    def go_on(self) -> None:
        """Fill on ahead: up to what exists next, beyond closed gaps only if nothing does."""
        end = self._start + self.size
        target = self.scene.find("T", self.stop, end)
        if target < 0:
            return
        left, right = _last(self.scene, self.stop, target), _next(self.scene, target, end)
        if self.stop > self.front and right is not None:
            return
        if left is not None:
            known = {*self.known, left}
            if len(known) > self.max_known or not self._fits(known, self.first, target):
                return
            self.known = known
        self.stop = self._end_of_targets(self.scene, target, end if right is None else right)

    def go_back(self) -> None:
        """Fill what is left of the window behind its first KNOWN frame, up to one that exists."""
        if self.first not in self.known:
            return
        start = max(self.stop - self.size, max(self.known) - self.late + 1)
        behind = _last(self.scene, start, self.first)
        start = start if behind is None else behind + 1
        total = len(self.scene)
        end = self._end_of_targets(self.scene[::-1], total - self.first, total - start)
        self.first = total - end

    def _end_of_targets(self, scene: str, start: int, end: int) -> int:
        """Return where to stop filling a stretch that holds nothing that exists.

        If something ends its last run outside it, then of that run is left to a window that sees
        what ends it as much as one can fill that knows all it may; all, if none sees both sides.
        """
        last = scene.rfind("T", start, end)
        if last < 0:
            return start
        run = start + len(scene[start:last].rstrip("T"))
        after = len(scene) - len(scene[run:].lstrip("T"))
        if scene[after : after + 1] not in ("K", "F"):
            return last + 1
        span = self.late - self.early
        left = max(span - max(self.max_known, 2), span // 2) if span > 2 else len(scene)
        kept = after - run - left
        return min(last + 1, run + kept) if kept > 0 else self._end_of_targets(scene, start, run)

    def window(self, front: Front) -> Window:
        """Return the window, in the direction of the video."""
        step = -1 if front.backward else 1
        places = range(self._start, self._start + self.size)[::step]
        frames = {place: front.frame + step * (place - self.front) for place in places}
        row = "".join("K" if place in self.known else "T" for place in places)
        useful = (place for place in places if self.first <= place < self.stop)
        fills = tuple(frames[place] for place in useful if self.scene[place] == "T")
        return Window(tuple(frames.values()), row, fills)

    @property
    def _start(self) -> int:
        return min(self.first, min(self.known) - self.early) if self.known else self.first


EXISTING = re.compile("[KF]")


def _last(scene: str, start: int, end: int) -> int | None:
    """Return the last place from `start` up to `end` at which a frame exists."""
    place = max(scene.rfind("K", start, end), scene.rfind("F", start, end))
    return place if place >= 0 else None


def _next(scene: str, start: int, end: int) -> int | None:
    """Return the first place from `start` up to `end` at which a frame exists."""
    match = EXISTING.search(scene, start, end)
    return match.start() if match else None
