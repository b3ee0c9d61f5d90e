"""How many runs of a tenant go on at a time, what the others wait for, and whose turn it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, ended, in_loop, until

from cloche import Cloche, StepContext, Workflow, create_workflow
from cloche.errors import NotSuspended, QueueFull, RunConflict, UsageError
from cloche.history import DEFAULT_TENANT, Kind, TenantId
from cloche.operations import replay
from cloche.store import MemoryStore
from cloche.tenancy import Policy
from cloche.tenancy.fairness import divided, in_turns
from cloche.worker.admission import DRIVEN_MAX, Admission

NARROW = Policy(concurrent_runs=1, queued_runs=2)
FLOOD, SMALL = TenantId("flood"), TenantId("small")


class Held:
    """A step that waits until the gate is open; `began` has the tenants in the order in which their steps began."""

    def __init__(self, journal: Journal) -> None:
        self.gate = asyncio.Event()
        self.began: list[str] = []
        self.workflow = create_workflow(id="w").then(journal.acts("held", self._hold)).commit()

    async def _hold(self, data: Any, ctx: StepContext) -> Any:
        self.began.append(ctx.tenant)
        await self.gate.wait()
        return data


# ---- whose turn it is ----------------------------------------------------------------------------------------------------


@in_loop
async def test_ten_thousand_queued_runs_of_one_tenant_do_not_delay_anothers_first_step(
    tmp_path: Path, journal: Journal
) -> None:
    """Neither in the process that took them, nor in the one that opens the store next."""
    policies = {"flood": Policy(concurrent_runs=4), "small": Policy(concurrent_runs=1)}
    held = Held(journal)
    async with Cloche(tmp_path / "s.db", workflows=[held.workflow], policies=policies, drain_timeout_s=0) as app:
        await asyncio.gather(*(app.tenant("flood").start("w", number) for number in range(10_000)))
        store = app._running.store
        await until(lambda: len(held.began) == 4)
        assert await store.queued(FLOOD) == 9_996
        for number in range(3):
            await app.tenant("small").start("w", number, run_id=f"s{number}")
        await until(lambda: len(held.began) == 5)
        assert (held.began[4], await store.queued(SMALL), await store.queued(FLOOD)) == ("small", 2, 9_996)
    again = Held(journal)
    async with Cloche(tmp_path / "s.db", workflows=[again.workflow], policies=policies, drain_timeout_s=0) as app:
        await until(lambda: len(again.began) == 5)
        assert again.began.index("small") < 2
        again.gate.set()
        small = [await (await app.tenant("small").get(f"s{number}")).result() for number in range(3)]
        assert [result.status for result in small] == ["success"] * 3
        flood = sum(row.status == "success" for row in await app._running.store.runs(tenant="flood"))
        assert flood < 1_000  # while the three of the small tenant began and ended
        again.gate.clear()


@in_loop
async def test_a_worker_that_is_full_of_one_tenants_runs_takes_those_of_another(journal: Journal) -> None:
    store, held = MemoryStore(), Held(journal)
    async with AppOn(store, workflows=[held.workflow]) as app:
        await asyncio.gather(*(app.tenant("flood").start("w", number) for number in range(DRIVEN_MAX + 200)))
        await app.tenant("small").start("w", 1)
        await app.vanish()
    again = Held(journal)
    async with AppOn(store, workflows=[again.workflow]) as app:
        await until(lambda: len(again.began) > DRIVEN_MAX // 2)
        assert again.began.index("small") < 64  # in the first page
        await until(lambda: app._running.admission.driven[FLOOD] >= DRIVEN_MAX // 2)
        await app.vanish()


@pytest.mark.parametrize(
    ("room", "wants", "after", "shares"),
    [
        (6, {"a": 9, "b": 9}, None, {"a": 3, "b": 3}),
        (6, {"a": 9, "b": 1}, None, {"a": 5, "b": 1}),
        (7, {"a": 9, "b": 9, "c": 9}, "a", {"b": 3, "c": 2, "a": 2}),
        (2, {"a": 9, "b": 9, "c": 9}, "b", {"c": 1, "a": 1}),
        (5, {"a": 0, "b": 2}, None, {"b": 2}),
        (5, {}, "a", {}),
        (0, {"a": 1}, None, {}),
    ],
)
def test_places_are_shared_out_in_turns(room: int, wants: dict[Any, int], after: Any, shares: dict[Any, int]) -> None:
    assert list(divided(room, wants, after).items()) == list(shares.items())


def test_what_was_taken_begins_in_turns() -> None:
    assert in_turns([["a1", "a2", "a3"], [], ["b1"], ["c1", "c2"]]) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_each_tenant_has_an_even_share_of_a_full_worker() -> None:
    admission = Admission(lambda tenant: Policy(concurrent_runs=700 if tenant == "small" else 10_000))
    for _ in range(DRIVEN_MAX):
        admission.entered(FLOOD)
    assert (admission.room(FLOOD, 2), admission.room(SMALL, 2)) == (0, DRIVEN_MAX // 2)
    for _ in range(DRIVEN_MAX):
        admission.left(FLOOD)
    assert (admission.room(FLOOD, 2), admission.room(SMALL, 2)) == (DRIVEN_MAX, 700)


# ---- waiting -------------------------------------------------------------------------------------------------------------


@in_loop
async def test_runs_beyond_the_bound_wait_and_begin_in_order(journal: Journal) -> None:
    held = Held(journal)
    async with AppOn(MemoryStore(), workflows=[held.workflow], policies={"small": NARROW}) as app:
        small = app.tenant("small")
        runs = [await small.start("w", number, run_id=f"r{number}") for number in range(3)]
        assert [await run.status() for run in runs] == ["running", "pending", "pending"]
        assert [record.kind for record in await runs[1].history()] == [Kind.RUN_CREATED]
        with pytest.raises(QueueFull, match="tenant small has 2 runs that wait to begin, and 2 may") as refused:
            await small.start("w", 3, run_id="r3")
        error = refused.value
        assert (error.limit, error.value, error.asked, error.retryable) == ("queued_runs", 2, 3, True)
        assert await app.store.run(runs[0]._key) is not None
        assert len(await app.store.runs(tenant="small")) == 3
        await app.tenant("other").start("w", 0)  # others have room
        held.gate.set()
        assert [await ended(run) for run in runs] == [("success", number) for number in range(3)]
        assert await ended(await small.start("w", 3, run_id="r3")) == ("success", 3)
        began = [record.time for run in runs for record in await run.history() if record.kind is Kind.RUN_STARTED]
        assert began == sorted(began)
        replayed = [await small.replay(run.id) for run in runs]
        assert [(report.ok, report.fuel_recorded == report.fuel) for report in replayed] == [(True, True)] * 3
        assert (await app.verify()).ok


@in_loop
async def test_a_bound_holds_for_those_that_come_at_once(journal: Journal) -> None:
    held = Held(journal)
    async with AppOn(MemoryStore(), workflows=[held.workflow], policies={"small": NARROW}) as app:
        starts = [app.tenant("small").start("w", number) for number in range(9)]
        came = await asyncio.gather(*starts, return_exceptions=True)
        assert [type(one) for one in came if isinstance(one, Exception)] == [QueueFull] * 6
        assert (len(held.began), len(await app.store.runs())) == (1, 3)
        held.gate.set()


@in_loop
async def test_a_queued_run_outlives_its_process_with_all_it_was_given(journal: Journal) -> None:
    seen: list[Any] = []

    def see(data: Any, ctx: StepContext) -> Any:
        seen.append((data, dict(ctx.request_context), dict(ctx.state)))
        return data

    step = journal.acts("see", see)
    workflow = create_workflow(id="v").then(step).then(journal.take()).commit()
    store, held = MemoryStore(), Held(journal)
    async with AppOn(store, workflows=[held.workflow, workflow], policies={"small": NARROW}) as app:
        small = app.tenant("small")
        await small.start("w", 0)
        given: dict[str, Any] = {"initial_state": {"a": 1}, "request_context": {"b": 2}, "per_step": True}
        run = await small.start("v", [1, "x" * 9_000], run_id="r1", **given)
        assert (await small.start("v", [1, "x" * 9_000], run_id="r1")).id == run.id
        with pytest.raises(RunConflict):
            await small.start("v", [2], run_id="r1")
        await app.vanish()
    async with AppOn(store, workflows=[held.workflow, workflow]) as app:
        result = await (await app.tenant("small").get("r1")).result()
        assert (result.status, result.input, result.state) == ("paused", [1, "x" * 9_000], {"a": 1})
        assert (await app.tenant("small").resume("r1")).status == "success"
        held.gate.set()
        assert (await app.tenant("small").replay("r1")).ok
    assert seen == [([1, "x" * 9_000], {"b": 2}, {"a": 1})]


@in_loop
async def test_a_queued_run_can_be_canceled_and_then_deleted(journal: Journal) -> None:
    held = Held(journal)
    async with AppOn(MemoryStore(), workflows=[held.workflow], policies={"small": NARROW}) as app:
        small = app.tenant("small")
        await small.start("w", 0)
        run = await small.start("w", 1, run_id="r1")
        with pytest.raises(UsageError, match="only a run that has ended can be deleted"):
            await small.delete("r1")
        with pytest.raises(NotSuspended, match="has not begun: pending"):
            await small.resume("r1")
        waiting = asyncio.create_task(run.result())
        await run.cancel()
        await run.cancel()
        assert (await waiting).status == "canceled"
        assert [record.kind for record in await run.history()] == [Kind.RUN_CREATED, Kind.RUN_CANCELED]
        assert (await app.verify()).ok
        await small.delete("r1")
        held.gate.set()
    assert held.began == ["small"]


@in_loop
async def test_an_event_waits_for_a_run_that_waits_to_begin(journal: Journal) -> None:
    held = Held(journal)
    hearing = create_workflow(id="h").wait_for_event("paid").commit()
    async with AppOn(MemoryStore(), workflows=[held.workflow, hearing], policies={"small": NARROW}) as app:
        small = app.tenant("small")
        await small.start("w", 0)
        run = await small.start("h", None)
        await small.send_event(run.id, "paid", 7)
        assert await run.status() == "pending"
        held.gate.set()
        assert await ended(run) == ("success", 7)


@in_loop
async def test_a_run_that_rests_gives_its_place_to_the_next(journal: Journal) -> None:
    asking = create_workflow(id="a").then(journal.ask()).commit()
    async with AppOn(MemoryStore(), workflows=[asking], policies={"small": NARROW}) as app:
        runs = [await app.tenant("small").start("a", {"v": number}) for number in range(3)]
        assert [(await run.result()).status for run in runs] == ["suspended"] * 3
        assert (await runs[1].resume(resume_data={"add": 5})).result == {"v": 6}


@in_loop
async def test_a_child_does_not_wait_for_the_place_of_its_parent(journal: Journal) -> None:
    async def begin(data: Any, ctx: StepContext) -> Any:
        return (await (await ctx.start_child("child", data)).result()).unwrap()

    child = create_workflow(id="child").then(journal.inc()).commit()
    parent: Workflow = create_workflow(id="parent").then(journal.acts("begin", begin)).commit()
    async with AppOn(MemoryStore(), workflows=[parent, child], policies={"small": NARROW}) as app:
        assert await ended(await app.tenant("small").start("parent", {"v": 1})) == ("success", {"v": 2})


PARENT = """
const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
export default async function workflow(input) {
  await step("gate")(1);
  return cloche.child("c", "w", input);
}
"""


@pytest.mark.parametrize("is_canceled", [False, True])
def test_a_child_that_finds_the_queue_full_waits_for_room(
    journal: Journal, caplog: pytest.LogCaptureFixture, is_canceled: bool
) -> None:
    """Nobody could start it again. It is begun once, and who cancels its parent does not wait for the queue."""

    @in_loop
    async def live() -> None:
        held, starts, gate = Held(journal), list[Any](), asyncio.Event()
        held.workflow.on_start = starts.append
        step, policy = journal.acts("gate", lambda data, ctx: gate.wait()), Policy(concurrent_runs=1, queued_runs=1)
        async with AppOn(MemoryStore(), workflows=[held.workflow], steps=[step], policy=policy) as app:
            await app.deploy(DEFAULT_TENANT, PARENT, workflow="p", language="javascript")
            parent = await app.start("p", 7, run_id="p")
            other = await app.start("w", 1, run_id="other")
            drivers, on_room = app._running.drivers, app._running.drivers._on_room
            drivers._on_room = lambda: None  # the other one keeps its place in the queue
            gate.set()
            await until(lambda: "child run p › 2 waits for room in the queue" in caplog.text)
            told = replay.why_not_moving(
                await replay.result_of(app.store, parent._key), await replay.machine_of(app.store, parent._key), 0
            )
            assert told == "waiting for child p › 2, which is pending"
            if is_canceled:
                await parent.cancel()
                assert (await parent.result(final=True)).status == "canceled"
            drivers._on_room = on_room
            on_room()
            held.gate.set()
            assert await ended(other) == ("success", 1)
            if not is_canceled:
                assert await ended(parent) == ("success", 7)
            assert len(starts) == 2
            assert (await app.verify()).ok

    live()


@in_loop
async def test_people_are_told_what_a_queued_run_waits_for(journal: Journal) -> None:
    held = Held(journal)
    async with AppOn(MemoryStore(), workflows=[held.workflow], policies={"small": NARROW}) as app:
        await app.tenant("small").start("w", 0)
        run = await app.tenant("small").start("w", 1)
        result, machine = await replay.result_of(app.store, run._key), await replay.machine_of(app.store, run._key)
        assert replay.why_not_moving(result, machine, 0).startswith("pending: it begins when runs of tenant small")
        assert (await app.tenant("small").replay(run.id)).events == 0
        held.gate.set()
