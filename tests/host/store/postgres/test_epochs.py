"""After a crash the server gives out numbers of transactions again: what was seen before it says nothing of what came after."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from support.apps import in_loop, until
from support.histories import at
from support.postgres import Server, own_server
from support.stores import Log, key

from cloche.errors import StoreUnavailable
from cloche.store.postgres import PostgresStore, presence

BURNT = 200


@asynccontextmanager
async def two(server: Server) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    one = await PostgresStore.open(server.url())
    other = await one.connect()
    try:
        yield one, other
    finally:
        await other.close()
        await one.close()


def killed_and_started(server: Server) -> None:
    server.kill()
    server.start()


def one_process_killed(server: Server) -> None:
    """The server ends all others, and recovers: it has the same `pg_postmaster_start_time()` as before."""
    before = server.psql("SELECT pg_postmaster_start_time()")
    pid = server.process_of("walwriter")
    os.kill(pid, signal.SIGKILL)
    server.wait_for_recovery(pid)
    assert server.psql("SELECT pg_postmaster_start_time()") == before


CRASHES = pytest.mark.parametrize("crash", [killed_and_started, one_process_killed])


async def burn(server: Server, store: PostgresStore) -> int:
    """Use up numbers of transactions of which nothing is on the disk; the next one.

    Nobody waits for the end of one that is undone to be written. The process that would write it a moment later is stopped.
    """
    os.kill(server.process_of("walwriter"), signal.SIGSTOP)
    server.psql(f"DO $$ BEGIN FOR n IN 1..{BURNT} LOOP PERFORM pg_current_xact_id(); ROLLBACK; END LOOP; END $$")
    return await number_of_next(store)


async def number_of_next(store: PostgresStore) -> int:
    [row] = await store._database.read("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xid")
    return int(row["xid"])


async def answers(store: PostgresStore) -> bool:
    try:
        return bool(await store._database.read("SELECT 1"))
    except StoreUnavailable:
        return False


@CRASHES
@in_loop
async def test_a_request_after_a_crash_is_seen(crash: Callable[[Server], None]) -> None:
    with own_server() as server:
        async with two(server) as (worker, other):
            log = Log(key())
            await worker.commit([log.begin()])
            await worker.new_requests("w", None)
            last = await burn(server, other)
            seen = await worker.new_requests("w", None)
            crash(server)
            await until(lambda: answers(worker))
            assert await number_of_next(worker) < last
            await other.post(log.key, "resume", b"x", "t1", at(1))
            assert [row.token for row in (await worker.new_requests("w", seen.mark)).requests] == ["t1"]


@CRASHES
@in_loop
async def test_what_others_wrote_after_a_crash_is_news(crash: Callable[[Server], None]) -> None:
    with own_server() as server:
        async with two(server) as (worker, other):
            log = Log(key())
            await worker.commit([log.begin()])
            await worker.news(None)
            last = await burn(server, other)
            mark = (await worker.news(None)).mark
            assert not (await worker.news(mark)).is_any
            crash(server)
            await until(lambda: answers(worker))
            assert await number_of_next(worker) < last
            await other.post(log.key, "resume", b"x", "t1", at(1))
            found = await worker.news(mark)
            assert found.is_any
            assert not (await worker.news(found.mark)).is_any


@in_loop
async def test_own_numbers_are_not_taken_for_own_after_a_crash() -> None:
    """What this connection wrote without being told so, another one may write under the same number."""
    with own_server() as server:
        async with two(server) as (worker, other):
            mark = (await worker.news(None)).mark
            last = await burn(server, other)
            worker._database._own |= set(range(last - BURNT, last + 100))
            killed_and_started(server)
            await until(lambda: answers(worker))
            mark = (await worker.news(mark)).mark
            await other.commit([Log(key()).begin()])
            assert (await worker.news(mark)).is_any


@in_loop
async def test_a_crash_of_one_process_makes_nobody_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the locks of all are gone, and not held again for a while."""
    monkeypatch.setattr(presence, "_RETRY_S", 60.0)
    with own_server() as server:
        async with two(server) as (store, other):
            await store.leases.join("A")
            await other.leases.join("B")
            one_process_killed(server)
            await until(lambda: answers(other))
            assert [row.is_dead for row in await other.leases.workers()] == [False, False]
