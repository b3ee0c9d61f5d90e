"""Logs with the ids of the run and step that they are of, and of the trace: the same as in spans.

Whatever a step logs, by `ctx.log` or by a logger of its own, has them. What is replayed runs no step, and so logs nothing.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloche.telemetry.watching import Watching

if TYPE_CHECKING:
    from cloche.history.effects import StartStep
    from cloche.run.observing import Ended, WatchedRun
    from cloche_codegen import Step

_where: ContextVar[dict[str, Any] | None] = ContextVar("cloche_logs_of", default=None)


class Logs(Watching):
    """An observer: what is logged in a step is of that step. `JsonLines` writes where."""

    def attempt_begins(self, run: WatchedRun, step: Step, start: StartStep) -> Ended:
        names: dict[str, Any] = {"workflow.name": run.code.workflow, "workflow.run.id": run.key.run}
        names |= {"cloche.tenant.id": run.key.tenant, "step.name": str(step.id)}
        _where.set({**names, "step.id": start.path, "step.attempt": start.attempt})
        return lambda outcome, error: None  # it is so until the attempt's task ends: its failure is logged there


def ids_now() -> dict[str, Any]:
    """The names of run, step and trace here, as spans have them; empty outside of a step that nobody traces."""
    found = dict(_where.get() or {})
    if (trace := sys.modules.get("opentelemetry.trace")) is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            found |= {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    return found


class JsonLines(logging.Formatter):
    """Each record as one line of JSON: time, level, logger, message, the exception where there is one, and the ids."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({**line, **ids_now()}, ensure_ascii=False, default=str)
