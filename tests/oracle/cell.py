"""A cell without glass: packed events in, packed commands out, by the rules of `guest/ABI.md`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

from cloche.errors import InvalidInput, StackExhausted
from cloche.history.messages import END_OF_EVENT
from cloche.history.values import decode
from cloche.sandbox.faults import raise_fault
from oracle.blocks import Blocks
from oracle.code_strings import Codes, Evaluator
from oracle.host import CallKind, Host
from oracle.program import Program, Running
from oracle.values import Bail, error_of, received
from oracle.writer import Output

EVENT_BYTES_MAX: Final = 8 << 20
RESIDENT_BYTES: Final = 32 << 10  # of a small workflow; nothing here is metered
_MALFORMED: Final = -1
_BEFORE: Final = (0, 12)  # what comes before a run has started
_WHEN: Final = "in a turn"


class DirectCell:
    """One run of a program. Used by one thread at a time; after a fault it is dead.

    `fuel_used` stays 0: nothing is measured here. `state_hash` is one of the events delivered so far. It tells whether two
    cells were told the same, which makes them equal as far as the interpreter is the pure function it should be; the
    sandbox's hash is of the memory itself and proves it.
    """

    __slots__ = ("_abi", "_heard", "_host", "_language", "_main", "_open_evaluator", "_started", "_state", "fuel_used")

    def __init__(self, program: Program, open_evaluator: Callable[[], Evaluator], abi: int) -> None:
        self._abi = abi  # of the guest that the run is pinned to: what it keeps of a value
        self._main = program.main
        self._language = program.language
        self._open_evaluator = open_evaluator
        self._host = Host()
        self._started = False
        self._state: dict[str, Any] = {}
        self._heard = blake2b(digest_size=32)
        self.fuel_used = 0

    def turn(self, events: Sequence[bytes], *, light: bool = False) -> bytes:
        """As the sandbox's cell, but that nothing here is metered: every turn counts as light.

        Raises:
            GuestFault: it was stopped, and must be dropped.
            InvalidInput: an event is larger than the input window of a guest (8 MiB).
        """
        out = Output()
        for event in events:
            if len(event) > EVENT_BYTES_MAX:
                raise InvalidInput(
                    f"an event has {len(event)} bytes, and {EVENT_BYTES_MAX} can enter the glass: "
                    "return a reference to large data instead",
                    path="",
                )
            try:
                self._deliver(event, out)
            except RecursionError as error:
                raise StackExhausted(
                    "the workflow was stopped in a turn: its workflows or values were nested deeper than the stack"
                ) from error
            out.append(END_OF_EVENT)
        return bytes(out)

    def state_hash(self) -> str:
        return self._heard.hexdigest()

    def freeze(self) -> None:
        """Promises of this process cannot be frozen."""

    @property
    def resident_bytes(self) -> int:
        return RESIDENT_BYTES

    # ---- events ----

    def _deliver(self, event: bytes, out: Output) -> None:
        self._heard.update(len(event).to_bytes(8, "big"))
        self._heard.update(event)
        items = _items(event)
        if (items[0] in _BEFORE) is self._started:
            raise_fault(_MALFORMED, _WHEN)
        self._host.begin_event(out, items[1])
        match items:
            case [0, _, bytes() as seed, value, dict() as given, *_] if len(seed) == 16:
                self._start(seed, self._received(value), self._received(given))
            case [1, _, call, value, *state] if _is_patch(state):
                self._answer(call, True, self._received(value), state)
            case [2, _, call, {"name": str(), "message": str()} as failure, *_]:
                self._answer(call, False, error_of(failure, self._language, self._abi), [])
            case [3 | 9 as kind, _, call, dict(), *state] if _is_patch(state):
                self._merge(state if kind == 3 else [])
                self._host.suspend(call, kind == 3)
            case [4, _, call, *_]:
                self._host.settle(call, CallKind.TIMER, True, None)
            case [5, _, call, value, *_]:
                self._host.settle(call, CallKind.HOOK, True, self._received(value))
            case [10, _, call, value, *state] if _is_patch(state):
                self._answer(call, False, Bail(self._received(value)), state)
            case [11, _, dict(), *_]:
                self._host.known_patches = None
            case [12, _, list() as known, *_]:
                self._host.known_patches = known
            case [13, _, call, {"name": str(), "message": str()} as failure, *_]:
                self._host.settle(call, CallKind.HOOK, False, error_of(failure, self._language, self._abi))
            case [7, _] | [7, _, str(), *_]:
                pass  # what a cancellation means is the host's business
            case _:
                raise_fault(_MALFORMED, _WHEN)
        self._host.microtasks.run()

    def _start(self, seed: bytes, value: Any, given: dict[str, Any]) -> None:
        self._started = True
        host = self._host
        self._state = given.setdefault("state", {})
        run = Running(
            host, Blocks(host), Codes(host, seed, self._open_evaluator), self._state, given.get("context", {})
        )
        self._main.call(run, value, None).then(host.end)

    def _received(self, value: Any) -> Any:
        return received(value, self._language, self._abi)

    def _answer(self, call: object, succeeded: bool, value: Any, patches: list[dict[str, Any]]) -> None:
        """The state a step changed is there before the workflow gets its result."""
        self._merge(patches)
        self._host.settle(call, CallKind.STEP, succeeded, value)

    def _merge(self, patches: list[dict[str, Any]]) -> None:
        for patch in patches[:1]:
            self._state.update(self._received(patch))


def _is_patch(state: list[Any]) -> bool:
    """What follows a value may be a change of the state; what follows that is skipped."""
    return all(isinstance(one, dict) for one in state[:1])


def _items(event: bytes) -> list[Any]:
    """The event's items, at least its kind and its time."""
    try:
        items = decode(event)
    except Exception:
        raise_fault(_MALFORMED, _WHEN)
    if not isinstance(items, list) or len(items) < 2 or type(items[0]) is not int or type(items[1]) is not int:
        raise_fault(_MALFORMED, _WHEN)
    return items
