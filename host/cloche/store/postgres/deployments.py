"""The code that tenants have deployed, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloche.history.ids import TenantId, TimeMs
from cloche.store.postgres.blobs import named
from cloche.store.postgres.database import Facet
from cloche.store.postgres.statements import XID
from cloche.store.protocol import Version

_VERSION = "tenant, id, workflow, code, deployed_at, is_wide"
_DEPLOY = (
    f"INSERT INTO cloche.versions ({_VERSION}) VALUES ($1, $2, $3, $4, $5, $6) "
    f"ON CONFLICT (tenant, id) DO UPDATE SET place = DEFAULT RETURNING {_VERSION}"
)
_KEEP = "INSERT INTO cloche.blobs (digest, tenant, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_IS_THERE = "SELECT 1 FROM cloche.blobs WHERE digest = $1 AND tenant = $2"


class PostgresDeployments(Facet):
    """Implements `Deployments`."""

    async def deploy(self, version: Version, blobs: Mapping[str, bytes]) -> Version:
        async with self._database.transaction() as transaction:
            await transaction.fetch("LOCK TABLE cloche.blobs IN ROW EXCLUSIVE MODE")  # against `collect`
            for (digest, tenant), data in sorted(named(version.tenant, version.digest, blobs).items()):
                if not await transaction.fetch(_IS_THERE, digest, tenant):
                    await transaction.fetch(_KEEP, digest, tenant, data)
            named_by = (version.tenant, version.id, version.workflow, version.digest)
            values = (*named_by, version.deployed_at, version.is_wide)
            [row] = await transaction.fetch(_DEPLOY, *values)
        return _version_of(row)

    async def version_of(self, tenant: TenantId, name: str) -> Version | None:
        by_id = f"SELECT {_VERSION} FROM cloche.versions WHERE tenant = $1 AND id = $2"
        by_workflow = (
            f"SELECT {_VERSION} FROM cloche.versions WHERE tenant = $1 AND workflow = $2 ORDER BY place DESC LIMIT 1"
        )
        rows = await self._database.read(by_id, tenant, name)
        rows = rows or await self._database.read(by_workflow, tenant, name)
        return _version_of(rows[0]) if rows else None

    async def versions(self, tenant: TenantId | None, workflow: str | None = None) -> list[Version]:
        which = "($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR workflow = $2)"
        sql = f"SELECT {_VERSION} FROM cloche.versions WHERE {which} "
        return [_version_of(row) for row in await self._database.read(sql + "ORDER BY place DESC", tenant, workflow)]

    async def withdraw(self, tenant: TenantId, id: str) -> bool:
        delete = f"DELETE FROM cloche.versions WHERE tenant = $1 AND id = $2 RETURNING {XID}"
        return await self._database.change(delete, tenant, id) == 1


def _version_of(row: Any) -> Version:
    named_by = TenantId(row["tenant"]), row["id"], row["workflow"], row["code"]
    return Version(*named_by, TimeMs(row["deployed_at"]), row["is_wide"])
