"""How a test run ends, and what it says then."""

from __future__ import annotations

import sys
import time

import pytest


def pytest_unconfigure() -> None:
    """Give threads of Temporal's SDK the time to end: while Python ends, one of them can abort the process (9 of 40 did)."""
    if "temporalio" in sys.modules:
        time.sleep(0.5)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [one for one in terminalreporter.stats.get("skipped", ()) if "make guest-python" in str(one.longrepr)]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests of the Python guest did not run, for it is not built: make guest-python", yellow=True
        )
    without = [
        one for one in terminalreporter.stats.get("skipped", ()) if "there is no PostgreSQL" in str(one.longrepr)
    ]
    if without:
        terminalreporter.write_line(
            f"{len(without)} tests of the store in PostgreSQL did not run, for there is none", yellow=True
        )
