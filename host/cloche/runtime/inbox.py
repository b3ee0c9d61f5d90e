"""Wishes of outsiders: other processes leave them in the store, the process that owns the run grants them.

An event that comes before its run waits for it stays in the inbox until then. A wish is taken in the same commit as what
it led to, so it is granted once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cloche.errors import StoreError, UsageError
from cloche.history import RunKey
from cloche.history.messages import CancelRequested, HookReceived
from cloche.history.values import decode
from cloche.store import InboxRow

if TYPE_CHECKING:
    from cloche.runtime.scheduler import Scheduler

INTERVAL_S = 0.1

log = logging.getLogger("cloche")


class Inbox:
    """Looks at the store's inbox when the store says that somebody wrote, and when a run begins to wait for an event."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._version = -1
        self._taking: dict[int, RunKey] = {}  # rows that are being answered, or wait for a hook to open

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                if self._scheduler.store.version() != self._version:
                    self.look()
            except StoreError as error:
                log.warning("the inbox could not be read: %s", error.message)

    def look(self, opened: RunKey | None = None) -> None:
        """Take the wishes that have come. `opened` is a run that waits for an event since just now."""
        store = self._scheduler.store
        self._version = store.version()
        rows = store.inbox()
        left = {row.id for row in rows}
        self._taking = {id: key for id, key in self._taking.items() if id in left and key != opened}
        for row in rows:
            if row.id not in self._taking:
                self._taking[row.id] = row.key
                self._scheduler.spawn(self._take(row))

    async def _take(self, row: InboxRow) -> None:
        """Grant one wish; one that can never be granted is forgotten."""
        scheduler = self._scheduler
        now = scheduler.world.now()
        try:
            if row.kind == "resume":
                named = decode(row.body)
                await scheduler.resume(row.key, named.pop("data"), row.id, **named)
                return
            async with scheduler.attending(row.key) as driver:
                if row.kind == "cancel":
                    driver.tell(CancelRequested(now, decode(row.body)), row.id)
                elif row.kind == "event":
                    name, payload = decode(row.body)
                    call = driver.hook(name)
                    if call is not None:
                        payload = scheduler.checked_event(driver.code.workflow, name, payload)
                        await driver.record(HookReceived(now, call, payload), row.id)
        except UsageError as error:
            log.warning("a wish for run %s was not granted: %s", row.key.run, error.message)
            scheduler.store.discard(row.id)
        except StoreError as error:
            log.warning("a wish for run %s waits for the store: %s", row.key.run, error.message)
            self._taking.pop(row.id, None)
