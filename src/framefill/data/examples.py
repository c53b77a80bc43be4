"""TFRecord files of `tf.train.Example`: a row of records, each with features by name."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from framefill.data.video import first_line
from framefill.errors import InputError

MOST_RECORDS = 2**18  # of a file; BAIR's hold 256
MOST_BYTES = 2**30  # of a record; protobuf itself stops at twice that
HEAD, TAIL = 12, 4  # a length and its checksum before the data, and their checksum behind
NUMBERED = "<t>/"  # stands for 0/, 1/, ... where each frame has features of its own
Values = Sequence[bytes] | Shaped[np.ndarray, "..."]


class Record:
    """The features of a record.

    Args:
        features: Of `tf.train.Example`, by name.
    """

    def __init__(self, features: Mapping[str, Any]) -> None:
        self._features = features
        self.names = sorted(features)

    def files(self, name: str) -> Sequence[bytes]:
        """Return a list of byte strings; nothing if the feature is none."""
        if name.startswith(NUMBERED):
            return [next(iter(self.files(each)), b"") for each in self._numbered(name)]
        return self._features[name].bytes_list.value if name in self._features else ()

    def is_numeric(self, name: str) -> bool:
        """Whether a feature is of numbers, and not empty."""
        name = name.replace(NUMBERED, "0/")
        kind = self._features[name].WhichOneof("kind")
        return kind in ("float_list", "int64_list") and len(self.numbers(name)) > 0

    def numbers(self, name: str) -> Shaped[np.ndarray, " n"]:
        """Return the numbers of a feature, of all frames in a row; none if it isn't of numbers.

        Raises:
            InputError: some frames have more of them than others.
        """
        if name.startswith(NUMBERED):
            rows = [self.numbers(each) for each in self._numbered(name)]
            if len({len(row) for row in rows}) > 1:
                raise InputError(f"feature {name} has more values in some frames than in others")
            return np.concatenate(rows) if rows else np.empty(0, np.float32)
        if name not in self._features:
            return np.empty(0, np.float32)
        feature = self._features[name]
        if feature.HasField("int64_list"):
            return np.array(feature.int64_list.value, np.float64)
        return np.array(feature.float_list.value, np.float32)

    def kinds(self) -> Iterator[str]:
        """Yield the names of the features, those of numbered frames once for all."""
        for name in self.names:
            number, _, rest = name.partition("/")
            if not number.isdecimal():
                yield name
            elif number == "0":
                yield NUMBERED + rest

    def _numbered(self, name: str) -> Iterator[str]:
        place, rest = 0, name.removeprefix(NUMBERED)
        while (each := f"{place}/{rest}") in self._features:
            yield each
            place += 1


def record_offsets(path: Path) -> list[int]:
    """Return where each record of a file starts, in bytes; reads the lengths alone.

    Raises:
        InputError: it is no TFRecord file, or it is damaged or cut off.
    """
    offsets: list[int] = []
    size, at = path.stat().st_size, 0
    with path.open("rb", buffering=0) as file:
        while at < size:
            offsets.append(at)
            if len(offsets) > MOST_RECORDS:
                raise InputError(f"{path} holds more than {MOST_RECORDS} records: split it")
            at += HEAD + _length_at(file, at, path) + TAIL
    if at > size:
        raise InputError(f"{path} is cut off in record {len(offsets) - 1}: fetch it again")
    return offsets


def record_at(path: Path, offset: int) -> Record:
    """Read a record; the latest one is remembered.

    Raises:
        InputError: the file is damaged or cut off there.
    """
    stat = path.stat()
    return _remembered(path, offset, stat.st_size, stat.st_mtime_ns)


def write_record(path: Path, features: Mapping[str, Values]) -> None:
    """Write a file of one record.

    Args:
        path: A new file.
        features: Byte strings, flags (bool), or numbers, which are stored in single precision.

    Raises:
        InputError: it becomes too large, or the libraries are missing.
    """
    content = {"feature": {name: _feature(values) for name, values in features.items()}}
    data = _protobuf().Example(features=content).SerializeToString()
    if len(data) > MOST_BYTES:
        raise InputError(
            f"{path} would hold a record of {len(data):,} bytes: at most {MOST_BYTES:,} are "
            "read; write fewer frames"
        )
    with path.open("wb") as file:
        for part in (struct.pack("<Q", len(data)), data):
            file.write(part + struct.pack("<I", _checksum(part)))


@lru_cache(maxsize=1)  # frames and conditions ask for the same record in turn
def _remembered(path: Path, offset: int, size: int, changed: int) -> Record:
    example = _protobuf().Example()
    with path.open("rb", buffering=0) as file:
        data = _data_at(file, offset, path)
    from google.protobuf.message import DecodeError

    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise InputError(
            f"{path} holds no tf.train.Example at byte {offset} ({first_line(error)})"
        ) from error
    return Record(example.features.feature)


def _length_at(file: FileIO, offset: int, path: Path) -> int:
    file.seek(offset)
    head = file.read(HEAD)
    if len(head) < HEAD:
        raise InputError(f"{path} is cut off at byte {offset}: fetch it again")
    length, checksum = struct.unpack("<QI", head)
    if checksum != _checksum(head[:8]):
        raise InputError(
            f"{path} is damaged at byte {offset}: fetch it again"
            if offset
            else f"{path} is no TFRecord file, or it is compressed: give a plain one"
        )
    if length > MOST_BYTES:
        raise InputError(
            f"{path} announces a record of {length:,} bytes: at most {MOST_BYTES:,} are read"
        )
    return int(length)


def _data_at(file: FileIO, offset: int, path: Path) -> bytes:
    length = _length_at(file, offset, path)
    if offset + HEAD + length + TAIL > path.stat().st_size:
        raise InputError(f"{path} is cut off behind byte {offset}: fetch it again")
    data, tail = file.read(length), file.read(TAIL)
    if tail != struct.pack("<I", _checksum(data)):
        raise InputError(f"{path} is damaged behind byte {offset}: fetch it again")
    return data


def _checksum(data: bytes) -> int:
    """Return the CRC-32C of some bytes, masked as TFRecord files have it."""
    _protobuf()  # the same extra, and the same message without it
    from crc32c import crc32c

    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _protobuf() -> Any:
    """Return the module with the messages of `tf.train.Example`."""
    try:
        from tfrecord import example_pb2
    except ImportError as error:
        raise InputError(
            "TFRecord files need the tfrecord library: pip install 'framefill[tfrecord]'"
        ) from error
    return example_pb2


def _feature(values: Sequence[bytes] | Shaped[np.ndarray, "..."]) -> Any:
    kinds = _protobuf()
    if not isinstance(values, np.ndarray):
        return kinds.Feature(bytes_list={"value": values})
    if values.dtype == bool:
        return kinds.Feature(int64_list={"value": values.astype(int).tolist()})
    return kinds.Feature(float_list={"value": values.ravel().tolist()})
