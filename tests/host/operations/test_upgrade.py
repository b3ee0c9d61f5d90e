"""Deploying changed workflows under open runs: what fits, what does not and since when, and moving what does."""

from __future__ import annotations

from typing import Any

import pytest
from support.apps import KEY, AppOn, Journal, ManualWorld, ended, in_loop, until

from cloche import Workflow, create_workflow, path
from cloche.client.workflows import load_workflow
from cloche.engines import CellSource, DirectEngine, SandboxEngine
from cloche.errors import Divergence, LeasedElsewhere, NotFound, UsageError
from cloche.history import Kind
from cloche.status import RunStatus
from cloche.store import MemoryStore, all_records
from cloche.tenancy import Policy
from cloche_codegen import patched

ENGINES: tuple[type[SandboxEngine] | type[DirectEngine], ...] = (SandboxEngine, DirectEngine)


def first_version(journal: Journal) -> Workflow:
    return create_workflow(id="w").then(journal.inc()).then(journal.ask()).then(journal.dbl()).commit()


def _behind(journal: Journal) -> Workflow:
    """Changed only where the run has not come yet."""
    return create_workflow(id="w").then(journal.inc()).then(journal.ask()).then(journal.take()).commit()


def _before(journal: Journal) -> Workflow:
    """Changed where the run has been."""
    return create_workflow(id="w").then(journal.take()).then(journal.ask()).then(journal.dbl()).commit()


def _patched(journal: Journal) -> Workflow:
    """The same change, under a patch; and another one behind."""
    last = journal.step("last", lambda data: {"v": data["late"]["v"] + 100})
    late = journal.step("late", lambda data: {"v": data["v"] + 0})
    return (
        create_workflow(id="w")
        .choose([(patched("take"), journal.take())], otherwise=journal.inc())
        .map({"v": path("initData.v")}, id="one")
        .then(journal.ask())
        .choose([(patched("late"), late)], otherwise=journal.dbl())
        .then(last)
        .commit()
    )


def _first_of_patched(journal: Journal) -> Workflow:
    """What `_patched` was before its patches."""
    last = journal.step("last", lambda data: {"v": data["dbl"]["v"] + 100})
    return (
        create_workflow(id="w")
        .choose([("true", journal.inc())])
        .map({"v": path("initData.v")}, id="one")
        .then(journal.ask())
        .choose([("true", journal.dbl())])
        .then(last)
        .commit()
    )


async def suspended(store: MemoryStore, engine: type[CellSource], workflow: Workflow, run_id: str = "r1") -> None:
    async with AppOn(store, workflows=[workflow], world=ManualWorld(), engine=engine()) as app:
        await app.start(workflow, {"v": 1}, run_id=run_id)
        await until(
            lambda: store.runs(status=RunStatus.SUSPENDED), lambda rows: run_id in [row.key.run for row in rows]
        )


def app_on(store: MemoryStore, engine: type[CellSource], *workflows: Workflow) -> AppOn:
    return AppOn(store, workflows=workflows, world=ManualWorld(), engine=engine(), policy=Policy())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_change_ahead_of_the_run_fits_and_the_run_goes_on_with_it(journal: Journal, engine: type[CellSource]) -> None:
    @in_loop
    async def lived() -> None:
        store, changed = MemoryStore(), _behind(journal)
        await suspended(store, engine, first_version(journal))
        async with app_on(store, engine, changed) as app:
            report = await app.check(changed)
            assert [(fit.run_id, fit.ok, fit.is_same) for fit in report.fits] == [("r1", True, False)]
            assert (await app.upgrade("r1", changed)).ok
            assert [(fit.ok, fit.is_same) for fit in (await app.check(changed)).fits] == [(True, True)]
            await app.resume("r1", resume_data={"add": 1})
            assert await ended(await app.get("r1")) == ("success", {"v": 3})
            assert (await app.replay("r1")).ok
            assert (await app.verify()).ok
        assert journal.began == ["inc", "ask", "ask", "take"]
        kinds = [record.kind for record in await all_records(store, KEY)]
        assert kinds.count(Kind.RUN_UPGRADED) == 1

    lived()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_change_behind_the_run_does_not_fit_and_nothing_is_moved(journal: Journal, engine: type[CellSource]) -> None:
    @in_loop
    async def lived() -> None:
        store, changed = MemoryStore(), _before(journal)
        await suspended(store, engine, first_version(journal))
        before = await all_records(store, KEY)
        async with app_on(store, engine, changed) as app:
            (fit,) = (await app.check(changed)).fits
            assert fit.divergence is not None
            assert (fit.divergence.expected or {})["name"] == "inc"
            assert (fit.divergence.actual or {})["name"] == "take"
            assert (fit.divergence.node, fit.divergence.expected_node) == ("take", "inc")
            assert fit.divergence.line is not None
            assert fit.divergence.expected_line is not None
            with pytest.raises(Divergence, match="the history has step 'inc'"):
                await app.upgrade("r1", changed)
            assert await all_records(store, KEY) == before
        async with app_on(store, engine, first_version(journal)) as app:
            await app.resume("r1", resume_data={"add": 1})
            assert await ended(await app.get("r1")) == ("success", {"v": 6})

    lived()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_patch_lets_old_runs_go_the_old_way_and_take_what_is_ahead(
    journal: Journal, engine: type[CellSource]
) -> None:
    @in_loop
    async def lived() -> None:
        store, changed = MemoryStore(), _patched(journal)
        await suspended(store, engine, _first_of_patched(journal))
        async with app_on(store, engine, changed) as app:
            await app.upgrade("r1", changed)
            assert isinstance(app, AppOn)
            await app.vanish()  # from here on it is rebuilt from the log
        async with app_on(store, engine, changed) as app:
            await app.resume("r1", resume_data={"add": 1})
            assert await ended(await app.get("r1")) == ("success", {"v": 102})
            new = await app.start("w", {"v": 1}, run_id="r2")
            assert (await new.result()).status == "suspended"
            await app.resume("r2", resume_data={"add": 1})
            assert await ended(new) == ("success", {"v": 102})
            for run in ("r1", "r2"):
                assert (await app.replay(run)).ok
        assert journal.began == ["inc", "ask", "ask", "late", "last", "take", "ask", "ask", "late", "last"]
        marked = [record.content()[1] for record in await all_records(store, KEY) if record.kind is Kind.PATCHED]
        assert marked == ["late"]

    lived()


@in_loop
async def test_a_run_may_be_upgraded_again_and_again(journal: Journal) -> None:
    store = MemoryStore()
    await suspended(store, SandboxEngine, _first_of_patched(journal))
    changed = _patched(journal)
    with_comment = load_workflow(changed.graph.model_copy(update={"description": "third"}), steps=changed.steps)
    async with app_on(store, SandboxEngine, changed) as app:
        await app.upgrade("r1", changed)
        await app.upgrade("r1", with_comment)
        await app.resume("r1", resume_data={"add": 1})
        assert await ended(await app.get("r1")) == ("success", {"v": 102})
        assert (await app.replay("r1")).ok
        data = await app.export("r1")
    async with app_on(MemoryStore(), SandboxEngine, changed) as app:
        await app.import_(data)
        assert (await app.replay("r1")).ok


@in_loop
async def test_what_cannot_be_moved_is_refused_by_name(journal: Journal) -> None:
    store, workflow = MemoryStore(), first_version(journal)
    other = create_workflow(id="other").then(journal.take()).commit()
    await suspended(store, SandboxEngine, workflow)
    async with app_on(store, SandboxEngine, workflow, other) as app:
        with pytest.raises(UsageError, match="is of workflow 'w', not of 'other'"):
            await app.upgrade("r1", other)
        with pytest.raises(NotFound):
            await app.upgrade("nobody", workflow)
        await app.resume("r1", resume_data={"add": 1})
        assert (await (await app.get("r1")).result()).status == "success"
        with pytest.raises(UsageError, match="is success"):
            await app.upgrade("r1", workflow)
        with pytest.raises(UsageError, match="only a run under way"):
            await app.upgrade("r1", workflow)


@in_loop
async def test_a_run_that_somebody_executes_is_not_moved(journal: Journal) -> None:
    store, workflow, changed = MemoryStore(), first_version(journal), _behind(journal)
    await suspended(store, SandboxEngine, workflow)
    await store.leases.join("another")
    assert await store.leases.claim("another", KEY) is not None
    async with app_on(store, SandboxEngine, workflow) as app:
        with pytest.raises(LeasedElsewhere):
            await app.upgrade("r1", changed)


@in_loop
async def test_an_upgraded_run_is_not_forked(journal: Journal) -> None:
    store, changed = MemoryStore(), _behind(journal)
    await suspended(store, SandboxEngine, first_version(journal))
    async with app_on(store, SandboxEngine, changed) as app:
        await app.upgrade("r1", changed)
        with pytest.raises(UsageError, match="upgraded"):
            await app.fork("r1", at="ask")


@in_loop
async def test_a_report_is_bounded_and_tells_absent_from_null(journal: Journal) -> None:
    store = MemoryStore()
    asks = journal.acts("end", lambda data, ctx: ctx.suspend())
    wide = journal.step("wide", lambda data: data)

    def version(**fields: Any) -> Workflow:
        return create_workflow(id="w").map(fields).then(wide).then(asks).commit()

    old = version(**{f"k{n}": {"value": "x" * 3000} for n in range(80)}, gone={"value": None})
    new = version(**{f"k{n}": {"value": "y" * 3000} for n in range(80)})
    await suspended(store, SandboxEngine, old)
    async with app_on(store, SandboxEngine, new) as app:
        (fit,) = (await app.check(new)).fits
    assert fit.divergence is not None
    assert len(fit.divergence.differences) <= 50
    assert all(len(str(one["expected"])) < 200 for one in fit.divergence.differences)
    assert any(one["actual"] == "(absent)" for one in fit.divergence.differences)
