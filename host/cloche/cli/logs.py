"""What a worker says beside its output, by `logging`: as text, or as one JSON object a line, with run, step and tenant."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
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
    from cloche.operations.log_lines import JsonLines, TextLines, WithScope

    if logging.getLogger().handlers and log_format == "text" and not verbose:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(WithScope())
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines(with_time=verbose > 0))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(LEVELS[min(verbose, len(LEVELS) - 1)])
    # A guest that is compiled takes seconds in which nothing else moves: that is said in any case.
    logging.getLogger("cloche.sandbox").setLevel(min(logging.INFO, root.level))
