"""Requests of other processes: they are left in the store, and the worker that owns the run accepts them.

An event that comes before its run waits for it stays in the inbox until then. A request is taken in the same commit as what
it led to, so it is accepted once; the answer to one with an idempotency key stays, so it is accepted once however often it is
made.

The requests of one run are taken one after the other, in the order in which they were posted: events of one name never
overtake each other. An event leaves the inbox in the commit that delivers it, or when it can never be delivered.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from cloche.errors import ClocheError, InvalidInput, LimitExceeded, NotFound, NotSuspended, StoreError, UsageError
from cloche.history import CallId, RunKey
from cloche.history.messages import HookReceived
from cloche.history.values import decode, encode
from cloche.run.selection import open_hooks
from cloche.status import FINAL, RunStatus
from cloche.store import GRANTED, START, InboxRow
from cloche.worker.answers import pack_refusal, refusal_of, token_of

if TYPE_CHECKING:
    from cloche.run.driver import RunDriver
    from cloche.run.ports import RunServices
    from cloche.worker.new_runs import NewRuns
    from cloche.worker.requests import Requests
    from cloche.worker.starting import Starting

AGAIN_MS = 100  # a request that could not be accepted just now is looked at again after this time

log = logging.getLogger("cloche")


class Inbox:
    """Looks at the requests when another process wrote, and when a run begins to wait for an event."""

    def __init__(self, services: RunServices, starting: Starting, requests: Requests, new_runs: NewRuns) -> None:
        self._services = services
        self._store = services.store
        self._starting = starting
        self._requests = requests
        self._new_runs = new_runs
        self._closed = False
        self._taking: dict[RunKey, dict[int, InboxRow]] = {}  # what is being answered, or waits for a hook to open
        self._queues: dict[RunKey, list[InboxRow]] = {}  # what is accepted next, by run, in posting order
        self._waiting: list[asyncio.Future[None]] = []  # those who asked and wait for an answer

    async def look(self, opened: RunKey | None = None) -> None:
        """Take the requests that have come. `opened` is a run that waits for an event since just now."""
        found: dict[RunKey, dict[int, InboxRow]] = {}
        for row in await self._store.requests(self._services.ownership.worker):
            if row.kind != START or await self._new_runs.can_accept(
                row
            ):  # else it is looked at again: it may be deployed
                found.setdefault(row.key, {})[row.id] = row
        before, self._taking = self._taking, found
        for key, rows in found.items():
            known = before.get(key, {}) if key != opened else {}
            for row in rows.values():
                if row.id not in known:
                    self._queue(row)
        self.wake_waiting()

    def hook_opened(self, key: RunKey) -> None:
        """A run begins to wait for an event, which may be here already."""
        self._services.tasks.spawn(self.look(key))

    def driven_again(self, key: RunKey) -> None:
        """This worker drives the run again: what waits for it is looked at again, for it may be possible now.

        A run that is fetched because of a request is not meant: its requests are being accepted.
        """
        if key in self._taking and key not in self._queues:
            del self._taking[key]
            self._services.ownership.expect(self._services.world.now())

    async def ask(self, key: RunKey, kind: str, body: Any, idempotency_key: str | None = None) -> None:
        """Leave a request for whoever owns the run, and wait until it is accepted. With a key that was accepted before: it is.

        Raises:
            ClocheError: it was refused; the kind of error that the owner met.
            UsageError: this worker was closed before it was accepted.
        """
        store, world = self._store, self._services.world
        token = token_of(key, kind, idempotency_key or world.worker_id())
        await store.post(key, kind, encode(body), token, world.now(), kept=True)
        await self.look()
        while (answer := await store.answer(token)) is None:
            news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(news)
            await news
            if self._closed:
                raise UsageError(f"this Cloche was closed before the request for run {key} was accepted; it is kept")
        if idempotency_key is None:
            await store.forget(token)
        if answer != GRANTED:
            raise refusal_of(answer)

    def close(self) -> None:
        """Nothing is accepted here any more: whoever waits for an answer gets an error."""
        self._closed = True
        self.wake_waiting()

    def wake_waiting(self) -> None:
        """Have those who wait for an answer look for it."""
        waiting, self._waiting = self._waiting, []
        for news in waiting:
            if not news.done():
                news.set_result(None)

    def _queue(self, row: InboxRow) -> None:
        """Accept this request after those of its run that were posted before it. A cancellation waits for none."""
        if row.kind == "cancel":
            self._services.tasks.spawn(self._take(row))
            return
        queue = self._queues.get(row.key)
        if queue is None:
            queue = self._queues[row.key] = []
            self._services.tasks.spawn(self._work(row.key, queue))
        at = bisect_left(queue, row.id, key=lambda one: one.id)
        if at == len(queue) or queue[at].id != row.id:
            queue.insert(at, row)

    async def _work(self, key: RunKey, queue: list[InboxRow]) -> None:
        try:
            while queue:
                await self._take(queue.pop(0))
        finally:
            del self._queues[key]

    async def _take(self, row: InboxRow) -> None:
        """Accept one request, or see to it that it is not forgotten."""
        try:
            try:
                await self._accept(row)
            except StoreError:
                raise
            except ClocheError as error:
                await self._not_accepted(row, error)
        except StoreError as error:  # also: another worker was faster with the run, and accepts it
            log.info("a request for run %s waits: %s", row.key, error.message)
            self._look_again(row.key)
        except Exception:
            log.exception("a request for run %s waits: a fault in cloche itself", row.key)
        if row.kind == START:  # it is answered, or another worker has taken it: then only until that one is dead
            self._taking.get(row.key, {}).pop(row.id, None)
        self.wake_waiting()

    async def _not_accepted(self, row: InboxRow, error: ClocheError) -> None:
        """An event was acknowledged: it stays until its run has ended. Anything else is answered with the error."""
        found = await self._store.run(row.key)
        if row.kind != "event" or found is None or found.status in FINAL:
            await self._refuse(row, error)
            return
        log.info("an event for run %s waits: %s", row.key, error.message)
        if isinstance(error, NotSuspended):  # the hook was closed before the event reached it: another may be open
            self._look_again(row.key)
        # Else the run is blocked: `driven_again` says when that has changed.

    async def _refuse(self, row: InboxRow, error: ClocheError) -> None:
        log.warning("a request for run %s was not accepted: %s", row.key, error.message)
        await self._store.resolve(row.id, pack_refusal(error))
        if (
            row.kind == START and await self._store.run(row.key) is None
        ):  # nothing that was meant for it finds a run now
            gone = NotFound(f"run {row.key} was not started: {error.message}", kind="run", id=row.key.run)
            for other in await self._store.requests():
                if other.key == row.key:
                    await self._store.resolve(other.id, pack_refusal(gone))

    def _look_again(self, key: RunKey) -> None:
        self._taking.pop(key, None)
        self._services.ownership.expect(self._services.world.now() + AGAIN_MS)

    async def _accept(self, row: InboxRow) -> None:
        match row.kind:
            case "resume":
                await self._requests.resume(row.key, decode(row.body), row.id)
            case "cancel":
                await self._requests.cancel(row.key, decode(row.body), row.id)
            case "start":
                await self._new_runs.accept(row)
                self._services.ownership.expect(self._services.world.now())  # what was left for it meanwhile
            case "event":
                if not await self._is_queued(row):
                    await self._send(row)

    async def _is_queued(self, row: InboxRow) -> bool:
        """Whether the run has not begun: the event waits until it opens a hook."""
        run = await self._store.run(row.key)
        return run is not None and run.status == RunStatus.PENDING

    async def _send(self, row: InboxRow) -> None:
        """Deliver the oldest event of the run for which a hook is open; if that is another one, `row` comes again."""
        async with self._starting.with_driver(row.key) as driver:
            if (found := await self._oldest(driver)) is None:
                return
            oldest, call = found
            if oldest.id != row.id:
                self._queue(row)
            name, payload = decode(oldest.body)
            try:
                payload = self._services.registry.checked_event(driver.code, name, payload)
                event = HookReceived(self._services.world.now(), call, payload)
                driver.limits.check_inbound(event)
            except (InvalidInput, LimitExceeded) as error:
                await self._refuse(oldest, error)
            else:
                await driver.record(event, oldest.id)
            self._taking.get(row.key, {}).pop(oldest.id, None)

    async def _oldest(self, driver: RunDriver) -> tuple[InboxRow, CallId] | None:
        """With its hook. One that came before any hook was open may be older than those in the queue."""
        hooks = open_hooks(driver.machine, driver.inputs)
        for row in self._taking.get(driver.key, {}).values() if hooks else ():
            if (
                row.kind == "event"
                and (call := hooks.get(decode(row.body)[0]))
                and await self._requests.is_waiting(driver, row.id)
            ):
                return row, call
        return None
