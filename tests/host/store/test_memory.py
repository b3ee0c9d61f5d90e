"""The store in memory: several connections to the same data."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.histories import at
from support.stores import begun, key

from cloche.errors import StoreError, StoreUnavailable
from cloche.store import Append, MemoryStore


class Refusing(MemoryStore):
    def commit(self, appends: Sequence[Append]) -> list[StoreError | None]:
        raise StoreUnavailable("the disk is full")


def test_connections_share_the_data() -> None:
    store = MemoryStore()
    other = store.connect()
    log, append = begun()
    assert other.commit([append]) == [None]
    store.leases.join("A")
    assert (list(store.records(key())), [row.id for row in other.leases.workers()]) == (log.records, ["A"])


def test_each_connection_counts_its_own_writes() -> None:
    store = MemoryStore()
    first, second = store.connect(), store.connect()
    for run in "abc":
        first.post(key(run), "cancel", b"", run, at(1))
    assert (store.version(), first.version(), second.version()) == (3, 0, 3)


def test_a_subclass_connects_as_itself() -> None:
    with pytest.raises(StoreUnavailable):
        Refusing().connect().commit([begun()[1]])
