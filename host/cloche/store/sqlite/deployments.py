"""The code that tenants have deployed, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from cloche.history.ids import TenantId
from cloche.store.protocol import Version
from cloche.store.sqlite.database import Facet
from cloche.store.sqlite.pieces import keep

_VERSION = "tenant, id, workflow, code, deployed_at, is_wide"
_NEXT_PLACE = "(SELECT coalesce(max(place), 0) + 1 FROM versions)"
_DEPLOY = (
    f"INSERT INTO versions ({_VERSION}, place) VALUES (?, ?, ?, ?, ?, ?, {_NEXT_PLACE}) "
    f"ON CONFLICT (tenant, id) DO UPDATE SET place = {_NEXT_PLACE} RETURNING {_VERSION}"
)


class SqliteDeployments(Facet):
    """Implements `Deployments` on a connection."""

    async def deploy(self, version: Version, blobs: Mapping[str, bytes]) -> Version:
        def write(db: sqlite3.Connection) -> Version:
            for digest, data in blobs.items():
                keep(db, digest, data)
            values = (
                version.tenant,
                version.id,
                version.workflow,
                version.digest,
                version.deployed_at,
                version.is_wide,
            )
            return _version_of(db.execute(_DEPLOY, values).fetchall()[0])

        return await self._database.write_with(blobs, write)

    async def version_of(self, tenant: TenantId, name: str) -> Version | None:
        by_id = f"SELECT {_VERSION} FROM versions WHERE tenant = ? AND id = ?"
        by_workflow = f"SELECT {_VERSION} FROM versions WHERE tenant = ? AND workflow = ? ORDER BY place DESC LIMIT 1"
        rows = await self._database.select(by_id, (tenant, name))
        rows = rows or await self._database.select(by_workflow, (tenant, name))
        return _version_of(rows[0]) if rows else None

    async def versions(self, tenant: TenantId | None, workflow: str | None = None) -> list[Version]:
        which = "?1 IS NULL" if tenant is None else "tenant = ?1"
        sql = f"SELECT {_VERSION} FROM versions WHERE {which} AND (?2 IS NULL OR workflow = ?2) ORDER BY place DESC"
        return [_version_of(row) for row in await self._database.select(sql, (tenant, workflow))]

    async def withdraw(self, tenant: TenantId, id: str) -> bool:
        return await self._database.change("DELETE FROM versions WHERE tenant = ? AND id = ?", (tenant, id)) == 1


def _version_of(row: tuple[Any, ...]) -> Version:
    tenant, id, workflow, code, deployed_at, is_wide = row
    return Version(tenant, id, workflow, code, deployed_at, bool(is_wide))
