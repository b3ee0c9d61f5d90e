"""`print` and `logging` as log lines of the run. While the code is loaded they say nothing."""

from __future__ import annotations

import codecs
import logging
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final

INFO, ERROR = 2, 4
_LEVELS: Final = ((logging.ERROR, 4), (logging.WARNING, 3), (logging.INFO, 2), (logging.DEBUG, 1), (0, 0))


def _log(level: int, text: str) -> None:
    import_module("cloche._loop").log(level, text)


class _Bytes:
    """What is below a text stream: UTF-8, whose characters may come in parts."""

    closed, mode = False, "wb"

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Any) -> int:
        self._lines.write(self._decoder.decode(data))
        return len(data)

    def flush(self) -> None:
        self._lines.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False


class Lines:
    """A text stream; each line becomes one log line."""

    encoding, errors, closed, newlines = "utf-8", "strict", False, None

    def __init__(self, level: int) -> None:
        self._level, self._begun = level, ""
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            _log(self._level, line)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._begun:
            begun, self._begun = self._begun, ""
            _log(self._level, begun)

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


class Handler(logging.Handler):
    """Records of `logging`, their text without time and place: the run's record has both."""

    def emit(self, record: logging.LogRecord) -> None:
        level = next(ours for theirs, ours in _LEVELS if record.levelno >= theirs)
        name = "" if record.name == "root" else f"{record.name}: "
        _log(level, name + self.format(record))


def open_lines() -> None:
    streams: Any = sys
    streams.stdout = streams.__stdout__ = Lines(INFO)
    streams.stderr = streams.__stderr__ = Lines(ERROR)
    streams.stdin = streams.__stdin__ = None
    root = logging.getLogger()
    root.handlers[:] = [Handler()]
    root.setLevel(logging.DEBUG)
    settings: Any = logging
    settings.raiseExceptions = False
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(settings, name, False)
