"""The order of DICOM slices in space and time."""

import numpy as np
from jaxtyping import Shaped

from framefill.data.dicom_facts import Slice
from framefill.data.natural import natural

CLOSE = 1e-3  # mm, by which slices at one place may differ


def parted(slices: list[Slice]) -> tuple[list[list[Slice]], bool]:
    """Return the slices at each place in space, or all if they are a stack, which is said."""
    if not all(each.position and each.orientation for each in slices):
        return [slices], False
    directions = np.array([each.orientation for each in slices])
    if np.ptp(directions, axis=0).max() > CLOSE:
        return [slices], False
    normal = np.cross(directions[0, :3], directions[0, 3:])
    along = np.array([each.position for each in slices]) @ normal
    order = np.argsort(along, kind="stable")
    borders = np.flatnonzero(np.diff(along[order]) > CLOSE) + 1
    parts = [[slices[place] for place in part] for part in np.split(order, borders)]
    if len(parts) > 1 and len(parts) == len(slices):
        return [[part[0] for part in parts]], True
    return parts, False


def in_time(
    slices: list[Slice],
) -> tuple[list[Slice], Shaped[np.ndarray, " f"] | None, str]:
    """Put slices in the order of time; return them, their times, and which clock these are of."""
    ordered = sorted(slices, key=lambda each: (each.number, natural(each.path), each.frame))
    for key in ("acquired", "reference", "trigger", "turn"):  # the last one decides
        values = [getattr(each, key) for each in ordered]
        if None not in values and len(set(values)) == len(values):
            ordered = sorted(ordered, key=lambda each: getattr(each, key))
    for key in ("trigger", "reference", "acquired"):
        values = [getattr(each, key) for each in ordered]
        if len(values) > 1 and None not in values and (np.diff(values) > np.diff(values) * 0).all():
            times = np.array(values)
            if key == "acquired" and times[0] < np.datetime64("1970-01-02"):
                times = (times - np.datetime64("1970-01-01T00:00", "ns")) / np.timedelta64(1, "s")
            return ordered, times, key
    return ordered, None, ""
