"""Deleting runs that have been kept long enough, beside the work of a worker: some at a time, and then a pause."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from cloche.errors import ClocheError, StoreError
from cloche.history.ids import parent_of
from cloche.operations.acts import Act, write_act
from cloche.operations.prune import collect
from cloche.status import FINAL, OVER, RunStatus
from cloche.store import RunFilter

if TYPE_CHECKING:
    from cloche.history import RunKey, TimeMs
    from cloche.run.clock import World
    from cloche.store import RunRow, Store
    from cloche.tenancy import Retention

SWEEP_EVERY_S = 300.0
COLLECT_EVERY_S = 86_400.0  # what deleted runs alone needed: the whole store is looked through for it
BITE_RUNS = 25  # that one commit deletes: some milliseconds
REST = 10  # how many times as long as a bite took is waited before the next: a tenth of a store's time at most
REST_S_MIN, REST_S_MAX = 0.02, 5.0
FREED_PAGES = 250  # that one commit gives back to the file system: 1 MB

BY = "retention"  # in the audit log

log = logging.getLogger("cloche")


class Sweeper:
    """Of one worker. Several at once do no harm: a run is deleted once."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._task: asyncio.Task[None] | None = None
        self.is_sweeping = False  # or about to, for the first time

    def begin(self, store: Store, world: World) -> None:
        """Sweep now, and again and again."""
        if any(self._retention.shortest_ms(status) is not None for status in OVER):
            self.is_sweeping = True
            self._task = asyncio.create_task(self._go_on(store, world), name="retention")

    async def end(self) -> None:
        """Delete nothing more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _go_on(self, store: Store, world: World) -> None:
        collected: float | None = None
        while True:
            try:
                deleted = await sweep(store, self._retention, world)
                if deleted and (collected is None or world.monotonic() - collected >= COLLECT_EVERY_S):
                    collected = world.monotonic()
                    await collect(store, world.now(), BY)
                while deleted and await store.shrink(FREED_PAGES):
                    await world.pause(REST_S_MIN)
            except StoreError as error:
                log.warning("runs that were kept long enough are not deleted: %s", error.message)
            except ClocheError as error:
                log.error("runs that were kept long enough are not deleted: %s", error.message)
            self.is_sweeping = False
            await world.pause(SWEEP_EVERY_S)


async def sweep(store: Store, retention: Retention, world: World) -> int:
    """Delete all that has been kept long enough; how many runs those were.

    Raises:
        StoreError: the store did not answer, or does not let this worker delete; those before are gone.
    """
    gone = 0
    for status in sorted(OVER):
        if (kept := retention.shortest_ms(status)) is None:
            continue
        before: int | None = None
        while True:
            began = world.monotonic()
            now = world.now()
            filter = RunFilter(status=status, until=_minus(now, kept))
            page = await store.find(filter, limit=BITE_RUNS, before=before)
            due = [row.key for row in page.rows if await _is_due(store, retention, row, now)]
            deleted = await _delete(store, due, now)
            gone += len(deleted)
            before = page.next
            if before is None:
                break
            await world.pause(min(max((world.monotonic() - began) * REST, REST_S_MIN), REST_S_MAX))
    return gone


async def _is_due(store: Store, retention: Retention, row: RunRow, now: TimeMs) -> bool:
    kept = retention.keeps_ms(row.key.tenant, row.workflow, RunStatus(row.status))
    if kept is None or row.updated_at > now - kept:
        return False
    if await store.descendants(row.key, 1):  # its children and retries go first, each in its own time
        return False
    if (waits := parent_of(row.key)) is None:
        return True
    parent = await store.run(waits[0])
    return parent is None or parent.status in FINAL


async def _delete(store: Store, keys: list[RunKey], now: TimeMs) -> list[RunKey]:
    if not keys:
        return []
    for tenant in sorted({key.tenant for key in keys}):
        count = sum(key.tenant == tenant for key in keys)
        await write_act(store, Act.PRUNED, BY, now, tenant, runs=count)
    return await store.delete(keys, now)


def _minus(now: TimeMs, ms: int) -> TimeMs:
    return type(now)(max(0, now - ms))
