"""Behind PgBouncer in transaction mode: each transaction has another session, so nothing may stay in one."""

from __future__ import annotations

import asyncio

import pytest
from support.apps import in_loop
from support.postgres import Server, pgbouncer, require
from support.stores import Log, key

from cloche import Cloche, clone_step, create_step, create_workflow
from cloche.history import DEFAULT_TENANT
from cloche.history.ids import TimeMs
from cloche.store import all_records
from cloche.store.postgres import PostgresStore

add = create_step(id="add", execute=lambda data: {"v": data["v"] + 1})
workflow = create_workflow(id="pooled").then(add).then(clone_step(add, id="again")).commit()


def behind(server: Server, port: int) -> str:
    return server.url().replace(f":{server.port}/", f":{port}/")


@pytest.fixture
def pooled(server: Server) -> None:
    require("pgbouncer")


@in_loop
async def test_a_pooler_is_known_and_no_session_relied_on(server: Server, pooled: None) -> None:
    with pgbouncer(server) as port:
        stores = [await PostgresStore.open(behind(server, port).partition("?")[0] + "?schema=pooled") for _ in range(3)]
        assert [store._database.server.is_pooled for store in stores] == [True] * 3
        logs = [Log(key(f"r{number}")) for number in range(30)]
        await asyncio.gather(*(stores[n % 3].commit([log.begin()]) for n, log in enumerate(logs)))
        for _ in range(3):  # more connections than the pooler has sessions, all at once
            groups = [logs[n::9] for n in range(9)]
            steps = [[log.step() for log in group] for group in groups]
            found = await asyncio.gather(*(stores[n % 3].commit(group) for n, group in enumerate(steps)))
            assert [outcome for group in found for outcome in group] == [None] * 30
        assert [await all_records(stores[0], log.key) == log.records for log in logs] == [True] * 30
        await stores[0].leases.join("A")
        assert [row.is_dead for row in await stores[1].leases.workers()] == [False]
        assert len(await stores[0].leases.claim_due("A", TimeMs(9), {DEFAULT_TENANT: 50})) == 30
        assert await stores[2].audit() == []
        for store in stores:
            await store.close()


@in_loop
async def test_workers_run_behind_a_pooler(server: Server, pooled: None) -> None:
    with pgbouncer(server) as port:
        async with Cloche(behind(server, port), workflows=[workflow]) as app:
            runs = [await app.start(workflow, {"v": number}) for number in range(20)]
            results = [await run.result() for run in runs]
            assert [result.result for result in results] == [{"v": number + 2} for number in range(20)]
            assert (await app.verify()).findings == []
