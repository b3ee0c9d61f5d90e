"""What a worker says beside its output, by `logging`: as text, or as one JSON object a line, with run, step and tenant."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)  # by how often -v was given


def log_options(function: F) -> F:
    """`--log-format` and `-v`, as `log_format` and `verbose`."""
    form = click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="How log lines stand on standard error; json: an object a line, with run, step and tenant.",
    )
    more = click.option("-v", "--verbose", count=True, help="Say more: steps that are tried again; -vv everything.")
    return form(more(function))


def set_up(log_format: str, verbose: int) -> None:
    """Have log lines on standard error. Where the TARGET has set logging up, and nothing is asked for, it stays so."""
    from cloche.steps.output import SCOPE

    if logging.getLogger().handlers and log_format == "text" and not verbose:
        return

    class WithScope(logging.Filter):
        """Of records that were made before a worker was open: nothing marks those."""

        def filter(self, record: logging.LogRecord) -> bool:
            if not hasattr(record, "cloche"):
                record.cloche = SCOPE.get()
            return True

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(WithScope())
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines(with_time=verbose > 0))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(LEVELS[min(verbose, len(LEVELS) - 1)])
    # A guest that is compiled takes seconds in which nothing else moves: that is said in any case.
    logging.getLogger("cloche.sandbox").setLevel(min(logging.INFO, root.level))


class TextLines(logging.Formatter):
    """`warning tenant default run order-1 step charge: …`, and the time if it is wanted."""

    def __init__(self, *, with_time: bool) -> None:
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        from cloche.text import shown

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
