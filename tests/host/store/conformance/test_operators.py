"""Every store: what operators hold back, and the audit log."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.apps import in_loop
from support.histories import at
from support.stores import Log, key

from cloche.errors import LeaseLost
from cloche.history import DEFAULT_TENANT, RunId, RunKey, TenantId
from cloche.store import AuditEntry, Hold, Lease, Store

WORKERS = ("A",)
UMBRA = TenantId("umbra")


async def runs_of_two_tenants(store: Store, wake_at: int | None = None) -> str:
    """Both free and due, or due at `wake_at`; the digest of their code."""
    status = "running" if wake_at is None else "waiting"
    for tenant in (DEFAULT_TENANT, UMBRA):
        append = Log(RunKey(tenant, RunId("r1"))).begin(status=status)
        await store.commit([replace(append, wake_at=None if wake_at is None else at(wake_at))])
    row = await store.run(key("r1"))
    assert row is not None
    return row.code


async def due(store: Store, now: int = 0) -> list[TenantId]:
    return await store.leases.due_tenants(at(now))


@pytest.mark.parametrize("is_whole", [True, False], ids=["tenant", "code"])
@in_loop
async def test_what_is_held_is_not_due_and_not_claimed(store: Store, is_whole: bool) -> None:
    digest = await runs_of_two_tenants(store)
    code = "" if is_whole else digest
    await store.hold(Hold(UMBRA, code, "mines coins", at(0)))
    assert await due(store) == [DEFAULT_TENANT]
    assert await store.leases.claim("A", RunKey(UMBRA, RunId("r1"))) is None
    taken = await store.leases.claim_due("A", at(0), {UMBRA: 5, DEFAULT_TENANT: 5})
    assert [row.key.tenant for row in taken] == [DEFAULT_TENANT]
    assert (await store.let_go(UMBRA, code), await store.let_go(UMBRA, code)) == (True, False)
    assert (await due(store), await store.leases.claim("A", RunKey(UMBRA, RunId("r1")))) != ([], None)


@in_loop
async def test_other_code_of_the_tenant_is_not_held(store: Store) -> None:
    await runs_of_two_tenants(store)
    await store.hold(Hold(UMBRA, "0" * 64, "mines coins", at(0)))
    assert await due(store) == [DEFAULT_TENANT, UMBRA]
    assert await store.leases.claim("A", RunKey(UMBRA, RunId("r1"))) is not None


@in_loop
async def test_a_held_run_is_not_what_is_due_next(store: Store) -> None:
    await runs_of_two_tenants(store, wake_at=5)
    assert await store.leases.next_due() == at(5)
    await store.hold(Hold(UMBRA, "", "mines coins", at(0)))
    assert await store.leases.next_due() == at(5)
    await store.hold(Hold(DEFAULT_TENANT, "", "mines coins", at(0)))
    assert await store.leases.next_due() is None


@in_loop
async def test_a_run_that_is_driven_is_let_go_as_ever(store: Store) -> None:
    log = Log(key("r1"))
    await store.commit([replace(log.begin(), lease=Lease("A", 1))])
    await store.hold(Hold(DEFAULT_TENANT, "", "mines coins", at(0)))
    assert await store.commit([replace(log.step(), lease=Lease("A", 1), release=True)]) == [None]
    [problem] = await store.commit([replace(log.step(), lease=Lease("A", 1))])
    assert isinstance(problem, LeaseLost)


@in_loop
async def test_holds_are_listed_with_their_reasons(store: Store) -> None:
    one, two = Hold(UMBRA, "", "mines coins", at(0)), Hold(TenantId("acme"), "c" * 64, "a hole", at(1))
    for hold in (replace(one, reason="first"), one, two):
        await store.hold(hold)
    assert (await store.holds(), await store.holds(UMBRA)) == ([two, one], [one])


@in_loop
async def test_the_audit_log_comes_by_page_newest_first(store: Store) -> None:
    entries = [AuditEntry(at(n), ("acme", "umbra", "")[n % 3], "ops", "deployed", f'{{"n":{n}}}') for n in range(7)]
    for entry in entries:
        await store.write_audit(entry)
    found = await store.audit_log(limit=4)
    found += await store.audit_log(before=found[-1].id, limit=4)
    assert [replace(entry, id=0) for entry in found] == entries[::-1]
    assert sorted(entry.id for entry in found) == [entry.id for entry in reversed(found)]
    assert [entry.at for entry in await store.audit_log("acme")] == [at(6), at(3), at(0)]
    await store.write_audit(AuditEntry.of(at(9), "acme", "", "denied", asked="step"))
    [denied] = await store.audit_log("acme", action="denied")
    assert (denied.actor, denied.facts) == ("host", '{"asked": "step"}')
