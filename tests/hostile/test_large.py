"""What is large is taken in pieces, or beside the event loop: nobody stands still meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, javascript
from support.apps import AppOn, Journal, in_loop

from cloche import Limits, Policy, StepContext, create_step, create_workflow, path
from cloche.client import runs
from cloche.client.records import Places
from cloche.history import machine, output
from cloche.run.attempts import NOTES_MAX, Attempts
from cloche.run.effects import BEGUN_AT_ONCE
from cloche.run.inputs import TAKEN_MAX
from cloche.steps import registry
from cloche.store import MemoryStore, SqliteStore
from cloche.store.sqlite.log import SHORT_COMMIT
from cloche.tenancy.cache import TenantCache
from cloche_codegen import Graph

MUCH = (
    "for (let i = 0; i < 4_000; i++) console.log(1);"
    "const all = await Promise.all([...Array(2_500).keys()].map((i) => step('echo', 'e' + i)(i))); return all.length;"
)


class Seen:
    """How much of it was done in each pass of the loop, and in which thread it was written."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.passes = 0
        self.read, self.begun = Counter[int](), Counter[int]()
        self.given: list[int] = []
        self.threads: dict[threading.Thread, int] = {}  # the most records of a run at once
        begin, accepting, append = Attempts._begin, machine.RunMachine.accepting, SqliteStore._append

        def reads(body: bytes, *, is_new: bool = False) -> Any:
            self.read[self.passes] += 1
            return output.unpack_command(body, is_new=is_new)

        def begins(attempts: Attempts, *asked: Any) -> None:
            self.begun[self.passes] += 1
            begin(attempts, *asked)

        def accepts(of: machine.RunMachine, inputs: Any, *more: Any) -> Any:
            self.given.append(len(inputs))
            return accepting(of, inputs, *more)

        def appends(store: SqliteStore, db: Any, asked: Any) -> Any:
            thread = threading.current_thread()
            self.threads[thread] = max(self.threads.get(thread, 0), len(asked.records))
            return append(store, db, asked)

        patch.setattr(machine, "unpack_command", reads)
        patch.setattr(Attempts, "_begin", begins)
        patch.setattr(machine.RunMachine, "accepting", accepts)
        patch.setattr(SqliteStore, "_append", appends)

    async def count_passes(self) -> None:
        while True:
            self.passes += 1
            await asyncio.sleep(0)


def test_a_large_turn_is_recorded_in_pieces(mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 100,000 commands held everybody up for a second."""
    seen = Seen(monkeypatch)

    @in_loop
    async def live() -> None:
        counting = asyncio.ensure_future(seen.count_passes())
        store, echo = SqliteStore(tmp_path / "s.db"), Journal().step("echo")
        async with AppOn(store, engine=ENGINES[mode](Limits()), policy=Policy(), steps=[echo]) as app:
            await app.deploy("mallory", javascript(MUCH), workflow="w", language="javascript")
            mallory = app.tenant("mallory")
            assert (await (await mallory.start("w", 1, run_id="r1")).result()).unwrap() == 2_500
            assert (sum(seen.read.values()) >= 6_500, sum(seen.begun.values())) == (True, 2_500)
            assert max(seen.read.values()) <= machine.AT_ONCE
            assert max(seen.begun.values()) <= BEGUN_AT_ONCE
            assert max(seen.given) <= TAKEN_MAX + NOTES_MAX
            assert seen.threads.pop(threading.main_thread()) <= SHORT_COMMIT < 6_500 <= max(seen.threads.values())
            assert (await mallory.replay("r1")).ok
            assert (await app.verify()).ok
        counting.cancel()
        await store.close()

    live()


def test_a_large_graph_is_read_beside_the_loop(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """For which item of a list data is meant, and what a step asks for that is no step."""
    found, threads, read = list[Any](), list[threading.Thread](), Graph.from_json

    def asks(data: Any, ctx: StepContext) -> Any:
        if ctx.resume_data is None:
            ctx.suspend({})
        return ctx.resume_data

    async def looks(data: Any, ctx: StepContext) -> Any:
        found.append(await ctx.step_result("nap"))
        return data

    def noted(text: str) -> Graph:
        threads.append(threading.current_thread())
        return read(text)

    ask, look = create_step(id="ask", execute=asks), create_step(id="look", execute=looks)
    draft = create_workflow(id="w")
    for number in range(400):
        draft = draft.map(path("inputData"), id=f"same{number}")
    workflow = draft.sleep(0.0, id="nap").foreach(ask).map(path("inputData"), id="end").then(look).commit()
    assert len(workflow.graph.to_json()) > registry.LARGE_GRAPH

    @in_loop
    async def live() -> None:
        async with AppOn(MemoryStore(), engine=ENGINES[mode](Limits()), policy=Policy(), workflows=[workflow]) as app:
            run = await app.start("w", [1], run_id="r1")
            assert (await run.result()).status == "suspended"
            monkeypatch.setattr(registry, "_graphs", TenantCache(registry.GRAPHS_BYTES_MAX))  # in a process that begins
            monkeypatch.setattr(Graph, "from_json", noted)
            assert (await run.resume(foreach_index=0, resume_data=7)).unwrap() == [7]
            assert found == [[1]]
            assert threads != []
            assert threading.main_thread() not in threads

    live()


def test_a_long_history_is_given_in_pieces(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Placing 80,000 records took 0.8 s of the event loop."""
    placed = Counter[int]()
    passes, place = 0, Places.placed

    async def counted() -> None:
        nonlocal passes
        while True:
            passes += 1
            await asyncio.sleep(0)

    async def noted(places: Places, record: Any) -> Any:
        placed[passes] += 1
        return await place(places, record)

    monkeypatch.setattr(Places, "placed", noted)

    @in_loop
    async def live() -> None:
        async with AppOn(MemoryStore(), engine=ENGINES[mode](Limits()), policy=Policy()) as app:
            logs = javascript("for (let i = 0; i < 1_000; i++) console.log(i); return 1;")
            await app.deploy("mallory", logs, workflow="w", language="javascript")
            run = await app.tenant("mallory").start("w", 1)
            await run.result()
            counting = asyncio.ensure_future(counted())
            records = await run.history()
            counting.cancel()
            assert [record.seq for record in records] == list(range(1, len(records) + 1))
            assert sum(placed.values()) == len(records) > 1_000
            assert max(placed.values()) <= runs.AT_ONCE

    live()
