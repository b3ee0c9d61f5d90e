"""Two cells of one workflow, under glass and without, that are told the same and must answer the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from cloche.engines import Cell, CellSource, Code, DirectEngine, Language, SandboxEngine
from cloche.errors import GuestFault
from cloche.history import DEFAULT_TENANT
from cloche.history.values import decode, encode_plain, plain
from cloche_codegen import Workflow

NOW = 1_767_225_600_000
SEED = bytes(range(16))
STEP, TIMER, HOOK, COMPLETE, FAIL, ABANDON = 0, 1, 2, 7, 8, 9
NAMES = {0: "step", 1: "timer", 2: "hook", 4: "log", 5: "entered", 6: "left", 7: "complete", 8: "fail", 9: "abandon"}


@cache
def engines() -> tuple[SandboxEngine, DirectEngine]:
    return SandboxEngine(), DirectEngine()


def code_of(workflow: Workflow, language: Language = "javascript") -> Code:
    source, guest = workflow.source(language), engines()[0].guest(language)[0]
    return Code(workflow.id, guest, source.code, dict(source.map), workflow.graph.to_json(), language)


def opened(engine: CellSource, code: Code) -> Cell:
    def guest() -> bytes:
        raise AssertionError("the guest is at hand")

    return engine.open(code, guest, engine.limits(), DEFAULT_TENANT)


def started(value: Any = None, **given: Any) -> bytes:
    return event(0, NOW, SEED, value, given)


def event(*items: Any) -> bytes:
    return encode_plain(plain(list(items)))


def commands_of(output: bytes) -> list[list[Any]]:
    """The commands of one event."""
    commands: list[list[Any]] = decode(b"\x9f" + output + b"\xff")
    assert commands.pop() is None
    return commands


def shown(output: bytes) -> list[str]:
    return [f"{NAMES[kind]} {rest}" for kind, *rest in commands_of(output)]


class Twins:
    """Both cells. `told` are the events so far and `said` the outputs."""

    def __init__(self, workflow: Workflow, language: Language = "javascript") -> None:
        code = code_of(workflow, language)
        self.code = code
        self.glass, self.direct = (opened(engine, code) for engine in engines())
        self.told: list[bytes] = []
        self.said: list[bytes] = []
        self.fault: str | None = None

    def tell(self, message: bytes) -> list[list[Any]]:
        """Deliver an event to both; the commands, which are equal.

        Raises:
            AssertionError: they are not.
        """
        answers = [answer(cell, message) for cell in (self.glass, self.direct)]
        under_glass, direct = answers
        if isinstance(under_glass, str) or isinstance(direct, str):
            assert direct == under_glass, (decode(message), str(under_glass)[:200], str(direct)[:200])
            self.fault = under_glass if isinstance(under_glass, str) else None
            return []
        if under_glass != direct:
            raise AssertionError(
                f"at {decode(message)}\n  glass:\n    "
                + "\n    ".join(shown(under_glass))
                + "\n  direct:\n    "
                + "\n    ".join(shown(direct))
            )
        self.told.append(message)
        self.said.append(direct)
        return commands_of(direct)


def answer(cell: Cell, message: bytes) -> bytes | str:
    try:
        return cell.turn([message])
    except GuestFault as fault:
        return fault.code


class Script:
    """Plays the host: everything that may happen next, chosen by a generator of its own. Each run has its own mood."""

    def __init__(self, seed: int, values: Sequence[Any], events_max: int = 60) -> None:
        self.random = random.Random(seed)
        self.values = values
        self.events_max = events_max
        self._suspended: set[int] = set()
        self._moods = {
            "fail": self.random.choice([0, 1, 1, 4]),
            "suspend": self.random.choice([0, 0, 3, 12]),
            "bail": self.random.choice([0, 0, 0, 1]),
            "complete": 12,
        }
        self._patches = self.random.random() < 0.5

    def live(self, twins: Twins, value: Any, **given: Any) -> None:
        """Drive a run until it has ended, or long enough. Some calls are answered after they were given up."""
        open_calls: dict[int, int] = {}
        commands = twins.tell(started(value, **given))
        time = NOW
        for _ in range(self.events_max):
            for command in commands:
                if command[0] in (STEP, TIMER, HOOK):
                    open_calls[command[1]] = command[0]
                elif (command[0] == ABANDON and self.random.random() < 0.5) or command[0] in (COMPLETE, FAIL):
                    open_calls.pop(command[1] if command[0] == ABANDON else -1, None)
            if twins.fault or not open_calls:
                return
            time += self.random.randrange(3)
            commands = twins.tell(self._next(time, open_calls))

    def _next(self, time: int, open_calls: dict[int, int]) -> bytes:
        call = self.random.choice(sorted(open_calls))
        kind = open_calls[call]
        if kind == STEP:
            return self._of_step(time, call, open_calls)
        del open_calls[call]
        return event(4, time, call) if kind == TIMER else event(5, time, call, self.value())

    def _of_step(self, time: int, call: int, open_calls: dict[int, int]) -> bytes:
        if call in self._suspended and self.random.random() < 0.6:
            self._suspended.discard(call)
            return event(9, time, call, {"path": "there"})
        action = self.random.choices(list(self._moods), list(self._moods.values()))[0]
        if action == "suspend":
            self._suspended.add(call)
            return event(3, time, call, {"path": "there", "payload": self.value()})
        del open_calls[call]
        match action:
            case "fail":
                return event(2, time, call, self._failure(2))
            case "bail":
                return event(10, time, call, self.value(), *self._patch())
            case _:
                return event(1, time, call, self.value(), *self._patch())

    def value(self) -> Any:
        return self.random.choice(self.values)

    def _patch(self) -> list[dict[str, Any]]:
        if not self._patches or self.random.random() < 0.5:
            return []
        return [{self.random.choice(["n", "k", "list"]): self.value()}]

    def _failure(self, causes: int) -> dict[str, Any]:
        failure: dict[str, Any] = {"name": self.random.choice(["Error", "ValueError", "Ünlucky"]), "message": "no"}
        if self.random.randrange(2):
            failure["data"] = self.value()
        if causes and self.random.randrange(3) == 0:
            failure["cause"] = self._failure(causes - 1)
        return failure


def replayed(engine: CellSource, code: Code, events: Sequence[bytes], cuts: Iterable[int]) -> bytes:
    """The whole output of a fresh cell that is given the events in portions."""
    cell, output, last = opened(engine, code), b"", 0
    for cut in [*sorted(cuts), len(events)]:
        output += cell.turn(events[last:cut]) if cut > last else b""
        last = cut
    return output
