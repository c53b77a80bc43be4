"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
import torch
from parity import REPORT

torch.set_num_threads(2)


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how close the parity tests came to the recordings."""
    if REPORT:
        terminalreporter.section("parity: worst relative error per recording")
        for what, worst in sorted(REPORT.items()):
            terminalreporter.write_line(f"{worst:9.1e}  {what}")
