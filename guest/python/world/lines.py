"""`print` and `logging` as log lines of the run. While the code is loaded they say nothing."""

import logging
import sys

INFO, ERROR = 2, 4
_LEVELS = ((logging.ERROR, 4), (logging.WARNING, 3), (logging.INFO, 2), (logging.DEBUG, 1), (0, 0))


def _log(level, text):
    from cloche._loop import log

    log(level, text)


class Lines:
    """A text stream; each line becomes one log line."""

    encoding, errors, closed, newlines = "utf-8", "strict", False, None

    def __init__(self, level):
        self._level, self._begun = level, ""

    def write(self, text):
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            _log(self._level, line)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        if self._begun:
            begun, self._begun = self._begun, ""
            _log(self._level, begun)

    def isatty(self):
        return False

    def readable(self):
        return False

    def writable(self):
        return True


class Handler(logging.Handler):
    """Records of `logging`, their text without time and place: the run's record has both."""

    def emit(self, record):
        level = next(ours for theirs, ours in _LEVELS if record.levelno >= theirs)
        name = "" if record.name == "root" else f"{record.name}: "
        _log(level, name + self.format(record))


def open_lines():
    sys.stdout = sys.__stdout__ = Lines(INFO)
    sys.stderr = sys.__stderr__ = Lines(ERROR)
    sys.stdin = sys.__stdin__ = None
    root = logging.getLogger()
    root.handlers[:] = [Handler()]
    root.setLevel(logging.DEBUG)
    logging.raiseExceptions = False
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = logging.logAsyncioTasks = False
