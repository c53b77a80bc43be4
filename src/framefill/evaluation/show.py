"""A report on the screen."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framefill.evaluation.report import Report
from framefill.protocols.table import COLUMNS, TableRow, published_table_rows


def print_report(report: Report, console: Console) -> None:
    """Print the rows of a report, what the model loses to, and what was published beside."""
    heading = f"{report.protocol.name}: {report.protocol.row}"
    short = heading if len(heading) < console.width else report.protocol.name
    console.print(_table(report.rows, report.columns, short))
    for sentence in (report.note, *report.verdicts):
        console.print(Text(sentence))
    if beside := _published(report.protocol.name):
        title = "published under this protocol; docs/results.md has more"
        console.print(_table(beside, COLUMNS, title))


def _published(protocol: str) -> list[TableRow]:
    """Return what was published under a protocol, without what is of others beside it."""
    rows = published_table_rows(protocol)
    return [
        row for row in rows if "another protocol" not in row.note and "not known" not in row.note
    ]


def _table(rows: Sequence[TableRow], columns: Sequence[str], title: str) -> Table:
    shown = [column for column in columns if any(row.values.get(column) for row in rows)]
    table = Table(title=Text(title), title_justify="left")
    table.add_column("filled by", overflow="fold")
    for column in shown:
        table.add_column(column, justify="right")
    for row in rows:
        # Text: names are the user's, and not to be read as markup.
        table.add_row(Text(row.method), *(row.values.get(column, "") for column in shown))
    return table
