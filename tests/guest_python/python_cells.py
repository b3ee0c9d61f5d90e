"""Live Python guests for tests; where the guest is not built, what asks for one is skipped and says so."""

from __future__ import annotations

from textwrap import indent
from typing import Any

from guest.cells import FAIL, LOG, Cell, python_module

HEAD = "from cloche import *\n"
ECHO = f"{HEAD}@workflow\nasync def main(input): return input"


def workflow(body: str, head: str = "") -> str:
    """A module whose workflow has this body; `input` and everything of `cloche` are at hand."""
    return f"{HEAD}{head}\n@workflow\nasync def main(input):\n{indent(body, '    ')}\n"


def python_cell(source: str, **options: Any) -> Cell:
    return Cell(source, guest=python_module(), keeps_traces=True, **options)


def outcome(body: str, given_input: Any = None, head: str = "") -> Any:
    """The result of a workflow that asks for nothing, or its failure as (name, message)."""
    *_, last = python_cell(workflow(body, head)).start(given_input)
    return (last[1]["name"], last[1]["message"]) if last[0] == FAIL else last[1]


def lines(body: str) -> list[tuple[int, str]]:
    """Level and text of the log lines of a workflow that asks for nothing else."""
    return [(c[1], c[2]) for c in python_cell(workflow(body)).start() if c[0] == LOG]
