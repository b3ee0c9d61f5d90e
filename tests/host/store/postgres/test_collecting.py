"""What no run needs is deleted while others append, also what they bring again or name again meanwhile."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from support.apps import in_loop, until
from support.histories import at
from support.postgres import Server
from support.stores import Log, key

from cloche.errors import StoreUnavailable
from cloche.history import Kind
from cloche.store import Collected, NewRun, all_records, blob_digest
from cloche.store.postgres import PostgresStore, collecting

BODY = random.Random(3).randbytes(600_000)
GUEST, CODE, OLD = b"guest", b"code", b"old code"


def needs(bundle: bytes) -> list[str]:
    return [blob_digest(GUEST)]


async def ended(store: PostgresStore, run: str, body: bytes, code: bytes = CODE) -> Log:
    log = Log(key(run))
    new = NewRun("orders", blob_digest(code), {blob_digest(code): code, blob_digest(GUEST): GUEST})
    began = log.append(Kind.RUN_CREATED, Kind.RUN_STARTED, new=new)
    done = log.append(Kind.STEP_COMPLETED, Kind.RUN_COMPLETED, body=body, status="success")
    assert [await store.commit([append]) for append in (began, done)] == [[None], [None]]
    return log


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(server.url())
    try:
        yield store
    finally:
        await store.close()


class Collector:
    """A collection in a thread, that stands still between looking and deleting."""

    def __init__(self, url: str) -> None:
        self.has_looked, self.may_delete = threading.Event(), threading.Event()
        self._url = url

    async def collect(self) -> Collected:
        return await asyncio.to_thread(asyncio.run, self._collect())

    async def _collect(self) -> Collected:
        store = await PostgresStore.open(self._url)
        try:
            return await store.collect(self._needs)
        finally:
            await store.close()

    def _needs(self, bundle: bytes) -> Sequence[str]:
        self.has_looked.set()
        assert self.may_delete.wait(30)
        return needs(bundle)


async def parts(store: PostgresStore) -> int:
    return int((await store._database.read("SELECT count(*) FROM cloche.parts"))[0]["count"])


@in_loop
async def test_appends_of_all_kinds_go_on(server: Server) -> None:
    async with opened(server) as store:
        await ended(store, "kept", b"small")
        await ended(store, "gone", BODY, OLD)
        await store.delete([key("gone")], at(9))
        collector = Collector(store.url)
        collection = asyncio.create_task(collector.collect())
        await until(collector.has_looked.is_set)
        logs = [
            await ended(store, "the same body", BODY),  # its root is there already
            await ended(store, "a part of it", BODY[:-9]),  # most of what lies below its root is
            await ended(store, "the same code", b"small", OLD),
            await ended(store, "its own", BODY[::-1]),
        ]
        assert not collection.done()
        collector.may_delete.set()
        assert await collection == Collected(0, 0)
        assert [await all_records(store, log.key) == log.records for log in logs] == [True] * 4
        assert await store.audit() == []
        assert await store.blob(blob_digest(OLD)) == OLD


@pytest.mark.parametrize("size", [1, 3, 1_000])
@in_loop
async def test_what_is_needed_again_stays_whatever_the_batch(
    server: Server, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root that is named again keeps what lies below it, also what comes in a later batch; the rest of them goes."""
    monkeypatch.setattr(collecting, "BATCH", size)
    async with opened(server) as store:
        await ended(store, "kept", b"small")
        for run, body in (("a", BODY), ("b", BODY[:400_000]), ("c", BODY[::-1])):
            await ended(store, run, body)
        before = await parts(store)
        await store.delete([key(run) for run in "abc"], at(9))
        collector = Collector(store.url)
        collection = asyncio.create_task(collector.collect())
        await until(collector.has_looked.is_set)
        log = await ended(store, "again", BODY[:400_000])
        collector.may_delete.set()
        collected = await collection
        assert collected.parts == before - await parts(store) > 10
        assert await all_records(store, log.key) == log.records
        assert await store.audit() == []
        await store.delete([key("again")], at(9))
        await store.collect(needs)
        assert await parts(store) == 0


@in_loop
async def test_who_cannot_have_the_lock_keeps_nobody_waiting(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a lock that is waited for, all others wait that come later."""
    monkeypatch.setattr(collecting, "_TRIES", 2)
    async with opened(server) as store:
        await ended(store, "kept", b"small")
        await ended(store, "gone", BODY)
        await store.delete([key("gone")], at(9))
        async with store._database.transaction(is_undone=True) as transaction:
            await transaction.fetch(
                "INSERT INTO cloche.parts (tenant, digest, depth, form, data) VALUES ('t', '', 0, 0, '')"
            )
            collection = asyncio.create_task(store.collect(needs))
            await until(lambda: is_locked_out(store))
            await ended(store, "meanwhile", BODY[::-1])
            with pytest.raises(StoreUnavailable, match="'parts' is in use by a long transaction: collect again"):
                await collection
        assert (await store.collect(needs)).parts > 10


async def is_locked_out(store: PostgresStore) -> bool:
    return bool(await store._database.read("SELECT FROM pg_locks WHERE NOT granted AND mode = 'ExclusiveLock'"))
