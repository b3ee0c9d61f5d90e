"""Tokens, in PostgreSQL."""

from __future__ import annotations

from typing import Any

from cloche.history.ids import TenantId, TimeMs
from cloche.store.postgres.database import Facet
from cloche.store.postgres.statements import XID
from cloche.store.tokens import TokenRow

_TOKEN = "id, digest, tenant, role, label, created_at, expires_at, used_at"
_SET = ", ".join(f"{name} = excluded.{name}" for name in _TOKEN.split(", ")[1:])


class PostgresTokens(Facet):
    """Implements `Tokens`."""

    async def put_token(self, token: TokenRow) -> None:
        values = (token.id, token.digest, token.tenant, token.role, token.label)
        times = (token.created_at, token.expires_at, token.used_at)
        await self._database.write(
            f"INSERT INTO cloche.tokens ({_TOKEN}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
            f"ON CONFLICT (id) DO UPDATE SET {_SET} RETURNING {XID}",
            *values,
            *times,
        )

    async def token(self, id: str) -> TokenRow | None:
        rows = await self._database.read(f"SELECT {_TOKEN} FROM cloche.tokens WHERE id = $1", id)
        return _token(rows[0]) if rows else None

    async def tokens(self, tenant: TenantId | None = None) -> list[TokenRow]:
        sql = f"SELECT {_TOKEN} FROM cloche.tokens WHERE $1::text IS NULL OR tenant = $1 ORDER BY created_at, id"
        return [_token(row) for row in await self._database.read(sql, tenant)]

    async def has_tokens(self) -> bool:
        return bool(await self._database.read("SELECT 1 FROM cloche.tokens LIMIT 1"))

    async def note_use(self, id: str, at: TimeMs) -> None:
        sql = f"UPDATE cloche.tokens SET used_at = $2 WHERE id = $1 AND coalesce(used_at, 0) < $2 RETURNING {XID}"
        await self._database.change(sql, id, at)

    async def delete_token(self, id: str) -> bool:
        return await self._database.change(f"DELETE FROM cloche.tokens WHERE id = $1 RETURNING {XID}", id) == 1


def _token(row: Any) -> TokenRow:
    id, digest, tenant, role, label, created_at, expires_at, used_at = row
    return TokenRow(id, bytes(digest), tenant, role, label, created_at, expires_at, used_at)
