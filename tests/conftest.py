"""What all tests share."""

import pytest
import torch
from parity import REPORT

torch.set_num_threads(2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how close the parity tests came to the recordings."""
    if REPORT:
        terminalreporter.section("parity: worst relative error per recording")
        for what, worst in sorted(REPORT.items()):
            terminalreporter.write_line(f"{worst:9.1e}  {what}")
