"""What two connections do at the same moment, where SQLite does one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from support.apps import in_loop, until
from support.histories import at
from support.postgres import Server
from support.stores import Log, key

from cloche.errors import NotSuspended
from cloche.history import DEFAULT_TENANT, Kind
from cloche.history.ids import TimeMs
from cloche.store.postgres import PostgresStore


@asynccontextmanager
async def two(server: Server) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    one = await PostgresStore.open(server.url())
    other = await one.connect()
    try:
        yield one, other
    finally:
        await other.close()
        await one.close()


async def waiting(store: PostgresStore) -> int:
    return len(await store._database.read("SELECT FROM pg_locks WHERE NOT granted"))


@in_loop
async def test_no_event_stays_behind_a_run_that_ends(server: Server) -> None:
    """It is left while the append that ends the run waits for it: that one sees neither the event nor its row."""
    async with two(server) as (store, other):
        log = Log(key())
        await store.commit([log.begin()])
        async with other._database.transaction() as transaction:
            await transaction.fetch("UPDATE cloche.runs SET posts = posts + 1")  # as `post` does first
            ending = asyncio.create_task(store.commit([log.append(Kind.RUN_COMPLETED, status="success")]))
            await until(lambda: waiting(store), lambda count: count == 1)
            columns = "tenant, run, kind, body, token, posted_at, name"
            insert = f"INSERT INTO cloche.inbox ({columns}) VALUES ($1, $2, 'event', '', 't', 1, 'go')"
            await transaction.fetch(insert, DEFAULT_TENANT, "r1")
        assert await ending == [None]
        assert await store.requests(key()) == []
        assert not await store.has_events(key())


@in_loop
async def test_events_and_ends_meet_in_any_order(server: Server) -> None:
    async with two(server) as (store, other):
        for number in range(20):
            log = Log(key(f"r{number}"))
            await store.commit([log.begin()])

            async def send(token: str, log: Log = log) -> None:
                with suppress(NotSuspended):
                    await other.post(log.key, "event", b"x", token, at(1), name="go")

            end = log.append(Kind.RUN_COMPLETED, status="success")
            outcomes, *_ = await asyncio.gather(store.commit([end]), *(send(f"{number} {n}") for n in range(3)))
            assert outcomes == [None]
            assert await store.requests(log.key) == []


@in_loop
async def test_due_runs_are_claimed_once_by_many(server: Server) -> None:
    async with two(server) as (store, other):
        logs = [Log(key(f"r{number}")) for number in range(200)]
        await store.commit([log.begin() for log in logs])
        await store.leases.join("A")
        await other.leases.join("B")

        async def claim(where: PostgresStore, worker: str) -> list[str]:
            found: list[str] = []
            while rows := await where.leases.claim_due(worker, TimeMs(9), {DEFAULT_TENANT: 7}):
                found += [row.key.run for row in rows]
            return found

        taken = await asyncio.gather(*(claim(where, worker) for where, worker in ((store, "A"), (other, "B")) * 2))
        assert sorted(run for each in taken for run in each) == sorted(log.key.run for log in logs)


@in_loop
async def test_no_run_belongs_to_a_worker_that_is_gone(server: Server) -> None:
    """It is evicted while it claims: the run is nobody's afterwards, whichever was first."""
    async with two(server) as (store, other):
        for number in range(20):
            log, worker = Log(key(f"r{number}")), f"w{number}"
            await store.commit([log.begin()])
            await store.leases.join(worker)
            row = next(row for row in await other.leases.workers() if row.id == worker)
            await asyncio.gather(store.leases.claim(worker, log.key), other.leases.evict(row))
            found = await store.run(log.key)
            assert found is not None
            assert found.owner is None


@in_loop
async def test_appends_in_four_statements_at_once(server: Server) -> None:
    async with two(server) as (store, other):
        logs = [Log(key(f"r{number}")) for number in range(40)]
        await store.commit([log.begin() for log in logs])
        for _ in range(5):
            groups = [logs[n::4] for n in range(4)]
            found = await asyncio.gather(*(store.commit([log.step() for log in group]) for group in groups))
            assert found == [[None] * 10] * 4
        assert await other.audit() == []
