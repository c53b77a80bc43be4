"""What was published under a protocol or beside it, and where each number was seen."""

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from framefill.errors import InputError

MARKS = ("S", "S2")
SCORES = ("fvd", "psnr", "ssim", "lpips", "is", "mse")
HEADER = ("protocol", "method", "conditions", *SCORES, "mark", "source", "note")
NUMBER = re.compile(r"\d+(\.\d+)?( ± \d+(\.\d+)?)?")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One published result; scores are text as their source prints them, empty where it has none.

    Mark S: seen in the source named. S2: seen in a secondary text, which quotes the paper.
    """

    protocol: str
    method: str
    conditions: str
    fvd: str
    psnr: str
    ssim: str
    lpips: str
    inception: str  # the column "is", a word that Python keeps
    mse: str
    mark: str
    source: str
    note: str

    def __post_init__(self) -> None:
        """Refuse a row that doesn't say where it is from, or says no number."""
        for field in ("protocol", "method", "conditions", "source"):
            if not getattr(self, field).strip():
                raise InputError(f"{self.method or 'a row'}: the {field} is empty; name it")
        if self.mark not in MARKS:
            raise InputError(f"{self.method}, mark {self.mark!r}: use one of {', '.join(MARKS)}")
        scores = (self.fvd, self.psnr, self.ssim, self.lpips, self.inception, self.mse)
        if not any(scores):
            raise InputError(f"{self.method}: holds no score; give one or remove the row")
        for score in scores:
            if score and not NUMBER.fullmatch(score):
                raise InputError(f"{self.method}, {score!r}: write a number, or one as in '99 ± 2'")


def read_published(text: str) -> tuple[PublishedRow, ...]:
    """Read rows from the text of a CSV file with exactly the columns of `HEADER`.

    Raises:
        InputError: a column is unknown or missing, or a row is not to be shown; with its line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = tuple(next(reader, ()))
    if header != HEADER:
        raise InputError(f"columns {', '.join(header)}: use {', '.join(HEADER)}, in this order")
    names = ["inception" if name == "is" else name for name in HEADER]
    rows = []
    for cells in reader:
        if len(cells) != len(names):
            raise InputError(
                f"line {reader.line_num} has {len(cells)} cells: needs one per column, {len(names)}"
            )
        try:
            rows.append(PublishedRow(**dict(zip(names, cells, strict=True))))
        except InputError as error:
            raise InputError(f"line {reader.line_num}, {error}") from None
    return tuple(rows)


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Every published row that the package carries, in the order of its file."""
    return read_published((files(__package__) / "published.csv").read_text(encoding="utf-8"))


def published(protocol: str) -> list[PublishedRow]:
    """List what was published under a protocol, and what other protocols gave beside it.

    A protocol without such results has none.

    >>> [(row.method, row.fvd) for row in published("bair-1-15")]
    [('MCVD, concat, past-future mask', '89.5'), ('MCVD, concat, past mask', '95.6')]
    >>> published("digits-5-5")
    []
    """
    return [row for row in published_rows() if row.protocol == protocol]
