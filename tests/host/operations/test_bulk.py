"""The same done to many runs, and finding them: on every store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop, one_loop, run_in_loop, until
from support.stores_of_all_kinds import STORES

from cloche import Client, Workflow, create_workflow
from cloche.errors import InvalidInput, StoreUnavailable, UsageError
from cloche.store import MemoryStore, RunFilter, RunPage, Store
from cloche.testing import TestApp


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        yield made
        run_in_loop(made.close())


def asking(journal: Journal) -> Workflow:
    return create_workflow(id="asking").then(journal.ask()).commit()


async def suspended(app: TestApp, flow: Workflow, count: int, **options: Any) -> None:
    for number in range(count):
        run = await app.start(flow, {"v": number}, run_id=f"r{number}", tags={"half": str(number % 2)}, **options)
        await run.result()


@in_loop
async def test_a_dry_run_counts_and_shows_five(store: Store, journal: Journal) -> None:
    flow = asking(journal)
    async with AppOn(store, workflows=[flow]) as app:
        await suspended(app, flow, 7)
        report = await app.bulk("cancel", dry_run=True, where={"status": "suspended"})
        assert (report.matched, report.done, report.first) == (7, 0, ["r6", "r5", "r4", "r3", "r2"])
        assert [row.status for row in await store.runs()] == ["suspended"] * 7


@in_loop
async def test_it_is_done_to_those_that_the_filter_gives_and_is_audited(store: Store, journal: Journal) -> None:
    flow = asking(journal)
    async with AppOn(store, workflows=[flow]) as app:
        await suspended(app, flow, 4)
        report = await app.bulk("resume", data={"add": 1}, by="ada", where={"tags": {"half": "1"}})
        assert (report.done, report.ok) == (2, True)
        await until(lambda: app.is_idle)
        assert {row.key.run: row.status for row in await store.runs()} == {
            "r0": "suspended",
            "r1": "success",
            "r2": "suspended",
            "r3": "success",
        }
        page, entry = await store.audit_log(action="bulk")
        assert (entry.actor, '"done": "resume"' in entry.facts) == ("ada", True)
        assert (page.actor, '"runs": ["r3", "r1"]' in page.facts) == ("ada", True)


@in_loop
async def test_runs_that_no_worker_has_begun_are_canceled_too(store: Store, journal: Journal) -> None:
    async with Client(store=await store.connect()) as client:
        for number in range(7):
            await client.start("ghost", {"n": number}, run_id=f"g{number}", tags={"part": str(number % 2)})
        counted = await client.bulk("cancel", where={"tags": {"part": "0"}}, dry_run=True)
        assert (counted.matched, counted.first) == (4, ["g6", "g4", "g2", "g0"])
        done = await client.bulk("cancel", where={"tags": {"part": "0"}}, by="ada")
        assert (done.done, done.failed) == (4, [])
        assert [one.id for one in await client.not_begun()] == ["g5", "g3", "g1"]
        assert (await client.bulk("cancel", where={"workflow": "ghost"})).done == 3
        assert (await client.bulk("delete", where={"workflow": "ghost"}, dry_run=True)).matched == 0
    async with AppOn(await store.connect(), workflows=[flow_named("ghost")]) as app:
        assert await app.not_begun() == []
        assert [row.status for row in await app.find(workflow="ghost")] in ([], ["canceled"] * 7)


@in_loop
async def test_an_event_reaches_runs_that_no_worker_has_begun(store: Store, journal: Journal) -> None:
    async with Client(store=await store.connect()) as client:
        await client.start("ghost", {}, run_id="g1")
        assert (await client.bulk("event", event="paid", data=7, where={"workflow": "ghost"})).done == 1
    async with AppOn(await store.connect(), workflows=[flow_named("ghost")]) as app:
        assert (await (await app.get("g1")).result(final=True)).unwrap() == 7


def flow_named(id: str) -> Workflow:
    return create_workflow(id=id).wait_for_event("paid").commit()


@in_loop
async def test_a_run_that_it_fails_on_is_listed_and_the_others_go_on(store: Store, journal: Journal) -> None:
    two = create_workflow(id="two").parallel([journal.ask("a"), journal.ask("b")]).commit()
    one = asking(journal)
    async with AppOn(store, workflows=[one, two]) as app:
        await (await app.start(two, {"v": 1}, run_id="two")).result()
        await suspended(app, one, 2)
        report = await app.bulk("resume", data={"add": 1}, where={"status": "suspended"})
        assert report.done == 2
        [(run, message)] = report.failed
        assert run == "two"
        assert "a" in message


@in_loop
async def test_cut_off_and_begun_again_it_does_the_rest(journal: Journal) -> None:
    flow, store = create_workflow(id="w").then(journal.boom()).commit(), MemoryStore()
    async with AppOn(store, workflows=[flow]) as app:
        for number in range(4):
            await (await app.start(flow, {"v": number}, run_id=f"r{number}")).result()
        retry, calls = app.retry, list[str]()

        async def cut_off(run_id: str, **options: Any) -> Any:
            if len(calls) == 2:
                raise StoreUnavailable("the cable")
            calls.append(run_id)
            return await retry(run_id, **options)

        app.retry = cut_off  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            await app.bulk("retry", where={"status": "failed"})
        app.retry = retry  # type: ignore[method-assign]
        await until(lambda: app.is_idle)
        failed = await app.find(status="failed", is_retried=False)
        report = await app.bulk("retry", where={"status": "failed"})
        assert (calls, report.done) == (["r3", "r2"], len(failed))
        assert {"r1\x1fr1", "r0\x1fr1"} <= set(report.made)


@in_loop
async def test_deleting_takes_those_that_have_ended(store: Store, journal: Journal) -> None:
    flow, done = asking(journal), create_workflow(id="done").then(journal.inc()).commit()
    async with AppOn(store, workflows=[flow, done]) as app:
        await suspended(app, flow, 1)
        await (await app.start(done, {"v": 1}, run_id="d1")).result()
        await until(lambda: app.is_idle)
        report = await app.bulk("delete", where={"tags": {}})
        assert (report.done, [row.key.run for row in await store.runs()]) == (1, ["r0"])


@in_loop
async def test_text_is_looked_for_in_what_runs_were_given_and_gave(store: Store, journal: Journal) -> None:
    flow, fails = (
        create_workflow(id="w").then(journal.take()).commit(),
        create_workflow(id="f").then(journal.boom()).commit(),
    )
    async with AppOn(store, workflows=[flow, fails]) as app:
        for number, word in enumerate(("Ada", "Grace", "ada lovelace")):
            await (await app.start(flow, {"name": word}, run_id=f"r{number}")).result()
        await (await app.start(fails, {"v": 1}, run_id="boom")).result()
        assert [row.key.run for row in await app.find(text="ADA")] == ["r2", "r0"]
        assert [row.key.run for row in await app.find(text="boom")] == ["boom"]
        assert [row.key.run for row in await app.find(text="ada", workflow="f")] == []


@in_loop
async def test_a_search_for_text_reads_so_many_runs_a_page_and_says_how_far_it_came(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloche.operations.finding.TEXT_RUNS_MAX", 3)
    flow, store = create_workflow(id="w").then(journal.take()).commit(), MemoryStore()
    async with AppOn(store, workflows=[flow]) as app:
        for number in range(5):
            await (await app.start(flow, {"name": f"n{number}"}, run_id=f"r{number}")).result()
        page = await app.find(text="n0")
        assert (list(page), page.next is not None) == ([], True)
        rest = await app.find(text="n0", cursor=page.next)
        assert [row.key.run for row in rest] == ["r0"]


@in_loop
async def test_a_page_looks_at_so_many_runs_and_its_cursor_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("memory", "sqlite", "postgres"):
        monkeypatch.setattr(f"cloche.store.{module}.listings.LOOKED_AT_MAX", 4)
    flow = create_workflow(id="w").wait_for_event("paid").commit()
    async with AppOn(await store.connect(), workflows=[flow]) as app:
        for number in range(2):
            await app.start("w", {"n": number}, run_id=f"r{number}")
        await until(lambda: app.is_idle)
        last = max(row.updated_at for row in await app.find(limit=None))
        await until(lambda: app.connection.world.now() > last)
        for number in range(2, 11):
            await app.start("w", {"n": number}, run_id=f"r{number}")
        await until(lambda: app.is_idle)
        pages, cursor = list[list[str]](), None
        while cursor is not None or not pages:
            page = await app.find(limit=3, cursor=cursor, status="waiting", until=last)
            pages.append([row.id for row in page])
            cursor = page.next
        assert pages == [[], [], ["r1", "r0"]]
        assert [row.id for row in await app.find(limit=None, status="waiting", until=last)] == ["r1", "r0"]


@in_loop
async def test_what_cannot_be_meant_is_refused(journal: Journal) -> None:
    async with AppOn(MemoryStore()) as app:
        with pytest.raises(UsageError, match="there is no action 'explode' for many runs; there are: cancel"):
            await app.bulk("explode")
        with pytest.raises(UsageError, match="say which event is to be sent"):
            await app.bulk("event")
        with pytest.raises(UsageError, match="no page has given the cursor 'x'"):
            await app.find(cursor="x")
        with pytest.raises(InvalidInput, match="the tag 'a=b' is not a name"):
            await app.find(tags={"a=b": "c"})
        with pytest.raises(InvalidInput, match="at most 32 tags"):
            await app.find(tags={f"t{number}": "x" for number in range(33)})
        assert await app.connection.store.find(RunFilter(), limit=1) == RunPage([], None)


@in_loop
async def test_open_runs_are_upgraded_where_todays_code_fits(journal: Journal) -> None:
    def flow(second: Any, first: Any = None) -> Workflow:
        return create_workflow(id="w").then(first or journal.inc()).then(journal.ask()).then(second).commit()

    store, today = MemoryStore(), flow(journal.take())
    async with AppOn(store, workflows=[flow(journal.dbl())]) as app:
        for number in range(3):
            await (await app.start("w", {"v": number}, run_id=f"r{number}")).result()
    async with AppOn(store, workflows=[flow(journal.dbl(), journal.take())]) as app:
        await (await app.start("w", {"v": 1}, run_id="other")).result()
    async with AppOn(store, workflows=[today]) as app:
        asked: dict[str, Any] = {"where": {"status": "suspended"}, "onto": "w"}
        assert (await app.bulk("upgrade", dry_run=True, **asked)).matched == 4
        report = await app.bulk("upgrade", by="ada", **asked)
        assert (report.done, [run for run, _ in report.failed]) == (3, ["other"])
        again = await app.bulk("upgrade", **asked)
        assert (again.done, [run for run, _ in again.failed]) == (0, ["other"])
        with pytest.raises(UsageError, match="where today's code is"):
            await app.bulk("upgrade", where={"status": "suspended"})


@in_loop
async def test_one_that_was_cut_off_goes_on_where_the_report_ended(store: Store, journal: Journal) -> None:
    flow = asking(journal)
    async with AppOn(store, workflows=[flow]) as app:
        await suspended(app, flow, 5)
        asked: dict[str, Any] = {"data": {"add": 1}, "where": {"status": "suspended"}, "bulk_id": "k"}
        pages, after = [], None
        while True:
            report = await app.bulk("resume", most=2, after=after, **asked)
            pages.append(report.done)
            after = report.next
            if after is None:
                break
        assert (sum(pages), max(pages)) == (5, 2)
        await until(store.runs, lambda rows: {row.status for row in rows} == {"success"})


@in_loop
async def test_runs_are_found_by_how_long_they_stand_as_they_stand(journal: Journal) -> None:
    world, flow = ManualWorld(), asking(journal)
    async with AppOn(MemoryStore(), workflows=[flow], world=world) as app:
        await (await app.start(flow, {"v": 1}, run_id="old")).result()
        world.move(3600, app)
        await (await app.start(flow, {"v": 1}, run_id="new")).result()
        found = [[row.key.run for row in await app.find(status="suspended", age=age)] for age in (0, 60, 3600.0, 3601)]
        assert found == [["new", "old"], ["old"], ["old"], []]
        with pytest.raises(UsageError, match="an age is a number of seconds"):
            await app.find(age=-1)
