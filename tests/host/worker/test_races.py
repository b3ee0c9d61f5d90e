"""What may happen between a question to the store and its answer: each race of a worker, brought about on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import pytest
from support.apps import KEY, AppOn, Journal, ManualWorld, ended, in_loop, until
from support.stores import Log, key

from cloche import Client, DirectEngine, create_workflow
from cloche.errors import NotSuspended, StoreUnavailable
from cloche.history import DEFAULT_TENANT, Kind, TenantId, TimeMs
from cloche.steps.registry import Registry
from cloche.store import Append, MemoryStore, NewRun, Outcome, RunRow
from cloche.store.memory import MemoryLeases
from cloche.tenancy import Policy
from cloche.testing import TestApp, VirtualTime
from cloche.worker.admission import Admission
from cloche.worker.due_runs import DueRuns
from cloche.worker.looks import OneAtATime
from cloche.worker.others import Others


class Gate:
    """One call of a method of a store stands at it, on its way there or, where it is `after`, on its way back."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool = False) -> None:
        self.is_shut = False
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        true: Callable[..., Any] = getattr(owner, name)

        @wraps(true)
        async def gated(store: Any, *args: Any, **options: Any) -> Any:
            if not self.is_shut:
                return await true(store, *args, **options)
            self.is_shut = False
            answer = await true(store, *args, **options) if after else None
            self.reached.set()
            await self.opened.wait()
            return answer if after else await true(store, *args, **options)

        patch.setattr(owner, name, gated)

    def shut(self) -> None:
        """For the next call."""
        self.is_shut = True

    def open(self) -> None:
        self.opened.set()


@in_loop
async def test_a_look_under_an_old_name_hides_no_event(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered when the worker has joined again and owns the run by another name: the event is not the old name's."""
    store, gate, world = MemoryStore(), asyncio.Event(), ManualWorld()
    looking = Gate(monkeypatch, MemoryStore, "new_requests")
    held = journal.acts("held", lambda data, ctx: gate.wait())
    workflow = create_workflow(id="w").parallel([held, create_workflow(id="go").wait_for_event("go").commit()]).commit()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        run = await app.start("w", None, run_id="r1")
        await until(lambda: len(journal.began) == 1)
        looking.shut()
        look = asyncio.ensure_future(app._running.inbox.look())
        await looking.reached.wait()
        await evicted(app, store, world)
        await until(lambda: len(journal.began) == 2)  # it drives the run again
        async with Client(await store.connect(), world=world) as client:
            await client.send_event("r1", "go", 5)
        looking.open()
        await look
        gate.set()
        assert await ended(run) == ("success", {"held": True, "go": 5})


@in_loop
async def test_a_run_is_claimed_once_by_all_who_ask_for_it(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    store, claiming = MemoryStore(), Gate(monkeypatch, MemoryLeases, "claim", after=True)
    async with AppOn(store, workflows=[create_workflow(id="w").then(journal.ask()).commit()]) as app:
        run = await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: KEY not in app._running.drivers)
        parked = await store.run(KEY)
        claiming.shut()
        resumes = [asyncio.ensure_future(app.resume("r1", resume_data={"add": number})) for number in (10, 20)]
        await claiming.reached.wait()
        await asyncio.sleep(0.05)  # the other one would claim it too
        claiming.open()
        outcomes = await asyncio.gather(*resumes, return_exceptions=True)
        assert sum(isinstance(one, NotSuspended) for one in outcomes) == 1
        assert await ended(run) in [("success", {"v": 11}), ("success", {"v": 21})]
        row = await store.run(KEY)
        assert parked is not None
        assert row is not None
        assert row.fence == parked.fence + 1


@in_loop
async def test_what_an_evicted_worker_has_claimed_is_not_its_own(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears that it has the run when others have evicted it, and it knows: the run is driven once, by its new name."""
    store, world, claiming = MemoryStore(), ManualWorld(), Gate(monkeypatch, MemoryLeases, "claim", after=True)
    entered: list[bool] = []
    async with AppOn(store, workflows=[create_workflow(id="w").then(journal.ask()).commit()], world=world) as app:
        run = await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: KEY not in app._running.drivers)
        drivers, name = app._running.drivers, app._running.name
        enter = drivers.enter

        def seen(driver: Any) -> None:
            entered.append(driver.lease.worker == name)
            enter(driver)

        monkeypatch.setattr(drivers, "enter", seen)
        claiming.shut()
        resume = asyncio.ensure_future(app.resume("r1", resume_data={"add": 10}))
        await claiming.reached.wait()
        await evicted(app, store, world)
        claiming.open()
        await resume
        assert await ended(run) == ("success", {"v": 11})
        assert journal.began == ["ask", "ask"]
        assert entered == [False]


@in_loop
async def test_places_that_are_being_claimed_are_taken(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    store, gate = MemoryStore(), asyncio.Event()
    claiming = Gate(monkeypatch, MemoryLeases, "claim_due", after=True)
    workflow = create_workflow(id="w").then(journal.acts("held", lambda data, ctx: gate.wait())).commit()
    policies = {DEFAULT_TENANT: Policy(concurrent_runs=1)}
    async with AppOn(store, workflows=[workflow]) as first:
        await first.start("w", 0, run_id="r0")
        await first.vanish()
    claiming.shut()
    app = AppOn(store, workflows=[workflow], policies=policies)
    entering = asyncio.ensure_future(app.__aenter__())
    await claiming.reached.wait()
    for row in await store.leases.workers():
        if row.is_dead:
            await store.leases.evict(row)
    await until(lambda: app._worker is not None)
    later = await app.start("w", 1, run_id="r1")
    assert await later.status() == "pending"
    claiming.open()
    await entering
    gate.set()
    assert await ended(later) == ("success", True)
    await app.__aexit__(None, None, None)


class NoWork:
    """Implements `Work`: runs that are claimed are not driven."""

    async def adopt(self, row: RunRow) -> None:
        pass

    async def look(self) -> None:
        pass

    def lose_all(self) -> None:
        pass


@in_loop
async def test_room_that_is_made_during_a_look_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant's only run leaves while those of another one are claimed: its next one is looked for."""
    store, claiming = MemoryStore(), Gate(monkeypatch, MemoryLeases, "claim_due")
    acme, umbra = TenantId("acme"), TenantId("umbra")
    await store.leases.join("w1")
    for tenant in (acme, umbra):
        log = Log(key("r1", tenant))
        await store.commit([log.append(Kind.RUN_CREATED, status="pending", new=NewRun("w", "c0de"))])
    admission = Admission(lambda tenant: Policy(concurrent_runs=1 if tenant == acme else 5))
    admission.entered(acme)
    others = Others(store.leases, Registry(), ManualWorld(), lambda: "w1")
    due = DueRuns(store.leases, admission, NoWork(), lambda: "w1", others)
    claiming.shut()
    look = asyncio.ensure_future(due.take(TimeMs(1)))
    await claiming.reached.wait()
    admission.left(acme)
    due.room_again()
    claiming.open()
    assert (await look, due.held) == (True, {acme})
    await due.take(TimeMs(1))
    assert [row.owner for row in await store.runs(tenant=acme)] == ["w1"]


@pytest.mark.parametrize("method", ["claim_due", "claim", "set_problem"])
def test_a_run_goes_on_whatever_answer_is_lost(journal: Journal, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The store has done it, and the worker was told that it had not."""
    owner: type = MemoryStore if method == "set_problem" else MemoryLeases
    true: Callable[..., Any] = getattr(owner, method)
    lost: list[str] = []

    async def loses(store: Any, *args: Any) -> Any:
        answer = await true(store, *args)
        if not lost:
            lost.append(method)
            raise StoreUnavailable("the answer was lost")
        return answer

    workflow = create_workflow(id="w").then(journal.inc()).sleep(30).then(journal.dbl()).commit()
    other = create_workflow(id="other").then(journal.inc()).commit()
    time, store = VirtualTime(), MemoryStore()

    async def main() -> None:
        first = TestApp(workflow, on=store, world=time.world, engine=DirectEngine())
        await first.__aenter__()
        await first.start("w", {"v": 1}, run_id="r1")
        await asyncio.sleep(1)
        await first.vanish()
        monkeypatch.setattr(owner, method, loses)
        if method == "set_problem":  # it lacks the steps, and says so
            async with TestApp(other, on=store, world=time.world, engine=DirectEngine()):
                await asyncio.sleep(60)
        async with TestApp(workflow, on=store, world=time.world, engine=DirectEngine()) as second:
            if method == "claim":
                with pytest.raises(StoreUnavailable):
                    await second._running.starting.wake(KEY)
            assert (await (await second.get("r1")).result(final=True)).unwrap() == {"v": 4}
        assert lost == [method]

    time.run(main())


@in_loop
async def test_looks_never_overlap_and_are_shared() -> None:
    looks, ends = 0, asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        await ends.wait()

    once = OneAtATime(look)
    first = asyncio.ensure_future(once())
    await asyncio.sleep(0)
    later = [asyncio.ensure_future(once()) for _ in range(5)]
    await asyncio.sleep(0)
    assert looks == 1
    ends.set()
    await asyncio.gather(first, *later)
    assert looks == 2  # those that came while the first was under way got one that began afterwards


@in_loop
async def test_a_look_that_fails_is_made_again_by_the_next() -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        if looks == 1:
            raise StoreUnavailable("not now")

    once = OneAtATime(look)
    outcomes = await asyncio.gather(once(), once(), once(), return_exceptions=True)
    assert ([type(one) for one in outcomes], looks) == ([StoreUnavailable, type(None), type(None)], 2)


@in_loop
async def test_a_cancellation_that_was_not_answered_holds_up_nobody(journal: Journal) -> None:
    """Of a run that waits to begin: it was claimed for that, and is not driven. It begins in its turn, or has ended."""

    class Refusing(MemoryStore):
        refuses = False

        async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
            if Refusing.refuses:
                Refusing.refuses = False
                raise StoreUnavailable("the disk is full")
            return await super().commit(appends)

    gate = asyncio.Event()
    workflow = create_workflow(id="w").then(journal.acts("held", lambda data, ctx: gate.wait())).commit()
    policies = {DEFAULT_TENANT: Policy(concurrent_runs=1)}
    async with AppOn(Refusing(), workflows=[workflow], policies=policies) as app:
        await app.start("w", 0, run_id="r0")
        later = await app.start("w", 1, run_id="r1")
        Refusing.refuses = True
        with pytest.raises(StoreUnavailable):
            await later.cancel()
        gate.set()
        await until(later.status, lambda status: status == "success")


async def evicted(app: Any, store: MemoryStore, world: ManualWorld) -> None:
    """Others evict the worker of `app`; it notices, and joins again."""
    membership = app._running.membership
    name = membership.worker
    assert await store.leases.evict(next(row for row in await store.leases.workers() if row.id == name))
    world.move(5)
    await until(lambda: membership.worker != name)
