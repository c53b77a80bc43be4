"""What all tests share."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from parity import REPORT

# Where the tests are spread over processes, each has one processor.
THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
torch.set_num_threads(THREADS)
os.environ["OMP_NUM_THREADS"] = str(THREADS)  # of processes that tests start: sums are the same


@pytest.fixture(autouse=True, scope="session")
def indexes_of_films(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the indexes of films in a folder of the tests' own, also those of processes."""
    before = os.environ.get("FRAMEFILL_CACHE")
    os.environ["FRAMEFILL_CACHE"] = str(tmp_path_factory.mktemp("indexes"))
    yield
    if before is None:
        del os.environ["FRAMEFILL_CACHE"]
    else:
        os.environ["FRAMEFILL_CACHE"] = before


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a process of many has found to the one that reports it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["parity"] = REPORT


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take in what a process has found."""
    for what, worst in node.workeroutput.get("parity", {}).items():
        REPORT[what] = max(worst, REPORT.get(what, 0.0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how close the parity tests came to the recordings."""
    if REPORT:
        terminalreporter.section("parity: worst relative error per recording")
        for what, worst in sorted(REPORT.items()):
            terminalreporter.write_line(f"{worst:9.1e}  {what}")
