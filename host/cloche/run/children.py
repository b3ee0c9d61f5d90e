"""The child runs that one run waits for: each is started once, and what comes of it comes back as an input.

A child is a run like any other, under an id that follows from its parent and the call, or from the id that its author gives it,
and that no caller can give (`history.ids`), so that starting it again (after a crash) finds the one there is. Its first record
names parent and call: a second call that gives the id of a child fails. Its workflow is looked up where the calling code is
from: the host's among what is registered, a tenant's first among its own. It goes on without its parent; only its end is waited
for, and it is canceled once nobody wants it any more.

A run that has nothing but children under way is let go when they rest, or wait to begin, or have been at work for a while: the
last commit of a child leaves a request for it, which wakes it wherever it is (`worker.requests`). One of an older release,
whose children do not know it, is driven as long as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, TypeVar

from cloche.engines import exceptions_of
from cloche.errors import (
    DamagedStore,
    HeldBack,
    HistoryError,
    LimitExceeded,
    MissingWorkflow,
    NotFound,
    QueueFull,
    RunConflict,
    StoreUnavailable,
)
from cloche.history import Batch, CallId, Failure, Kind, RunKey, TimeMs
from cloche.history.effects import StartRun, StopCall
from cloche.history.ids import Child
from cloche.history.machine import CANCELED
from cloche.history.messages import ChildEnded, CompleteRun, FailRun
from cloche.history.notes import RunStopped
from cloche.history.reading import is_tagged, message_of, unpack_started
from cloche.history.records import ENDS
from cloche.run.child_ids import ChildIds, was_begun_by
from cloche.run.ports import ChildStart
from cloche.status import FINAL, RESTING, RunStatus
from cloche.steps.authors import is_raised
from cloche.steps.sdk_values import natural
from cloche.store import all_records, child_ended
from cloche.store.histories import newest
from cloche.text import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from cloche.run.inputs import Inputs
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices
    from cloche.store import InboxRow, RunRow, Store

T = TypeVar("T")

LEFT_AFTER_MS = 10_000  # a child that has been at work for so long is left to itself
RETRY_S = 1.0  # until a store that did not answer is asked again

log = logging.getLogger("cloche.run")


class Children:
    """The children of one driver's run, by the calls that wait for them."""

    def __init__(self, run: LiveRun, inputs: Inputs, services: RunServices) -> None:
        self._run = run
        self._inputs = inputs
        self._services = services
        self._following: dict[CallId, asyncio.Task[None]] = {}
        self._ids = ChildIds(run)
        self._unwanted: set[CallId] = set()
        self._left_from: dict[CallId, TimeMs] = {}  # from when on each that goes on can be left to itself; 0: it rests
        self._told: set[CallId] = set()

    async def start(self, start: StartRun) -> None:
        """Start the child of a call, or find it, and tell its end.

        Raises:
            MissingWorkflow: this process does not have the workflow.
        """
        key = self._run.key
        owner, runs = self._run.code.owner, self._services.child_runs
        self._ids.know(start)
        if await self._row(start.call) is None and not await runs.has_workflow(key.tenant, start.workflow, owner):
            raise MissingWorkflow(
                f"run {key} needs workflow '{start.workflow}' for a child, which this process does not have: "
                "open the store with it among its workflows, or deploy it",
                run_id=key.run,
                workflow=start.workflow,
            )
        self._follow(start)

    async def cancel(self, call: CallId) -> None:
        """Nobody wants this child any more."""
        if call in self._following and call not in self._unwanted:
            self._unwanted.add(call)
            self._services.tasks.spawn(self._counted(self._cancel_if_there(call)))

    async def cancel_all(self) -> None:
        """The run is being canceled, or has ended: also the children that another process has started for it."""
        for call in self._run.machine.open.children():
            if call not in self._following:
                self._unwanted.add(call)
                self._follow(self._run.machine.open.start_of_child(call))
        for call in list(self._following):
            await self.cancel(call)

    def unwanted(self, batch: Batch) -> list[RunKey]:
        """The children that nobody wants any more, once this batch is durable."""
        calls = {effect.call for effect in batch.effects if isinstance(effect, StopCall)}
        ended, under_way = self._run.machine.ended, self._following.keys() - self._told
        ends = under_way if ended else {call for call in calls & under_way if not self._ids.is_given_twice(call)}
        return list(dict.fromkeys(map(self._ids.key, sorted(ends))))

    def left_from(self) -> TimeMs | None:
        """From when on all of them can be left to themselves; None: one begins just now or ends, or cannot be."""
        calls = self._run.machine.open.children()
        if (calls and not self._run.limits.derived_ids) or not all(call in self._left_from for call in calls):
            return None
        return max((self._left_from[call] for call in calls), default=TimeMs(0))

    def look_again(self, child: Child) -> RunKey | None:
        """A child is said to have ended: the run is not let go before it was looked at. Its key; None: nobody waits for it."""
        if (call := self._ids.call_of(child)) is None:
            return None
        self._left_from.pop(call, None)
        return self._ids.key(call)

    def stop(self) -> None:
        """Wait no more. Children go on; those that nobody wants are still canceled."""
        for call, task in self._following.items():
            if call not in self._unwanted:
                task.cancel()

    # ---- inside ----

    async def _row(self, call: CallId) -> RunRow | None:
        return await self._services.store.run(self._ids.key(call))

    def _follow(self, start: StartRun) -> None:
        self._ids.know(start)
        if start.call not in self._following and start.call not in self._told:
            task = self._following[start.call] = self._services.tasks.spawn(self._counted(self._followed(start)))
            task.add_done_callback(lambda _: self._following.pop(start.call, None))

    def _counted(self, work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        return self._services.lanes.loop.counted(self._run.key.tenant, work)

    async def _followed(self, start: StartRun) -> None:
        try:
            outcome = await self._insist(lambda: self._outcome(start))
        except BaseException as error:  # whatever keeps a child from starting is what comes of it
            if not is_raised(error):
                raise
            outcome = _failed(Failure.from_exception(error))
        # The request that the child has left is accepted with its end. One of an older release has left none.
        row = await self._insist(lambda: self._request_of(start))
        if start.call in self._unwanted:
            await self._insist(lambda: self._services.child_runs.forget_unwanted(self._ids.key(start.call)))
        self._tell(start.call, outcome, row.id if row is not None else None)

    async def _request_of(self, start: StartRun) -> InboxRow | None:
        """What the child has left for this run; None: nothing, or it is the child of another call."""
        if isinstance(start.child, str) and not await self._is_ours(start.call):
            return None
        return await self._services.store.request(child_ended(self._run.key, start.child).token)

    def _tell(self, call: CallId, outcome: list[Any], request: int | None) -> None:
        self._told.add(call)
        self._inputs.add(self._fitting(call, outcome), request)

    async def _outcome(self, start: StartRun) -> list[Any]:
        known = await self._row(start.call) is not None
        if self._ids.is_given_twice(start.call) or (known and not await self._is_ours(start.call)):
            return _failed(Failure.of(RunConflict, self._ids.conflict(start.call)))
        if start.call in self._unwanted and known:
            if (failure := await self._canceled(start.call)) is not None:
                return _failed(failure)
        elif not known:
            try:
                await self._services.lanes.loop.turn(self._run.key.tenant)
                await self._services.child_runs.start_child(self._asked(start), self._run.limits)
            except QueueFull:  # it would wait there as long as somebody wants it
                return _failed(Failure(CANCELED, "the run was canceled before this child began"))
            if start.call in self._ids.named and not await self._is_ours(start.call):
                return _failed(Failure.of(RunConflict, self._ids.conflict(start.call)))
            if start.call in self._unwanted and (failure := await self._canceled(start.call)) is not None:
                return _failed(failure)
        return await self._end(start.call)

    def _asked(self, start: StartRun) -> ChildStart:
        key, call = self._ids.key_to_begin(start), start.call
        is_wanted = lambda: call not in self._unwanted  # noqa: E731
        return ChildStart(key, start.workflow, start.input, self._run.code.owner, self._run.key, call, is_wanted)

    async def _is_ours(self, call: CallId) -> bool:
        """Whether the run of this call's id was begun by it. Of the plain ids of older releases that is not recorded."""
        if not self._run.limits.derived_ids and call not in self._ids.named:
            return True
        return await was_begun_by(self._services.store, self._ids.key(call), self._run.key, call)

    async def _cancel_if_there(self, call: CallId) -> None:
        """Else it begins now, and is canceled then. A run that waits for its end does not wait for one that cannot be had."""
        failure = await self._insist(lambda: self._canceled(call))
        if failure is not None and (following := self._following.get(call)) is not None:
            following.cancel()
            self._tell(call, _failed(failure), None)

    async def _canceled(self, call: CallId) -> Failure | None:
        """Have the child canceled; the failure of a call whose child cannot be: it is left behind."""
        key = self._ids.key(call)
        try:
            if await self._row(call) is not None and await self._is_ours(call):
                await self._services.child_runs.cancel_unwanted(key)
        except NotFound:  # it was deleted: there is nothing to cancel
            pass
        except (HistoryError, DamagedStore, HeldBack) as error:
            why = f"child run {shown(key.run)} could not be canceled, and is left behind: {error.message}"
            log.warning("run %s: %s", self._run.key, why)
            return Failure(CANCELED, why)
        return None

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store answers, for as long as it takes."""
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)

    async def _end(self, call: CallId) -> list[Any]:
        """Wait until the child has ended; what came of it."""
        store = self._services.store
        while True:
            key = await newest(store, self._ids.key(call))
            with contextlib.closing(self._services.child_runs.stopped(key)) as stopped:
                row = await store.run(key)
                if row is not None and row.status == RunStatus.CONTINUED:
                    continue
                if row is None and key != self._ids.key(call) and await store.run(key) is None:
                    await stopped  # its next history is asked for
                    continue
                if row is None or row.status in FINAL:
                    self._left_from.pop(call, None)
                if row is None:
                    return _failed(
                        Failure.of(NotFound, f"child run {shown(key.run)} was deleted before its end was seen")
                    )
                if row.status in FINAL:
                    return await _read(store, key, tagged=self._run.code.is_bundle)
                self._leave_when_at_rest(call, row)
                await stopped

    def _leave_when_at_rest(self, call: CallId, row: RunRow) -> None:
        if row.owner is None and row.status in (*RESTING, RunStatus.WAITING, RunStatus.PENDING):
            self._left_from[call] = TimeMs(0)
        elif not self._left_from.get(call):
            self._left_from[call] = TimeMs(self._services.world.now() + LEFT_AFTER_MS)
        else:
            return
        self._inputs.wake()  # the run may rest with it, now or then

    def _fitting(self, call: CallId, outcome: list[Any]) -> ChildEnded:
        """What came of it as it can enter the glass."""
        which, value = outcome
        if which == 1:
            outcome = _failed(Failure.from_wire(value).told_to(exceptions_of(self._run.code)))
        event = ChildEnded(self._services.world.now(), call, outcome)
        try:
            self._run.limits.check_inbound(event)
        except LimitExceeded as error:
            return ChildEnded.failed(event.time, call, Failure.from_exception(error))
        return event


async def _read(store: Store, key: RunKey, *, tagged: bool) -> list[Any]:
    """What came of a child. `tagged`: its parent knows values as JavaScript has them, as the child may."""
    records = await all_records(store, key)
    end = next(record for record in records if record.kind in ENDS)
    if end.kind is not Kind.RUN_CANCELED_BY_CODE:
        match message_of(end):
            case CompleteRun(value):
                started = next(record for record in records if record.kind is Kind.RUN_STARTED)
                return [0, value if tagged or not is_tagged(unpack_started(started.body)) else natural(value)]
            case FailRun(failure) | RunStopped(failure=failure):
                return _failed(failure)
    return _failed(Failure("Canceled", f"child run {shown(key.run)} was canceled"))


def _failed(failure: Failure) -> list[Any]:
    return [1, failure.to_wire()]
