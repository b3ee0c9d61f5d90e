"""What runs have used, in SQLite: amounts beside each run, and their sum for the deleted ones of a tenant."""

from __future__ import annotations

import sqlite3
from dataclasses import fields
from typing import Any

from cloche.history.ids import RunKey, TenantId
from cloche.status import FINAL
from cloche.store.sqlite.database import Facet
from cloche.store.sqlite.pieces import BLOB_BYTES
from cloche.store.usage import Metered, Stored, TenantUsage, Usage

AMOUNTS = tuple(field.name for field in fields(Usage))
_NAMES = ", ".join(AMOUNTS)
_NO_AMOUNTS = (*(0 for _ in AMOUNTS), None)
_SUMS = ", ".join(f"sum({name})" for name in AMOUNTS)

# What an append adds: in the UPDATE that moves the run's head, so that it costs a few words and no statement of its own.
# A run that was counted by several meters, or in part by none, cannot be compared with a replay.
ADDS = ", ".join(f"{name} = {name} + ?" for name in AMOUNTS) + ", meter = CASE meter WHEN ? THEN meter END"


_ENDED = ", ".join(f"'{status}'" for status in sorted(FINAL))
_RUNS = (
    f"SELECT count(*), coalesce(sum(status NOT IN ({_ENDED})), 0), coalesce(sum(status = 'blocked'), 0), "
    "coalesce(sum(log_bytes), 0) FROM runs WHERE tenant = ?"
)
_CODE = (
    f"SELECT coalesce(sum({BLOB_BYTES}), 0) FROM blobs WHERE digest IN "
    "(SELECT code FROM bundles WHERE tenant = ?1 UNION SELECT code FROM runs WHERE tenant = ?1)"
)


class SqliteMetering(Facet):
    """Implements `Metering` on a connection."""

    async def usage(self, tenant: TenantId | None = None) -> list[TenantUsage]:
        sums = (
            f"SELECT tenant, sum(runs), {_SUMS} FROM ("
            f"SELECT tenant, 1 AS runs, {_NAMES} FROM runs WHERE ?1 IS NULL OR tenant = ?1 UNION ALL "
            f"SELECT tenant, runs, {_NAMES} FROM usage_of_deleted WHERE ?1 IS NULL OR tenant = ?1"
            ") GROUP BY tenant ORDER BY tenant"
        )
        rows = await self._database.read(lambda db: db.execute(sums, (tenant,)).fetchall())
        return [TenantUsage(TenantId(found), runs, Usage(*amounts)) for found, runs, *amounts in rows]

    async def stored(self, tenant: TenantId) -> Stored:
        def read(db: sqlite3.Connection) -> Stored:
            runs = db.execute(_RUNS, (tenant,)).fetchone()
            return Stored(*runs, *db.execute(_CODE, (tenant,)).fetchone())

        return await self._database.read(read)

    async def metered(self, key: RunKey) -> Metered | None:
        rows = await self._database.select(
            f"SELECT {_NAMES}, meter FROM runs WHERE tenant = ? AND run = ?", (key.tenant, key.run)
        )
        return Metered(Usage(*rows[0][:-1]), rows[0][-1]) if rows else None


def amounts_of(metered: Metered | None) -> tuple[Any, ...]:
    """The values for `AMOUNTS` and the meter."""
    if metered is None:
        return _NO_AMOUNTS
    return (*metered.usage.amounts, metered.meter)


def keep_usage(db: sqlite3.Connection, key: RunKey) -> None:
    """Add what a run has used to that of its tenant's deleted ones: it is about to be deleted."""
    more = ", ".join(f"{name} = {name} + excluded.{name}" for name in ("runs", *AMOUNTS))
    db.execute(
        f"INSERT INTO usage_of_deleted (tenant, runs, {_NAMES}) "
        f"SELECT tenant, 1, {_NAMES} FROM runs WHERE tenant = ? AND run = ? ON CONFLICT (tenant) DO UPDATE SET {more}",
        (key.tenant, key.run),
    )
