"""All facts about the user's videos."""

import time
import zipfile
from collections import Counter
from collections.abc import Callable

import numpy as np

from framefill.data.clips import class_name
from framefill.data.clock import TOLERANCE, seconds, step_of
from framefill.data.collection import PARTS
from framefill.data.examine.copies import copies_among, shared_frames, shared_times
from framefill.data.examine.facts import Facts, Refused, VideoFacts
from framefill.data.examine.frames import Seen, look_at
from framefill.data.examine.gathering import Gathered, at_rate
from framefill.data.examine.look import Look
from framefill.data.examine.values import ConditionValues, Values
from framefill.data.footage import Footage
from framefill.data.formats import suffix_of
from framefill.data.sample import Split
from framefill.data.sidecar import SIDECAR
from framefill.data.video import BROKEN, first_line
from framefill.data.videos import VideosConfig


def examine(
    gathered: Gathered,
    config: VideosConfig,
    look: Look,
    after: Callable[[str], None] = lambda name: None,
) -> Facts:
    """Look at videos.

    Args:
        gathered: The videos.
        config: Names their conditions and classes.
        look: How much of them.
        after: Called with the name of each video before it is looked at.
    """
    refused = list(gathered.refused)
    videos: list[VideoFacts] = []
    seen: list[Seen] = []
    values: dict[int, Values] = {}
    conditions = {name: ConditionValues() for name in config.conditions}
    for part, footage in gathered.found.items():
        rated = [at_rate(each, config.fps) for each in footage]
        found, until = [_header(each, part) for each in rated], look.until(part)
        sights: dict[int, Seen] = {}
        faulty = set()
        for number in look.of(footage, part):
            after(found[number].name)
            try:
                sights[number] = look_at(rated[number], found[number], look, values, conditions)
            except BROKEN as error:
                refused.append(Refused(found[number].name, first_line(error)))
                faulty.add(number)
                continue
            found[number] = sights[number].facts
            if time.monotonic() > until:
                break
        videos += [each for number, each in enumerate(found) if number not in faulty]
        seen += [sights[number] for number in sorted(sights)]
    common = max(values, key=lambda c: values[c].tally.total, default=0)
    first = next((each for part in PARTS for each in gathered.found[part]), None)
    names = first.channels if first is not None and len(first.channels) == common else ()
    measured = values.get(common)
    return Facts(
        path=str(config.path),
        benchmark=gathered.benchmark,
        note=gathered.note,
        remarks=gathered.remarks,
        refused=refused,
        passed_over={} if gathered.benchmark else gathered.passed_over,
        videos=videos,
        units=first.units if first is not None else "",
        channels=measured.facts(names) if measured else [],
        same_channels=measured.same() if measured else [],
        measured=sum(each.frames for each in values.values()),
        conditions=[fact for name, each in conditions.items() for fact in each.facts(name)],
        unused=_unused(gathered, config),
        classes=_classes(gathered, config),
        copies=copies_among(seen),
        shared=shared_frames(seen),
        shared_times=shared_times(gathered),
        look=look,
    )


def _header(footage: Footage, part: Split) -> VideoFacts:
    """Return what is known of a video, on its even grid, without its frames."""
    times, rate, irregular = footage.times, footage.fps, False
    if times is not None and len(times) > 1:
        step = step_of(times)
        rate = rate or (1 / step if step > 0 else None)
        irregular = bool((abs(np.diff(seconds(times)) - step) > TOLERANCE * step).any())
    holes = 0 if footage.present is None else int((~footage.present).sum())
    return VideoFacts(
        name=footage.name,
        part=part,
        suffix=suffix_of(footage.path) or "folder",
        length=footage.length,
        shape=footage.shape,
        dtype=footage.stored.dtype if footage.stored else footage.dtype.name,
        fps=rate,
        holes=holes,
        irregular=irregular,
    )


def _unused(gathered: Gathered, config: VideosConfig) -> list[str]:
    """Return the names in the conditions' file beside the first video, those asked for left out."""
    for footage in (each for part in PARTS for each in gathered.found[part][:1]):
        path = footage.path.with_name(f"{footage.path.name.split('.')[0]}{SIDECAR}")
        if path.is_file():
            try:
                with zipfile.ZipFile(path) as archive:
                    names = [each[:-4] for each in archive.namelist() if each.endswith(".npy")]
            except BROKEN:
                return []
            return [name for name in names if name not in config.conditions]
    return []


def _classes(gathered: Gathered, config: VideosConfig) -> dict[Split, dict[str, int]]:
    everything = [each for footage in gathered.found.values() for each in footage]
    if not config.classes and not any(each.label for each in everything):
        return {}
    return {
        part: dict(Counter(map(class_name, footage)).most_common())
        for part, footage in gathered.found.items()
    }
