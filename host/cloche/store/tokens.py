"""The facet of a store for tokens: who may ask for what over a network. Of a secret only its digest is ever stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cloche.history.ids import TenantId, TimeMs


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token: `digest` is BLAKE2b-256 of its secret. `tenant` is the only one that it reaches; None: all of them.

    `role` is worker, viewer, operator or admin. Times in ms since 1970; `expires_at` None: never, `used_at` None: never yet.
    """

    id: str
    digest: bytes
    tenant: TenantId | None
    role: str
    label: str
    created_at: TimeMs
    expires_at: TimeMs | None = None
    used_at: TimeMs | None = None


class Tokens(Protocol):
    """Raises as `Store`."""

    async def put_token(self, token: TokenRow) -> None:
        """Keep a token, or put another one in the place of that of its id, in one commit."""

    async def token(self, id: str) -> TokenRow | None:
        """The token of that id, by index."""

    async def tokens(self, tenant: TenantId | None = None) -> list[TokenRow]:
        """All of them, or those that reach one tenant alone, the oldest first."""

    async def has_tokens(self) -> bool:
        """Whether there is any."""

    async def note_use(self, id: str, at: TimeMs) -> None:
        """Say that a token was used; an earlier time changes nothing."""

    async def delete_token(self, id: str) -> bool:
        """Forget a token; whether it was there."""
