"""What SQLite keeps of tenants: the code they have deployed, and what their runs have used."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from cloche.history.ids import RunKey, TenantId
from cloche.store.protocol import Version
from cloche.store.usage import Metered, TenantUsage, Usage

Select = Callable[[str, Sequence[Any]], list[Any]]

AMOUNTS = tuple(field.name for field in fields(Usage))
_NAMES = ", ".join(AMOUNTS)
_NO_AMOUNTS = (*(0 for _ in AMOUNTS), None)
_SUMS = ", ".join(f"sum({name})" for name in AMOUNTS)
_VERSION = "tenant, id, workflow, code, deployed_at"

# What an append adds: in the UPDATE that moves the run's head, so that it costs a few words and no statement of its own.
# A run that was counted by several meters, or in part by none, cannot be compared with a replay.
ADDS = ", ".join(f"{name} = {name} + ?" for name in AMOUNTS) + ", meter = CASE meter WHEN ? THEN meter END"


def amounts_of(metered: Metered | None) -> tuple[Any, ...]:
    """The values for `AMOUNTS` and the meter."""
    if metered is None:
        return _NO_AMOUNTS
    return (*metered.usage.amounts, metered.meter)


def deploy(db: sqlite3.Connection, version: Version) -> Version:
    place = "(SELECT coalesce(max(place), 0) + 1 FROM versions)"
    found = db.execute(
        f"INSERT INTO versions ({_VERSION}, place) VALUES (?, ?, ?, ?, ?, {place}) "
        f"ON CONFLICT (tenant, id) DO UPDATE SET place = {place} RETURNING {_VERSION}",
        (version.tenant, version.id, version.workflow, version.digest, version.deployed_at),
    ).fetchall()
    return Version(*found[0])


def versions(select: Select, tenant: TenantId, workflow: str | None) -> list[Version]:
    sql = f"SELECT {_VERSION} FROM versions WHERE tenant = ?1 AND (?2 IS NULL OR workflow = ?2) ORDER BY place DESC"
    return [Version(*row) for row in select(sql, (tenant, workflow))]


def version_of(select: Select, tenant: TenantId, name: str) -> Version | None:
    rows = select(f"SELECT {_VERSION} FROM versions WHERE tenant = ? AND id = ?", (tenant, name)) or select(
        f"SELECT {_VERSION} FROM versions WHERE tenant = ? AND workflow = ? ORDER BY place DESC LIMIT 1", (tenant, name)
    )
    return Version(*rows[0]) if rows else None


def metered(select: Select, key: RunKey) -> Metered | None:
    rows = select(f"SELECT {_NAMES}, meter FROM runs WHERE tenant = ? AND run = ?", (key.tenant, key.run))
    return Metered(Usage(*rows[0][:-1]), rows[0][-1]) if rows else None


def usage(select: Select, tenant: TenantId | None) -> list[TenantUsage]:
    rows = select(
        f"SELECT tenant, sum(runs), {_SUMS} FROM ("
        f"SELECT tenant, 1 AS runs, {_NAMES} FROM runs WHERE ?1 IS NULL OR tenant = ?1 UNION ALL "
        f"SELECT tenant, runs, {_NAMES} FROM usage_of_deleted WHERE ?1 IS NULL OR tenant = ?1"
        ") GROUP BY tenant ORDER BY tenant",
        (tenant,),
    )
    return [TenantUsage(TenantId(found), runs, Usage(*amounts)) for found, runs, *amounts in rows]


def keep_usage(db: sqlite3.Connection, key: RunKey) -> None:
    """Add what a run has used to that of its tenant's deleted ones: it is about to be deleted."""
    more = ", ".join(f"{name} = {name} + excluded.{name}" for name in ("runs", *AMOUNTS))
    db.execute(
        f"INSERT INTO usage_of_deleted (tenant, runs, {_NAMES}) "
        f"SELECT tenant, 1, {_NAMES} FROM runs WHERE tenant = ? AND run = ? ON CONFLICT (tenant) DO UPDATE SET {more}",
        (key.tenant, key.run),
    )
