"""Every store: tokens are kept, replaced, listed by tenant, and forgotten."""

from __future__ import annotations

from dataclasses import replace

from support.apps import in_loop
from support.histories import at

from cloche.history import TenantId
from cloche.store import Store, TokenRow

ACME = TenantId("acme")


def token(id: str, tenant: str | None = "acme", at_ms: int = 0) -> TokenRow:
    of = TenantId(tenant) if tenant is not None else None
    return TokenRow(id, bytes(range(32)), of, "viewer", "for tests", at(at_ms), at(at_ms + 1000))


@in_loop
async def test_a_token_is_found_by_its_id(store: Store) -> None:
    assert (await store.has_tokens(), await store.token("t1")) == (False, None)
    await store.put_token(token("t1"))
    assert (await store.has_tokens(), await store.token("t1"), await store.token("t2")) == (True, token("t1"), None)


@in_loop
async def test_a_token_takes_the_place_of_the_one_before(store: Store) -> None:
    await store.put_token(token("t1"))
    renewed = replace(token("t1"), digest=b"other" * 6, expires_at=None)
    await store.put_token(renewed)
    assert await store.tokens() == [renewed]


@in_loop
async def test_tokens_are_listed_by_tenant_the_oldest_first(store: Store) -> None:
    made = [token("b", at_ms=1), token("a", None, at_ms=2), token("c", "other", at_ms=3), token("d", at_ms=0)]
    for one in made:
        await store.put_token(one)
    assert [one.id for one in await store.tokens()] == ["d", "b", "a", "c"]
    assert [one.id for one in await store.tokens(ACME)] == ["d", "b"]


@in_loop
async def test_a_use_is_noted_and_never_an_earlier_one(store: Store) -> None:
    await store.put_token(token("t1"))
    for at_ms in (5, 3):
        await store.note_use("t1", at(at_ms))
    await store.note_use("unknown", at(5))
    assert await store.token("t1") == replace(token("t1"), used_at=at(5))


@in_loop
async def test_a_token_is_forgotten(store: Store) -> None:
    await store.put_token(token("t1"))
    assert [await store.delete_token("t1") for _ in range(2)] == [True, False]
    assert await store.token("t1") is None
