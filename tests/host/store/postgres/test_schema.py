"""The schema: made by numbered versions, once; what may be done to it, and by whom."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from support.postgres import Server

from cloche.errors import ForeignStore, StoreRefused, UsageError
from cloche.store.postgres import migrations
from cloche.store.postgres.address import Address

ALL = list(range(1, migrations.VERSION + 1))


def migrated(server: Server, **roles: str) -> Address:
    address = Address.parse(server.url())
    assert asyncio.run(migrations.migrate(address, **roles)) == ALL
    return address


def filled(server: Server, **roles: str) -> Address:
    """With a run of one record."""
    address = migrated(server, **roles)
    run_columns = "tenant, run, workflow, code, status, created_at, updated_at, head_seq, head_hash"
    server.psql(
        f"INSERT INTO {address.schema}.runs ({run_columns}) VALUES ('t', 'r1', 'w', 'c', 'success', 1, 1, 1, 'h'); "
        f"INSERT INTO {address.schema}.records (tenant, run_id, seq, kind, record, hash) VALUES ('t', 1, 1, 1, 'r', 'h')"
    )
    return address


def role(server: Server, *rights: str) -> str:
    name = f"r{uuid4().hex[:12]}"
    server.psql("; ".join([f"CREATE ROLE {name} LOGIN", *(f"{right} TO {name}" for right in rights)]))
    return name


def test_it_is_made_once_whoever_asks(server: Server) -> None:
    address = Address.parse(server.url())

    async def together() -> list[list[int]]:
        return list(await asyncio.gather(*(migrations.migrate(address) for _ in range(3))))

    assert sorted(asyncio.run(together())) == [[], [], ALL]
    assert server.psql(f"SELECT version, serves FROM {address.schema}.meta") == f"{migrations.VERSION}|1"


def test_what_is_printed_makes_the_same(server: Server) -> None:
    address, printed = migrated(server), f"p{uuid4().hex[:12]}"
    server.psql(migrations.printed(printed))
    columns = (
        "SELECT string_agg(c, ',' ORDER BY c) FROM (SELECT table_name || column_name || data_type AS c "
        "FROM information_schema.columns WHERE table_schema = '{}') AS each"
    )
    assert server.psql(columns.format(printed)) == server.psql(columns.format(address.schema)) != ""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET record = 'x'",
        "TRUNCATE records",
        "TRUNCATE records CASCADE",
        "DELETE FROM records",
        "TRUNCATE parts CASCADE",
    ],
)
@pytest.mark.parametrize("as_worker", [False, True])
def test_the_log_is_append_only(server: Server, statement: str, as_worker: bool) -> None:
    """Refused by triggers for the owner, even as superuser, and by rights for a worker."""
    worker = role(server)
    address = filled(server, worker_role=worker)
    table = statement.split()[2 if "FROM" in statement else 1]
    said = server.refusal(
        statement.replace(table, f"{address.schema}.{table}"), user=worker if as_worker else "postgres"
    )
    expected = "behind its tombstone" if "DELETE" in statement else "append-only"
    assert ("permission denied" if as_worker else expected) in said
    assert server.psql(f"SELECT count(*) FROM {address.schema}.records") == "1"


def test_a_run_goes_behind_its_tombstone(server: Server) -> None:
    pruner = role(server)
    schema = filled(server, prune_role=pruner).schema
    server.psql(
        f"INSERT INTO {schema}.tombstones (tenant, run, run_id, workflow, head_seq, head_hash, deleted_at) "
        f"VALUES ('t', 'r1', 1, 'w', 1, 'h', 9); DELETE FROM {schema}.records",
        user=pruner,
    )
    assert server.psql(f"SELECT count(*) FROM {schema}.records") == "0"


def test_a_payload_stands_before_its_record(server: Server) -> None:
    schema = filled(server).schema
    columns = "tenant, run_id, seq, kind, record, hash, payload"
    insert = f"INSERT INTO {schema}.records ({columns}) VALUES ('t', 1, 2, 1, 'r', 'h', 'p')"
    assert "violates foreign key" in server.refusal(insert)


def test_who_may_not_make_it_is_told(server: Server) -> None:
    name = role(server)
    with pytest.raises(
        StoreRefused, match=r"the role lacks a right .*Run 'cloche migrate' as the role that owns the schema"
    ):
        asyncio.run(migrations.migrate(Address.parse(server.url(user=name))))


def test_a_newer_one_is_left_alone(server: Server) -> None:
    address = migrated(server)
    newest = migrations.VERSION
    server.psql(f"UPDATE {address.schema}.meta SET version = {newest + 2}, serves = {newest + 1}")
    said = rf"newer cloche \(version {newest + 2}, this one knows {newest}\): upgrade cloche"
    with pytest.raises(ForeignStore, match=said):
        asyncio.run(migrations.migrate(address))


def test_a_foreign_schema_is_left_alone(server: Server) -> None:
    address = Address.parse(server.url())
    server.psql(f"CREATE SCHEMA {address.schema}; CREATE TABLE {address.schema}.meta (key text)")
    with pytest.raises(ForeignStore, match="is not one of cloche: name another with schema="):
        asyncio.run(migrations.migrate(address))


def test_a_role_is_a_name() -> None:
    with pytest.raises(UsageError, match="is not the name of a role"):
        migrations.printed("cloche", worker_role='x"; DROP')
