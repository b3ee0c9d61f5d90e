"""Tokens, in SQLite."""

from __future__ import annotations

from typing import Any

from cloche.history.ids import TenantId, TimeMs
from cloche.store.sqlite.database import Facet
from cloche.store.tokens import TokenRow

_TOKEN = "id, digest, tenant, role, label, created_at, expires_at, used_at"


class SqliteTokens(Facet):
    """Implements `Tokens` on a connection."""

    async def put_token(self, token: TokenRow) -> None:
        values = (token.id, token.digest, token.tenant, token.role, token.label)
        times = (token.created_at, token.expires_at, token.used_at)
        await self._database.change(
            f"INSERT OR REPLACE INTO tokens ({_TOKEN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*values, *times)
        )

    async def token(self, id: str) -> TokenRow | None:
        rows = await self._database.select(f"SELECT {_TOKEN} FROM tokens WHERE id = ?", (id,))
        return _token(rows[0]) if rows else None

    async def tokens(self, tenant: TenantId | None = None) -> list[TokenRow]:
        sql = f"SELECT {_TOKEN} FROM tokens WHERE ?1 IS NULL OR tenant = ?1 ORDER BY created_at, id"
        return [_token(row) for row in await self._database.select(sql, (tenant,))]

    async def has_tokens(self) -> bool:
        return bool(await self._database.select("SELECT 1 FROM tokens LIMIT 1"))

    async def note_use(self, id: str, at: TimeMs) -> None:
        await self._database.change(
            "UPDATE tokens SET used_at = ?2 WHERE id = ?1 AND coalesce(used_at, 0) < ?2", (id, at)
        )

    async def delete_token(self, id: str) -> bool:
        return await self._database.change("DELETE FROM tokens WHERE id = ?", (id,)) == 1


def _token(row: Any) -> TokenRow:
    return TokenRow(*row)
