"""A cell without glass: packed events in, packed commands out, by the rules of `guest/ABI.md`.

It runs the Python that a workflow is under glass, or would be, on the prelude of the Python guest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Any, Final

from cloche.engines.code import Code
from cloche.engines.direct.driver import Fault, Run
from cloche.engines.direct.encoding import Encoding
from cloche.engines.direct.inside import builtins_of
from cloche.engines.direct.prelude import Prelude, turns
from cloche.engines.direct.writer import Output
from cloche.errors import CellBusy, GuestFault, InvalidInput, LoadFailed, StackExhausted
from cloche.history.failures import Failure
from cloche.history.messages import END_OF_EVENT
from cloche.history.values import decode
from cloche.sandbox.faults import raise_fault

EVENT_BYTES_MAX: Final = 8 << 20
RESIDENT_BYTES: Final = 32 << 10  # of a small workflow; nothing here is metered
_MALFORMED, _OUT_OF_MEMORY, _BROKEN = -1, -3, -8
_BEFORE: Final = (0, 12)  # what comes before a run has started
_WHEN: Final = "in a turn"


class DirectCell:
    """One run. Used by one thread at a time; after a fault it is dead.

    `fuel_used` stays 0: nothing is measured here. `state_hash` is one of the events delivered so far. It tells whether two
    cells were told the same, which makes them equal as far as the code is the pure function it should be; the sandbox's hash is
    of the memory itself and proves it.
    """

    __slots__ = ("_abi", "_heard", "_is_dead", "_prelude", "_run", "_state", "fuel_used")

    def __init__(self, prelude: Prelude, code: Code, source: str) -> None:
        """
        Raises:
            LoadFailed: the source does not parse, or raised while it was run.
        """
        self._prelude = prelude
        self._abi = code.abi
        self._run = Run(Encoding(code.language, code.abi, prelude.convert), prelude.loop, prelude.canceled)
        self._state = prelude.fresh()
        self._heard = blake2b(digest_size=32)
        self._is_dead = False
        self.fuel_used = 0
        with self._lent():
            self._load(source)

    def _load(self, source: str) -> None:
        prelude = self._prelude
        try:
            prelude.load(source, builtins_of(prelude.package, prelude.kind, prelude.loop.log))
        except Exception as error:
            wire, where, out = prelude.loop.failure(error), prelude.place(error), Output()
            self._run.encoding.write_command(out, {**wire, "data": where} if where else wire)
            failure = Failure.from_wire(decode(bytes(out)))
            raise LoadFailed(f"the workflow's code could not be loaded: {failure}", failure=failure) from error

    def turn(self, events: Sequence[bytes], *, light: bool = False) -> bytes:
        """As the sandbox's cell, but that nothing here is metered: every turn counts as light.

        Raises:
            CellBusy: it is to be light, and another thread makes a turn: one is made at a time.
            GuestFault: it was stopped, and must be dropped.
            InvalidInput: an event is larger than the input window of a guest (8 MiB).
        """
        if not turns.acquire(blocking=not light):
            raise CellBusy
        out = Output()
        try:
            with self._lent():
                for event in events:
                    _check_size(event)
                    self._deliver(event, out)
                    out.append(END_OF_EVENT)
        finally:
            turns.release()
        return bytes(out)

    def _deliver(self, packed: bytes, out: Output) -> None:
        self._heard.update(len(packed).to_bytes(8, "big"))
        self._heard.update(packed)
        run = self._run
        event = self._read(packed)
        out.begin_event()
        try:
            run.deliver(event)
            for command in run.asked.commands:
                run.encoding.write_command(out, command)
                out.check()
        except (Fault, GuestFault) as stopped:
            if isinstance(stopped, GuestFault):
                raise
        except MemoryError:
            raise_fault(_OUT_OF_MEMORY, _WHEN)
        except RecursionError as error:
            raise StackExhausted(
                "the workflow was stopped in a turn: its workflows or values were nested deeper than the stack"
            ) from error
        except Exception as error:
            if run.fault is None:
                run.fault = Fault(_BROKEN)
                run.fault.__cause__ = error
        if run.fault is not None:
            raise_fault(run.fault.code, _WHEN)
        run.asked.commands.clear()

    def state_hash(self) -> str:
        return self._heard.hexdigest()

    def freeze(self) -> None:
        """Coroutines of this process cannot be frozen."""

    @property
    def resident_bytes(self) -> int:
        return RESIDENT_BYTES

    def __del__(self) -> None:
        """What its coroutines still do when they are closed, they do as code of this run, and nothing comes of it."""
        if getattr(self, "_state", None) is None or not self._run.tasks:
            return
        with self._lent():
            self._run.finished = True
            for task in list(self._run.tasks):
                with suppress(BaseException):
                    task.coroutine.close()

    # ---- inside ----

    @contextmanager
    def _lent(self) -> Iterator[None]:
        with self._prelude.lent(self._run, self._state):
            yield

    def _read(self, packed: bytes) -> list[Any]:
        """The event, as the driver of the guest hands it on: what it does not know is left out."""
        try:
            items = decode(packed)
        except Exception:
            raise_fault(_MALFORMED, _WHEN)
        if not isinstance(items, list) or len(items) < 2 or type(items[0]) is not int or type(items[1]) is not int:
            raise_fault(_MALFORMED, _WHEN)
        kind, time, *rest = items
        needed, optional = _SHAPES.get(kind, ("x", ""))
        if (kind in _BEFORE) is self._run.started or len(rest) < len(needed):
            raise_fault(_MALFORMED, _WHEN)
        found = [_PARTS[letter](item) for letter, item in zip(needed + optional, rest, strict=False)]
        if any(one is _ODD for one in found):
            raise_fault(_MALFORMED, _WHEN)
        received = self._run.encoding.received
        return [kind, time, *(one if type(one) is bytes else received(one) for one in found)]


def _check_size(event: bytes) -> None:
    if len(event) > EVENT_BYTES_MAX:
        raise InvalidInput(
            f"an event has {len(event)} bytes, and {EVENT_BYTES_MAX} can enter the glass: "
            "return a reference to large data instead",
            path="",
        )


# What follows kind and time: `guest/python/src/read.c` has the same table.
_SHAPES: Final[dict[int, tuple[str, str]]] = {
    0: ("svm", ""), 1: ("cv", "m"), 2: ("cf", ""), 3: ("cm", "m"), 4: ("c", ""), 5: ("cv", ""), 6: ("co", ""), 7: ("", "t"),
    9: ("cm", ""), 10: ("cv", "m"), 11: ("m", ""), 12: ("v", ""), 13: ("cf", ""),
}  # fmt: skip
_ODD: Final[Any] = object()


def _failure(item: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not isinstance(item.get("message"), str):
        return _ODD
    found = {"cause": _failure(item["cause"])} if "cause" in item else {}
    if "members" in item:
        found["members"] = [_failure(one) for one in item["members"]] if isinstance(item["members"], list) else _ODD
    for name in ("bases", "notes"):
        if name in item:
            found[name] = item[name] if _is_texts(item[name]) else _ODD
    if any(one is _ODD for one in (*found.values(), *(found.get("members") or ()))):
        return _ODD
    return {key: found.get(key, value) for key, value in item.items() if key in _OF_FAILURE}


_OF_FAILURE: Final = frozenset(["data", "name", "bases", "cause", "notes", "members", "message"])


def _is_texts(item: Any) -> bool:
    return isinstance(item, list) and all(isinstance(one, str) for one in item)


def _outcome(item: Any) -> Any:
    match item:
        case [0, value, *_]:
            return [0, value]
        case [1, failure, *_]:
            found = _failure(failure)
            return _ODD if found is _ODD else [1, found]
    return _ODD


_PARTS: Final[dict[str, Callable[[Any], Any]]] = {
    "s": lambda item: item if isinstance(item, bytes) and len(item) == 16 else _ODD,
    "c": lambda item: item if type(item) is int and item >= 0 else _ODD,
    "m": lambda item: item if isinstance(item, dict) else _ODD,
    "f": _failure,
    "o": _outcome,
    "t": lambda item: item if isinstance(item, str) else _ODD,
    "v": lambda item: item,
}
