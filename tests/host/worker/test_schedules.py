"""Schedules on workers: in virtual time, on a store in memory, with the real guest."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from cloche import Cloche, Schedule, StepContext, create_step, create_workflow
from cloche.errors import InvalidInput, LimitExceeded, NotFound, RunFailed, UsageError
from cloche.status import RunStatus
from cloche.store import MemoryStore
from cloche.tenancy import Policy
from cloche.testing import TestApp, VirtualTime
from cloche.testing.clock import START

seen: list[dict[str, Any]] = []


async def _note(data: Any, ctx: StepContext) -> Any:
    seen.append(dict(ctx.request_context))
    return data


def _ask(data: Any, ctx: StepContext) -> Any:
    return ctx.resume_data if ctx.resume_data is not None else ctx.suspend()


note = create_step(id="note", execute=_note)
ask = create_step(id="ask", execute=_ask)
report = create_workflow(id="report").then(note).commit()
approval = create_workflow(id="approval").then(ask).commit()


def in_virtual_time(test: Callable[[VirtualTime], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        time = VirtualTime()
        time.run(test(time))

    return run


def app_on(time: VirtualTime, store: MemoryStore | None = None, **options: Any) -> TestApp:
    return TestApp(report, approval, on=store, world=time.world, **options)


async def outcomes(app: Cloche, id: str) -> list[tuple[str, float]]:
    """What came of the instants of a schedule, the oldest first: in seconds since the start of virtual time."""
    return [(one.outcome, (one.instant - START) / 1000) for one in reversed(await app.schedules.firings(id))]


@in_virtual_time
async def test_a_run_begins_at_each_instant(time: VirtualTime) -> None:
    seen.clear()
    async with app_on(time) as app:
        info = await app.schedules.put("hourly", report, cron="0 * * * *", tz="Europe/Berlin", input={"day": 1})
        assert (info.next_at, info.workflow, info.when) == (START + 3_600_000, "report", "cron 0 * * * *")
        await time.sleep(3 * 3_600 + 10)
        rows = await app.list()
        assert [row.key.run for row in rows] == [f"hourly\x1ft{START + hour * 3_600_000}" for hour in (3, 2, 1)]
        assert {str(row.status) for row in rows} == {"success"}
        assert (await app.get("hourly › t1767232800000")).id == f"hourly\x1ft{START + 7_200_000}"
        assert seen[0] == {"schedule": "hourly", "scheduled_at": "2026-01-01T01:00:00+00:00"}
        assert len(await app.find(tags={"schedule": "hourly"})) == 3
        assert (await (await app.get(rows[0].key.run)).result()).unwrap() == {"day": 1}


@in_virtual_time
async def test_two_workers_make_one_run_of_an_instant(time: VirtualTime) -> None:
    store = MemoryStore()
    async with app_on(time, store) as one, app_on(time, store):
        await one.schedules.put("s", "report", every=60, overlap="allow", catch_up="all")
        await time.sleep(20 * 60 + 10)
        assert len(await one.list()) == 20
        assert [number for number, _ in enumerate(await one.schedules.firings("s"))] == list(range(20))


@in_virtual_time
async def test_a_worker_begins_what_came_while_none_was_there(time: VirtualTime) -> None:
    store = MemoryStore()
    async with app_on(time, store) as app:
        for id, catch_up in (("none", "none"), ("latest", "latest"), ("all", "all")):
            await app.schedules.put(id, "report", every=600, overlap="allow", catch_up=catch_up, catch_up_max=2)
    await time.sleep(45 * 60)
    async with app_on(time, store) as app:
        await time.sleep(10)
        assert await outcomes(app, "none") == [("skipped", 600)]
        assert await outcomes(app, "latest") == [("skipped", 600), ("fired", 2400)]
        assert await outcomes(app, "all") == [("skipped", 600), ("fired", 1800), ("fired", 2400)]
        [missed] = await app.schedules.firings("none")
        assert (missed.count, missed.until) == (4, START + 2_400_000)


@in_virtual_time
async def test_a_run_that_is_open_holds_the_next_one_back(time: VirtualTime) -> None:
    async with app_on(time) as app:
        await app.schedules.put("s", "approval", every=60, overlap="skip")
        await app.schedules.put("q", "approval", every=60, overlap="queue")
        await time.sleep(130)
        assert await outcomes(app, "s") == [("fired", 60), ("skipped", 120)]
        assert await outcomes(app, "q") == [("fired", 60)]
        waits = await app.schedules.get("q")
        assert (waits.queued, waits.last_run) == ([START + 120_000], f"q\x1ft{START + 60_000}")
        await app.resume(f"q\x1ft{START + 60_000}", resume_data=1)
        await time.sleep(5)
        assert await outcomes(app, "q") == [("fired", 60), ("fired", 120)]


@in_virtual_time
async def test_the_next_run_replaces_one_that_is_open(time: VirtualTime) -> None:
    async with app_on(time) as app:
        await app.schedules.put("r", "approval", every=60, overlap="replace")
        await time.sleep(130)
        found = {row.key.run[-7:]: row.status for row in await app.list()}
        first, second = str(START + 60_000)[-7:], str(START + 120_000)[-7:]
        assert found == {first: RunStatus.CANCELED, second: RunStatus.SUSPENDED}


@in_virtual_time
async def test_one_that_is_paused_begins_nothing_and_goes_on_with_what_comes(time: VirtualTime) -> None:
    async with app_on(time) as app:
        await app.schedules.put("s", "report", every=60)
        assert (await app.schedules.pause("s")).next_at is None
        await time.sleep(200)
        assert await app.list() == []
        by_hand = await app.schedules.fire("s")
        assert (await by_hand.result()).status == "success"
        assert (await app.schedules.resume("s")).next_at == START + 240_000
        await time.sleep(60)
        assert await outcomes(app, "s") == [("fired", 200), ("skipped", 60), ("fired", 240)]
        reasons = [one.reason for one in reversed(await app.schedules.firings("s"))]
        assert reasons == ["fired by hand", "it was paused", ""]


@in_virtual_time
async def test_a_delayed_start_begins_one_run(time: VirtualTime) -> None:
    async with app_on(time) as app:
        await app.schedules.put("later", report, at=timedelta(minutes=10), input=7)
        await time.sleep(590)
        assert await app.list() == []
        await time.sleep(3_600)
        assert [row.status for row in await app.list()] == [RunStatus.SUCCESS]
        assert (await app.schedules.get("later")).next_at is None


@in_virtual_time
async def test_the_same_put_again_changes_nothing_and_another_begins_anew(time: VirtualTime) -> None:
    async with app_on(time) as app:
        first = await app.schedules.put("s", "report", every=600)
        await time.sleep(300)
        assert await app.schedules.put("s", "report", every=600) == first
        changed = await app.schedules.put("s", "report", every=900, input=1)
        assert (changed.next_at, changed.created_at, changed.input) == (START + 900_000, first.created_at, 1)
        await time.sleep(400)
        assert await app.list() == []


@in_virtual_time
async def test_schedules_stand_in_code(time: VirtualTime) -> None:
    store, nightly = MemoryStore(), Schedule("nightly", report, cron="30 2 * * *", tz="Europe/Berlin", input=1)
    for _ in range(2):
        async with app_on(time, store, schedules=[nightly]) as app:
            assert [(one.id, one.next_at) for one in await app.schedules.list()] == [("nightly", START + 5_400_000)]
    with pytest.raises(UsageError, match="takes Schedule"):
        Cloche(schedules=["nightly"])  # type: ignore[list-item]


@in_virtual_time
async def test_one_that_is_deleted_begins_nothing(time: VirtualTime) -> None:
    async with app_on(time) as app:
        await app.schedules.put("s", "report", every=60)
        await app.schedules.delete("s")
        await time.sleep(300)
        assert (await app.list(), await app.schedules.list()) == ([], [])
        for call in (
            app.schedules.delete("s"),
            app.schedules.get("s"),
            app.schedules.fire("s"),
            app.schedules.pause("s"),
        ):
            with pytest.raises(NotFound, match="no schedule 's'"):
                await call


@in_virtual_time
async def test_what_could_never_begin_is_refused_at_once(time: VirtualTime) -> None:
    typed = create_workflow(id="typed", input_schema=int).then(note).commit()
    async with TestApp(typed, world=time.world) as app:
        with pytest.raises(NotFound):
            await app.schedules.put("s", "nothing", every=60)
        with pytest.raises(InvalidInput):
            await app.schedules.put("s", "typed", every=60, input="text")
        with pytest.raises(UsageError, match="id of a schedule"):
            await app.schedules.put("a\nb", "typed", every=60, input=1)
        assert await app.schedules.list() == []


@in_virtual_time
async def test_a_run_that_is_refused_is_shown_with_the_reason(time: VirtualTime) -> None:
    store = MemoryStore()
    async with app_on(time, store) as app:
        await app.schedules.put("s", "report", every=60, input="text")
    typed = create_workflow(id="report", input_schema=int).then(note).commit()
    async with TestApp(typed, on=store, world=time.world) as app:
        await time.sleep(90)
        [firing] = await app.schedules.firings("s")
        assert firing.outcome == "refused"
        assert firing.reason.startswith("the input of workflow 'report' does not fit its schema")
        with pytest.raises((RunFailed, InvalidInput, NotFound)):
            await app.get(str(firing.run))


@in_virtual_time
async def test_a_tenants_schedules_keep_within_its_policy(time: VirtualTime) -> None:
    policies = {"acme": Policy(schedules=1, schedule_every_s=60)}
    store = MemoryStore()
    async with app_on(time, store, policies=policies) as app:
        acme = app.tenant("acme")
        with pytest.raises(LimitExceeded, match="one run in 60 s"):
            await acme.schedules.put("fast", "report", every=59)
        await acme.schedules.put("one", "report", every=60)
        with pytest.raises(LimitExceeded, match="its policy allows 1"):
            await acme.schedules.put("two", "report", every=60)
        await acme.schedules.put("one", "report", every=120)
        await app.schedules.put("two", "report", every=60)
        assert [one.id for one in await acme.schedules.list()] == ["one"]


@in_virtual_time
async def test_workers_skip_what_the_policy_does_not_allow(time: VirtualTime) -> None:
    """A process that does not know the policy has put them."""
    store = MemoryStore()
    async with app_on(time, store) as app:
        for id, every in (("fast", 10), ("one", 60), ("two", 60)):
            await app.tenant("acme").schedules.put(id, "report", every=every)
            await time.sleep(0.01)
    async with app_on(time, store, policies={"acme": Policy(schedules=2, schedule_every_s=60)}) as app:
        await time.sleep(65)
        acme = app.tenant("acme")
        reasons = {id: {one.reason for one in await acme.schedules.firings(id)} for id in ("fast", "one", "two")}
        assert reasons["one"] == {""}
        assert all("schedule_every_s 60" in reason for reason in reasons["fast"])
        assert reasons["two"] == {"the tenant has 3 schedules, and its policy has schedules 2"}


@in_virtual_time
async def test_a_schedule_counts_among_no_runs_children(time: VirtualTime) -> None:
    async with app_on(time) as app:
        run = await app.start("report", 1, run_id="s")
        await run.result()
        await app.schedules.put("s", "report", every=60)
        await time.sleep(130)
        assert await app.store.descendants((await app.list())[-1].key, 10) == 0
        assert len(await app.list()) == 3


@in_virtual_time
async def test_a_run_of_a_schedule_is_moved_to_another_store(time: VirtualTime) -> None:
    async with app_on(time) as app, app_on(time) as other:
        await app.schedules.put("s", "report", every=60)
        by_hand = await app.schedules.fire("s")
        await time.sleep(70)
        for run in (f"s\x1ft{START + 60_000}", by_hand.id):
            moved = await other.import_(await app.export(run))
            assert (moved.id, (await moved.result()).status) == (run, "success")
