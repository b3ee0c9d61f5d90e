"""The store in memory: several connections to the same data."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.apps import in_loop
from support.histories import at
from support.stores import begun, key

from cloche.errors import StoreUnavailable
from cloche.store import Append, MemoryStore, Outcome, all_records


class Refusing(MemoryStore):
    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        raise StoreUnavailable("the disk is full")


@in_loop
async def test_connections_share_the_data() -> None:
    store = MemoryStore()
    other = await store.connect()
    log, append = begun()
    assert await other.commit([append]) == [None]
    await store.leases.join("A")
    assert (await all_records(store, key()), [row.id for row in await other.leases.workers()]) == (log.records, ["A"])


@in_loop
async def test_each_connection_counts_its_own_writes() -> None:
    store = MemoryStore()
    first, second = await store.connect(), await store.connect()
    for run in "abc":
        await first.post(key(run), "cancel", b"", run, at(1))
    assert [(await one.news(0)).is_any for one in (store, first, second)] == [True, False, True]


@in_loop
async def test_a_subclass_connects_as_itself() -> None:
    with pytest.raises(StoreUnavailable):
        await (await Refusing().connect()).commit([begun()[1]])
