"""Checkpoints in an unlogged table: never the truth, so never in the write-ahead log, on no standby, and gone after a crash."""

from __future__ import annotations

import logging
from typing import Any

from cloche.errors import StoreError
from cloche.history.ids import RunKey, Seq, TenantId
from cloche.store.postgres.database import Facet
from cloche.store.postgres.statements import XID

log = logging.getLogger("cloche")


class PostgresCheckpoints(Facet):
    """Implements `Checkpoints`."""

    async def put(self, key: RunKey, seq: Seq, data: bytes) -> None:
        await self._write(
            "INSERT INTO cloche.checkpoints (tenant, run, seq, data) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, run) "
            f"DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE checkpoints.seq < excluded.seq RETURNING {XID}",
            *(key.tenant, key.run, seq, data),
        )

    async def get(self, key: RunKey) -> bytes | None:
        try:
            rows = await self._database.read(
                "SELECT data FROM cloche.checkpoints WHERE tenant = $1 AND run = $2", key.tenant, key.run
            )
        except StoreError as error:
            log.info("a checkpoint cannot be read, and its run is replayed in full: %s", error.message)
            return None
        return rows[0]["data"] if rows else None

    async def reject(self, key: RunKey) -> None:
        await self._write(
            f"UPDATE cloche.checkpoints SET data = NULL WHERE tenant = $1 AND run = $2 RETURNING {XID}",
            key.tenant,
            key.run,
        )

    async def forget(self, key: RunKey) -> None:
        await self._write(
            f"DELETE FROM cloche.checkpoints WHERE tenant = $1 AND run = $2 RETURNING {XID}", key.tenant, key.run
        )

    async def size(self, tenant: TenantId) -> int:
        sql = "SELECT coalesce(sum(length(data)), 0)::bigint AS size FROM cloche.checkpoints WHERE tenant = $1"
        return int((await self._database.read(sql, tenant))[0]["size"])

    async def close(self) -> None:
        """Its connections are the store's."""

    async def _write(self, sql: str, *values: Any) -> None:
        try:
            await self._database.write(sql, *values)
        except StoreError as error:
            log.info("a checkpoint is left out: %s", error.message)
