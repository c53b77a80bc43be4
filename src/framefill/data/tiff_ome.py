"""OME-XML: how the pages of a TIFF file make up its images."""

import math
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Int64, Shaped

from framefill.data.tiff_stack import SECONDS, Stack
from framefill.errors import InputError


def ome_stacks(text: str, count: int, name: str) -> list[Stack]:
    """Return the stacks that OME-XML tells of, one for each image."""
    if "<!" in text.replace("<!--", ""):
        raise InputError(f"{name} has definitions in its OME-XML, which none needs: save it anew")
    root = ElementTree.fromstring(text)
    images = [each for each in root if _tag(each) == "Image"]
    if not images:
        raise InputError(f"{name} has its OME-XML in another file: convert it to one file")
    units = next((each.text for each in root.iter() if each.get("K") == "units"), None) or ""
    stacks = []
    for number, image in enumerate(images):
        pixels = next(each for each in image if _tag(each) == "Pixels")
        title = f" image {number} ({image.get('Name', '')})" if len(images) > 1 else ""
        day = next((each.text or "" for each in image if _tag(each) == "AcquisitionDate"), "")
        channels = [each for each in pixels if _tag(each) == "Channel"]
        samples = int(channels[0].get("SamplesPerPixel", 1)) if channels else 1
        axes = pixels.attrib["DimensionOrder"][:1:-1]
        lengths = {letter: int(pixels.attrib[f"Size{letter}"]) for letter in "TZC"}
        lengths["C"] //= samples
        step = _seconds(pixels, "TimeIncrement")
        names = tuple(each.get("Name", "") for each in channels)
        found = Stack(
            axes,
            _planes(root, pixels, tuple(lengths[letter] for letter in axes), count, name),
            name=title,
            fps=1 / step if step and step > 0 else None,
            times=_times(pixels, lengths["T"], day),
            channels=names if all(names) and len(names) > 1 else (),
            units=units,
            sizes=tuple(item for item in pixels.items() if item[0].startswith("PhysicalSize")),
        )
        stacks.append(found)
    return stacks


def _planes(
    root: ElementTree.Element,
    pixels: ElementTree.Element,
    lead: tuple[int, ...],
    count: int,
    name: str,
) -> Int64[np.ndarray, "..."]:
    """Return the number of the page of each plane of an OME image."""
    if not 0 < math.prod(lead) <= count or min(lead) < 1:
        raise InputError(
            f"{name} has {count} pages, too few for {lead} of its OME-XML: it is cut off, or the "
            "rest is in other files"
        )
    axes = pixels.attrib["DimensionOrder"][:1:-1]
    numbers = np.full(lead, -1)
    for data in pixels:
        if _tag(data) != "TiffData":
            continue
        if any(each.text != root.get("UUID", each.text) for each in data if _tag(each) == "UUID"):
            raise InputError(f"{name} has planes in other files: convert it to one file")
        place = np.ravel_multi_index(
            tuple(int(data.get(f"First{letter}", 0)) for letter in axes), lead
        )
        page = int(data.get("IFD", 0))
        most = min(numbers.size - int(place), count - page)
        planes = int(data.get("PlaneCount", 1 if "IFD" in data.attrib else most))
        if not 0 <= page < count or not 0 < planes <= most:
            raise InputError(f"{name} has OME-XML that doesn't fit its {count} pages: save it anew")
        numbers.flat[place : place + planes] = np.arange(page, page + planes)
    if (numbers < 0).any():
        raise InputError(f"{name} lacks {(numbers < 0).sum()} planes of its OME-XML: save it anew")
    return numbers


def _times(pixels: ElementTree.Element, frames: int, day: str) -> Shaped[np.ndarray, " f"] | None:
    """Return the time of each frame, that of its first plane; None if they aren't all told."""
    times = np.full(frames, np.nan)
    for plane in pixels:
        if _tag(plane) == "Plane" and plane.get("TheZ") == plane.get("TheC") == "0":
            time = _seconds(plane, "DeltaT")
            times[int(plane.get("TheT", 0))] = np.nan if time is None else time
    if frames < 2 or not np.isfinite(times).all():
        return None
    try:
        start = np.datetime64(day.removesuffix("Z"), "ns")
    except ValueError:  # none, or with a time zone
        return times
    if np.isnat(start):
        return times
    return start + np.rint(times * 1e9).astype("timedelta64[ns]")


def _seconds(element: ElementTree.Element, key: str) -> float | None:
    """Return a time that an element tells, in seconds; None if it doesn't."""
    unit = SECONDS.get(element.get(f"{key}Unit", "s"))
    return None if unit is None or key not in element.attrib else float(element.attrib[key]) * unit


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]
