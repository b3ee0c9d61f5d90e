"""Tokens, in memory."""

from __future__ import annotations

from dataclasses import replace

from cloche.history.ids import TenantId, TimeMs
from cloche.store.memory.data import Facet
from cloche.store.tokens import TokenRow


class MemoryTokens(Facet):
    """Implements `Tokens`."""

    async def put_token(self, token: TokenRow) -> None:
        self._data.tokens[token.id] = token
        self._connection.count_write()

    async def token(self, id: str) -> TokenRow | None:
        return self._data.tokens.get(id)

    async def tokens(self, tenant: TenantId | None = None) -> list[TokenRow]:
        found = [one for one in self._data.tokens.values() if tenant in (None, one.tenant)]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    async def has_tokens(self) -> bool:
        return bool(self._data.tokens)

    async def note_use(self, id: str, at: TimeMs) -> None:
        if (found := self._data.tokens.get(id)) is not None and (found.used_at or 0) < at:
            self._data.tokens[id] = replace(found, used_at=at)

    async def delete_token(self, id: str) -> bool:
        self._connection.count_write()
        return self._data.tokens.pop(id, None) is not None
