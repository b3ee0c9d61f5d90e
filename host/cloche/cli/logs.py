"""What a worker says beside its output, by `logging`: as text, or as one JSON object a line, with run, step and tenant."""

from __future__ import annotations

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
    """Have log lines on standard error. Where the TARGET has set logging up and nothing is asked for, it stays."""
    from cloche.telemetry import JsonLines

    if logging.getLogger().handlers and log_format == "text" and not verbose:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines(with_time=verbose > 0))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(LEVELS[min(verbose, len(LEVELS) - 1)])
    # A guest that is compiled takes seconds in which nothing else moves: that is said in any case.
    logging.getLogger("cloche.sandbox").setLevel(min(logging.INFO, root.level))


class TextLines(logging.Formatter):
    """`warning tenant default run order-1 step charge: …`, and the time if it is wanted; nothing that a terminal would obey."""

    def __init__(self, *, with_time: bool) -> None:
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        from cloche.telemetry.logs import facts_of
        from cloche.text import shown

        facts = facts_of(record)
        where = " ".join(f"{name} {facts[name]}" for name in ("tenant", "run", "step") if name in facts)
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3] + " "
        message = shown(_message(self, record), lines=True)
        about = f" {shown(where)}" if where else ""
        return f"{clock if self._with_time else ''}{record.levelname.lower()}{about}: {message}"


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        message += "\n" + formatter.formatException(record.exc_info)
    return message
