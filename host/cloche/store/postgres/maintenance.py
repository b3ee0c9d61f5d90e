"""What an operator does with a store in PostgreSQL: delete runs, collect what no run needs, check everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cloche.errors import UsageError
from cloche.history.ids import RunId, RunKey, TenantId, TimeMs
from cloche.status import FINAL
from cloche.store.postgres.audit import audit
from cloche.store.postgres.collecting import Collecting
from cloche.store.postgres.database import Facet
from cloche.store.postgres.metering import AMOUNTS, NAMES
from cloche.store.protocol import Collected, Finding

_ENDED = ", ".join(f"'{status}'" for status in FINAL)
_BURY = (
    "INSERT INTO cloche.tombstones (run_id, tenant, run, workflow, head_seq, head_hash, deleted_at) "
    "SELECT id, tenant, run, workflow, head_seq, head_hash, $3 FROM cloche.runs "
    "JOIN unnest($1::text[], $2::text[]) AS named(tenant, run) USING (tenant, run) "
    f"WHERE status IN ({_ENDED}) AND owner IS NULL FOR UPDATE OF runs ON CONFLICT DO NOTHING RETURNING tenant, run, run_id"
)
_MORE = ", ".join(f"{name} = usage_of_deleted.{name} + excluded.{name}" for name in ("runs", *AMOUNTS))
_KEEP_USAGE = (
    f"INSERT INTO cloche.usage_of_deleted (tenant, runs, {NAMES}) "
    f"SELECT tenant, count(*), {', '.join(f'sum({name})' for name in AMOUNTS)} FROM cloche.runs "
    "JOIN unnest($1::text[], $2::text[]) AS named(tenant, run) USING (tenant, run) GROUP BY tenant "
    f"ON CONFLICT (tenant) DO UPDATE SET {_MORE}"
)
_GONE = (
    "USING unnest($1::text[], $2::text[]) AS gone(tenant, run) WHERE {0}.tenant = gone.tenant AND {0}.run = gone.run"
)


class PostgresMaintenance(Facet):
    """Implements `Maintenance`."""

    async def delete(self, keys: Sequence[RunKey], at: TimeMs) -> list[RunKey]:
        named = ([key.tenant for key in keys], [key.run for key in keys])
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(_BURY, *named, at)
            gone = ([row["tenant"] for row in rows], [row["run"] for row in rows])
            await transaction.fetch(_KEEP_USAGE, *gone)
            ids = [row["run_id"] for row in rows]
            for table in ("records", "marks"):
                await transaction.fetch(
                    f"DELETE FROM cloche.{table} USING unnest($1::text[], $2::bigint[]) AS gone(tenant, run_id) "
                    f"WHERE {table}.tenant = gone.tenant AND {table}.run_id = gone.run_id",
                    gone[0],
                    ids,
                )
            for table in ("runs", "inbox", "awaited", "checkpoints"):
                await transaction.fetch(f"DELETE FROM cloche.{table} {_GONE.format(table)}", *gone)
        deleted = {RunKey(TenantId(tenant), RunId(run)) for tenant, run in zip(*gone, strict=True)}
        return [key for key in dict.fromkeys(keys) if key in deleted]

    async def collect(self, needs: Callable[[bytes], Sequence[str]]) -> Collected:
        """Appends go on meanwhile: see `collecting`."""
        return await Collecting(self._database, needs).collect()

    async def shrink(self, pages: int) -> int:
        return 0  # autovacuum gives what was deleted to what is written next

    async def back_up(self, target: Path) -> int:
        address = self._database.address
        raise UsageError(
            f"the store {address.shown} is backed up by PostgreSQL's own tools: pg_dump --schema={address.schema}, "
            "or base backups with archived WAL; 'cloche export --all' writes its runs to files"
        )

    async def audit(self, key: RunKey | None = None) -> list[Finding]:
        async with self._database.transaction(is_snapshot=True) as transaction:
            return [finding async for finding in audit(transaction, key)]
