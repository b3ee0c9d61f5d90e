"""The workflows of npm's @workflow/world-testing, as another builder compiled them, with their own compiled steps on Node."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from host.node import worlds
from support.node import needs_node
from support.world_testing import step_file

from cloche import Cloche, ProcessEngine, SandboxEngine

pytestmark = [
    needs_node,
    pytest.mark.anyio,
    pytest.mark.skipif(
        step_file() is None, reason="@workflow/world-testing is not in .cache, and npm does not bring it"
    ),
]
PLAYER = """
import asyncio, sys
from host.node import worlds
from cloche import SandboxEngine

async def main(store):
    async with worlds.app(store, SandboxEngine()) as app:
        await worlds.deploy(app)
        await asyncio.gather(*(worlds.play(app, name) for name in worlds.CASES))

asyncio.run(main(sys.argv[1]))
"""


async def wrong_ones(app: Cloche) -> list[str]:
    """Those of the 18 that do not give what they should, or do not replay from their log."""
    results = await asyncio.gather(*(worlds.play(app, name) for name in worlds.CASES))
    wrong = [name for name, result in zip(worlds.CASES, results, strict=True) if not worlds.is_right(name, result)]
    reports = [(name, await app.tenant(worlds.TENANT).replay(worlds.run_id(name))) for name in worlds.CASES]
    return wrong + [f"{name} does not replay: {report}" for name, report in reports if not report.ok]


@pytest.mark.parametrize("engine", [SandboxEngine, ProcessEngine])
async def test_all_18_are_right_and_replay(engine: type[SandboxEngine] | type[ProcessEngine]) -> None:
    async with worlds.app("memory:", engine()) as app:
        await worlds.deploy(app)

        assert len(worlds.CASES) == 18
        assert await wrong_ones(app) == []


async def test_they_go_on_where_a_process_was_killed(tmp_path: Path) -> None:
    """With a third of the records that the whole takes: steps that were under way are done again."""
    store = str(tmp_path / "s.db")
    player = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PLAYER, store, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    )
    while not Path(store).exists() or await _records(store) < 60:
        assert player.returncode is None
        await asyncio.sleep(0.02)
    os.kill(player.pid, signal.SIGKILL)
    await player.wait()

    async with worlds.app(store, SandboxEngine()) as app:
        await worlds.deploy(app)
        assert await wrong_ones(app) == []
        assert all(report.ok for report in [await app.verify()])


async def _records(store: str) -> int:
    """How many records the 18 runs have so far; the whole takes about 200."""
    import sqlite3

    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT coalesce(sum(head_seq), 0) FROM runs").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
