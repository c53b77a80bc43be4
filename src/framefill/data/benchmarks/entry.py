"""What a published data set is to framefill."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from framefill.data.footage import Footage, Layout
from framefill.data.sample import Split
from framefill.errors import InputError, suggestion


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A published data set.

    Attributes:
        name: As on the command line.
        summary: One line about it.
        guide: Where to get it, under which licence, how it has to be on the disk, who uses which
            split, and what is checked.
        splits: The ways to divide it, the default first.
        recognise: Says whether a path is it, by files that nothing else has; never fails.
        search: Returns the videos of a folder, for a split and a part; none if there are none.
        note: Says how much of the data set a folder holds, in one line, for a split.
    """

    name: str
    summary: str
    guide: str
    splits: tuple[str, ...]
    recognise: Callable[[Path], bool]
    search: Callable[[Path, str, Split, Layout], list[Footage]]
    note: Callable[[Path, str], str]

    def find(self, path: Path, split: str, part: Split, layout: Layout) -> list[Footage]:
        """Return the videos of a part, in an order that is always the same.

        No video is in both parts of a split.

        Args:
            path: The folder.
            split: One of `splits`.
            part: "train" or "test".
            layout: Names cameras (BAIR) and conditions.

        Raises:
            InputError: there is no such split, the folder doesn't hold this data set, or nothing
                of the part; a file is damaged, or its lists are at odds with it.
        """
        if split not in self.splits:
            raise InputError(
                f"no split {split!r} of {self.name}{suggestion(split, self.splits)}; there are: "
                f"{', '.join(self.splits)}"
            )
        if not self.recognise(path):
            raise InputError(
                f"{path} isn't {self.name} as it is published: framefill data {self.name} says "
                "what it has to look like"
            )
        found = self.search(path, split, part, layout)
        if not found:
            raise InputError(
                f"{path} holds nothing of {self.name} to {part} with split {split} "
                f"({self.note(path, split)}): add some, or choose another split"
            )
        return found
