"""A run in a real guest that a test leads by hand, by the paths of its calls.

Closing it feeds all its events to fresh guests in other batches: output and state have to be the same bytes.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from guest.cells import ABANDON, COMPLETE, ENTERED, FAIL, HOOK, LEFT, NOW, SEED, STEP, TIMER, Cell, pack, sequence

from cloche_codegen import Workflow

OPENING = (STEP, TIMER, HOOK)


class Session:
    """What was asked, by path, and how it ended."""

    def __init__(self, workflow: Workflow, given_input: Any = None, **given: Any) -> None:
        self.source = workflow.commit().source().code
        self.cell = Cell(self.source)
        self.calls: dict[str, int] = {}
        self.values: dict[str, Any] = {}  # path → the step's input, the timer's due, the hook's [name, value]
        self.told: list[tuple[str, str, Any]] = []
        self.abandoned: list[str] = []
        self.result: Any = None
        self.failure: Any = None
        self.ended = False
        self._events: list[bytes] = []
        self._outputs: list[bytes] = []
        self.started = self._give([0, NOW, SEED, given_input, given])

    @property
    def message(self) -> str:
        return f"{self.failure['name']}: {self.failure['message']}"

    def complete(self, path: str, value: Any = None, **state: Any) -> list[str]:
        return self._give([1, NOW, self.calls[path], value, *([state] if state else [])])

    def fail(self, path: str, message: str = "broken") -> list[str]:
        return self._give([2, NOW, self.calls[path], {"name": "Error", "message": message}])

    def suspend(self, *paths: str) -> list[str]:
        return [new for path in paths for new in self._give([3, NOW, self.calls[path], {"path": path}])]

    def resume(self, path: str) -> list[str]:
        return self._give([9, NOW, self.calls[path], {"path": path, "data": {"go": 1}}])

    def bail(self, path: str, value: Any, **state: Any) -> list[str]:
        return self._give([10, NOW, self.calls[path], value, *([state] if state else [])])

    def fire(self, path: str) -> list[str]:
        return self._give([4, NOW, self.calls[path]])

    def receive(self, path: str, value: Any) -> list[str]:
        return self._give([5, NOW, self.calls[path], value])

    def _give(self, event: list[Any]) -> list[str]:
        """The paths of the calls that were opened by this event."""
        assert not self.ended, "the run is over"
        packed = pack(event)
        output = self.cell.give(packed)
        self._events.append(packed)
        self._outputs.append(output)
        opened = []
        for command in sequence(output):
            match command:
                case [kind, call, path, *rest] if kind in OPENING:
                    self.calls[path] = call
                    self.values[path] = rest[1][0] if kind == STEP else rest[0] - NOW if kind == TIMER else rest
                    opened.append(path)
                case [kind, path, value] if kind in (ENTERED, LEFT):
                    self.told.append(("entered" if kind == ENTERED else "left", path, value))
                case [kind, call] if kind == ABANDON:
                    self.abandoned.append(next(path for path, one in self.calls.items() if one == call))
                case [kind, value] if kind in (COMPLETE, FAIL):
                    self.ended = True
                    if kind == COMPLETE:
                        self.result = value
                    else:
                        self.failure = value
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            return
        for size in (len(self._events), 3):
            again = Cell(self.source)
            output = b"".join(again.give(*self._events[i : i + size]) for i in range(0, len(self._events), size))
            assert output == b"".join(self._outputs)
            assert again.state() == self.cell.state()
