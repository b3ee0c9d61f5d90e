"""What the key paths do, counted: fuel in the guests (one for a wasm instruction), calls in the host.

Fuel depends on the guest's bytes and on wasmtime alone; calls on Python's version a little. No time is looked at, so that these
can be compared in CI (`benchmarks/counts.json`): a path that began to do more is seen on the noisiest machine.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from benchmarks import histories as h
from benchmarks.figures import Figure, Scale
from cloche import Cloche, create_step, create_workflow
from cloche.engines import Language
from cloche.history import Record, RunMachine
from cloche.history.fast_replay import Transcript, follow
from cloche.history.ids import CallId
from cloche.history.messages import CancelRequested
from cloche.history.notes import AttemptStarted, RunCreated
from cloche.sandbox import Cell

STEPS = 1_000
DURABLE_STEPS = 100
_SHAPES: tuple[tuple[Language, str, str, Callable[[int], list[bytes]]], ...] = (
    ("javascript", "sequential", h.SEQUENTIAL, h.events),
    ("javascript", "parallel", h.PARALLEL, h.events),
    ("javascript", "mixed", h.MIXED, h.mixed_events),
    ("python", "sequential", h.PY_SEQUENTIAL, h.events),
    ("python", "parallel", h.PY_PARALLEL, h.events),
)


def counts(_: Scale) -> Iterator[Figure]:
    """Everything that is counted, beside the least that an event can cost there."""
    for name, (count, least) in {**fuel(), **calls()}.items():
        unit, base = ("fuel", "event behind the end") if " guest" in name else ("calls", "one call")
        yield Figure(name, count, unit, base, least)


def fuel() -> dict[str, tuple[float, float]]:
    """By path: fuel, and that of a cancellation of a run that is over: read, and nobody is told. Of guests that are built."""
    found: dict[str, tuple[float, float]] = {}
    for language, name, source, events_of in _SHAPES:
        if language == "python" and not h.has_python():
            continue
        cell = h.cell(source, language)
        start, *events = events_of(STEPS)
        begun = _fuel_of(cell, [start])
        replayed = _fuel_of(cell, events)
        over = _fuel_of(cell, [CancelRequested(h.NOW, "over").pack()])
        found[f"{language} guest: start, {name}"] = (float(begun), float(over))
        found[f"{language} guest: event, {name}"] = (replayed / STEPS, float(over))
    return found


def _fuel_of(cell: Cell, events: list[bytes]) -> int:
    before = cell.fuel_used
    cell.turn(events)
    return cell.fuel_used - before


def calls() -> dict[str, tuple[float, float]]:
    """By path: calls of Python and C functions for a step."""
    turns = list(h.synthesised(STEPS, "0" * 64))
    rows = [(record.packed, record.hash) for turn in turns for record in turn]
    followed = _calls_of(lambda: next(follow(RunMachine(h.KEY), rows, Transcript()), None))
    return {
        "host: follow a step": (followed / STEPS, 1.0),
        "host: accept a step": (_accepted(), 1.0),
        **durable_step(),
    }


def durable_step() -> dict[str, tuple[float, float]]:
    """A sequential step on the memory store, all in all: its calls, and the blocks that it leaves to the collector."""
    (few_calls, few_blocks), (many_calls, many_blocks) = (
        _of_a_run(steps) for steps in (DURABLE_STEPS, 3 * DURABLE_STEPS)
    )
    steps = 2 * DURABLE_STEPS
    return {
        "host: a durable step": ((many_calls - few_calls) / steps, 1.0),
        "host: blocks of a durable step": ((many_blocks - few_blocks) / steps, 1.0),
    }


def _of_a_run(steps: int) -> tuple[int, int]:
    """Calls, and memory blocks that are left, of a whole run of so many steps. Another one runs before it."""

    async def main() -> tuple[int, int]:
        async def add_one(data: dict[str, int]) -> dict[str, int]:
            return {"v": data["v"] + 1}

        inc = create_step(id="inc", execute=add_one)
        until = {"gte": {"left": {"path": "inputData.v"}, "right": {"literal": steps}}}
        workflow = create_workflow(id="w").dountil(inc, until).commit()
        async with Cloche(workflows=[workflow], handle_sigterm=False) as app:
            await (await app.start("w", {"v": 0})).result()
            gc.collect()
            gc.disable()
            before = sys.getallocatedblocks()
            try:
                with _counting() as count:
                    await (await app.start("w", {"v": 0})).result()
                return count[0], sys.getallocatedblocks() - before
            finally:
                gc.enable()

    return asyncio.run(main())


def _accepted() -> float:
    machine, cell = RunMachine(h.KEY), h.cell(h.SEQUENTIAL)
    created = RunCreated(h.NOW)
    machine.accept([created, h.started(h.ENDLESS)], cell.turn([h.started(h.ENDLESS).pack()]), h.NOW)
    total = 0
    for call in range(1, 101):
        inputs = [AttemptStarted(h.NOW, CallId(call), 1), h.completed(call, call)]
        output = cell.turn([h.completed(call, call).pack()])
        total += _calls_of(lambda inputs=inputs, output=output: machine.accept(inputs, output, h.NOW))  # type: ignore[misc]
    return total / 100


def _calls_of(work: Callable[[], object]) -> int:
    with _counting() as count:
        work()
    return count[0]


@contextmanager
def _counting() -> Iterator[list[int]]:
    """Calls of Python and C functions in this thread, in the one item of the list."""
    count = [0]

    def seen(_frame: FrameType, event: str, _argument: object) -> None:
        count[0] += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        yield count
    finally:
        sys.setprofile(before)


def _unread(seq: int) -> Record:
    raise AssertionError(f"record {seq} was asked for")
