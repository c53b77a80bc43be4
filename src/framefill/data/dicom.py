"""DICOM files and series as videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from framefill.data.dicom_facts import Facts, facts_of
from framefill.data.dicom_image import Image
from framefill.data.dicom_library import guarded, load_pydicom
from framefill.data.dicom_order import in_time, parted
from framefill.data.footage import Footage, Layout
from framefill.data.handles import opened
from framefill.data.natural import natural
from framefill.data.scale import Scale
from framefill.data.steps import even_step
from framefill.data.video import DTYPES, Header, Stored
from framefill.errors import InputError

FIRST = 8  # files of a folder, which are looked at to tell whether it holds DICOM


@dataclass(frozen=True)
class DicomHeader:
    """What DICOM knows beside the frames, from the first file.

    Args:
        head: Its data set up to the pixels, as bytes.
        implicit: These bytes don't tell the kinds of values.
        little: They are in little-endian order.
        size: Rows and columns of the frames.
        dtype: Name of the stored dtype.
        scales: All scales that occur.
        padding: The stored value that stands for a missing one.
        clock: Which of the clocks gave the times, or "".
        positions: Of each slice of a stack in space, or nothing.
    """

    head: bytes
    implicit: bool
    little: bool
    size: tuple[int, int]
    dtype: str
    scales: tuple[Scale, ...]
    padding: float | None
    clock: str
    positions: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class Frames:
    """A reader of frames in one or many files.

    Args:
        paths: The files.
        files: Number of the file of each frame.
        frames: Its number there.
        scales: Its slope and intercept.
        shape: Height, width and channels.
        stored: Dtype in the files.
        dtype: Of what is returned.
        missing: A stored value that means missing beside those that the files tell.
    """

    paths: tuple[Path, ...]
    files: Int64[np.ndarray, " f"]
    frames: Int64[np.ndarray, " f"]
    scales: Float64[np.ndarray, "f 2"]
    shape: tuple[int, int, int]
    stored: np.dtype[np.generic]
    dtype: np.dtype[np.generic]
    missing: float | None

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Load the frames at some places."""
        found = np.empty((len(places), *self.shape), self.dtype)
        for target, place in zip(found, places, strict=True):
            path = self.paths[self.files[place]]
            with guarded(str(path)):
                image = opened(Image, path)
                if (image.shape, image.dtype) != (self.shape, self.stored):
                    raise InputError(f"{path} has changed: open it again")
                values = image.frame(int(self.frames[place]))
                padding = image.padding
            target[...] = self._understood(values, padding, Scale(*self.scales[place].tolist()))
        return found

    def _understood(
        self, values: Shaped[np.ndarray, "h w c"], padding: tuple[int, int] | None, scale: Scale
    ) -> Shaped[np.ndarray, "h w c"]:
        if self.dtype == self.stored:
            return values
        result = values.astype(self.dtype) if scale == Scale() else scale.values(values, self.dtype)
        if padding is not None:
            result[(values >= min(padding)) & (values <= max(padding))] = np.nan
        if self.missing is not None:
            result[values == self.missing] = np.nan
        return result


def open_dicom(path: Path, layout: Layout) -> list[Footage]:
    """Open a DICOM file, or the images in a folder, with or without a suffix.

    A file with several frames is a video of its own: a film with FrameTime, FrameTimeVector,
    CineRate or RecommendedDisplayFrameRate; frames of an enhanced image are treated as files are.
    Files of one frame are a video for each SeriesInstanceUID. Its frames come in this order:

    * slices at different places along their normal (ImagePositionPatient): in space;
    * where places repeat: one video for each place, in time;
    * in time: by TemporalPositionIndex or -Identifier, TriggerTime, FrameReferenceTime, or
      AcquisitionDateTime (or -Date and -Time), whichever all frames have and no two share, in this
      order; else by InstanceNumber, then the name of the file.

    RescaleSlope and -Intercept are applied (float32, or float64 where that couldn't tell two stored
    values apart). PixelPaddingValue, its range, and `layout.missing`, all of them stored values,
    are missing. Colors become RGB. MONOCHROME1, where 0 is white, keeps its values. Files that a
    header refers to are never opened.

    Raises:
        InputError: pydicom or a decoder isn't installed; there is no image; one is damaged or cut
            off; or images of a series differ in size.
    """
    load_pydicom()
    told = [facts_of(each) for each in (_files(path) if path.is_dir() else [path])]
    facts = [each for each in told if each is not None]
    if not facts:
        raise InputError(f"{path} holds no DICOM images: give others")
    series: dict[str, list[Facts]] = {}
    for each in facts:
        alone = each.film or len(each.slices) > 1
        series.setdefault(str(each.path) if alone else f"{path} series {each.series}", []).append(
            each
        )
    several = len(series) > 1
    return [
        footage
        for name, group in series.items()
        for footage in _footage(path, name if several else str(path), group, layout)
    ]


def is_dicom(path: Path) -> bool:
    """Say whether a file, or one of the first files of a folder, is DICOM, by its content."""
    try:
        if path.is_dir():
            files = (each for each in path.iterdir() if not each.name.startswith("."))
            some = sorted((each for each in files if each.is_file()), key=natural)[:FIRST]
            return any(_has_magic(each) for each in some)
        return _has_magic(path)
    except OSError:
        return False


def _has_magic(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM":
        return True
    # Without a preamble: the first element is one of group 8 with a known kind or a short length.
    group, element = head[:2], int.from_bytes(head[2:4], "little")
    kinds = (b"UL", b"CS", b"UI", b"DA", b"TM", b"SH")
    implicit = 0 < int.from_bytes(head[4:8], "little") <= 64
    known = element in (0, 1, 5, 8, 0x12, 0x16, 0x18)
    return group == b"\x08\0" and known and len(head) == 132 and (head[4:6] in kinds or implicit)


def _files(folder: Path) -> list[Path]:
    """Return the DICOM files of a folder."""
    files = sorted((each for each in folder.iterdir() if each.is_file()), key=natural)
    for each in files:
        if each.is_symlink() and not each.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{each} is a link out of its folder: put the file there")
    return [each for each in files if not each.name.startswith(".") and is_dicom(each)]


def _footage(path: Path, name: str, group: list[Facts], layout: Layout) -> list[Footage]:
    """Return the videos of a file or of a series."""
    first = group[0]
    for each in group:
        if (each.shape, each.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"{each.path} is {each.shape} of {each.dtype} and {first.path} {first.shape} of "
                f"{first.dtype} (height, width, channels): all frames of a series need one size "
                "and kind; put others elsewhere"
            )
    slices = [each for facts in group for each in facts.slices]
    parts, stack = ([slices], False) if first.film else parted(slices)
    padding = next((each.padding for each in group if each.padding is not None), None)
    missing = layout.missing if padding is None else float(padding[0])
    scales = tuple(dict.fromkeys(each.scale for each in slices))
    dtype = _dtype(first.dtype, scales, missing)
    exact = scales == (Scale(),)
    stored = Stored(first.dtype.name, missing) if exact and missing is not None else None
    found = []
    for number, part in enumerate(parts):
        times, rate, clock = first.times, first.fps, ""
        if not first.film and not stack:
            part, times, clock = in_time(part)
            step = even_step(times)
            rate = 1 / step if step else None
        positions = tuple(each.position for each in part) if stack else ()
        paths = tuple(dict.fromkeys(each.path for each in part))
        places = {each: place for place, each in enumerate(paths)}
        reader = Frames(
            paths=paths,
            files=np.array([places[each.path] for each in part]),
            frames=np.array([each.frame for each in part]),
            scales=np.array([each.scale for each in part], np.float64),
            shape=first.shape,
            stored=first.dtype,
            dtype=dtype,
            missing=layout.missing,
        )
        footage = Footage(
            name=name if len(parts) == 1 else f"{name} place {number}",
            path=path,
            length=len(part),
            shape=first.shape,
            dtype=dtype,
            reader=reader,
            fps=rate,
            times=times,
            units=first.units,
            stored=stored,
            header=_header(part[0].path, scales, missing, clock, positions),
        )
        found.append(footage)
    return found


def _dtype(
    stored: np.dtype[np.generic], scales: tuple[Scale, ...], missing: float | None
) -> np.dtype[np.generic]:
    if scales == (Scale(),) and (missing is None or stored.kind == "f") and stored.name in DTYPES:
        return stored
    kinds = [scale.dtype(stored) for scale in scales]
    return max(kinds, key=lambda kind: kind.itemsize)


def _header(
    path: Path,
    scales: tuple[Scale, ...],
    missing: float | None,
    clock: str,
    positions: tuple[tuple[float, ...], ...],
) -> Header:
    with guarded(str(path)):
        image = Image(path)
        image.close()
    content = DicomHeader(
        head=image.head,
        implicit=image.implicit,
        little=image.little,
        size=image.shape[:2],
        dtype=image.dtype.name,
        scales=scales,
        padding=missing,
        clock=clock,
        positions=positions,
    )
    return Header(".dcm", content)
