"""What is there twice: equal videos, and test videos with frames of training videos."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from framefill.data.collection import PARTS
from framefill.data.examine.facts import Shared
from framefill.data.examine.frames import Seen
from framefill.data.examine.gathering import Gathered

NEAR = 0.5  # of the usual change from frame to frame: nearer frames have the same content
MOST_THUMBS = 100_000  # of all training videos
AT_ONCE = 256  # frames that are compared with all others at once


def copies_among(seen: Sequence[Seen]) -> list[list[str]]:
    """Return groups of videos with the same frames; those without content are no copies."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for each in seen:
        if each.told.any():
            key = (each.facts.length, each.facts.shape, each.facts.dtype, *each.prints)
            groups.setdefault(key, []).append(f"{each.facts.part}: {each.facts.name}")
    return [names for names in groups.values() if len(names) > 1]


def shared_frames(seen: Sequence[Seen]) -> list[Shared]:
    """Return the test videos with frames that are in a training video, or close to one of its."""
    train = [each for each in seen if each.facts.part == "train"]
    owner = {mark: each.facts.name for each in train for mark in _with_content(each)}
    found = []
    for each in seen:
        if each.facts.part != "test" or not each.told.any():
            continue
        equal = [owner[mark] for mark in _with_content(each) if mark in owner]
        near = _nearest(each, [other for other in train if other.kind == each.kind])
        if equal or len(near) > 1:
            name = Counter(equal or near).most_common(1)[0][0]
            many = max(len(equal), len(near))
            found.append(Shared(each.facts.name, name, len(equal), many, int(each.told.sum())))
    return found


def _with_content(seen: Seen) -> list[bytes]:
    return [mark for mark, told in zip(seen.prints, seen.told, strict=True) if told]


def _nearest(seen: Seen, train: Sequence[Seen]) -> list[str]:
    """Return the training videos that frames are nearer to than half a usual change."""
    names = [each.facts.name for each in train for _ in each.thumbs][:MOST_THUMBS]
    if not names or not seen.moves:
        return []
    pool = np.concatenate([each.thumbs for each in train])[:MOST_THUMBS].astype(np.float64)
    # On a scale on which a few large values don't decide, which is nearly logarithmic.
    unit = abs(pool).mean() or 1.0
    pool, own = np.arcsinh(pool / unit), np.arcsinh(seen.thumbs / unit)
    changes = np.linalg.norm(own[seen.moves] - own[[i + 1 for i in seen.moves]], axis=1)
    if not changes.any():
        return []
    limit = NEAR * np.median(changes[changes > 0])
    squares, found = (pool**2).sum(axis=1), []
    for start in range(0, len(own), AT_ONCE):
        some = own[start : start + AT_ONCE]
        best = (squares - 2 * some @ pool.T).argmin(axis=1)
        distance = np.linalg.norm(some - pool[best], axis=1)
        found += [names[best[i]] for i in np.flatnonzero(distance < limit)]
    return found


def shared_times(gathered: Gathered) -> int:
    """Return the number of time stamps that training and test have in common; they need dates."""
    stamps = []
    for part in PARTS:
        dated = [e.times for e in gathered.found[part] if e.times is not None]
        dated = [times for times in dated if times.dtype.kind == "M"]
        stamps.append(np.concatenate(dated) if dated else np.empty(0, "datetime64[ns]"))
    return len(np.intersect1d(stamps[0], stamps[1]))
