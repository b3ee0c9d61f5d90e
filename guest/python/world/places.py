"""Where in the workflow's source something happened."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

import _cloche

SOURCE: Final = "<workflow>"
TRACE_MAX: Final = 20


def trace(error: BaseException) -> list[list[Any]]:
    """Where in the workflow's source it happened: [line, function] of each frame, outermost first."""
    frames: list[list[Any]] = []
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        if code.co_filename == SOURCE:
            frames.append([at.tb_lineno, code.co_qualname])
        at = at.tb_next
    return frames[-TRACE_MAX:]


def place(error: BaseException) -> dict[str, int] | None:
    if isinstance(error, SyntaxError) and error.lineno:
        return {"line": error.lineno, "column": max(error.offset or 1, 1)}
    at, found = error.__traceback__, None  # type: TracebackType | None, TracebackType | None
    while at is not None:
        if at.tb_frame.f_code.co_filename == SOURCE:
            found = at
        at = at.tb_next
    return {"line": found.tb_lineno, "column": _column(found)} if found else None


def _column(at: TracebackType) -> int:
    positions = list(at.tb_frame.f_code.co_positions())
    column = positions[at.tb_lasti // 2][2] if at.tb_lasti >= 0 else 0
    return (column or 0) + 1


_cloche.trace = trace
