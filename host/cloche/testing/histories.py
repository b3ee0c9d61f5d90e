"""Histories that must go on replaying: kept as exported runs beside the tests, or taken from an app."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloche.client.workflows import Workflow
from cloche.engines import CellSource, SandboxEngine
from cloche.history import RunKey
from cloche.operations import export, replay
from cloche.run.code import code_of
from cloche.store import MemoryStore, Store


def assert_replays(
    history: bytes | str | os.PathLike[str], workflow: Workflow | None = None, *, engine: CellSource | None = None
) -> None:
    """Feed an exported run (its bytes or its file) to today's code of `workflow` and compare every command.

    Without `workflow` the history is replayed under the code it was recorded with.

    Raises:
        AssertionError: the code asks for something else than the history says; the text says where, and what.
        ForeignFile, BrokenChain: it is not an exported run, or not what was exported.
    """

    async def check() -> None:
        store = MemoryStore()
        key = await export.import_run(store, data, is_ours=lambda _: True)
        await check_run_replays(store, key, workflow, engine=engine)

    data = history if isinstance(history, bytes) else Path(history).read_bytes()
    with ThreadPoolExecutor(1) as thread:  # an event loop may be running in this one
        thread.submit(asyncio.run, check()).result()


async def check_run_replays(
    store: Store, key: RunKey, workflow: Workflow | None = None, *, engine: CellSource | None = None
) -> None:
    """As `assert_replays`, for a run in a store."""
    used = engine or (workflow.cells if workflow is not None else None) or SandboxEngine()
    report = await replay.replay(store, key, used, code_of(workflow, used) if workflow is not None else None)
    if report.divergence is not None:
        raise AssertionError(str(report.divergence))
