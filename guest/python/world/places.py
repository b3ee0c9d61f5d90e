"""Where in the workflow's source something happened."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

import _cloche

from .store import ROOT

SOURCE: Final = "<workflow>"
TRACE_MAX: Final = 20


def trace(error: BaseException) -> list[list[Any]]:
    """Where in the workflow's source it happened: [line, function] of each frame, outermost first.

    The function of a module that it imports has the module's file before it: `shop/prices.py:total`.
    """
    frames: list[list[Any]] = []
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        if code.co_filename == SOURCE:
            frames.append([at.tb_lineno, code.co_qualname])
        elif code.co_filename.startswith(ROOT):
            frames.append([at.tb_lineno, f"{code.co_filename[len(ROOT) :]}:{code.co_qualname}"])
        at = at.tb_next
    return frames[-TRACE_MAX:]


def module(error: BaseException) -> str | None:
    """The file of the module that the workflow imports, in which it happened; None for its own source."""
    frames = trace(error)
    return frames[-1][1].rpartition(":")[0] or None if frames else None


def place(error: BaseException) -> dict[str, Any] | None:
    """Line and column of the innermost frame in the workflow's source; of wrong syntax in a module it imports with the file."""
    if isinstance(error, SyntaxError) and error.lineno:
        return {"line": error.lineno, "column": max(error.offset or 1, 1), **_file(error.filename)}
    at, found = error.__traceback__, None  # type: TracebackType | None, TracebackType | None
    while at is not None:
        if at.tb_frame.f_code.co_filename == SOURCE:
            found = at
        at = at.tb_next
    return {"line": found.tb_lineno, "column": _column(found)} if found else None


def _file(name: str | None) -> dict[str, str]:
    return {"file": name[len(ROOT) :]} if name and name.startswith(ROOT) else {}


def _column(at: TracebackType) -> int:
    positions = list(at.tb_frame.f_code.co_positions())
    column = positions[at.tb_lasti // 2][2] if at.tb_lasti >= 0 else 0
    return (column or 0) + 1


_cloche.trace = trace
