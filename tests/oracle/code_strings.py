"""Code strings: JavaScript, evaluated by the JavaScript guest on every engine.

A run that has code strings keeps one small cell beside it. Its workflow is a loop that asks for the next evaluation as for a
step, and the answer brings the number of the code string and what it may see. So globals, randomness from the run's seed
and the time of the event are those that the code would find in the sandbox, and what it writes to the console goes into the
run's own output. Values cross as a table of objects, not as a tree, so that one that goes in and comes out is the same one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

from cloche.errors import MalformedOutput
from cloche.history.values import decode, encode_plain
from oracle.crossing import Incoming, Outgoing
from oracle.host import Host
from oracle.values import EPOCH, NoError, Thrown

_LOG, _ENTERED, _STEP = 4, 5, 0
_PARSE_DATE: Final = -1
_SIMPLE_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class CodeText:
    """A code string and the names it is handed."""

    text: str
    names: tuple[str, ...]


class Evaluator(Protocol):
    """The cell beside the run."""

    def turn(self, events: list[bytes], /) -> bytes: ...


@cache
def _loop() -> str:
    return Path(__file__).with_name("evaluate.js").read_text("utf-8")


def module_of(codes: list[CodeText]) -> str:
    """The module of the cell beside the run: each code string on lines of its own, as generated code has it."""
    lines = []
    for number, code in enumerate(codes):
        head = f"({{ {', '.join(code.names)} }})" if code.names else "()"
        text = re.sub(r"\r\n?", "\n", code.text).strip(" \t\n")
        lines.append(f"const code_{number} = {head} => (\n  {text}\n);\n")
    names = ", ".join(f"code_{number}" for number in range(len(codes)))
    return "".join(lines) + _loop().replace("/* codes */", names)


class Codes:
    """The code strings of one run. `open` gives its cell, when the first of them is evaluated."""

    __slots__ = ("_call", "_cell", "_host", "_open", "_seed")

    def __init__(self, host: Host, seed: bytes, open: Callable[[], Evaluator]) -> None:
        self._host = host
        self._seed = seed
        self._open = open
        self._cell: Evaluator | None = None
        self._call = 0

    def evaluate(self, number: int, names: dict[str, Any], results: dict[str, Any] | None) -> Any:
        """The value of a code string.

        Raises:
            Thrown: what it threw.
            GuestFault: it was stopped by a limit.
        """
        outgoing = Outgoing()
        given = [[name, outgoing.slot(value)] for name, value in names.items()]
        looked_up = None if results is None else [[id, outgoing.slot(value)] for id, value in results.items()]
        return self._answer([number, outgoing.table(), given, looked_up], outgoing)

    def parse_date(self, text: str) -> int | None:
        """Milliseconds of an RFC 3339 text as JavaScript's `Date.parse` has them, None if it is none."""
        if _SIMPLE_DATE.fullmatch(text):
            try:
                return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)
            except ValueError:
                pass
        if not _DATE.fullmatch(text):
            return None
        found = self._answer([_PARSE_DATE, [], [["text", text]], None], Outgoing())
        return found if isinstance(found, int) else None

    def _answer(self, job: list[Any], outgoing: Outgoing) -> Any:
        if self._cell is None:
            self._cell = self._open()
            self._exchange([0, self._host.now, self._seed, None, {}])
        succeeded, slot, table, text = self._exchange([1, self._host.now, self._call, job])
        value = Incoming(outgoing.objects, table).value(slot)
        if succeeded:
            return value
        raise Thrown(value if text is None else NoError(value, text))

    def _exchange(self, event: list[Any]) -> Any:
        """One event for the cell; its answer to the one before comes with its next question."""
        assert self._cell is not None
        output = self._cell.turn([encode_plain(event)])
        answer: Any = None
        asked = 0
        for command in decode(b"\x9f" + output + b"\xff"):  # a sequence as one list
            match command:
                case [kind, level, text] if kind == _LOG:
                    self._host.log(level, text)
                case [kind, call, "code", "code", [given]] if kind == _STEP:
                    self._call, answer = call, given
                    asked += 1
                case [kind, _, _] if kind == _ENTERED:
                    pass  # how the cell finds out whether a value may cross
                case None:
                    break
                case _:
                    asked = -1
                    break
        if asked != 1:
            raise MalformedOutput("a code string asked for steps or timers itself: it must be a plain expression")
        return answer
