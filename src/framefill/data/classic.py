"""Classic NetCDF files (CDF-1, 2 and 5): whether all of their data is there.

The NetCDF library reads zeros where such a file has been cut off, and doesn't tell.
"""

from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

from framefill.errors import InputError

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}  # of types, in bytes
STREAMING = (2**32 - 1, 2**64 - 1)  # a number of records that the writer didn't know
MOST = 2**20  # dimensions, attributes or variables
MOST_SIDES = 1024  # dimensions of one variable


class _Variable(NamedTuple):
    """Where a variable is: its bytes (of one record, if it has records) begin there."""

    begin: int
    bytes: int
    records: bool


class _Header:
    """Reads the header as the NetCDF classic format specification describes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.version = self._bytes(4)[3]
        self.wide = 8 if self.version == 5 else 4
        self.records = self.count()

    def _bytes(self, length: int) -> bytes:
        data = self.file.read(length)
        if len(data) < length:
            raise EOFError("its header is cut off")
        return data

    def number(self, length: int) -> int:
        return int.from_bytes(self._bytes(length), "big")

    def count(self) -> int:
        return self.number(self.wide)

    def items(self) -> range:
        """Return the items of a list."""
        tag, length = self.number(4), self.count()
        if length > MOST or (tag == 0 and length):
            raise EOFError(f"its header has a list of {length} items")
        return range(length)

    def skip(self, length: int) -> None:
        """Pass over some bytes, which fill whole words of four."""
        self.file.seek(length + -length % 4, 1)

    def attributes(self) -> None:
        for _ in self.items():
            self.skip(self.count())
            size = SIZES.get(self.number(4), 0)
            self.skip(self.count() * size)

    def variables(self) -> list[_Variable]:
        lengths = []
        for _ in self.items():
            self.skip(self.count())
            lengths.append(self.count())
        self.attributes()
        return [self._variable(lengths) for _ in self.items()]

    def _variable(self, lengths: list[int]) -> _Variable:
        self.skip(self.count())
        rank = self.count()
        if rank > MOST_SIDES:
            raise EOFError(f"its header has a variable of {rank} dimensions")
        sides = [lengths[self.count()] for _ in range(rank)]
        self.attributes()
        size = SIZES.get(self.number(4), 0)
        self.count()
        begin = self.number(4 if self.version == 1 else 8)
        records = bool(sides) and sides[0] == 0
        return _Variable(begin, prod(sides[1:] if records else sides) * size, records)


def check_whole(path: Path) -> None:
    """Refuse a classic NetCDF file that is shorter than its header says.

    Raises:
        InputError: says how many bytes there are, and how many there should be.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            header = _Header(file)
            needed = _needed(header.variables(), header.records)
    except (EOFError, IndexError) as error:
        raise InputError(f"{path} is damaged ({error}): give another file") from error
    if needed > size:
        raise InputError(f"{path} has {size} of its {needed} bytes: get the whole file")


def _needed(variables: list[_Variable], records: int) -> int:
    moving = [each for each in variables if each.records]
    # A lone variable with records has them one after another, without filling words of four.
    padded = sum(each.bytes + (-each.bytes % 4 if len(moving) > 1 else 0) for each in moving)
    before = 0 if records in STREAMING else (records - 1) * padded
    ends = [each.begin + each.bytes for each in variables if not each.records]
    if records:
        ends += [each.begin + before + each.bytes for each in moving]
    return max(ends, default=0)
