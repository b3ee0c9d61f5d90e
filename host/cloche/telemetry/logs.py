"""Log lines as JSON, with the run and step that they are of, and the ids of the trace: those of spans.

Whatever a step logs or prints, by `ctx.log` or by a logger of its own, has them. What is replayed logs nothing.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any


class JsonLines(logging.Formatter):
    """time (RFC 3339), level, logger, message; tenant, run, step and attempt where the line is about one; trace_id and span_id
    where there is a trace; error: a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **facts_of(record),
            **_trace(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """tenant and run, step and attempt, of the context that wrote the line."""
    from cloche.steps.output import SCOPE

    scope = getattr(record, "cloche", None) or SCOPE.get()
    if scope is None:
        return {}
    facts: dict[str, Any] = {"tenant": scope.tenant, "run": scope.run}
    return {**facts, "step": scope.step, "attempt": scope.attempt} if scope.step else facts


def _trace() -> dict[str, str]:
    if (trace := sys.modules.get("opentelemetry.trace")) is None:
        return {}
    context = trace.get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"} if context.is_valid else {}
