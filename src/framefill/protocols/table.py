"""Tables of scores, for reports and for pages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framefill.protocols.published import PublishedRow, published

COLUMNS = (
    "FVD",
    "FVD per trajectory",
    "KVD",
    "CD-FVD",
    "IS",
    "PSNR",
    "SSIM",
    "LPIPS",
    "MSE",
    "CRPS",
    "spread/skill",
)


@dataclass(frozen=True)
class TableRow:
    """What filled the frames, its scores as text by column, and what a reader must know of them."""

    method: str
    values: Mapping[str, str]
    note: str


def markdown(rows: Sequence[TableRow], columns: Sequence[str]) -> str:
    """Write rows as a Markdown table with those of the columns that any row has a value for.

    >>> print(markdown([TableRow("copy last", {"PSNR": "22.4"}, "24 clips")], COLUMNS))
    | filled by | PSNR | note |
    |---|---|---|
    | copy last | 22.4 | 24 clips |
    """
    shown = [column for column in columns if any(row.values.get(column) for row in rows)]
    lines = [_line(["filled by", *shown, "note"]), "|" + "---|" * (len(shown) + 2)]
    for row in rows:
        scores = [row.values.get(column) or "-" for column in shown]
        lines.append(_line([row.method, *scores, row.note]))
    return "\n".join(lines)


def published_table_rows(protocol: str) -> list[TableRow]:
    """Make table rows of a protocol's published results; notes say conditions, source and mark."""
    return [_published_table_row(row) for row in published(protocol)]


def _published_table_row(row: PublishedRow) -> TableRow:
    scores = {
        "FVD": row.fvd,
        "IS": row.inception,
        "PSNR": row.psnr,
        "SSIM": row.ssim,
        "LPIPS": row.lpips,
        "MSE": row.mse,
    }
    note = "; ".join(filter(None, (row.conditions, row.note, f"{row.source} [{row.mark}]")))
    return TableRow(row.method, {column: text for column, text in scores.items() if text}, note)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return re.sub(r"\r\n|\r|\n", "<br>", text.strip()).replace("|", r"\|")
