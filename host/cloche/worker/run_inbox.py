"""What waits for the runs of one worker, run by run: requests, events, and timers that are due.

One after another, in the order of their instants: a request's is its posting, a timer's the time that it was set for. So events
of one name never overtake each other, and an event that came before its deadline wins against it, although no worker ran then.
The next one is looked at when the run has recorded the one before it: only then is it known what it waits for.

`docs/design/inbox.md` has the rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.engines import exceptions_of
from cloche.errors import (
    ClocheError,
    InvalidInput,
    LeasedElsewhere,
    LeaseLost,
    LimitExceeded,
    NotSuspended,
    StoreError,
)
from cloche.history import Failure, RunKey, TenantId, TimeMs
from cloche.history.messages import HookFailed, HookReceived
from cloche.history.pending import timers_due
from cloche.history.values import decode
from cloche.run.selection import open_hook
from cloche.store import START, InboxRow, WaitingEvent
from cloche.worker.answers import pack_refusal, refused_token

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.run.driver import RunDriver
    from cloche.run.ports import RunServices
    from cloche.worker.starting import Starting

AGAIN_MS = 100  # what the store did not answer is asked again after this time

log = logging.getLogger("cloche")


@dataclass(slots=True)
class Waiting:
    """What is known to wait for one run."""

    requests: dict[int, InboxRow] = field(default_factory=dict)  # those that are no events
    names: dict[str, None] = field(default_factory=dict)  # of events that may be there
    first: dict[str, WaitingEvent] = field(default_factory=dict)  # the oldest one of each name that is known
    is_taken_up: bool = False  # all that waits for it has to be found
    is_due: bool = False  # a timer is
    at_work: InboxRow | None = None

    def __bool__(self) -> bool:
        return bool(self.requests or self.names or self.first or self.is_taken_up or self.is_due)

    def add(self, row: InboxRow) -> None:
        if self.at_work is None or self.at_work.id != row.id:
            self.requests[row.id] = row

    def next(self) -> InboxRow | WaitingEvent | None:
        """The one that was posted first."""
        known: list[InboxRow | WaitingEvent] = [*self.requests.values(), *self.first.values()]
        return min(known, key=lambda one: one.id, default=None)

    def forget_events(self) -> None:
        self.names.clear()
        self.first.clear()
        self.is_taken_up = self.is_due = False


class RunInboxes:
    """Of one worker. `accept` is called with a request that is no event, and sees to it that it is not forgotten."""

    def __init__(
        self, services: RunServices, starting: Starting, accept: Callable[[InboxRow], Awaitable[None]]
    ) -> None:
        self._services = services
        self._store = services.store
        self._starting = starting
        self._accept = accept
        self._waiting: dict[RunKey, Waiting] = {}

    # ---- what comes ----

    def add(self, row: InboxRow) -> None:
        """A request that is no event."""
        self._of(row.key).add(row)

    def hooks_opened(self, key: RunKey, names: Iterable[str]) -> None:
        """A run waits for events of these names, or such events have come."""
        self._of(key).names.update(dict.fromkeys(names))

    def timer_due(self, key: RunKey) -> None:
        """A timer of a run that waits for something from outside too."""
        self._of(key).is_due = True

    def taken_up(self, key: RunKey) -> None:
        """This worker drives the run from now on: what has come for it was given to nobody, or to a worker that is gone."""
        self._of(key).is_taken_up = True

    def _of(self, key: RunKey) -> Waiting:
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = Waiting()
            self._services.tasks.spawn(self._services.lanes.loop.counted(key.tenant, self._work(key, waiting)))
        return waiting

    # ---- one after the other ----

    async def _work(self, key: RunKey, waiting: Waiting) -> None:
        try:
            while waiting:
                await self._services.lanes.loop.turn(key.tenant)
                await self._step(key, waiting)
                await asyncio.sleep(0)  # a run with many events is not alone
        finally:
            del self._waiting[key]

    async def _step(self, key: RunKey, waiting: Waiting) -> None:
        """Give one thing to the run, or see that it is not to be given now."""
        try:
            await self._give(key, waiting)
            return
        except (LeasedElsewhere, LeaseLost):  # the worker that takes it up finds all of this
            waiting.forget_events()
        except StoreError as error:
            log.info("what waits for run %s is looked at again: %s", key, error.message)
            self._look_again(key, waiting)
        except ClocheError as error:  # it has ended, or is blocked: what waits is found when it is taken up again
            log.info("events for run %s wait: %s", key, error.message)
            waiting.forget_events()
        except Exception:
            log.exception("what waits for run %s is left: a fault in cloche itself", key)
            waiting.forget_events()
        if waiting.requests:
            await self._accept_next(waiting)

    def _look_again(self, key: RunKey, waiting: Waiting) -> None:
        names, is_taken_up, is_due = (
            {**waiting.names, **dict.fromkeys(waiting.first)},
            waiting.is_taken_up,
            waiting.is_due,
        )
        waiting.forget_events()

        def again() -> None:
            self.hooks_opened(key, names)
            self._of(key).is_taken_up |= is_taken_up
            self._of(key).is_due |= is_due

        self._services.timers.at(TimeMs(self._services.world.now() + AGAIN_MS), again)

    async def _accept_next(self, waiting: Waiting) -> None:
        waiting.at_work = waiting.requests.pop(min(waiting.requests))
        try:
            await self._accept(waiting.at_work)
        finally:
            waiting.at_work = None

    async def _give(self, key: RunKey, waiting: Waiting) -> None:
        """What is next, now that this worker drives the run.

        Raises:
            ClocheError: it does not.
        """
        async with self._starting.with_driver(key) as driver:
            await self._find(driver, waiting)
            one = waiting.next()
            if await self._fire(driver, one):
                return
            waiting.is_due = False
            if isinstance(one, WaitingEvent):
                del waiting.first[one.name]
                await self._deliver(driver, waiting, one)
            elif one is not None:
                await self._accept_next(waiting)

    async def _find(self, driver: RunDriver, waiting: Waiting) -> None:
        """Look into the store for what is not known yet; an event that came meanwhile brings its name again."""
        if waiting.is_taken_up or waiting.is_due:
            for row in await self._store.requests(driver.key, events=False):
                if row.kind != START and not driver.inputs.accepts(row.id):
                    waiting.add(row)
            waiting.names.update(dict.fromkeys(driver.machine.open.awaited))
            waiting.is_taken_up = False
        names = [name for name in waiting.names if name in driver.machine.open.awaited]
        waiting.names.clear()
        if names:
            found = await self._store.first_events(driver.key, names)
            waiting.first.update((event.name, event) for event in found)

    async def _fire(self, driver: RunDriver, one: InboxRow | WaitingEvent | None) -> bool:
        """Fire the timers that were due before `one` was posted; whether any were left to be fired.

        Where events wait for which the run has no wait yet, it may have one after the next timer: then only that fires.
        """
        now = self._services.world.now()
        by = now if one is None else min(now, TimeMs(one.posted_at - 1))
        timers = timers_due(driver.machine.open, by) if driver.machine.moves else []
        if not timers:
            return False
        return await driver.fire(timers[:1] if await self._store.has_events(driver.key) else timers)

    async def _deliver(self, driver: RunDriver, waiting: Waiting, one: WaitingEvent) -> None:
        """Give an event to the first hook that waits for it."""
        call = open_hook(driver.machine, driver.inputs, one.name)
        if call is None or driver.inputs.accepts(one.id):
            return
        waiting.names[one.name] = None  # the next one of this name, or this one for another hook
        body = await self._store.body(one.id)
        if body is None:
            return
        name, payload, *failure = decode(body)
        event: HookReceived | HookFailed
        try:
            if failure:
                event = HookFailed(self._services.world.now(), call, _told(driver, failure[0]))
            else:
                payload = await checked_event(self._services, driver.code, driver.key.tenant, name, payload)
                event = HookReceived(self._services.world.now(), call, payload)
            driver.limits.check_inbound(event)
        except (InvalidInput, LimitExceeded) as error:
            log.warning("an event for run %s was not accepted: %s", driver.key, error.message)
            answer = pack_refusal(error, self._services.world.now())
            await self._store.resolve(one.id, answer, noted=refused_token(driver.key))
            return
        with contextlib.suppress(NotSuspended):  # the hook was closed before the event reached it: another may be open
            await driver.record(event, one.id)


def _told(driver: RunDriver, failure: dict[str, Any]) -> Failure:
    """What was sent in the place of an event, as it may enter the run's code.

    Raises:
        InvalidInput: the guest of the run is from before there were such failures.
    """
    if driver.machine.abi == 1:
        raise InvalidInput("the code of this run is older than failures that are sent from outside: send it an event")
    return Failure.from_wire(failure).told_to(exceptions_of(driver.code))


async def checked_event(services: RunServices, code: Code, tenant: TenantId, name: str, payload: Any) -> Any:
    """As `Registry.checked_event`: a large one of a tenant's own code is compared beside the loop."""
    check = partial(services.registry.checked_event, code, name, payload)
    return await services.lanes.compared(tenant, payload, check) if code.owner else check()
