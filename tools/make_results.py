"""Write docs/results.md: what was published under each protocol, and what was measured here.

`python tools/make_results.py` writes the page from the published rows in the package and from the
reports in docs/results/*.json; with `--check` it only says whether the page is up to date.
"""

import argparse
import string
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framefill.errors import InputError
from framefill.protocols.table import COLUMNS, TableRow, markdown, published_table_rows
from framefill.serialise import read_json

DOCS = Path(__file__).parents[1] / "docs"
PAGE, REPORTS = DOCS / "results.md", DOCS / "results"

SECTIONS = {
    "Stochastic Moving MNIST, 64 x 64": {
        "smmnist-5-10": "5 frames given, 10 filled, 5 at a time; MCVD's protocol.",
        "smmnist-interpolate-5-10-5": "10 frames filled between 5 and 5; MCVD's protocol.",
        "smmnist-interpolate-5-5-5": "5 frames filled between 5 and 5; MCVD's protocol.",
    },
    "KTH, 64 x 64": {
        "kth-10-30": "10 frames given, 30 filled, 5 at a time; MCVD's protocol.",
        "kth-10-40": "10 frames given, 40 filled, 5 at a time; MCVD's protocol.",
        "kth-interpolate-10-10-5": "10 frames filled between 10 and 5; MCVD's protocol.",
        "kth-interpolate-5-5-5": "5 frames filled between 5 and 5; MCVD's protocol.",
    },
    "BAIR robot pushing, 64 x 64": {
        "bair-1-15": "1 frame given, 15 filled, 5 at a time; MCVD's protocol.",
        "bair-1-15-ramvid": "1 frame given, 15 filled; RaMViD's protocol, after FitVid's. MCVD's "
        "numbers for this task are under bair-1-15.",
        "bair-2-14": "2 frames given, 14 filled, 5 at a time; MCVD's protocol.",
        "bair-2-28": "2 frames given, 28 filled, 5 at a time; MCVD's protocol.",
        "bair-interpolate-1-5-2": "5 frames filled between 1 and 2; MCVD's protocol.",
        "bair-interpolate-2-5-2": "5 frames filled between 2 and 2; MCVD's protocol.",
        "bair-complete-0-15": "The first and the last of 16 frames given; RaMViD's protocol.",
    },
    "Cityscapes, 128 x 128": {
        "cityscapes-2-28": "2 frames given, 28 filled, 5 at a time; MCVD's protocol.",
    },
    "Kinetics-600, 64 x 64": {
        "kinetics600-5-11": "5 frames given, 11 filled; RaMViD's protocol, after CCVS's.",
        "kinetics600-complete-0-1-14-15": "Two frames given at each end of 16; RaMViD's protocol.",
        "kinetics600-complete-0-5-10-15": "4 of 16 frames given, evenly spaced; RaMViD's protocol.",
    },
    "UCF-101, 64 x 64": {
        "ucf101-4-12": "4 frames given, 12 filled, 4 at a time; MCVD's protocol.",
        "ucf101-4-16": "4 frames given, 16 filled, 4 at a time; MCVD's protocol.",
        "ucf101-generate": "No frame given, no class told; FVD as MCVD has it.",
        "ucf101-generate-ramvid": "No frame given, no class told; Inception Score, as RaMViD has "
        "it.",
    },
    "Digits": {
        "digits-5-5": "5 frames given, 5 filled; the digits that the package carries.",
        "digits-interpolate-4-2-4": "2 frames filled between 4 and 4.",
        "digits-generate": "No frame given.",
    },
}

INTRO = """\
# Results

What was published for the protocols that `framefill evaluate` knows by name, and what this library
was measured to reach under them. `tools/make_results.py` writes this page from
`src/framefill/protocols/published.csv` and `docs/results/*.json`; don't edit it by hand.

## How to read the tables

A published row says in its note which frames were given and filled (1->15: one given, 15 filled),
what sets it apart, in which text the number was seen, and a mark:

- **[S]**: seen in the source named: a paper, its authors' own page, or a leaderboard.
- **[S2]**: seen in a secondary text that quotes the paper.

Rows under the protocol of the heading come first. Of the others, two kinds are set apart:

- **another protocol**: the same benchmark, scored, trained or cut in another way. Such a row shows
  what exists; nothing follows from its being above or below another.
- **protocol not known here**: how the number came about was not established. The same holds.

**Measured here** is this library, with date, machine and command below the table; what deviates
from the protocol stands in the note.

A number that was not yet seen in any text is left out, however well known it may be: hence MCVD's
own values for Stochastic Moving MNIST, KTH 10->30 and interpolation are missing. Left out too, as
other tasks: class-conditional UCF-101, 64-frame rollouts on Kinetics-600, and the Moving MNIST
whose digits move deterministically.

## Why scores of two protocols must not be compared

FVD, LPIPS and MSE are better when lower, IS, PSNR and SSIM when higher. All depend on how they are
taken:

- **How many real clips.** BAIR has 256 test videos. MAGVIT's authors scored *training videos* as if
  a model had made them: FVD 64 against 256 reals, 13 against all 43,000. So an FVD against 256
  reals seems to have a floor near 60, and small differences close to it mean little. With all 3,840
  windows of the test videos as reals, MAGVIT's own 62 becomes 31.
- **How many fakes.** MCVD makes 10 for each of 256 clips. FitVid, whose protocol RaMViD follows on
  BAIR, has 100 times as many fakes as reals; MAGVIT makes 100 for each video.
- **Which frames.** MCVD's FVD sees the given frames too, the same ones in fakes and reals. RaMViD's
  FVD of completed clips sees only filled frames.
- **The best of how many.** MCVD's PSNR, SSIM, LPIPS and MSE are each of the best of 10 fills of a
  clip, not necessarily the same fill. MAGVIT's PSNR and SSIM on BAIR are of the best of 100.
- **Whose PSNR and SSIM.** MCVD's PSNR is of the error averaged over the frames of a clip, not an
  average over frames. Its SSIM is of 8-bit gray frames with a Gaussian window, on moving digits of
  frames rounded to black and white first.
- **Which data.** FVDs on KTH come in two families, the SRVP paper's and the Grid-keypoints paper's,
  about a factor of 2 apart. VDM's number on BAIR is of the other camera, and its UCF-101 model was
  trained on test videos too.
"""


@dataclass(frozen=True)
class Report:
    """What the page needs of a report of `framefill evaluate`."""

    protocol: str
    rows: tuple[TableRow, ...]
    marks: tuple[str, ...]
    date: str
    machine: str
    command: str

    def table_rows(self, letter: str) -> list[TableRow]:
        """Return its rows, each of which says that it was measured and what deviates."""
        return [
            TableRow(
                row.method,
                row.values,
                "; ".join(
                    filter(
                        None,
                        (
                            f"measured here ({letter})",
                            *(m for m in self.marks if m not in row.note),
                            row.note,
                        ),
                    )
                ),
            )
            for row in self.rows
        ]

    def origin(self, letter: str) -> str:
        """Return when, where and by which command it was measured, in Markdown."""
        command = textwrap.indent(self.command.strip(), "    ")
        return f"({letter}) Measured here {self.date}, {self.machine}:\n\n{command}"


def read_report(path: Path) -> Report:
    """Read a report.

    Raises:
        InputError: it is no report, of no protocol that the page knows, or has other columns.
    """
    data: Any = read_json(path)
    try:
        report = Report(
            protocol=_text(data["protocol"]["name"]),
            rows=tuple(
                TableRow(
                    _text(row["method"]),
                    {_text(column): _text(value) for column, value in row["values"].items()},
                    _text(row["note"]),
                )
                for row in data["rows"]
            ),
            marks=tuple(_text(mark) for mark in data["marks"]),
            date=_text(data["made"]["date"]),
            machine=_text(data["made"]["machine"]),
            command=_text(data["made"]["command"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no report of framefill evaluate ({error!r}); make it again"
        ) from error
    known = [name for protocols in SECTIONS.values() for name in protocols]
    if report.protocol not in known:
        raise InputError(f"{path}, protocol {report.protocol!r}: use one of {', '.join(known)}")
    if others := sorted({column for row in report.rows for column in row.values} - {*COLUMNS}):
        raise InputError(f"{path}, columns {', '.join(others)}: use {', '.join(COLUMNS)}")
    return report


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def section(protocol: str, line: str, reports: Sequence[Report]) -> str:
    """Return the part of one protocol, or nothing if it has no row."""
    own = [report for report in reports if report.protocol == protocol]
    if len(own) > len(string.ascii_lowercase):
        raise InputError(f"{len(own)} reports of {protocol}: keep at most 26")
    lettered = list(zip(string.ascii_lowercase, own, strict=False))
    rows = published_table_rows(protocol)
    for letter, report in lettered:
        rows.extend(report.table_rows(letter))
    if not rows:
        return ""
    origins = [report.origin(letter) for letter, report in lettered]
    return "\n\n".join([f"### {protocol}", line, markdown(rows, COLUMNS), *origins])


def page(folder: Path) -> str:
    """Return the whole page, with the reports of a folder."""
    reports = [read_report(path) for path in sorted(folder.glob("*.json"))]
    parts = [INTRO.strip()]
    for title, protocols in SECTIONS.items():
        sections = [section(name, line, reports) for name, line in protocols.items()]
        if filled := [text for text in sections if text]:
            parts.extend([f"## {title}", *filled])
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with --check compare it; return the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/results.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if not up to date")
    check = parser.parse_args(arguments).check
    try:
        text = page(REPORTS)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if not check:
        PAGE.write_text(text, encoding="utf-8", newline="\n")
        print(f"{PAGE}: {len(text.splitlines())} lines")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE} is not up to date: run python tools/make_results.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
