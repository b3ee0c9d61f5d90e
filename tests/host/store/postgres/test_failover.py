"""The primary is lost, and its standby is promoted: nothing that was acknowledged is missing, and all runs go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from support.apps import in_loop, until
from support.commands import MATH, cloche
from support.histories import at
from support.kept_busy import RUNS, slowly
from support.postgres import Server, own_server
from support.stores import Log, key

from cloche import Cloche
from cloche.errors import StoreError, StoreUnavailable
from cloche.history import Kind
from cloche.store import all_records
from cloche.store.postgres import PostgresStore


@contextmanager
def standby(primary: Server) -> Iterator[Server]:
    """One that the primary waits for in every commit."""
    server = Server(primary=primary)
    try:
        server.start()
        primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.reload("synchronous_standby_names", "*")
        yield server
    finally:
        server.remove()


def both(primary: Server, other: Server, schema: str = "shared") -> str:
    return primary.url(schema).replace(f"127.0.0.1:{primary.port}", f"127.0.0.1:{primary.port},127.0.0.1:{other.port}")


def fail_over(primary: Server, other: Server) -> None:
    primary.kill()
    assert other.psql("SELECT pg_promote()") == "t"


async def moved(primary: Server, other: Server) -> None:
    await asyncio.get_running_loop().run_in_executor(None, fail_over, primary, other)


@in_loop
async def test_a_promoted_standby_has_all_that_was_acknowledged() -> None:
    with own_server() as primary, standby(primary) as other:
        store = await PostgresStore.open(both(primary, other))
        logs = [Log(key(f"r{number}")) for number in range(4)]
        assert await store.commit([log.begin() for log in logs]) == [None] * 4
        moving = asyncio.create_task(moved(primary, other))
        acknowledged = 2
        while True:
            try:
                assert await store.commit([log.step() for log in logs]) == [None] * 4
            except StoreUnavailable:
                break
            acknowledged = len(logs[0].records)
        await moving
        for log in logs:
            found = await all_records(store, log.key)
            assert found == log.records[: len(found)]
            assert len(found) >= acknowledged
        assert await store.audit() == []
        await store.close()


@in_loop
async def test_runs_go_on_where_the_standby_is_the_primary() -> None:
    with own_server() as primary, standby(primary) as other:
        async with Cloche(both(primary, other), workflows=[slowly]) as app:
            runs = [await app.start(slowly, number) for number in range(RUNS)]
            await moved(primary, other)
            results = await asyncio.gather(*(run.result() for run in runs))
            assert [result.unwrap() for result in results] == [number + 1 for number in range(RUNS)]
            for run in runs:
                assert sum(record.kind is Kind.STEP_COMPLETED for record in await run.history()) == 1
            assert (await (await app.start(slowly, 7)).result()).unwrap() == 8  # what is new comes as before
            assert (await app.verify()).findings == []


@in_loop
async def test_what_comes_after_a_failover_is_seen() -> None:
    """The numbers of transactions are another server's."""
    with own_server() as primary, standby(primary) as other:
        worker = await PostgresStore.open(both(primary, other))
        sender = await worker.connect()
        await worker.commit([Log(key()).begin()])
        seen, mark = await worker.new_requests("w", None), (await worker.news(None)).mark
        await moved(primary, other)
        await until(lambda: answers(sender))
        await sender.post(key(), "cancel", b"x", "t1", at(1))
        assert (await worker.news(mark)).is_any
        assert [row.token for row in (await worker.new_requests("w", seen.mark)).requests] == ["t1"]
        for store in (worker, sender):
            await store.close()


def test_a_standby_is_read_only_if_it_is_asked_for() -> None:
    with own_server() as primary, standby(primary) as other:
        done = cloche("run", MATH, "--input", '{"x": 5}', "--store", primary.url("s"), "--run-id", "r1")
        assert done.code == 0, done.err
        refused = cloche("runs", "--store", other.url("s"))
        assert refused.code == 5
        assert "is refused: it is a standby, which takes nothing: give the address of the primary" in refused.err
        assert "(accept=standby in the URL takes it as it is)" in refused.err
        reader = other.url("s", accept="standby")
        assert [row["run_id"] for row in cloche("runs", "--store", reader, "--json").lines()] == ["r1"]
        for command in (["show", "r1"], ["log", "r1"], ["replay", "r1"], ["verify"], ["usage"], ["doctor"]):
            ran = cloche(*command, "--store", reader)
            assert ran.code == 0, ran.err
        ran = cloche("run", MATH, "--input", '{"x": 5}', "--store", reader)
        assert ran.code == 5
        assert "takes nothing, for it is a standby or read-only: give the address of the primary" in ran.err


async def answers(store: PostgresStore) -> bool:
    try:
        return bool(await store._database.read("SELECT 1"))
    except StoreError:
        return False
