"""A history is fed to a cell once; after that the hash of its last record says that nothing is new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, ManualWorld, in_loop, until

from cloche import Cloche, create_step, create_workflow
from cloche.engines import Cell, Code, SandboxEngine
from cloche.errors import NotFound
from cloche.store import MemoryStore

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
