"""Every store: what runs use adds up."""

from __future__ import annotations

from dataclasses import replace

from support.apps import in_loop
from support.histories import at
from support.stores import Log, key

from cloche.history import Kind, TenantId
from cloche.store import (
    Metered,
    Store,
    Stored,
    TenantUsage,
    Usage,
    Version,
    blob_digest,
)


@in_loop
async def test_what_runs_use_adds_up_by_run_and_tenant_and_outlives_them(store: Store) -> None:
    logs = {name: Log(key(name, "acme")) for name in ("r1", "r2")}
    for number, log in enumerate(logs.values(), 1):
        used = Metered(Usage(fuel=10 * number, steps=1), "m")
        assert await store.commit([replace(log.begin(status="success"), metered=used)]) == [None]
    more = Usage(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    assert await store.commit(
        [replace(logs["r1"].append(Kind.LOG_LINE, status="success"), metered=Metered(more, "m"))]
    ) == [None]
    assert await store.metered(key("r1", "acme")) == Metered(Usage(11, 2, 3, 4, 5, 6, 8, 8, 9, 10), "m")
    sums = [TenantUsage(TenantId("acme"), 2, Usage(31, 2, 3, 4, 5, 6, 9, 8, 9, 10))]
    assert (await store.usage(), await store.usage(TenantId("acme")), await store.usage(TenantId("umbra"))) == (
        sums,
        sums,
        [],
    )
    assert await store.delete([key("r1", "acme")], at(9)) == [key("r1", "acme")]
    assert (await store.usage(), await store.metered(key("r1", "acme"))) == (sums, None)
    assert await store.delete([key("r2", "acme")], at(9)) == [key("r2", "acme")]
    assert await store.usage() == sums


@in_loop
async def test_what_lies_in_the_store_of_a_tenant(store: Store) -> None:
    used = Metered(Usage(log_bytes=100), "m")
    logs = {
        name: Log(key(name, tenant))
        for name, tenant in (("r1", "acme"), ("r2", "acme"), ("r3", "acme"), ("r4", "umbra"))
    }
    for log, status in zip(logs.values(), ("running", "success", "running", "running"), strict=True):
        assert await store.commit([replace(log.begin(status=status), metered=used)]) == [None]
    await store.set_problem(key("r3", "acme"), "it has no step")
    acme, code = TenantId("acme"), b"x" * 1_000
    version = Version(acme, "w@1", "w", blob_digest(code), at(0))
    await store.deploy(version, {version.digest: code})
    found = await store.stored(acme)
    of_runs = found.code_bytes - 1_000  # what they began with
    assert found == Stored(3, 2, 1, 300, 1_000 + of_runs)
    assert await store.stored(TenantId("nobody")) == Stored()
    assert await store.withdraw(acme, "w@1")
    assert (await store.stored(acme)).code_bytes == 1_000 + of_runs  # it is there still,
    await store.collect(lambda packed: [])
    assert (await store.stored(acme)).code_bytes == of_runs  # until it is collected
    assert await store.delete([key("r2", "acme")], at(9)) == [key("r2", "acme")]
    assert replace(await store.stored(acme), code_bytes=0) == Stored(2, 2, 1, 200)


@in_loop
async def test_a_run_that_two_meters_counted_or_in_part_none_has_none(store: Store) -> None:
    for second in (Metered(Usage(fuel=1), "n"), Metered(Usage(fuel=1), None), None):
        log = Log(key(f"of {second}"))
        assert await store.commit([replace(log.begin(), metered=Metered(Usage(fuel=1), "m"))]) == [None]
        assert await store.commit([replace(log.append(Kind.LOG_LINE), metered=second)]) == [None]
        assert await store.commit([replace(log.append(Kind.LOG_LINE), metered=Metered(Usage(fuel=1), "m"))]) == [None]
        found = await store.metered(log.key)
        assert found is not None
        assert (found.meter, found.usage.fuel) == (None, 2 + (second is not None))
