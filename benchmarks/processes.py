"""What it costs to have a cell in another process: a turn there, beside two processes that only pass bytes to and fro."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import histories as h
from benchmarks.figures import Figure, Scale, median_us
from cloche.engines import Cell, CellSource, Code, ProcessEngine, SandboxEngine
from cloche.history import DEFAULT_TENANT

ROUNDS, TURNS = 5, 400
TAX = 2.5  # what the mode may add to a turn, in round trips
_ECHO = "import os, sys\nwhile len(os.read(0, {ask})) == {ask}: os.write(1, bytes({answer}))"


def process_turn(scale: Scale) -> Iterator[Figure]:
    """A light turn, in turns with one in this process and a round trip of as many bytes through bare pipes."""
    turns = scale.sizes(20, TURNS)[-1]
    code = h.sequential_code(SandboxEngine().guest()[0])
    events = h.events(ROUNDS * turns + 1)
    with ProcessEngine() as processes, _echoing(len(events[1]), 24) as (send, receive):
        there, here = _Turns(processes, code, events), _Turns(SandboxEngine(), code, events)
        best: dict[str, float] = {}

        def bare() -> None:
            os.write(send, events[1])
            os.read(receive, 1 << 16)

        for _ in range(ROUNDS):
            for name, turn in (("there", there.turn), ("here", here.turn), ("bare", bare)):
                best[name] = min(best.get(name, float("inf")), median_us(turn, turns))
    beside = f"in this process {best['here']:.1f} µs"
    yield Figure("turn in a process of its own", best["there"], "µs", "bare round trip", best["bare"], note=beside)
    added = best["there"] - best["here"]
    yield Figure("what the process adds", added, "µs", "bare round trip", best["bare"], TAX * best["bare"])


class _Turns:
    """A cell that is led through a history, event by event."""

    def __init__(self, engine: CellSource, code: Code, events: list[bytes]) -> None:
        self._cell: Cell = engine.open(code, lambda: b"", engine.limits(), DEFAULT_TENANT)
        self._events = iter(events)
        self._cell.turn([next(self._events)])

    def turn(self) -> None:
        self._cell.turn([next(self._events)], light=True)


@contextmanager
def _echoing(ask: int, answer: int) -> Iterator[tuple[int, int]]:
    """The ends of two pipes to a process that answers so many bytes with so many."""
    script = _ECHO.format(ask=ask, answer=answer)
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", script], stdin=-1, stdout=-1, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdin.fileno(), process.stdout.fileno()
        process.stdin.close()
