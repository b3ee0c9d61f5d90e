"""Wishes of outsiders: other processes leave them in the store, the worker that owns the run grants them.

An event that comes before its run waits for it stays in the inbox until then. A wish is taken in the same commit as what
it led to, so it is granted once; the answer to one with an idempotency key stays, so it is granted once however often it is
made.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from cloche import errors
from cloche.errors import StoreError, UsageError
from cloche.history import RunKey
from cloche.history.messages import HookReceived
from cloche.history.values import decode, encode
from cloche.store import GRANTED, InboxRow

if TYPE_CHECKING:
    from cloche.runtime.scheduler import Scheduler

log = logging.getLogger("cloche")


def token_of(key: RunKey, kind: str, idempotency_key: str) -> str:
    """What a wish with an idempotency key is known by: once per run and kind, whoever makes it."""
    return f"{key.token}:{kind}:{idempotency_key}"


class Inbox:
    """Looks at the wishes when somebody wrote, and when a run begins to wait for an event."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._taking: dict[int, RunKey] = {}  # rows that are being answered, or wait for a hook to open
        self._waiting: list[asyncio.Future[None]] = []  # those who asked and wait for an answer

    def look(self, opened: RunKey | None = None) -> None:
        """Take the wishes that have come. `opened` is a run that waits for an event since just now."""
        rows = self._scheduler.store.inbox(self._scheduler.membership.worker)
        left = {row.id for row in rows}
        self._taking = {id: key for id, key in self._taking.items() if id in left and key != opened}
        for row in rows:
            if row.id not in self._taking:
                self._taking[row.id] = row.key
                self._scheduler.spawn(self._take(row))
        self.wake_waiting()

    async def ask(self, key: RunKey, kind: str, body: Any, idempotency_key: str | None = None) -> None:
        """Leave a wish for whoever owns the run, and wait until it is granted. With a key that was granted before: it is.

        Raises:
            UsageError: it was refused; the kind of error that the owner met.
        """
        scheduler = self._scheduler
        store = scheduler.store
        token = token_of(key, kind, idempotency_key or scheduler.world.worker_id())
        store.post(key, kind, encode(body), token, scheduler.world.now(), kept=True)
        self.look()
        while (answer := store.answer(token)) is None:
            news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(news)
            await news
            if scheduler.closed:
                raise UsageError(f"this Cloche was closed before the wish for run {key} was granted; it is kept")
        if idempotency_key is None:
            store.forget(token)
        if answer != GRANTED:
            raise _revived(answer)

    def wake_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for news in waiting:
            if not news.done():
                news.set_result(None)

    async def _take(self, row: InboxRow) -> None:
        """Grant one wish; one that can never be granted is answered with the reason."""
        store = self._scheduler.store
        try:
            await self._grant(row)
        except UsageError as error:
            log.warning("a wish for run %s was not granted: %s", row.key, error.message)
            store.settle(row.id, _packed(error))
        except StoreError as error:  # also: another worker was faster with the run, and grants it
            log.info("a wish for run %s waits: %s", row.key, error.message)
            self._taking.pop(row.id, None)
        self.wake_waiting()

    async def _grant(self, row: InboxRow) -> None:
        scheduler, content = self._scheduler, decode(row.body)
        match row.kind:
            case "resume":
                await scheduler.resume(row.key, content, row.id)
            case "cancel":
                await scheduler.cancel(row.key, content, row.id)
            case "event" if not self._is_queued(row):
                await self._send(row, *content)

    def _is_queued(self, row: InboxRow) -> bool:
        """Whether the run has not begun: the event waits until it opens a hook."""
        run = self._scheduler.store.run(row.key)
        return run is not None and run.status == "pending"

    async def _send(self, row: InboxRow, name: str, payload: Any) -> None:
        scheduler = self._scheduler
        async with scheduler.attending(row.key) as driver:
            call = driver.hook(name)
            if call is not None and scheduler.waits(driver, row.id):
                payload = scheduler.checked_event(driver.code, name, payload)
                await driver.record(HookReceived(scheduler.world.now(), call, payload), row.id)


def _packed(error: UsageError) -> str:
    return json.dumps({"code": error.code, "message": error.message, "facts": error.facts}, default=str)


def _revived(answer: str) -> UsageError:
    """The error that a wish was refused with, by its code."""
    found = json.loads(answer)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UsageError)]
    kind = next((kind for kind in kinds if kind.code == found["code"]), UsageError)
    return kind(found["message"], **found["facts"])
