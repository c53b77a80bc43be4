"""What the headers of DICOM files tell of their frames."""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from framefill.data.dicom_image import Image
from framefill.data.dicom_library import guarded
from framefill.data.scale import Scale
from framefill.errors import InputError


class Slice(NamedTuple):
    """One frame, and what tells its place among others.

    Args:
        path: Its file.
        frame: Its number there.
        scale: Of its values.
        position: Of its first pixel in mm, or nothing.
        orientation: Directions of its rows and columns, or nothing.
        turn: Place in time.
        trigger: Seconds since the heartbeat or so.
        reference: Seconds since some other moment.
        acquired: When; in 1970 if no day is told.
        number: InstanceNumber, or the number in its file.
    """

    path: Path
    frame: int
    scale: Scale
    position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    turn: float | None = None
    trigger: float | None = None
    reference: float | None = None
    acquired: np.datetime64 | None = None
    number: int = 0


class Facts(NamedTuple):
    """What the header of a file tells.

    Args:
        path: The file.
        series: UID of its series.
        shape: Height, width and channels.
        dtype: As stored.
        slices: The frames.
        film: They stand in the order of time.
        fps: Of a film.
        times: Of a film, in seconds.
        units: Of the values.
        padding: The stored value that is no pixel, and the other end of its range.
    """

    path: Path
    series: str
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    slices: tuple[Slice, ...]
    film: bool
    fps: float | None
    times: Float64[np.ndarray, " f"] | None
    units: str
    padding: tuple[int, int] | None


def facts_of(path: Path) -> Facts | None:
    """Return what a file tells; None if it is no image."""
    with guarded(str(path)):
        image = Image(path)
        try:
            if not image.keyword:
                return None
            image.check(str(path))
            return _told(path, image)
        finally:
            image.close()


def _told(path: Path, image: Image) -> Facts:
    header, count = image.header, image.count
    framed = len(header.get("PerFrameFunctionalGroupsSequence") or ()) == count
    film = count > 1 and not framed
    plain = image.dtype.kind != "f" and image.shape[2] == 1
    slices = tuple(_slice(path, header, number, framed, plain) for number in range(count))
    rate, times = _rate(header, count) if film else (None, None)
    kind = _first(header, 0, framed, "PixelValueTransformationSequence", "RescaleType")
    units = str(kind or header.get("Units") or "")
    if not units and slices[0].scale != Scale() and header.get("Modality") == "CT":
        units = "HU"
    return Facts(
        path=path,
        series=str(header.get("SeriesInstanceUID", "")),
        shape=image.shape,
        dtype=image.dtype,
        slices=slices,
        film=film,
        fps=rate,
        times=times,
        units="" if units == "US" else units,  # unspecified
        padding=image.padding,
    )


def _first(header: Any, frame: int, framed: bool, sequence: str, *keywords: str) -> Any:
    """Return what a header tells of a frame under one of several names; None for nothing."""
    places = [header]
    if framed:
        groups = [header.PerFrameFunctionalGroupsSequence[frame]]
        groups += list(header.get("SharedFunctionalGroupsSequence") or ())[:1]
        places = [item for group in groups for item in list(group.get(sequence) or ())[:1]]
    found = (place.get(keyword) for place in places for keyword in keywords)
    return next((value for value in found if value not in (None, "")), None)


def _slice(path: Path, header: Any, frame: int, framed: bool, plain: bool) -> Slice:
    def told(sequence: str, *keywords: str) -> Any:
        return _first(header, frame, framed, sequence, *keywords)

    def milliseconds(value: Any) -> float | None:
        found = _numbers(value, 1)
        return found[0] / 1000 if found else None

    pixels = "PixelValueTransformationSequence"
    slope, intercept = told(pixels, "RescaleSlope"), told(pixels, "RescaleIntercept")
    scale = Scale(float(1 if slope is None else slope), float(intercept or 0)) if plain else Scale()
    if not (scale.slope and math.isfinite(scale.slope) and math.isfinite(scale.intercept)):
        raise InputError(f"{path} has slope {slope} and intercept {intercept}: mend its header")
    content, heart = "FrameContentSequence", "CardiacSynchronizationSequence"
    place = _numbers(told(content, "TemporalPositionIndex", "TemporalPositionIdentifier"), 1)
    moment = str(told(content, "FrameAcquisitionDateTime", "AcquisitionDateTime") or "")
    if not moment and not framed and header.get("AcquisitionTime"):
        moment = f"{header.get('AcquisitionDate') or '19700101'}{header.AcquisitionTime}"
    number = (frame,) if framed else _numbers(header.get("InstanceNumber"), 1) or (0,)
    return Slice(
        path=path,
        frame=frame,
        scale=scale,
        position=_numbers(told("PlanePositionSequence", "ImagePositionPatient"), 3),
        orientation=_numbers(told("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        turn=place[0] if place else None,
        trigger=milliseconds(told(heart, "TriggerTime", "NominalCardiacTriggerDelayTime")),
        reference=milliseconds(told("", "FrameReferenceTime")),
        acquired=_moment(moment),
        number=int(number[0]),
    )


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    """Return finite numbers of a header, or nothing if they aren't so many."""
    parts = [value] if count == 1 else list(value or ())
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()
    return found if len(found) == count and all(map(math.isfinite, found)) else ()


def _moment(text: str) -> np.datetime64 | None:
    """Return a DICOM date and time, such as 20240229120000.5; time zones are left out."""
    match = re.match(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(\d\d)?(\.\d{1,6})?", text)
    if match is None:
        return None
    year, month, day, hour, minute, second, part = match.groups()
    clock = f"{hour}:{minute or '00'}:{second or '00'}{part or ''}"
    try:
        return np.datetime64(f"{year}-{month}-{day}T{clock}", "ns")
    except ValueError:
        return None


def _rate(header: Any, count: int) -> tuple[float | None, Float64[np.ndarray, " f"] | None]:
    """Return the rate of a film, or else the times of its frames."""
    vector = _numbers(header.get("FrameTimeVector"), count) if count > 1 else ()
    if vector:
        return None, np.cumsum((0.0, *vector[1:])) / 1000
    step = _numbers(header.get("FrameTime"), 1)
    if step and step[0] > 0:
        return 1000 / step[0], None
    rates = [_numbers(header.get(key), 1) for key in ("CineRate", "RecommendedDisplayFrameRate")]
    return next((rate[0] for rate in rates if rate and rate[0] > 0), None), None
