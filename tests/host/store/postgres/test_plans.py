"""How the hot statements are executed: by index, on an empty store and on a filled one. A connection plans each only once."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.apps import in_loop
from support.histories import at
from support.postgres import Server
from support.stores import Log, key

from cloche.history import Kind, Path, Seq, TenantId
from cloche.status import RunStatus
from cloche.store import Lease, NewRun, RunFilter
from cloche.store.postgres import PostgresStore, listings
from cloche.store.postgres.connection import ORDERED
from cloche.store.postgres.statements import in_schema

TENANTS, RUNS = 200, 20_000
FILL = f"""
INSERT INTO cloche.runs (tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash)
SELECT 't' || n % {TENANTS}, 'r' || n, 'w' || n % 3, 'c',
    CASE WHEN n % 200 = 1 THEN 'suspended' ELSE (ARRAY['waiting', 'success', 'running'])[1 + n / 7 % 3] END, n, n, n, 3, ''
FROM generate_series(1, {RUNS}) AS n;
INSERT INTO cloche.marks (tenant, run_id, name, value)
SELECT tenant, id, 'tag customer', 'c-' || id % 50 FROM cloche.runs WHERE tenant LIKE 't%';
INSERT INTO cloche.records (tenant, run_id, seq, kind, path, record, hash)
SELECT tenant, id, seq, 6, 'a', 'r', 'h' FROM cloche.runs, generate_series(1, 3) AS seq WHERE tenant LIKE 't%'
"""

Use = Callable[[PostgresStore], Awaitable[Any]]


async def _append(store: PostgresStore, count: int, **more: Any) -> None:
    logs = [Log(key(f"plan{number}")) for number in range(count)]
    await store.commit([replace(log.begin(), new=None, expect=Seq(0), **more) for log in logs])


# What is asked of the store, and the indexes that it may be found by.
USES: dict[str, tuple[Use, set[str]]] = {
    "one append": (lambda store: _append(store, 1), {"runs_pkey"}),
    "one append of many records": (
        lambda store: store.commit([Log(key()).append(*[Kind.STEP_CALLED] * 9, new=None)]),
        {"runs_pkey"},
    ),
    "many appends": (lambda store: _append(store, 3), {"runs_pkey"}),
    "a start": (
        lambda store: store.commit([Log(key("new")).append(Kind.RUN_CREATED, new=NewRun("w", "c", {}))]),
        {
            "runs_pkey",
            "parts_pkey",
            "blobs_pkey",
            "tombstones_pkey",
            "workers_pkey",
            "inbox_pkey",
            "inbox_of_runs",
            "awaited_pkey",
            "awaited_by_name",
            "remote_tasks_tenant_run_call_key",
        },
    ),
    "first events": (lambda store: store.first_events(key(), ["go"]), {"inbox_of_runs"}),
    "who waits for an event": (lambda store: store.waiting_for(TenantId("t"), "go"), {"awaited_by_name"}),
    "whether events wait": (lambda store: store.has_events(key()), {"waiting_events_pkey"}),
    "a run": (lambda store: store.run(key()), {"runs_pkey"}),
    "a page": (lambda store: store.records(key()), {"runs_pkey", "records_pkey"}),
    "a result": (lambda store: store.result(key(), Path("a")), {"runs_pkey", "records_pkey", "records_results"}),
    "a claim": (lambda store: store.leases.claim("A", key()), {"runs_pkey", "workers_pkey", "holds_pkey"}),
    "what is due": (
        lambda store: store.leases.claim_due("A", at(0), {TenantId("t"): 1}),
        {"runs_pkey", "workers_pkey", "holds_pkey", "runs_free_of_tenant"},
    ),
    "whose is due": (lambda store: store.leases.due_tenants(at(0)), {"runs_free_of_tenant", "holds_pkey"}),
    "the next due": (lambda store: store.leases.next_due(), {"runs_due", "holds_pkey"}),
    "what it owns": (lambda store: store.leases.owned("A"), {"runs_owned"}),
    "a release": (lambda store: store.leases.release(key(), Lease("A", 1), RunStatus.WAITING, None), {"runs_pkey"}),
    "a heartbeat": (lambda store: store.leases.heartbeat("A"), {"workers_pkey"}),
    "how many wait": (lambda store: store.queued(TenantId("t")), {"runs_queued"}),
    "a blob": (lambda store: store.blob("d"), {"blobs_pkey"}),
    "a checkpoint": (lambda store: store.checkpoints.get(key()), {"checkpoints_pkey"}),
}


@asynccontextmanager
async def opened(server: Server, *, is_filled: bool) -> AsyncIterator[PostgresStore]:
    url = server.url()
    store = await PostgresStore.open(url)
    if is_filled:
        schema = store._database.address.schema
        server.psql(in_schema(FILL, schema))
        server.psql("; ".join(f"ANALYZE {schema}.{table}" for table in ("runs", "records", "marks")))
    try:
        yield store
    finally:
        await store.close()


async def statements_of(store: PostgresStore, use: Use) -> list[str]:
    found: list[str] = []
    run = store._database._run

    async def recorded(sql: str, values: Any) -> list[Any]:
        found.append(sql)
        return await run(sql, values)

    store._database._run = recorded  # type: ignore[method-assign]
    try:
        await use(store)
    finally:
        store._database._run = run  # type: ignore[method-assign]
    return found


async def plan_of(store: PostgresStore, sql: str) -> dict[str, Any]:
    """The plan that a connection of the store keeps for the statement: it is made without its values."""
    text = in_schema(sql, store._database.address.schema)
    nothing = ", ".join(["NULL"] * max([0, *map(int, re.findall(r"\$(\d+)", text))]))
    async with store._database._pool.lend() as connection:
        await connection.execute(f"PREPARE looked_at AS {text}")
        execute = f"EXECUTE looked_at({nothing})" if nothing else "EXECUTE looked_at"
        said = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {execute}")
        await connection.execute("DEALLOCATE looked_at")
    plan: dict[str, Any] = json.loads(said)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from nodes(one)


@pytest.mark.parametrize("is_filled", [False, True])
@in_loop
async def test_hot_statements_go_by_index(server: Server, is_filled: bool) -> None:
    async with opened(server, is_filled=is_filled) as store:
        for name, (use, indexes) in USES.items():
            first = (await statements_of(store, use))[0]
            found = list(nodes(await plan_of(store, first)))
            scanned = [node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan"]
            used = {node["Index Name"] for node in found if "Index Name" in node}
            assert (name, scanned) == (name, [])
            assert (name, used - indexes) == (name, set())
            assert used, name


@in_loop
async def test_what_is_new_is_found_by_its_transaction(server: Server) -> None:
    async with opened(server, is_filled=False) as store:
        await store.news(None)  # the server's epoch has a name
        texts = await statements_of(store, lambda store: store.new_requests("A", None))
        assert len(texts) == 3
        for text in texts[1:]:
            used = {node["Index Name"] for node in nodes(await plan_of(store, text)) if "Index Name" in node}
            assert "inbox_new" in used
            assert used <= {"inbox_new", "runs_pkey", "workers_pkey", "awaited_pkey"}


@in_loop
async def test_a_plan_of_an_empty_store_serves_a_filled_one(server: Server) -> None:
    """The rows that are looked at for an append and for a claim are as few as before, though the plan was made for none."""
    async with opened(server, is_filled=False) as store:
        await store.leases.join("A")
        logs = [Log(key(f"r{number}")) for number in range(3)]
        await store.commit([log.begin() for log in logs])
        await store.commit([logs[0].step()])
        await store.commit([log.step() for log in logs])
        await store.leases.claim_due("A", at(0), {TenantId("t0"): 1})
        # It reads rows too, which else might be counted only after `before`.
        server.psql(in_schema(f"{FILL}; SELECT pg_stat_force_next_flush()", store._database.address.schema))
        before = await fetched(store)
        for _ in range(3):
            assert await store.commit([logs[0].step()]) == [None]
            assert await store.commit([log.step() for log in logs]) == [None] * 3
        assert len(await store.leases.claim_due("A", at(RUNS), {TenantId("t0"): 5})) == 5
        assert await fetched(store) - before < 500


async def fetched(store: PostgresStore) -> int:
    """How many rows of its tables statements have looked at, by its own count."""
    await asyncio.sleep(0)
    await store._database.read("SELECT pg_stat_force_next_flush()")
    sums = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS sum FROM pg_stat_user_tables WHERE schemaname = $1"
    return int((await store._database.read(sums, store._database.address.schema))[0]["sum"])


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "runs_by_id"),
        ({"tenant": "t1"}, "runs_of_tenant"),
        ({"tenant": "t1", "workflow": "w1"}, "runs_of_workflow"),
        ({"status": RunStatus.SUSPENDED}, "runs_listed"),
        ({"tenant": "t1", "status": RunStatus.SUSPENDED}, "runs_listed_of_tenant"),
    ],
)
@in_loop
async def test_a_page_of_a_listing_has_its_index(server: Server, filters: dict[str, Any], index: str) -> None:
    async with opened(server, is_filled=True) as store:
        async with store._database.transaction() as transaction:
            sql, values = store._listing(
                limit=50, after=None, **{"tenant": None, "status": None, "workflow": None, **filters}
            )
            [[said]] = await transaction.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *values)
        found = list(nodes(json.loads(said)[0]["Plan"]))
        assert [node["Index Name"] for node in found if "Index Name" in node] == [index]
        assert len(await store.runs(limit=50, **filters)) >= 30


ACME = TenantId("t1")


@pytest.mark.parametrize(
    ("filter", "index"),  # of a tenant that has few runs any index of tenants is good
    [
        (RunFilter(), "runs_by_id"),
        (RunFilter(ACME), "runs_of_"),
        (RunFilter(ACME, workflow="w1"), "runs_of_workflow"),
        (RunFilter(status=RunStatus.SUSPENDED), "runs_listed"),
        (RunFilter(ACME, status=RunStatus.SUSPENDED), "runs_listed_of_tenant"),
        (RunFilter(ACME, status=RunStatus.SUSPENDED, workflow="w1"), "runs_listed_of_tenant"),
        (RunFilter(ACME, status=(RunStatus.FAILED, RunStatus.SUSPENDED)), "runs_listed_of_tenant"),
        (RunFilter(ACME, marks={"tag customer": "c-1"}), "marks_found"),
    ],
)
@in_loop
async def test_a_page_of_what_is_sought_has_its_index(server: Server, filter: RunFilter, index: str) -> None:
    async with opened(server, is_filled=True) as store:
        values: list[Any] = []
        sql = listings._candidates(filter, RUNS * 10, values)
        async with store._database.transaction(plans=ORDERED) as transaction:
            [[said]] = await transaction.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *values)
        used = [node["Index Name"] for node in nodes(json.loads(said)[0]["Plan"]) if "Index Name" in node]
        assert any(name.startswith(index) for name in used)
        assert not any("Bitmap" in node["Node Type"] for node in nodes(json.loads(said)[0]["Plan"]))
        assert len((await store.find(filter, limit=50)).rows) >= 2
