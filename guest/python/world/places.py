"""Where in the workflow's source something happened."""

import _cloche

SOURCE = "<workflow>"
TRACE_MAX = 20


def trace(error):
    """Where in the workflow's source it happened: [line, function] of each frame, outermost first."""
    frames, at = [], error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        if code.co_filename == SOURCE:
            frames.append([at.tb_lineno, code.co_qualname])
        at = at.tb_next
    return frames[-TRACE_MAX:]


def place(error):
    if isinstance(error, SyntaxError) and error.lineno:
        return {"line": error.lineno, "column": max(error.offset or 1, 1)}
    at, found = error.__traceback__, None
    while at is not None:
        if at.tb_frame.f_code.co_filename == SOURCE:
            found = at
        at = at.tb_next
    return {"line": found.tb_lineno, "column": _column(found)} if found else None


def _column(at):
    positions = list(at.tb_frame.f_code.co_positions())
    column = positions[at.tb_lasti // 2][2] if at.tb_lasti >= 0 else 0
    return (column or 0) + 1


_cloche.trace = trace
