"""What a workflow can ask for: the open calls of a run, and the commands that open them.

As `guest/js/src/commands.c` and `calls.c`: a call answers a promise; what cannot be asked rejects it, is not written and
takes no number; after the end of the run nothing is written any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from cloche.history.messages import CallStep, OpenHook, SetTimer, TakePatch
from cloche.sandbox.faults import raise_fault
from oracle.promises import Microtasks, Promise
from oracle.values import INSTANT_MS_MAX, Bail, Thrown
from oracle.writer import Output, Refused

EVENT_COMMANDS_MAX: Final = 100_000
_TOO_MANY_COMMANDS: Final = -6
_UNKNOWN_CALL: Final = -7


class CallKind(IntEnum):
    """The number of the command that opens it."""

    STEP = CallStep.number
    TIMER = SetTimer.number
    HOOK = OpenHook.number


@dataclass(eq=False, slots=True)
class OpenCall:
    kind: CallKind
    path: str
    promise: Promise
    value: Any = None  # what a timer gives back
    is_abandoned: bool = False  # its result may still arrive, and is dropped
    is_suspended: bool = False  # waits for outside data


class Host:
    """The run's side of the boundary. `now` is the time of the event being delivered."""

    __slots__ = (
        "_calls",
        "_commands",
        "_last_call",
        "_out",
        "_patches",
        "finished",
        "known_patches",
        "microtasks",
        "now",
        "on_suspended",
    )

    def __init__(self) -> None:
        self.microtasks = Microtasks()
        self.now = 0
        self.finished = False
        self.on_suspended: Callable[[str, bool], None] = lambda path, whether: None
        self.known_patches: list[str] | None = None  # while newer code replays an old history
        self._patches: dict[str, bool] = {}
        self._calls: dict[int, OpenCall] = {}
        self._last_call = 0
        self._out = Output()
        self._commands = 0

    def begin_event(self, out: Output, now: int) -> None:
        self._out, self.now, self._commands = out, now, 0
        out.begin_event()

    def patched(self, id: str) -> bool:
        """As `guest/js/prelude/patches.js`."""
        answer = self._patches.get(id)
        if answer is None:
            answer = self._patches[id] = self.known_patches is None or id in self.known_patches
            if answer and not self.finished:
                self._begin(2, TakePatch.number)
                self._out.text(id)
                self._out.check()
        return answer

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
        self._calls[call] = OpenCall(kind, path, promise, value if kind is CallKind.TIMER else None)
        return promise

    def _argument(self, value: Any) -> None:
        self._out.head(4, 1)
        try:
            self._out.value(value, 1)
        except Refused as refused:
            refused.place.append(0)
            raise Thrown(refused.error("arguments", [value])) from None

    def settle(self, id: object, kind: CallKind, succeeded: bool, value: Any) -> None:
        """Close the call that an event names and settle its promise, if the workflow still waits for it.

        Raises:
            GuestFault: no call of that kind is open under this number.
        """
        call = self._open_call(id, kind)
        self._mark_suspended(call, False)
        del self._calls[id]  # type: ignore[arg-type]
        if not call.is_abandoned and not self.finished:
            call.promise.settle(succeeded, call.value if kind is CallKind.TIMER else value)

    def suspend(self, id: object, whether: bool) -> None:
        """A step waits for outside data, or does no longer; nothing is settled. Raises as `settle`."""
        self._mark_suspended(self._open_call(id, CallKind.STEP), whether)

    def _open_call(self, id: object, kind: CallKind) -> OpenCall:
        found = self._calls.get(id) if isinstance(id, int) else None
        if found is None or found.kind is not kind:
            raise_fault(_UNKNOWN_CALL, "in a turn")
        return found

    def _mark_suspended(self, call: OpenCall, whether: bool) -> None:
        if call.is_abandoned or call.is_suspended is whether:
            return
        call.is_suspended = whether
        if not self.finished:
            self.on_suspended(call.path, whether)

    def open_calls(self) -> list[tuple[int, str]]:
        """Number and path of the calls that the workflow still waits for, in the order asked."""
        return [(id, call.path) for id, call in self._calls.items() if not call.is_abandoned]

    def drop(self, id: int, by_command: bool) -> None:
        """The result of an open call is not wanted. `by_command`: the host is told so; else it follows from what comes next."""
        call = self._calls[id]
        if call.is_abandoned:
            return
        if by_command:
            if self.finished:
                return
            self._begin(2, 9)
            self._out.head(0, id)
            self._out.check()
        call.is_abandoned = True
        call.value = None

    def abandon(self, promise: Promise) -> None:
        """Give up the call that the promise answers, if it is open."""
        for id, call in self._calls.items():
            if call.promise is promise and not call.is_abandoned:
                self.drop(id, by_command=True)
                return

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
        if isinstance(value, Bail):  # in no nested workflow: it has ended the run, well
            succeeded, value = True, value.value
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
            raise Thrown(refused.error(root, value)) from None
