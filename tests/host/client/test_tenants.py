"""What a tenant can reach: its own runs, and nothing that says whether another tenant has one of that name."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.apps import AppOn, Journal, ended, in_loop

from cloche import Cloche, StepContext, Tenant, Workflow, create_workflow
from cloche.errors import NotFound, UsageError
from cloche.history import RunId, RunKey, TenantId
from cloche.store import MemoryStore
from cloche.worker.answers import token_of

ACTIONS: dict[str, Callable[[Tenant, str], Awaitable[Any]]] = {
    "get": lambda tenant, run: tenant.get(run),
    "view": lambda tenant, run: tenant.view(run),
    "resume": lambda tenant, run: tenant.resume(run, resume_data={"add": 1}),
    "request_resume": lambda tenant, run: tenant.request_resume(run),
    "resume with a key": lambda tenant, run: tenant.resume(run, resume_data={"add": 1}, idempotency_key="k"),
    "send_event": lambda tenant, run: tenant.send_event(run, "paid", 1),
    "heartbeat_event": lambda tenant, run: tenant.heartbeat_event(run, "paid"),
    "cancel": lambda tenant, run: tenant.cancel(run),
    "fork": lambda tenant, run: tenant.fork(run, at="inc"),
    "delete": lambda tenant, run: tenant.delete(run),
    "replay": lambda tenant, run: tenant.replay(run),
    "usage": lambda tenant, run: tenant.usage(run),
    "export": lambda tenant, run: tenant.export(run),
    "retry": lambda tenant, run: tenant.retry(run),
    "why": lambda tenant, run: tenant.why(run),
    "timing": lambda tenant, run: tenant.timing(run),
    "lineage": lambda tenant, run: tenant.lineage(run),
    "code_of_run": lambda tenant, run: tenant.code_of_run(run),
    "upgrade": lambda tenant, run: tenant.upgrade(run, create_workflow(id="w").sleep(1).commit()),
}


def asking(journal: Journal) -> Workflow:
    return create_workflow(id="w").then(journal.inc()).then(journal.ask()).commit()


def key(tenant: str, run: str) -> RunKey:
    return RunKey(TenantId(tenant), RunId(run))


@in_loop
async def test_one_process_serves_many_tenants_on_one_store(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[asking(journal)]) as app:
        tenants = [app, app.tenant("acme"), app.tenant("umbra")]
        for number, tenant in enumerate(tenants):
            assert (await (await tenant.start("w", {"v": number}, run_id="r1")).result()).status == "suspended"
        for number, tenant in enumerate(tenants):
            assert (await tenant.resume("r1", resume_data={"add": 10})).result == {"v": number + 11}
        assert [[row.key for row in await tenant.list()] for tenant in tenants] == [
            [key(name, "r1")] for name in ("default", "acme", "umbra")
        ]
        assert [row.key.tenant for row in await app.list(tenant="acme")] == ["acme"]


@in_loop
async def test_a_next_process_goes_on_with_the_runs_of_every_tenant(journal: Journal) -> None:
    store = MemoryStore()
    workflow = create_workflow(id="w").then(journal.inc()).sleep(0.01).then(journal.dbl()).commit()
    async with AppOn(store, workflows=[workflow]) as app:
        await app.tenant("acme").start("w", {"v": 1}, run_id="r1")
        await app.vanish()
    async with AppOn(store, workflows=[workflow]) as app:
        assert await ended(await app.tenant("acme").get("r1")) == ("success", {"v": 4})


@in_loop
@pytest.mark.parametrize("action", ACTIONS)
async def test_a_run_of_another_tenant_is_not_found_as_one_that_never_was(journal: Journal, action: str) -> None:
    async with AppOn(MemoryStore(), workflows=[asking(journal)]) as app:
        theirs, stranger = app.tenant("acme"), app.tenant("umbra")
        await (await theirs.start("w", {"v": 1}, run_id="r1")).result()
        before = [record.packed for record in await (await theirs.get("r1")).history()]
        said = []
        for run in ("r1", "never"):
            with pytest.raises(NotFound) as refusal:
                await ACTIONS[action](stranger, run)
            error = refusal.value
            said.append((error.message.replace(run, "RUN"), error.kind, error.id.replace(run, "RUN")))
        assert said[0] == said[1]
        assert "acme" not in said[0][0]
        assert [record.packed for record in await (await theirs.get("r1")).history()] == before
        assert await app.store.requests() == []


def test_every_way_to_name_a_run_was_tried() -> None:
    named = {
        name
        for name, method in inspect.getmembers(Tenant, inspect.iscoroutinefunction)
        if "run_id" in inspect.signature(method).parameters and not name.startswith("_")
    } - {"start", "evaluate"}  # these name a run that begins
    assert named == {action.split(" ")[0] for action in ACTIONS}


@in_loop
async def test_starting_another_tenants_run_id_is_a_run_of_ones_own(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[asking(journal)]) as app:
        await app.tenant("acme").start("w", {"v": 1}, run_id="r1")
        await app.tenant("umbra").start("w", {"v": 2}, run_id="r1")
        assert (await (await app.tenant("umbra").get("r1")).result()).input == {"v": 2}


@in_loop
async def test_a_child_is_a_run_of_its_parents_tenant(journal: Journal) -> None:
    async def begin(data: Any, ctx: StepContext) -> Any:
        child = await ctx.start_child("child", data)
        return (await child.result()).unwrap()

    child = create_workflow(id="child").then(journal.inc()).commit()
    parent = create_workflow(id="parent").then(journal.acts("begin", begin)).commit()
    async with AppOn(MemoryStore(), workflows=[parent, child]) as app:
        acme = app.tenant("acme")
        assert await ended(await acme.start("parent", {"v": 1}, run_id="r1")) == ("success", {"v": 2})
        assert {row.key.run for row in await acme.list()} == {"r1", "r1\x1fs1"}
        assert await app.list() == []


@in_loop
async def test_errors_and_log_lines_name_the_tenant(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[asking(journal)]) as app:
        await (await app.tenant("acme").start("w", {"v": 1}, run_id="r1")).result()
        with pytest.raises(NotFound, match=r"no run r2 of tenant acme .* 'cloche runs --tenant acme'"):
            await app.tenant("acme").get("r2")
    with caplog.at_level(logging.ERROR, "cloche"):
        async with AppOn(store) as app:
            await app._running.blocks.try_all(app._running.drivers.__contains__)
            await app._running.inbox.ask(key("acme", "r1"), "resume", {"data": {"add": 1}})
            assert (await (await app.tenant("acme").get("r1")).result()).status == "blocked"
    assert "run r1 of tenant acme is blocked" in caplog.text


@pytest.mark.parametrize("id", ["", " acme", "a\nb", "a\x1b[2J", "x" * 201])
def test_the_id_of_a_tenant_is_checked_when_it_is_named(id: str) -> None:
    with pytest.raises(UsageError, match=r"tenant .* is not 1 to 200 bytes"):
        Cloche().tenant(id)


def test_names_with_colons_do_not_meet_across_tenants() -> None:
    assert token_of(key("a:b", "c"), "event", "k") != token_of(key("a", "b:c"), "event", "k")
    assert key("a:b", "c").token != key("a", "b:c").token
    assert key("a%3Ab", "c").token != key("a:b", "c").token
