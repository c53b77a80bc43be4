"""TFRecord files: BAIR's robot trajectories, Open-X (RLDS) episodes, and lists of images.

A file is a row of records; each is a `tf.train.Example`, features by name, and one or more videos.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from framefill.data.encoded import picture_in
from framefill.data.examples import (
    NUMBERED,
    Record,
    Values,
    record_at,
    record_offsets,
    write_record,
)
from framefill.data.footage import Footage, Layout, Track
from framefill.data.pictures import Kind
from framefill.data.video import Video
from framefill.errors import InputError

ENCODED = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
RAW = (64, 64, 3)  # of BAIR's frames, which are named "encoded" and are not
BAIR_CAMERA = "<t>/image_aux1/encoded"
STEPS = "steps/"
Vectors = Mapping[str, tuple[str, int]]  # of conditions: feature, and values of a frame
CAMERA = f"{STEPS}observation/image"


def open_records(path: Path, layout: Layout) -> list[Footage]:
    """Return the videos of a TFRecord file, one for each camera of each record.

    Three layouts of features are known. BAIR: "0/image_aux1/encoded", "1/image_aux1/encoded", ...,
    raw bytes of 64x64 RGB; all records are taken to be like the first, and checked when read.
    Open-X (RLDS): lists of JPEG or PNG files below "steps/". Others: one such list.

    A camera is black throughout if its files are equal, byte for byte, and the first is black; such
    cameras, by which Open-X marks those that an episode lacks, are left out.

    Args:
        path: The file; not compressed as a whole.
        layout: `variables` names cameras, by a feature's name or its last part ("image_0"), each a
            video of its own; none: image_aux1 in BAIR's layout, all in Open-X's. `conditions` names
            features of numbers in the same way ("action"); one vector per frame.

    Raises:
        InputError: it is no such file, it is damaged or cut off, a feature is missing, or all
            cameras are black; or the libraries are missing.
    """
    offsets = record_offsets(path)
    if not offsets:
        raise InputError(f"{path} holds no records: give another file")
    first = record_at(path, offsets[0])
    if any(name.startswith("0/") for name in first.names):
        return _alike(path, offsets, first, layout)
    videos = [
        video
        for number, offset in enumerate(offsets)
        for video in _episode(path, number, offset, layout)
    ]
    if not videos:
        raise InputError(f"{path} has only cameras that are black throughout: take it out")
    return videos


def write_records(path: Path, video: Video) -> None:
    """Write a video as one episode in the Open-X (RLDS) layout.

    The frames become PNG files in "steps/observation/image"; a condition NAME becomes "steps/NAME",
    in single precision.

    Args:
        path: A new file.
        video: uint8 frames of 1 or 3 channels; its conditions are vectors [f k].

    Raises:
        InputError: the frames or the conditions are of another kind.
    """
    frames, name = video.frames, video.source or "the video"
    if frames.dtype != np.uint8 or frames.shape[3] not in (1, 3):
        raise InputError(
            f"{name} has {frames.shape[3]} channels of {frames.dtype} and .tfrecord takes 8-bit "
            "gray or RGB: choose .npz"
        )
    steps = np.arange(len(frames))
    features: dict[str, Values] = {
        CAMERA: [_png(frame) for frame in frames],
        f"{STEPS}is_first": steps == 0,
        f"{STEPS}is_last": steps == steps[-1],
        f"{STEPS}is_terminal": np.zeros(len(steps), bool),
    }
    for condition, values in video.conditions.items():
        feature = STEPS + condition.removeprefix(STEPS)
        if feature in features:
            raise InputError(f"condition {condition!r} has the name of another feature: rename it")
        features[feature] = _single(values, len(frames), condition)
    write_record(path, features)


class Place(NamedTuple):
    """A feature of a record, with a value for each frame.

    Args:
        path: The file.
        offset: Where the record starts.
        feature: Its name.
        length: Number of frames.
        name: What to call it in a message.
    """

    path: Path
    offset: int
    feature: str
    length: int
    name: str


@dataclass(frozen=True)
class FrameReader:
    """Reads frames; see `framefill.data.footage.Reader`."""

    place: Place
    kind: Kind

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f h w c"]:
        """Decode the frames at some places."""
        name = self.place.name
        files = record_at(self.place.path, self.place.offset).files(self.place.feature)
        if len(files) != self.place.length:
            raise InputError(
                f"{name} has {len(files)} frames where {self.place.length} were expected"
            )
        frames = np.empty((len(places), *self.kind.shape), self.kind.dtype)
        for frame, place in zip(frames, places, strict=True):
            label = f"frame {place} of {name}"
            pixels = _pixels(files[place], label)
            self.kind.refuse_other(Kind.of(pixels), label)
            frame[:] = pixels
        return frames


@dataclass(frozen=True)
class VectorReader:
    """Reads the vectors that go with frames."""

    place: Place
    size: int

    def __call__(self, places: Sequence[int]) -> Shaped[np.ndarray, "f k"]:
        """Return the vectors at some places."""
        values = record_at(self.place.path, self.place.offset).numbers(self.place.feature)
        if len(values) != self.place.length * self.size:
            raise InputError(
                f"{self.place.name} has {len(values)} values of {self.place.feature} where "
                f"{self.place.length}x{self.size} were expected"
            )
        return values.reshape(-1, self.size)[list(places)]


def _alike(path: Path, offsets: list[int], first: Record, layout: Layout) -> list[Footage]:
    """Return the videos of records that are all like the first."""
    names = [name for name in first.kinds() if name.endswith("/encoded")]
    known = BAIR_CAMERA in names and not layout.variables
    cameras = [BAIR_CAMERA] if known else _chosen(names, layout, str(path))
    places = [_place(path, 0, offsets[0], camera, first) for camera in cameras]
    kinds = [(_kind(place, first), _vectors(place, first, layout)) for place in places]
    return [
        _footage(place._replace(offset=offset, name=_name(path, number, place.feature)), *kind)
        for number, offset in enumerate(offsets)
        for place, kind in zip(places, kinds, strict=True)
    ]


def _episode(path: Path, number: int, offset: int, layout: Layout) -> Iterator[Footage]:
    record, name = record_at(path, offset), f"{path} episode {number}"
    names = [each for each in record.names if _is_camera(record.files(each))]
    steps = [each for each in names if each.startswith(STEPS)]
    many = bool(steps) and not layout.variables
    for camera in steps if many else _chosen(names, layout, name):
        if not _is_black(record.files(camera), name):
            place = _place(path, number, offset, camera, record)
            yield _footage(place, _kind(place, record), _vectors(place, record, layout))


def _place(path: Path, number: int, offset: int, camera: str, record: Record) -> Place:
    length = len(record.files(camera))
    return Place(path, offset, camera, length, _name(path, number, camera))


def _name(path: Path, number: int, camera: str) -> str:
    short = camera.removeprefix(NUMBERED).removesuffix("/encoded").rpartition("/")[2]
    return f"{path} episode {number} {short}"


def _kind(place: Place, record: Record) -> Kind:
    return Kind.of(_pixels(record.files(place.feature)[0], f"frame 0 of {place.name}"))


def _vectors(place: Place, record: Record, layout: Layout) -> Vectors:
    """Return the feature that each condition is, and how many values it has for a frame."""
    found: dict[str, tuple[str, int]] = {}
    for name in layout.conditions:
        names = [each for each in record.kinds() if record.is_numeric(each)]
        feature = _named(names, name, place.name, "conditions")
        count = len(record.numbers(feature))
        if count % place.length:
            raise InputError(
                f"{place.name} has {place.length} frames and {count} values of {feature}: a "
                "condition has as many for each frame"
            )
        found[name] = feature, count // place.length
    return found


def _footage(place: Place, kind: Kind, vectors: Vectors) -> Footage:
    return Footage(
        name=place.name,
        path=place.path,
        length=place.length,
        shape=kind.shape,
        dtype=np.dtype(kind.dtype),
        reader=FrameReader(place, kind),
        tracks={
            name: Track("vector", size, VectorReader(place._replace(feature=feature), size))
            for name, (feature, size) in vectors.items()
        },
    )


def _chosen(names: list[str], layout: Layout, name: str) -> list[str]:
    """Return the cameras that the layout names, or the only one."""
    if layout.variables:
        return [_named(names, each, name, "variables") for each in layout.variables]
    if len(names) == 1:
        return names
    raise InputError(
        f"{name} holds {len(names)} features of images ({', '.join(names[:9])}): "
        + ("choose with --data.variables" if names else "PNG, JPEG and BAIR's layout are read")
    )


def _named(names: list[str], wanted: str, name: str, option: str) -> str:
    """Return the feature that has a name, or a name of which it is the last part."""
    last = [each for each in names if each.removesuffix("/encoded").endswith(f"/{wanted}")]
    found = [wanted] if wanted in names else last
    if len(found) == 1:
        return found[0]
    raise InputError(
        f"{name} has {len(found) or 'no'} features {wanted!r} (--data.{option}): choose from "
        f"{', '.join((found or names)[:20])}"
    )


def _is_camera(files: Sequence[bytes]) -> bool:
    return len(files) > 0 and files[0].startswith(ENCODED)


def _is_black(files: Sequence[bytes], name: str) -> bool:
    # Encoders are deterministic, so what is always black is always encoded to the same bytes.
    return len(set(files)) == 1 and not _pixels(files[0], f"frame 0 of {name}").any()


def _pixels(data: bytes, name: str) -> Shaped[np.ndarray, "h w c"]:
    if not data.startswith(ENCODED) and len(data) == np.prod(RAW):
        return np.frombuffer(data, np.uint8).reshape(RAW)
    return picture_in(data, ("PNG", "JPEG"), name)


def _single(values: Shaped[np.ndarray, "..."], frames: int, name: str) -> Shaped[np.ndarray, "f k"]:
    if values.ndim != 2 or len(values) != frames or not values.size:
        raise InputError(
            f"condition {name!r} has shape {values.shape} and .tfrecord takes one vector for each "
            f"of the {frames} frames: choose another format"
        )
    if (np.abs(values[np.isfinite(values)]) > np.finfo(np.float32).max).any():
        raise InputError(f"condition {name!r} has values that single precision doesn't hold")
    return values.astype(np.float32)


def _png(frame: Shaped[np.ndarray, "h w c"]) -> bytes:
    file = BytesIO()
    Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame).save(file, "PNG")
    return file.getvalue()
