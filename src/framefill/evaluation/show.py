"""A report on the screen."""

from rich.console import Console
from rich.table import Table

from framefill.evaluation.report import Report
from framefill.protocols.table import COLUMNS, TableRow, published_table_rows


def print_report(report: Report, console: Console) -> None:
    """Print the rows of a report, what the model loses to, and what was published beside."""
    rows = report.rows
    heading = f"{report.protocol.name}: {report.protocol.row}"
    console.print(_table(rows, heading if len(heading) < console.width else report.protocol.name))
    console.print(rows[0].note, highlight=False)
    for sentence in report.verdicts:
        console.print(sentence, highlight=False)
    if beside := _published(report.protocol.name):
        console.print(_table(beside, "published under this protocol; docs/results.md has more"))


def _published(protocol: str) -> list[TableRow]:
    """Return what was published under a protocol, without what is of others beside it."""
    rows = published_table_rows(protocol)
    return [
        row for row in rows if "another protocol" not in row.note and "not known" not in row.note
    ]


def _table(rows: list[TableRow], title: str) -> Table:
    shown = [column for column in COLUMNS if any(row.values.get(column) for row in rows)]
    table = Table(title=title, title_justify="left")
    table.add_column("filled by", overflow="fold")
    for column in shown:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row.method, *(row.values.get(column, "") for column in shown))
    return table
