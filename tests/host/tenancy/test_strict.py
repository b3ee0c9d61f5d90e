"""What deployed code runs under where nobody has said otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.apps import AppOn, Journal, ended, in_loop, until

from cloche import Cloche, Grant, Limits, Policy, create_workflow
from cloche.engines import SandboxEngine
from cloche.errors import DeployRefused, ForeignFile
from cloche.history.notes import unpack_created
from cloche.store import MemoryStore, first_record
from cloche.tenancy.policy import STRICT
from cloche.testing import TestApp

INC = 'const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];\nexport default async (v) => await step("inc")(v);\n'


async def deployed(app: Cloche, source: str = INC, tenant: str = "acme") -> Any:
    return await app.deploy(tenant, source, workflow="w", language="javascript")


async def pinned(app: TestApp, tenant: str = "acme") -> Policy:
    """What a new run of the tenant's is pinned to."""
    run = await app.tenant(tenant).start("w", {"v": 1})
    await run.result()
    created = unpack_created(await first_record(app.store, run._key))
    return Policy.of(created.limits, created.policy)


def test_it_is_no_wider_than_the_defaults_and_says_why() -> None:
    strict = Policy.strict()
    assert strict.wider_than(Policy()) is None
    for limit in Policy.described():
        assert getattr(strict, limit.name) == limit.strict
        assert (limit.strict == limit.default) is (limit.why_strict == ""), limit.name
        assert limit.why_strict.endswith(".") or not limit.why_strict
    assert set(STRICT) <= set(Policy.model_fields)
    granted = Policy.strict(steps=[Grant(step="a")], child_workflows=["b"])
    assert granted == strict.model_copy(update={"steps": (Grant(step="a"),), "child_workflows": ("b",)})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Policy.strict()),
        ({"policy": Policy(timers=7)}, Policy(timers=7)),
        ({"policies": {"acme": Policy(timers=8)}}, Policy(timers=8)),
        ({"policies": {"acme": Policy(timers=8)}, "policy": Policy(timers=7)}, Policy(timers=8)),
        ({"policies": {"umbra": Policy(timers=8)}}, Policy.strict()),
        ({"engine": SandboxEngine(Limits(fuel_per_event=10**9))}, Policy.strict().model_copy(update={"fuel_per_event": 10**9})),
    ],
    ids=["strict", "the app's", "the tenant's", "the tenant's first", "another tenant's", "within the engine's"],
)  # fmt: skip
@in_loop
async def test_whose_policy_deployed_code_begins_under(
    options: dict[str, Any], expected: Policy, journal: Journal
) -> None:
    async with AppOn(MemoryStore(), steps=[journal.inc()], **options) as app:
        await deployed(app)
        assert (await pinned(app)).pinned() == expected.pinned()
        assert app.tenant("acme").deployed_policy == expected


@in_loop
async def test_registered_code_keeps_the_defaults(journal: Journal) -> None:
    registered = create_workflow(id="w").then(journal.inc()).commit()
    async with AppOn(MemoryStore(), workflows=[registered]) as app:
        assert await pinned(app) == Policy()
        await deployed(app)
        assert (await pinned(app)).pinned() == Policy.strict().pinned()
        assert await pinned(app, "umbra") == Policy()


@in_loop
async def test_a_version_of_an_older_release_keeps_the_wide_one(journal: Journal) -> None:
    store = MemoryStore()
    async with AppOn(store, steps=[journal.inc()]) as app:
        version = await deployed(app)
        assert (await app.tenant("acme").start("w", {"v": 1}, run_id="new")).id == "new"
        store._data.versions[version.tenant, version.id] = replace(version, is_wide=True)
        assert await pinned(app) == Policy()
        assert await ended(await app.tenant("acme").fork("new", at="inc")) == ("success", {"v": 2})


@in_loop
async def test_a_fork_of_deployed_code_is_a_new_run(journal: Journal) -> None:
    store = MemoryStore()
    async with AppOn(store, steps=[journal.inc()], policy=Policy()) as app:
        await deployed(app)
        await (await app.tenant("acme").start("w", {"v": 1}, run_id="r1")).result()
    async with AppOn(store, steps=[journal.inc()]) as app:
        fork = await app.tenant("acme").fork("r1", at="inc")
        assert (await fork.result()).status == "failed"
        created = unpack_created(await first_record(store, fork._key))
        assert Policy.of(created.limits, created.policy).pinned() == Policy.strict().pinned()
        assert (await app.tenant("acme").replay("r1")).ok


@in_loop
async def test_a_tenant_that_has_deployed_has_so_many_places(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever worker takes its runs, also one that has not seen the deploy."""
    monkeypatch.setitem(STRICT, "concurrent_runs", (2, "."))
    store, asks = MemoryStore(), 'await globalThis.cloche.sleep("s", 5000, 0);'
    async with AppOn(store) as app:
        await deployed(app, f"export default async () => {{ {asks} }};")
        for number in range(5):
            await app.tenant("acme").start("w", number)
        assert app._running.admission.driven == {"acme": 2}
        await app.vanish()
    async with AppOn(store) as app:
        await until(lambda: app._running.admission.driven == {"acme": 2})
        assert await store.queued(app.tenant("acme")._tenant) == 3


@in_loop
async def test_source_is_a_mebibyte_at_most(journal: Journal) -> None:
    async with AppOn(MemoryStore()) as app:
        with pytest.raises(DeployRefused, match="source_bytes") as refused:
            await deployed(app, f"export default async () => 1; //{'x' * (1 << 20)}")
        assert refused.value.value == 1 << 20


@in_loop
async def test_steps_that_are_not_granted_are_told_at_deploy(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    graph = create_workflow(id="g").then(journal.inc()).then(journal.dbl()).commit().graph
    policies = {"granted": Policy.strict(steps=[Grant(step="inc"), Grant(step="dbl")])}
    async with AppOn(MemoryStore(), policies=policies) as app:
        await app.deploy("granted", graph)
        assert caplog.messages == []
        await app.deploy("acme", graph)
        [message] = caplog.messages
        assert "does not grant, and a call of one fails: inc, dbl. " in message
        assert message.endswith('Policy.strict(steps=[Grant(step="inc"), Grant(step="dbl")])')


@in_loop
async def test_a_file_does_not_make_code_the_hosts(journal: Journal) -> None:
    """Its code says nothing of an owner, and its run was promised every step."""
    asks = create_workflow(id="w").then(journal.ask()).commit()
    async with AppOn(MemoryStore(), workflows=[asks]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        file = await app.export("r1")
    async with AppOn(MemoryStore(), steps=[journal.ask()]) as app:
        with pytest.raises(ForeignFile, match="was promised"):
            await app.import_(file)
    async with AppOn(MemoryStore(), workflows=[asks]) as app:
        await app.import_(file)
