"""What steps print and log, kept beside their attempt: `ctx.log`, `print`, and `logging` of whatever they call.

For as long as a worker is open (`begin_capture`, `end_capture`) standard output and the records of `logging` pass by here, and
go on to where they went. Which attempt a line belongs to is said by the context (`contextvars`) that wrote it, which tasks and
threads of a step have too.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TextIO, cast

from cloche.history.messages import LOG_LEVELS

LINES_MAX = 1_000  # of one attempt: what comes after is counted
LINE_CHARS_MAX = 2_000
CHARS_MAX = 100_000  # of one attempt
STEPS = "cloche.run"  # the logger above those of steps
_INFO = LOG_LEVELS.index("info")


class Scope:
    """What goes on in a context: the run, and where it is a step's, its path and attempt. Lines of a step are kept in it."""

    __slots__ = (
        "_chars",
        "_on_line",
        "_rest",
        "attempt",
        "dropped",
        "lines",
        "queued_ms",
        "run",
        "step",
        "tenant",
    )

    def __init__(
        self, tenant: str, run: str, step: str = "", attempt: int = 0, on_line: Callable[[], None] | None = None
    ) -> None:
        self.tenant, self.run, self.step, self.attempt = tenant, run, step, attempt
        self.queued_ms = 0  # how long it waited for a thread
        self.lines: list[tuple[int, str]] = []
        self.dropped = 0
        self._chars = 0
        self._rest = ""  # what was printed of a line that has not ended
        self._on_line = on_line  # called when the first line comes after `take`; in any thread

    def printed(self, text: str) -> None:
        """A piece of standard output."""
        whole, newline, rest = (self._rest + text).rpartition("\n")
        self._rest = rest[:LINE_CHARS_MAX]
        if newline:
            for line in whole.split("\n"):
                self.line(_INFO, line)

    def line(self, level: int, text: str) -> None:
        """One line, or several that belong together."""
        if self._on_line is None:
            return
        text = text[:LINE_CHARS_MAX].encode("utf-8", "backslashreplace").decode()
        if len(self.lines) >= LINES_MAX or self._chars + len(text) > CHARS_MAX:
            self.dropped += 1
        else:
            self._chars += len(text)
            self.lines.append((level, text))
        if len(self.lines) + self.dropped == 1:
            self._on_line()

    def take(self) -> tuple[list[tuple[int, str]], int]:
        """The lines since the last call, and how many were dropped."""
        lines, self.lines = self.lines, []
        dropped, self.dropped = self.dropped, 0
        return lines, dropped

    def close(self) -> None:
        """The attempt has ended: what a thread of it still prints belongs to nothing."""
        if self._rest:
            self.printed("\n")
        self._on_line = None  # what it is called on has this: the collector is left no circle for each attempt


SCOPE: ContextVar[Scope | None] = ContextVar("cloche_scope", default=None)


class StepLogger(logging.Logger):
    """`ctx.log`: what is at INFO or above is kept beside the step, however logging is set up; else the logger of its name."""

    def __init__(self, step: str) -> None:
        super().__init__(f"{STEPS}.{step}")
        self._real = logging.getLogger(STEPS).getChild(step)

    def isEnabledFor(self, level: int) -> bool:  # the name is logging's
        return level >= logging.INFO or self._real.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        if self._real.isEnabledFor(record.levelno):
            self._real.handle(record)


_loggers: dict[str, StepLogger] = {}


def logger_of(step: str) -> logging.Logger:
    """`ctx.log` of the step of this id."""
    found = _loggers.get(step)
    if found is None:
        found = _loggers[step] = StepLogger(step)
    return found


class _Tee:
    """Standard output, which a step's context is told of too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        scope = SCOPE.get()
        if scope is not None and scope.step:
            scope.printed(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_open = 0  # workers of this process
_undo: list[Callable[[], None]] = []


def begin_capture() -> None:
    """From here on what steps print and log is kept in their `Scope`, and records of `logging` have one as `record.cloche`.

    Once for each worker of the process; each is ended by `end_capture`.
    """
    global _open
    _open += 1
    if _open == 1:
        _undo.extend((_tee_stdout(), _mark_records()))


def end_capture() -> None:
    """With the last worker, everything is as it was."""
    global _open
    _open = max(0, _open - 1)
    while _undo and not _open:
        _undo.pop()()


def _tee_stdout() -> Callable[[], None]:
    before = sys.stdout
    if before is None:  # as under pythonw
        return lambda: None
    tee = _Tee(before)
    sys.stdout = cast(TextIO, tee)

    def undo() -> None:
        if sys.stdout is tee:  # else somebody has put another one in its place since
            sys.stdout = before

    return undo


def _mark_records() -> Callable[[], None]:
    """A factory of records, not a handler: a handler of the root would keep `logging.basicConfig` from doing anything."""
    before = logging.getLogRecordFactory()

    def make(*args: Any, **more: Any) -> logging.LogRecord:
        record = before(*args, **more)
        scope = record.cloche = SCOPE.get()
        if scope is not None and scope.step and _is_of_step(record.name):
            scope.line(_level_of(record.levelno), _text_of(record))
        return record

    logging.setLogRecordFactory(make)

    def undo() -> None:
        if logging.getLogRecordFactory() is make:
            logging.setLogRecordFactory(before)

    return undo


def _is_of_step(name: str) -> bool:
    """Not what cloche itself says while a step runs."""
    return not name.startswith("cloche") or name.startswith(STEPS + ".")


def _level_of(level: int) -> int:
    """As `LOG_LEVELS` has it."""
    return 4 if level >= logging.ERROR else 3 if level >= logging.WARNING else 2 if level >= logging.INFO else 1


def _text_of(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # arguments that do not fit: logging itself says so on standard error, and goes on
        text = str(record.msg)
    if record.exc_info and record.exc_info[0] is not None:
        text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
    return text
