"""Requests of other processes: they are left in the store, and the worker that owns the run accepts them.

An event that comes before its run waits for it stays in the inbox until then, and is not looked at. A request is taken in the
same commit as what it led to, so it is accepted once; the answer to one with an idempotency key stays, so it is accepted once
however often it is made. What waits for one run is given to it one by one (`worker.run_inbox`).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.errors import ClocheError, LeasedElsewhere, LeaseLost, NotFound, StoreError, UsageError
from cloche.history import RunKey, TenantId, TimeMs
from cloche.history.values import decode, encode
from cloche.run.remote import Told
from cloche.store import CHILD_ENDED, GRANTED, PERMIT, REMOTE, START, WAKE, InboxMark, InboxRow
from cloche.worker.answers import pack_refusal, refusal_of, refused_token, start_token, token_of
from cloche.worker.looks import OneAtATime
from cloche.worker.permits import PermitRunner
from cloche.worker.remote_watch import RemoteWatch
from cloche.worker.run_inbox import AGAIN_MS, RunInboxes
from cloche.worker.schedules import ScheduleRunner
from cloche.worker.start_request import StartRequest

if TYPE_CHECKING:
    from cloche.run.ports import RunServices
    from cloche.store import Store
    from cloche.worker.new_runs import NewRuns
    from cloche.worker.requests import Requests
    from cloche.worker.starting import Starting

log = logging.getLogger("cloche")


class Inbox:
    """Looks at what is new when another process wrote. `runs` has what waits for each run, `schedules` begin more,
    `remote` waits for what is performed elsewhere."""

    def __init__(self, services: RunServices, starting: Starting, requests: Requests, new_runs: NewRuns) -> None:
        self.runs = RunInboxes(services, starting, self._take)
        self._services = services
        self._requests = requests
        self._new_runs = new_runs
        self._closed = False
        self.look = OneAtATime(self._look)
        self.schedules = ScheduleRunner(services, new_runs.policies, self.look_soon)
        self.remote = RemoteWatch(services, on_posted=self.look_beside)
        self.permits = PermitRunner(services, on_given=self.look_beside)
        self._mark: InboxMark | None = None
        self._marked_by = ""  # the name that the mark was given to
        self._starts: dict[tuple[TenantId, str], dict[int, InboxRow]] = {}  # of workflows that this worker may get yet
        self._early: dict[RunKey, dict[int, InboxRow]] = {}  # requests for runs that are not there yet
        self._at_work: set[int] = set()  # starts and cancellations that are being accepted
        self._waiting: list[asyncio.Future[None]] = []  # those who asked and wait for an answer

    @property
    def _store(self) -> Store:
        return self._services.store

    async def _look(self) -> None:
        """Take the requests that have come.

        Raises:
            StoreError: the store did not answer.
        """
        # What is another worker's was not given to the name that asked: under a new one it is asked for from the beginning.
        ownership = self._services.ownership
        worker = ownership.worker
        new = await self._store.new_requests(worker, self._mark if self._marked_by == worker else None)
        self._mark, self._marked_by = new.mark, worker
        for row in new.requests:
            if row.kind == START:
                workflow = StartRequest.unpack(row.body).workflow
                self._starts.setdefault((row.key.tenant, workflow), {})[row.id] = replace(row, body=b"")
            else:
                self._add(row)
        for key, name in new.events:
            self.runs.hooks_opened(key, [name])
        for key in list(self._early):
            self.begun(key)
        for tenant, workflow in list(self._starts):
            if ownership.takes_runs and await self._new_runs.has(
                tenant, workflow
            ):  # else it is looked at again: it may be deployed
                for row in self._starts.pop((tenant, workflow)).values():
                    self._spawn(row)
        self.wake_waiting()

    def look_at_all(self) -> None:
        """With the next look: also what was seen already, and could not be accepted."""
        self._mark = None

    async def look_soon(self) -> None:
        """As `look`, and again in a moment if the store did not answer."""
        try:
            await self.look()
        except StoreError:
            self._services.ownership.expect(self._services.world.now() + AGAIN_MS)

    def look_beside(self) -> None:
        """As `look_soon`, in a task of its own."""
        self._services.tasks.spawn(self.look_soon())

    def begun(self, key: RunKey) -> None:
        """A run that was not there may be there now: what was left for it can be accepted."""
        for row in self._early.pop(key, {}).values():
            self._add(row)

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

    def _add(self, row: InboxRow) -> None:
        """Accept this request after those of its run that were posted before it. A cancellation waits for none."""
        if row.kind == "cancel":
            self._spawn(row)
        else:
            self.runs.add(row)

    def _spawn(self, row: InboxRow) -> None:
        if row.id not in self._at_work:
            self._at_work.add(row.id)
            self._services.tasks.spawn(self._services.lanes.loop.in_turn(row.key.tenant, self._take(row)))

    async def _take(self, row: InboxRow) -> None:
        """Accept one request, or see to it that it is not forgotten."""
        try:
            await self._accept_or_refuse(row)
        except (
            LeasedElsewhere,
            LeaseLost,
        ) as error:  # another worker has the run, and accepts it when it takes that up
            log.info("a request for run %s is another worker's: %s", row.key, error.message)
        except StoreError as error:
            log.info("a request for run %s waits: %s", row.key, error.message)
            due = TimeMs(self._services.world.now() + AGAIN_MS)
            self._services.timers.at(due, partial(self._spawn if row.kind == START else self._add, row))
        except Exception:
            log.exception("a request for run %s waits: a fault in cloche itself", row.key)
        finally:
            self._at_work.discard(row.id)
        self.wake_waiting()

    async def _accept_or_refuse(self, row: InboxRow) -> None:
        try:
            await self._accept(row)
        except StoreError:
            raise
        except NotFound as error:
            if row.kind != START and await self._store.request(start_token(row.key)) is not None:
                self._early.setdefault(row.key, {})[row.id] = row
            else:
                await self._refuse(row, error)
        except ClocheError as error:
            if (
                row.kind == REMOTE
            ):  # the run is blocked: it is told when it goes on, and nothing of it is lost until then
                log.warning("what a remote worker said of run %s waits: %s", row.key, error.message)
            else:
                await self._refuse(row, error)

    async def _refuse(self, row: InboxRow, error: ClocheError) -> None:
        log.warning("a request for run %s was not accepted: %s", row.key, error.message)
        answer = pack_refusal(error, self._services.world.now())
        await self._store.resolve(row.id, answer, noted=refused_token(row.key) if row.kind == "resume" else None)
        if (
            row.kind == START and await self._store.run(row.key) is None
        ):  # nothing that was meant for it finds a run now
            gone = NotFound(f"run {row.key} was not started: {error.message}", kind="run", id=row.key.run)
            for other in await self._store.requests(row.key):
                await self._store.resolve(other.id, pack_refusal(gone))

    async def _accept(self, row: InboxRow) -> None:
        match row.kind:
            case "resume":
                await self._requests.resume(row.key, decode(row.body), row.id)
            case "cancel":
                await self._requests.cancel(row.key, decode(row.body), row.id)
            case kind if kind == CHILD_ENDED:
                await self._requests.child_ended(row.key, decode(row.body), row.id)
            case kind if kind == WAKE:
                await self._requests.wake(row.key, decode(row.body), row.id)
            case kind if kind == PERMIT:
                await self._requests.permit_granted(row.key, *decode(row.body), request=row.id)
            case kind if kind == REMOTE:
                await self._requests.remote_told(row.key, Told.unpack(row.body), row.id)
            case "start" if (body := await self._store.body(row.id)) is not None:
                await self._new_runs.accept(replace(row, body=body))
                self.begun(row.key)
