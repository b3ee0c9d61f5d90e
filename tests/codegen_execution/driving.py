"""Runs emitted code in a real guest, with steps that are plain functions; what was asked is kept to be compared.

Answers are given one by one, in the order in which the calls were made, so a run is the same every time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from guest.cells import COMPLETE, ENTERED, FAIL, LEFT, NOW, STEP, TIMER, Cell

from cloche_codegen import Workflow

Functions = Mapping[str, Callable[[Any], Any]]


@dataclass
class Ran:
    """A finished run: its outcome and what it asked on the way."""

    result: Any = None
    failure: Any = None
    steps: list[tuple[str, Any]] = field(default_factory=list)  # path and input, in the order asked
    timers: list[tuple[str, int]] = field(default_factory=list)  # path and ms after the event
    told: list[tuple[str, str, Any]] = field(default_factory=list)  # entered or left, path, value or outcome
    in_flight_max: int = 0

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.steps]


def drive(workflow: Workflow, given_input: Any = None, functions: Functions | None = None, **given: Any) -> Ran:
    """Run a workflow to its end. `functions` are the steps by id; one that raises fails its step."""
    ran = Ran()
    cell = Cell(workflow.source().code)
    open_calls: deque[list[Any]] = deque()
    commands = cell.start(given_input, given=given)
    while True:
        for command in commands:
            match command:
                case [kind, *_] if kind in (STEP, TIMER):
                    open_calls.append(command)
                case [kind, path, value] if kind in (ENTERED, LEFT):
                    ran.told.append(("entered" if kind == ENTERED else "left", path, value))
                case [kind, value] if kind == COMPLETE:
                    ran.result = value
                    return ran
                case [kind, value] if kind == FAIL:
                    ran.failure = value
                    return ran
        ran.in_flight_max = max(ran.in_flight_max, len(open_calls))
        commands = cell.turn(_answer(open_calls.popleft(), ran, functions or {}))


def _answer(command: list[Any], ran: Ran, functions: Functions) -> list[Any]:
    if command[0] == TIMER:
        _, call, path, due, _ = command
        ran.timers.append((path, due - NOW))
        return [4, NOW, call]
    _, call, path, name, (data,) = command
    ran.steps.append((path, data))
    try:
        return [1, NOW, call, functions[name](data)]
    except Exception as error:
        return [2, NOW, call, {"name": type(error).__name__, "message": str(error)}]
