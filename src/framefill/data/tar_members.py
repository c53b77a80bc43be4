"""What is in a tar file of WebDataset's layout, and where; nothing is unpacked."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from framefill.data.axes import DAMAGED
from framefill.data.formats import IMAGES
from framefill.data.video import first_line
from framefill.errors import InputError

MOST_MEMBERS = 2**20
MOST_BYTES = 2**31  # of a member that has to be read as a whole
BLOCK = 512  # bytes, of which tar files are made
BEHIND = 2**20  # bytes behind the end that are looked at
NUMBERED = re.compile(r"(?P<key>.+)[./](?P<stem>[^./]*?)(?P<number>\d{1,18})")


class Member(NamedTuple):
    """A file within a tar file.

    Args:
        path: The tar file.
        name: Within it.
        offset: Where its bytes begin.
        size: How many they are.
    """

    path: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        """Return what to call it in a message."""
        return f"{self.path} member {self.name[:200]}"

    def content(self) -> bytes:
        """Read it.

        Raises:
            InputError: it is too large, or the tar file has become shorter.
        """
        if self.size > MOST_BYTES:
            raise InputError(f"{self} has {self.size:,} bytes: at most {MOST_BYTES:,} are read")
        return self.head(self.size)

    def head(self, count: int) -> bytes:
        """Read the first bytes, or all if there are fewer.

        Raises:
            InputError: the tar file has become shorter.
        """
        wanted = min(count, self.size)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            data = file.read(wanted)
        if len(data) < wanted:
            raise InputError(f"{self} is cut off: has the file changed?")
        return data


@dataclass(eq=False)
class Sample:
    """The members of one key.

    Attributes:
        members: By what stands behind the key, in small letters: "mp4", "action.npy".
        images: Numbered ones, by what stands before the number, and the number.
    """

    members: dict[str, Member] = field(default_factory=dict)
    images: dict[tuple[str, int], Member] = field(default_factory=dict)

    def add(self, member: Member, place: str | tuple[str, int]) -> None:
        """Take in a member.

        Raises:
            InputError: there is another one in its place.
        """
        if place in self.members or place in self.images:
            raise InputError(f"{member} has the name or the number of another: name each once")
        if isinstance(place, str):
            self.members[place] = member
        else:
            self.images[place] = member


def samples_in(path: Path) -> dict[str, Sample]:
    """Return the samples of a tar file by their keys, in the order of their first members.

    A key is what a member's name has before the first dot behind the last slash. Images whose names
    end in a number belong to the key before it: KEY.000.png, KEY/000.png, KEY/frame_000.png. Hidden
    files and those without a suffix are passed over.

    Raises:
        InputError: it is no tar file, or compressed; it is damaged or cut off, goes on behind its
            end, holds links or devices, or two members of one name.
    """
    samples: dict[str, Sample] = {}
    for member in _members(path):
        name = member.name.removeprefix("./")
        folder, slash, last = name.rpartition("/")
        stem, dot, suffix = last.partition(".")
        if not stem or not dot:
            continue
        bare, _, kind = name.rpartition(".")
        image = NUMBERED.fullmatch(bare) if f".{kind.lower()}" in IMAGES else None
        if image is None:
            samples.setdefault(folder + slash + stem, Sample()).add(member, suffix.lower())
        else:
            place = image["stem"], int(image["number"])
            samples.setdefault(image["key"], Sample()).add(member, place)
    return samples


def _members(path: Path) -> Iterator[Member]:
    size, end, count = path.stat().st_size, 0, 0
    try:
        with tarfile.open(path, "r:", errors="replace") as archive:
            for info in archive:
                member = Member(path, info.name, info.offset_data, info.size)
                count += 1
                # Sizes below 0 would lead back to where the reading was before.
                if info.size < 0 or info.offset < end or info.offset_data + info.size > size:
                    raise InputError(f"{member} is cut off or damaged: fetch the file again")
                if count > MOST_MEMBERS:
                    raise InputError(f"{path} holds more than {MOST_MEMBERS:,} files: split it")
                end = info.offset_data + -(-info.size // BLOCK) * BLOCK
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise InputError(f"{member} is a link, a device or sparse: pack plain files")
                yield member
    except InputError:
        raise
    except (*DAMAGED, tarfile.TarError) as error:
        raise InputError(f"{path} can't be read as a plain .tar ({first_line(error)})") from error
    _check_end(path, end)


def _check_end(path: Path, end: int) -> None:
    # Python's tarfile takes a lost end, and what goes on behind the end, for no fault.
    with path.open("rb") as file:
        file.seek(end)
        behind = file.read(BEHIND)
    if len(behind) < BLOCK:
        raise InputError(f"{path} is cut off behind its last whole member: fetch it again")
    if behind.strip(b"\0"):
        raise InputError(f"{path} goes on behind its end: unpack it and pack it as one")
