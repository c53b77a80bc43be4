"""The rows that were published, and the page that is made of them and of reports."""

import copy
import csv
import json
import re
import runpy
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from framefill.errors import InputError
from framefill.protocols.published import (
    HEADER,
    PublishedRow,
    published,
    published_rows,
    read_published,
)
from framefill.protocols.table import COLUMNS, TableRow, markdown, published_table_rows

ROOT = Path(__file__).parents[1]
TEXT = (files("framefill.protocols") / "published.csv").read_text(encoding="utf-8")
SCORES = ("fvd", "psnr", "ssim", "lpips", "is", "mse")
PROTOCOLS = [
    *("smmnist-5-10", "smmnist-interpolate-5-10-5", "smmnist-interpolate-5-5-5"),
    *("kth-10-30", "kth-10-40", "kth-interpolate-10-10-5", "kth-interpolate-5-5-5"),
    *("bair-1-15", "bair-1-15-ramvid", "bair-2-14", "bair-2-28"),
    *("bair-interpolate-1-5-2", "bair-interpolate-2-5-2", "bair-complete-0-15"),
    "cityscapes-2-28",
    *("kinetics600-5-11", "kinetics600-complete-0-1-14-15", "kinetics600-complete-0-5-10-15"),
    *("ucf101-4-12", "ucf101-4-16", "ucf101-generate", "ucf101-generate-ramvid"),
    *("digits-5-5", "digits-interpolate-4-2-4", "digits-generate"),
]
# Known by heart, not yet seen in a text: MCVD's tables on moving digits and KTH, its variants and
# interpolation on BAIR, and what was printed beside them. By how the protocol's name begins.
UNSEEN = {
    "": [
        *("20.77", "23.86", "25.63", "57.17", "63.81", "90.81", "16.33", "17.07", "17.22"),
        *("15.37", "14.88", "14.48", "20.94", "27.69", "16.03", "0.753", "0.785", "0.786"),
        *("103.8", "98.8", "96.5", "127.9", "348", "25.16", "0.932", "21.43", "1228.3"),
        *("34.67", "0.943", "35.61", "0.963", "29.19", "0.901", "0.883"),
    ],
    "kth": ["323", "294.7", "24.3", "0.746", "0.835", "26.40", "26.4", "0.812", "180", "30.4"],
    "cityscapes": [
        *("0.112", "0.121", "0.740", "0.194", "567.51", "682.08", "1300.26"),
        *("0.628", "0.609", "0.574", "0.264", "0.304", "0.549"),
    ],
    "ucf101": ["184", "468"],
}


def lines() -> list[dict[str, str]]:
    return list(csv.DictReader(TEXT.splitlines(), strict=True))


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "make_results.py"))


REPORT: dict[str, Any] = {
    "protocol": {"name": "kth-10-40", "frames": 50},
    "marks": ["24 of 256 clips", "2 of 10 trajectories"],
    "rows": [
        {"method": "model", "values": {"PSNR": "23.1 ± 0.4", "CRPS": "0.031"}, "note": "EMA"},
        {"method": "copy last", "values": {"PSNR": "22.9 ± 0.5"}, "note": ""},
    ],
    "made": {
        "date": "2026-11-28",
        "machine": "a machine of two cores",
        "command": "framefill evaluate runs/kth \\\n    --protocol kth-10-40",
    },
    "settings": {"steps": 100},
}


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str = "kth.json", **changes: Any) -> Path:
        (tmp_path / name).write_text(json.dumps({**copy.deepcopy(REPORT), **changes}), "utf-8")
        return tmp_path

    return write


def part(page: str, protocol: str) -> str:
    """The text from a protocol's heading to the next heading."""
    return re.split(r"\n##", page.split(f"\n### {protocol}\n")[1])[0]


def test_the_page_is_up_to_date(tool: dict[str, Any]) -> None:
    assert tool["main"](["--check"]) == 0


def test_an_old_page_is_found_and_made_anew(
    tool: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = tmp_path / "results.md"
    monkeypatch.setitem(tool["main"].__globals__, "PAGE", page)
    assert tool["main"](["--check"]) == 1
    assert not page.exists()
    assert tool["main"]([]) == 0
    assert tool["main"](["--check"]) == 0
    page.write_text(page.read_text("utf-8") + "A word more.\n", "utf-8")
    assert tool["main"](["--check"]) == 1
    assert "is not up to date: run python tools/make_results.py" in capsys.readouterr().err


def test_every_row_says_where_it_is_from_and_holds_numbers() -> None:
    number = re.compile(r"\d+(\.\d+)?( ± \d+(\.\d+)?)?")
    for line in lines():
        assert line["mark"] in ("S", "S2"), line
        assert line["source"].strip(), line
        assert line["protocol"] in PROTOCOLS, line
        values = [line[score] for score in SCORES if line[score]]
        assert values, line
        assert all(number.fullmatch(value) for value in values), line
        assert all(0 <= float(line[name] or 0) <= 1 for name in ("ssim", "lpips")), line
        assert 8 < float(line["psnr"] or 9) < 50, line


def test_no_row_is_there_twice() -> None:
    keys = [
        (line["protocol"], line["method"], line["conditions"], *(line[score] for score in SCORES))
        for line in lines()
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", UNSEEN)
def test_numbers_that_nobody_saw_are_not_shown(name: str) -> None:
    for line in lines():
        if line["protocol"].startswith(name):
            assert not {line[score].split(" ")[0] for score in SCORES} & set(UNSEEN[name]), line


def test_sources_are_named_for_readers_and_not_by_path_or_number() -> None:
    for line in lines():
        assert not re.search(r"\bids?\b|\bindex\b|(^|\s)/\w|\.md\b", line["source"] + line["note"])


@pytest.mark.parametrize(
    ("protocol", "method", "score", "value", "mark"),
    [
        ("bair-1-15", "MCVD, concat, past-future mask", "fvd", "89.5", "S"),
        ("bair-1-15-ramvid", "RaMViD, p_U 0.25", "fvd", "84.20", "S"),
        ("bair-2-14", "MCVD", "fvd", "87.9", "S"),
        ("kth-10-40", "MCVD", "fvd", "276.7", "S2"),
        ("cityscapes-2-28", "MCVD, concat", "fvd", "141.31", "S2"),
        ("kinetics600-5-11", "RaMViD, p_U 0.25", "fvd", "16.46", "S"),
        ("kinetics600-complete-0-5-10-15", "RaMViD, p_U 0.25", "fvd", "4.91", "S"),
        ("ucf101-generate", "MCVD, spatin", "fvd", "1143.0", "S"),
        ("ucf101-generate-ramvid", "RaMViD, p_U 0.75", "inception", "21.71 ± 0.21", "S"),
    ],
)
def test_headline_numbers(protocol: str, method: str, score: str, value: str, mark: str) -> None:
    (row,) = [row for row in published(protocol) if row.method == method]
    assert (getattr(row, score), row.mark) == (value, mark)


def test_rows_of_other_protocols_say_so() -> None:
    notes = {(row.protocol, row.method): row.note for row in published_rows()}
    assert "another protocol" in notes["kth-10-30", "VPTR-NAR"]
    assert "other camera" in notes["bair-1-15-ramvid", "Video Diffusion (VDM)"]
    assert "100 times as many fakes" in notes["bair-1-15-ramvid", "FitVid"]
    own = ("MCVD", "RaMViD", "FitVid")
    for row in published_rows():
        elsewhere = "another protocol" in row.note or "protocol not known here" in row.note
        assert elsewhere or row.method.startswith(own), row


def test_what_is_listed_is_a_copy_and_of_one_protocol() -> None:
    published("bair-1-15").clear()
    assert {row.protocol for row in published("bair-1-15")} == {"bair-1-15"}


GOOD = dict.fromkeys(HEADER, "") | {
    "protocol": "bair-1-15",
    "method": "A",
    "conditions": "1->15",
    "fvd": "9",
    "mark": "S",
    "source": "A paper",
}


def as_text(row: dict[str, str]) -> str:
    return ",".join(row) + "\n" + ",".join(row.values()) + "\n"


def test_a_good_row_is_read() -> None:
    (row,) = read_published(as_text(GOOD))
    assert isinstance(row, PublishedRow)
    assert (row.method, row.fvd, row.inception) == ("A", "9", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (as_text(GOOD | {"fid": "3"}), "columns protocol, .*fid: use protocol, method"),
        (as_text({name: GOOD[name] for name in HEADER[1:]}), "columns method, .*: use protocol"),
        (as_text(GOOD | {"mark": "M"}), "line 2, A, mark 'M': use one of S, S2"),
        (as_text(GOOD | {"mark": ""}), "line 2, A, mark '': use one of S, S2"),
        (as_text(GOOD | {"source": " "}), "line 2, A: the source is empty; name it"),
        (as_text(GOOD | {"fvd": ""}), "line 2, A: holds no score"),
        (as_text(GOOD | {"fvd": "about 9"}), "line 2, A, 'about 9': write a number"),
        (as_text(GOOD) + "B,C\n", "line 3 has 2 cells: needs one per column, 12"),
        ("", "columns : use protocol"),
    ],
)
def test_bad_rows_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_published(text)


def test_markdown_shows_the_columns_that_have_values_in_the_order_given() -> None:
    rows = [
        TableRow("model", {"SSIM": "0.9", "FVD": "12", "MAE": ""}, "x"),
        TableRow("copy last", {"SSIM": "0.8"}, ""),
    ]
    assert markdown(rows, COLUMNS).splitlines() == [
        "| filled by | FVD | SSIM | note |",
        "|---|---|---|---|",
        "| model | 12 | 0.9 | x |",
        "| copy last | - | 0.8 |  |",
    ]
    assert markdown(rows, ["SSIM", "FVD"]).startswith("| filled by | SSIM | FVD | note |\n")


def test_markdown_escapes_pipes_and_newlines() -> None:
    text = markdown([TableRow("a|b", {"FVD": "1|2"}, "one\ntwo\r\nthree|four")], COLUMNS)
    assert text.splitlines()[2:] == [r"| a\|b | 1\|2 | one<br>two<br>three\|four |"]


def test_published_rows_become_table_rows() -> None:
    row = published_table_rows("bair-1-15")[0]
    assert row.values == {"FVD": "89.5", "PSNR": "16.9", "SSIM": "0.780"}
    assert row.note.startswith("1->15, trained on 5; ")
    assert row.note.endswith("[S]")
    assert "RaMViD paper" in row.note
    (generated, *_) = published_table_rows("ucf101-generate-ramvid")
    assert generated.values == {"IS": "21.71 ± 0.21"}


def test_every_protocol_has_its_place_on_the_page(tool: dict[str, Any], tmp_path: Path) -> None:
    assert [name for group in tool["SECTIONS"].values() for name in group] == PROTOCOLS
    text = tool["page"](tmp_path)
    shown = re.findall(r"^### (.+)$", text, re.MULTILINE)
    rowed = {line["protocol"] for line in lines()}
    assert shown == [name for name in PROTOCOLS if name in rowed]
    for row in published_rows():
        assert f"| {row.method} |" in part(text, row.protocol)
    assert "## Digits" not in text


def test_a_report_is_shown_below_what_was_published(
    tool: dict[str, Any], report: Callable[..., Path]
) -> None:
    text = part(tool["page"](report()), "kth-10-40")
    model = "| model | - | 23.1 ± 0.4 | - | - | 0.031 | measured here (a); 24 of 256 clips; "
    assert model + "2 of 10 trajectories; EMA |" in text
    assert text.index("| LMC-Memory |") < text.index("| model |") < text.index("| copy last |")
    below = (
        "(a) Measured here 2026-11-28, a machine of two cores:\n\n    framefill evaluate runs/kth"
    )
    assert below + " \\\n        --protocol kth-10-40" in text


def test_reports_of_one_protocol_have_letters_and_new_protocols_sections(
    tool: dict[str, Any], report: Callable[..., Path]
) -> None:
    report("a.json")
    report("b.json", marks=["other"])
    text = tool["page"](report("c.json", protocol={"name": "digits-5-5"}, marks=[]))
    kth, digits = part(text, "kth-10-40"), part(text, "digits-5-5")
    assert "measured here (a); 24 of" in kth
    assert "measured here (b); other;" in kth
    assert kth.index("(a) Measured") < kth.index("(b) Measured")
    assert "| model | 23.1 ± 0.4 | 0.031 | measured here (a); EMA |" in digits
    assert "| copy last | 22.9 ± 0.5 | - | measured here (a) |" in digits
    assert text.index("## UCF-101") < text.index("## Digits") < text.index("### digits-5-5")


def test_the_page_is_the_same_each_time(tool: dict[str, Any], report: Callable[..., Path]) -> None:
    report("b.json", marks=["second"])
    first = tool["page"](report("a.json"))
    (report("b.json", marks=["second"]) / "a.json").touch()
    assert tool["page"](report("b.json", marks=["second"])) == first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": {"name": "bair-3-3"}}, "kth.json, protocol 'bair-3-3': use one of smmnist"),
        ({"made": {"date": "2026-11-28"}}, r"kth.json is no report .*machine"),
        ({"marks": [3]}, "kth.json is no report .*3 is not text"),
        (
            {"rows": [{"method": "model", "values": {"FID": "3"}, "note": ""}]},
            "kth.json, columns FID: use FVD",
        ),
    ],
)
def test_what_is_no_report_is_refused(
    tool: dict[str, Any], report: Callable[..., Path], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        tool["page"](report(**changes))
