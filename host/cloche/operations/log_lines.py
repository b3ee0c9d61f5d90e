"""Lines of a log, of `logging`: as text or as JSON, with the run, the step and the tenant that they are about."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from cloche.steps.output import SCOPE
from cloche.text import shown


class WithScope(logging.Filter):
    """Gives a record `cloche`, which says what it is about; a worker does that by itself, from when it is open."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "cloche"):
            record.cloche = SCOPE.get()
        return True


class TextLines(logging.Formatter):
    """`warning tenant default run order-1 step charge: …`, and the time if it is wanted."""

    def __init__(self, *, with_time: bool) -> None:
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        facts = _facts(record)
        where = " ".join(f"{name} {facts[name]}" for name in ("tenant", "run", "step") if name in facts)
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3] + " "
        message = shown(_message(self, record), lines=True)
        return f"{clock if self._with_time else ''}{record.levelname.lower()}{f' {shown(where)}' if where else ''}: {message}"


class JsonLines(logging.Formatter):
    """time (RFC 3339), level, logger, message; tenant, run, step, attempt where it is about one; error: a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    scope = getattr(record, "cloche", None)
    if scope is None:
        return {}
    facts: dict[str, Any] = {"tenant": scope.tenant, "run": scope.run}
    return {**facts, "step": scope.step, "attempt": scope.attempt} if scope.step else facts


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        message += "\n" + formatter.formatException(record.exc_info)
    return message
