"""The outage of `docs/operations/outage.md`, played with more runs: `python -m support.outage 5000` (`make outage`).

The page is executed as it stands, its numbers scaled. What the operator does until all is clear are its `cloche` commands from
the first look at the failures to the check that nothing is left: at most ten.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support import pages
from support.pages import Command, parts, reader

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "outage.md"
RUNS = 500  # that the page has
COMMANDS_MAX = 10
_COUNT = re.compile(r"(?<![\d.-])( *)(500|400|100|900)(?!\d)")


def page_with(runs: int) -> str:
    """The page, with so many orders in place of 500: a multiple of 5."""

    def scaled(found: re.Match[str]) -> str:
        number = str(int(found[2]) * runs // RUNS)
        return f"{number:>{len(found[0])}}" if len(found[1]) > 1 else found[1] + number  # a column keeps its width

    return _COUNT.sub(scaled, PAGE.read_text("utf-8"))


def operators_commands(text: str) -> list[str]:
    """What somebody types from the first look to the last check."""
    typed = [part.line for part in parts(text) if isinstance(part, Command) and part.line.startswith("cloche ")]
    looks = [index for index, line in enumerate(typed) if line.startswith("cloche failures")]
    return typed[looks[0] : looks[-1] + 1]


def played(runs: int, place: Path) -> Iterator[str]:
    """Each part of the page as it is done. Raises AssertionError where something is otherwise than the page says."""
    text = page_with(runs)
    assert len(operators_commands(text)) <= COMMANDS_MAX
    with reader(place) as one:
        for part in parts(text):
            began = time.monotonic()
            assert (differs := one.perform(part)) is None, differs
            if isinstance(part, Command):
                yield f"{time.monotonic() - began:7.1f} s  {part.line}"


if __name__ == "__main__":
    pages.PATIENCE_S = 7200.0
    with tempfile.TemporaryDirectory() as folder:
        for line in played(int(sys.argv[1]), Path(folder)):
            print(line, flush=True)
    print("all runs are clear, no completed step ran again, no key was charged twice")
