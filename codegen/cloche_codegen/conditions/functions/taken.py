"""What comes of a function that goes under glass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Taken:
    """A function that has gone under glass.

    Attributes:
        name: what it is called in `source`, whose last statement defines it.
        source: Python statements that define all it needs.
        parameters: how many it takes by position: its data, and its context.
        lines: for each line of `source` the file and line it is from; None for those that were made.
        values: the plain data it captured, by name.
        exceptions: the classes of exceptions that have come along: their names in `source`, and their qualified ones.
        files: of the modules that have come along as they are, by their paths.
    """

    name: str
    source: str
    parameters: int
    lines: tuple[tuple[str, int] | None, ...]
    values: dict[str, Any]
    exceptions: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Definition:
    """A piece of its source; `file` and `line` say where it is from, unless it was made."""

    text: str
    file: str | None = None
    line: int = 0
