"""What people see of where a failure comes from: the traceback of a step, and the place in the workflow's own code.

All of it is text for people (`text.shown`) and stays outside: no guest is given any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cloche.engines.files import MARK, texts_of
from cloche.run.source_maps import places_in
from cloche.text import shown

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.history import Failure
    from cloche.history.notes import AttemptFailed

KEPT_MAX = 20  # a run may catch any number of failures
_AND_THEN = "\nThe above exception was the direct cause of the following exception:\n\n"


class Tracebacks:
    """Those of a run's last attempts that failed, by what they failed with."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}

    def take(self, note: AttemptFailed) -> None:
        said = (note.failure.name, note.failure.message)
        self._texts.pop(said, None)
        if note.traceback:
            self._texts[said] = shown(note.traceback, lines=True)
        if len(self._texts) > KEPT_MAX:
            del self._texts[next(iter(self._texts))]

    def beside(self, failure: Failure) -> Failure:
        """The failure of a step, with its traceback."""
        return replace(failure, traceback=self._texts.get((failure.name, failure.message)))

    def of_run(self, failure: Failure, code: Code | None) -> str | None:
        """Of what a run failed with: the traceback of the step that it comes from, and where it left the workflow.

        `code` is that of a workflow that somebody wrote.
        """
        known = [text for one in _causes(failure) if (text := self._texts.get((one.name, one.message))) is not None]
        places = [traceback_in(failure, code)] if code is not None and failure.trace else []
        return _AND_THEN.join([*known[-1:], *places]) or None


def traceback_in(failure: Failure, code: Code) -> str:
    """Where in its author's files a workflow that somebody wrote failed, as its language writes it."""
    return _of_javascript(failure, code) if code.language == "javascript" else _of_python(failure, code)


_OF_BUNDLE: Final = re.compile(r"\bworkflow\.js:(\d{1,9}):(\d{1,9})")


def places_of(line: str, code: Code) -> str | None:
    """The places in its author's files that a line of the log names in a bundle with its source map; None if it names none."""
    named = [(int(at), int(column)) for at, column in _OF_BUNDLE.findall(line)]
    found = places_in(code.source, named) if code.language == "javascript" else {}
    lines = [f"    at {':'.join(map(str, found[at]))}" for at in dict.fromkeys(named) if at in found]
    return shown("\n".join([*lines, ""]), lines=True) if lines else None


def _of_javascript(failure: Failure, code: Code) -> str:
    """The innermost place first. In a bundle that has its source map it is that in the file which was bundled."""
    places = places_in(code.source, [(frame.line, frame.column or 1) for frame in failure.trace])
    lines = []
    for frame in reversed(failure.trace):
        at = (frame.line, frame.column or 1)
        place = ":".join(map(str, places.get(at, ("workflow.js", *at))))
        lines.append(f"    at {frame.function} ({place})" if frame.function else f"    at {place}")
    return shown("\n".join([str(failure), *lines, ""]), lines=True)


def _of_python(failure: Failure, code: Code) -> str:
    """Where in its author's file a native workflow failed, as Python writes it."""
    sources = {"": code.source.partition(MARK)[0], **texts_of(code.source)}
    lines = ["Traceback (most recent call last):"]
    for line, called, _ in failure.trace:
        inner, _, function = called.rpartition(":")
        source = sources.get(inner, "").split("\n")
        written = source[line - 1].strip() if 0 < line <= len(source) else ""
        file, number = _place(code, line, inner)
        lines += [f'  File "{file}", line {number}, in {function}', *([f"    {written}"] if written else [])]
    return shown("\n".join([*lines, str(failure), *failure.notes, ""]), lines=True)


def _place(code: Code, line: int, inner: str) -> tuple[str, str]:
    """The author's file and line; `inner` is the file of a module that the workflow's imports."""
    place = code.lines.get(line)
    file, _, number = place.rpartition(":") if place and not inner else (inner or "<workflow>", "", str(line))
    return file, number


_FORGOTTEN: Final = "was called and never awaited, so it never ran"  # the guest's words (`_loop.py`)


def with_place(failure: Failure, code: Code | None) -> Failure:
    """What a run failed with, as people see it: a call that was never awaited has no traceback of its own that they would look
    at, so its message names the author's file and line. The guest knows neither."""
    if code is None or not failure.trace or _FORGOTTEN not in failure.message or code.language != "python":
        return failure
    line, called, _ = failure.trace[-1]
    file, number = _place(code, line, called.rpartition(":")[0])
    return replace(failure, message=f"{file}:{number}: {failure.message}")


def _causes(failure: Failure) -> Iterator[Failure]:
    """It, what it was raised from, and so on."""
    one: Failure | None = failure
    while one is not None:
        yield one
        one = one.cause
