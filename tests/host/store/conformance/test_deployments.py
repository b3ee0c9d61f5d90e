"""Every store: blobs are kept by digest, versions by tenant."""

from __future__ import annotations

from dataclasses import replace

from support.apps import in_loop
from support.histories import at

from cloche.history import TenantId
from cloche.store import (
    Store,
    Version,
    blob_digest,
)


@in_loop
async def test_a_blob_is_kept_once_under_its_digest(store: Store) -> None:
    data = bytes(range(256)) * 100
    for _ in range(2):
        await store.put_blob(blob_digest(data), data)
    assert (await store.blob(blob_digest(data)), await store.blob("unknown")) == (data, None)


@in_loop
async def test_a_blob_is_never_changed(store: Store) -> None:
    await store.put_blob(blob_digest(b"first"), b"first")
    await store.put_blob(blob_digest(b"first"), b"second")
    assert await store.blob(blob_digest(b"first")) == b"first"


def version(id: str, workflow: str = "w", tenant: str = "acme", at_ms: int = 0) -> Version:
    return Version(TenantId(tenant), id, workflow, blob_digest(f"code of {id}".encode()), at(at_ms))


@in_loop
async def test_the_version_deployed_last_is_what_a_workflow_starts_with(store: Store) -> None:
    one, two, other = version("w@1"), version("w@2", at_ms=5), version("x@1", "x")
    for each in (one, two, other):
        assert await store.deploy(each, {each.digest: f"code of {each.id}".encode()}) == each
    acme = TenantId("acme")
    assert (
        await store.version_of(acme, "w"),
        await store.version_of(acme, "w@1"),
        await store.version_of(acme, "x"),
    ) == (
        two,
        one,
        other,
    )
    assert await store.versions(acme) == [other, two, one]
    assert await store.deploy(replace(one, deployed_at=at(9)), {}) == one  # the same version, and the current one again
    assert (await store.version_of(acme, "w"), await store.versions(acme, "w")) == (one, [one, two])
    assert await store.blob(one.digest) == b"code of w@1"


@in_loop
async def test_a_version_stays_wide(store: Store) -> None:
    wide, strict = replace(version("w@1"), is_wide=True), version("w@2")
    assert [await store.deploy(one, {}) for one in (wide, strict, version("w@1"))] == [wide, strict, wide]
    await store.deploy(version("w@1", tenant="umbra"), {})
    assert await store.versions(TenantId("acme")) == [wide, strict]
    assert await store.versions(None) == [version("w@1", tenant="umbra"), wide, strict]


@in_loop
async def test_versions_are_a_tenants_own(store: Store) -> None:
    await store.deploy(version("w@1"), {})
    other = TenantId("umbra")
    assert (await store.version_of(other, "w"), await store.version_of(other, "w@1"), await store.versions(other)) == (
        None,
        None,
        [],
    )
    assert not await store.withdraw(other, "w@1")
    assert (await store.deploy(version("w@1", tenant="umbra"), {})).tenant == "umbra"
    assert len(await store.versions(TenantId("acme"))) == 1


@in_loop
async def test_what_a_version_needs_is_kept_until_it_is_withdrawn(store: Store) -> None:
    one = version("w@1")
    await store.deploy(one, {one.digest: b"code of w@1", blob_digest(b"wasm"): b"wasm"})
    assert (await store.collect(lambda packed: [blob_digest(b"wasm")])).blobs == 0
    assert await store.withdraw(one.tenant, one.id)
    assert (await store.collect(lambda packed: [blob_digest(b"wasm")])).blobs == 2
    assert (await store.version_of(one.tenant, "w"), await store.blob(one.digest)) == (None, None)
