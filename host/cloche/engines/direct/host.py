"""What a workflow can ask for: the open calls of a run, and the commands that open them.

As `guest/js/src/commands.c` and `calls.c`: a call answers a promise; what cannot be asked rejects it, is not written and
takes no number; behind the end of the run nothing is written any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from cloche.engines.direct.promises import Microtasks, Promise
from cloche.engines.direct.values import INSTANT_MS_MAX, Thrown
from cloche.engines.direct.writer import Output, Refused
from cloche.sandbox.faults import raise_fault

EVENT_COMMANDS_MAX: Final = 100_000
_TOO_MANY_COMMANDS: Final = -6
_UNKNOWN_CALL: Final = -7


class CallKind(IntEnum):
    """The number of the command that opens it."""

    STEP = 0
    TIMER = 1
    HOOK = 2


@dataclass(slots=True)
class OpenCall:
    kind: CallKind
    promise: Promise
    value: Any = None  # what a timer gives back


class Host:
    """The run's side of the boundary. `now` is the time of the event being delivered."""

    __slots__ = ("_calls", "_commands", "_last_call", "_out", "finished", "microtasks", "now")

    def __init__(self) -> None:
        self.microtasks = Microtasks()
        self.now = 0
        self.finished = False
        self._calls: dict[int, OpenCall] = {}
        self._last_call = 0
        self._out = Output()
        self._commands = 0

    def begin_event(self, out: Output, now: int) -> None:
        self._out, self.now, self._commands = out, now, 0
        out.begin_event()

    # ---- calls ----

    def step(self, name: str, path: str, argument: Any) -> Promise:
        return self._ask(CallKind.STEP, path, name, argument)

    def sleep_until(self, path: str, due: int | float, value: Any) -> Promise:
        """`due` in milliseconds; never in the past."""
        due = min(due, INSTANT_MS_MAX) if due > self.now else self.now
        return self._ask(CallKind.TIMER, path, int(due), value)

    def hook(self, path: str, name: str, value: Any) -> Promise:
        return self._ask(CallKind.HOOK, path, name, value)

    def _ask(self, kind: CallKind, path: str, what: str | int, value: Any) -> Promise:
        promise = Promise(self.microtasks)
        if self.finished:
            return promise
        call = self._last_call + 1
        out, mark = self._out, self._begin(5, kind)
        out.head(0, call)
        out.text(path)
        try:
            if isinstance(what, int):
                out.integer(what)
            else:
                out.text(what)
            if kind is CallKind.STEP:
                self._argument(value)
            else:
                self._value(value, "value")
        except Thrown as refusal:
            self._take_back(mark)
            return self.microtasks.rejected(refusal.value)
        out.check()
        self._last_call = call
        self._calls[call] = OpenCall(kind, promise, value if kind is CallKind.TIMER else None)
        return promise

    def _argument(self, value: Any) -> None:
        self._out.head(4, 1)
        try:
            self._out.value(value, 1)
        except Refused as refused:
            refused.place.append(0)
            raise Thrown(refused.error("arguments")) from None

    def answered(self, call: object, kind: CallKind) -> OpenCall:
        """The open call that an event settles, closed.

        Raises:
            GuestFault: there is none of that kind.
        """
        found = self.open_call(call, kind)
        del self._calls[call]  # type: ignore[arg-type]
        return found

    def open_call(self, call: object, kind: CallKind) -> OpenCall:
        found = self._calls.get(call) if isinstance(call, int) else None
        if found is None or found.kind is not kind:
            raise_fault(_UNKNOWN_CALL, "in a turn")
        return found

    def settle(self, call: OpenCall, succeeded: bool, value: Any) -> None:
        """Tell the workflow, if it is still there to hear."""
        if not self.finished:
            call.promise.settle(succeeded, value)

    # ---- reports ----

    def entered(self, path: str, value: Any) -> None:
        if self.finished:
            return
        mark = self._begin(3, 5)
        self._out.text(path)
        try:
            self._value(value, "value")
        except Thrown:
            self._take_back(mark)
            raise
        self._out.check()

    def left(self, path: str, succeeded: bool, value: Any) -> None:
        if self.finished:
            return
        mark = self._begin(3, 6)
        out = self._out
        out.text(path)
        out.head(4, 2)
        out.head(0, 0 if succeeded else 1)
        if not succeeded:
            out.failure(value, 1)
        else:
            try:
                self._value(value, "result", 1)
            except Thrown:
                self._take_back(mark)
                raise
        out.check()

    def log(self, level: int, text: str) -> None:
        if not self.finished:
            self._begin(3, 4)
            self._out.head(0, level)
            self._out.text(text)
            self._out.check()

    # ---- the end ----

    def end(self, succeeded: bool, value: Any) -> None:
        """The workflow's own promise was settled: the run's last command. A result that cannot cross is how it fails."""
        if self.finished:
            return
        mark = self._begin(2, 7 if succeeded else 8)
        try:
            if succeeded:
                self._value(value, "result")
            else:
                self._out.failure(value, 0)
        except Thrown as refusal:
            self._take_back(mark)
            self.end(False, refusal.value)
            return
        self._out.check()
        self.finished = True
        self.microtasks.clear()  # nothing of what is left to do can be seen

    # ---- commands ----

    def _begin(self, size: int, kind: int) -> int:
        """Open a command; gives the mark to take it back to."""
        if self._commands == EVENT_COMMANDS_MAX:
            raise_fault(_TOO_MANY_COMMANDS, "in a turn")
        self._commands += 1
        mark = len(self._out)
        self._out.append(0x80 | size)
        self._out.append(kind)
        return mark

    def _take_back(self, mark: int) -> None:
        del self._out[mark:]
        self._commands -= 1

    def _value(self, value: Any, root: str, depth: int = 0) -> None:
        try:
            self._out.value(value, depth)
        except Refused as refused:
            raise Thrown(refused.error(root)) from None
