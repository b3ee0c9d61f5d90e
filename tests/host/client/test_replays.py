"""A history is fed to a cell once; after that the hash of its last record says that nothing is new."""

from __future__ import annotations

import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, ManualWorld, in_loop, until

from cloche import Cloche, clone_step, create_step, create_workflow
from cloche.engines import Cell, Code, SandboxEngine
from cloche.errors import NotFound, RunConflict
from cloche.history import RunKey
from cloche.operations import deflating, export
from cloche.run import known_results
from cloche.run.results import fold
from cloche.store import MemoryStore
from cloche.tenancy.cache import TenantCache

inc = create_step(id="inc", execute=lambda data: data + 1)
waits = create_workflow(id="waits", guest="javascript").then(inc).wait_for_event("go").commit()
changed = create_workflow(id="waits", guest="javascript").sleep(1).then(inc).wait_for_event("go").commit()


class Counting(SandboxEngine):
    """Counts the cells that it opens."""

    opened = 0

    def open(self, code: Code, *rest: Any, **named: Any) -> Cell:
        self.opened += 1
        return super().open(code, *rest, **named)


@in_loop
async def test_a_run_that_nothing_was_added_to_is_not_fed_again(tmp_path: Path) -> None:
    engine = Counting()
    async with Cloche(tmp_path / "store.db", workflows=[waits], engine=engine) as app:
        run = await app.start("waits", 1, run_id="r1")
        await until(lambda: _waits(run))
        first = await app.replay("r1")
        opened = engine.opened
        assert await app.replay("r1") == first
        assert engine.opened == opened
        assert first.ok

        await app.send_event("r1", "go", 7)
        assert (await run.result()).unwrap() == 7
        after = await app.replay("r1")
        assert (after.ok, after.events) == (True, first.events + 1)


@in_loop
async def test_other_code_is_fed_by_itself(tmp_path: Path) -> None:
    async with Cloche(tmp_path / "store.db", workflows=[waits]) as app:
        run = await app.start("waits", 1, run_id="r1")
        await until(lambda: _waits(run))
        assert (await app.replay("r1")).ok
        assert not (await app.replay("r1", changed)).ok
        assert not (await app.replay("r1", changed)).ok
        assert (await app.replay("r1")).ok


@in_loop
async def test_what_was_deleted_is_not_answered_for() -> None:
    async with AppOn(MemoryStore(), workflows=[waits], world=ManualWorld()) as app:
        run = await app.start("waits", 1, run_id="r1")
        await until(lambda: _waits(run))
        assert (await app.replay("r1")).ok
        await app.cancel("r1")
        await run.result()
        await app.delete("r1")
        with pytest.raises(NotFound):
            await app.replay("r1")


async def _waits(run: Any) -> bool:
    return bool(await run.status() == "waiting")


@in_loop
async def test_a_long_run_that_has_ended_is_folded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folded = list[RunKey]()

    async def noted(store: Any, row: Any, outline: Any) -> Any:
        folded.append(row.key)
        return await fold(store, row, outline)

    monkeypatch.setattr(known_results, "fold", noted)
    chain = create_workflow(id="chain")
    for number in range(40):
        chain.then(clone_step(inc, id=f"s{number}"))
    async with Cloche(tmp_path / "store.db", workflows=[chain.commit(), waits]) as app:
        run = await app.start("chain", 0)
        first = await run.result()
        again = await run.result()
        assert (first, folded) == (again, [run.key])
        first.steps.clear()
        assert len((await run.result()).steps) == 40  # each caller has a result of its own

        short = await app.start("waits", 1)
        await until(lambda: _waits(short))
        await app.send_event(short.id, "go", 7)
        assert [(await short.result()).unwrap() for _ in range(2)] == [7, 7]
        assert folded == [run.key, short.key, short.key]  # to keep it would cost more


@in_loop
async def test_guests_are_deflated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take seconds of a core, each time that a run was exported; and in no thread that others wait for."""
    deflated, threads = list[int](), set[str]()

    def noted(data: bytes, level: int) -> bytes:
        deflated.append(len(data))
        threads.add(threading.current_thread().name.partition("_")[0])
        return zlib.compress(data, level)

    monkeypatch.setattr(deflating, "_kept", TenantCache(deflating.KEPT_BYTES_MAX))
    monkeypatch.setattr(deflating, "compress", noted)
    async with Cloche(tmp_path / "store.db", workflows=[waits]) as app:
        run = await app.start("waits", 1, run_id="r1")
        await until(lambda: _waits(run))
        first, second = [await app.export("r1") for _ in range(2)]
        assert first == second
    assert (len(deflated), threads) == (2, {"cloche-deflate"})  # the guest, and the code


@in_loop
async def test_a_file_whose_run_is_there_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, reads = list[int](), export._read

    def noted(data: bytes) -> Any:
        read.append(len(data))
        return reads(data)

    monkeypatch.setattr(export, "_read", noted)
    async with Cloche(tmp_path / "store.db", workflows=[waits]) as app:
        run = await app.start("waits", 1, run_id="r1")
        await until(lambda: _waits(run))
        file = await app.export("r1")
    async with Cloche(tmp_path / "other.db", workflows=[waits]) as other:
        for _ in range(3):
            assert (await other.import_(file)).id == "r1"
        assert len(read) == 1
        await other.send_event("r1", "go", 7)
        assert (await (await other.get("r1")).result()).unwrap() == 7
        with pytest.raises(RunConflict):
            await other.import_(file)
    assert len(read) == 2  # it has gone on
    async with Cloche(tmp_path / "third.db", workflows=[waits]) as third:
        await third.import_(file)
        assert len(read) == 3  # it is not there yet
        assert (await third.replay("r1")).ok
