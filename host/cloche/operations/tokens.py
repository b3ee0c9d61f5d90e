"""Tokens: who may ask for what over a network.

A token is `clk_ID_SECRET`. The id is looked up; the secret has 256 bits of chance, so its digest needs no slow hash: nobody
guesses it, and whoever reads the store learns nothing that lets them in.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from hashlib import blake2b
from hmac import compare_digest

from cloche.errors import NotFound, UsageError
from cloche.history.ids import TimeMs, tenant_id
from cloche.operations.acts import Act, write_act
from cloche.store import Store, TokenRow

__all__ = ["ROLES", "Made", "TokenRow", "create", "listed", "revoke", "rotate", "whose"]

ROLES = ("worker", "viewer", "operator", "admin")
LABEL_CHARS_MAX = 200
USE_EVERY_MS = 60_000  # a use is noted so often, and not with each request
_TOKEN = re.compile(r"clk_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = bytes(32)  # what the secret of an id that is not there is compared with: the answer takes as long


@dataclass(frozen=True, slots=True)
class Made:
    """A token as it is shown, once, to whoever asked for it."""

    row: TokenRow
    text: str


async def create(
    store: Store, *, tenant: str | None, role: str, label: str, now: TimeMs, lasts_s: float | None = None, by: str = ""
) -> Made:
    """A new token; `tenant` None: it reaches all of them. `lasts_s` None: it does not expire.

    `by`: who asks, for the audit log.

    Raises:
        UsageError: there is no such role, the tenant's id is not one, or the label is too long.
    """
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}; a token has {', '.join(ROLES)}")
    if len(label) > LABEL_CHARS_MAX or not label.isprintable():
        raise UsageError(f"a label is up to {LABEL_CHARS_MAX} characters that show")
    if lasts_s is not None and not 0 < lasts_s < 1e10:
        raise UsageError("a token lasts for a time above 0")
    id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = TokenRow(
        id,
        _digest(secret),
        tenant_id(tenant) if tenant is not None else None,
        role,
        label,
        now,
        TimeMs(now + int(lasts_s * 1000)) if lasts_s is not None else None,
    )
    await write_act(store, Act.TOKEN_CREATED, by, now, row.tenant or "", token=id, role=role, label=label)
    await store.put_token(row)
    return Made(row, f"clk_{id}_{secret}")


async def rotate(store: Store, id: str, now: TimeMs, *, tenant: str | None = None, by: str = "") -> Made:
    """Another secret for a token, which keeps all else; the old one is void at once. Raises as `revoke`."""
    row = await _found(store, id, tenant)
    secret = secrets.token_urlsafe(32)
    changed = replace(row, digest=_digest(secret))
    await write_act(store, Act.TOKEN_ROTATED, by, now, row.tenant or "", token=id)
    await store.put_token(changed)
    return Made(changed, f"clk_{id}_{secret}")


async def revoke(store: Store, id: str, now: TimeMs, *, tenant: str | None = None, by: str = "") -> None:
    """Forget a token; `tenant`: only one of this tenant.

    Raises:
        NotFound: there is none.
    """
    row = await _found(store, id, tenant)
    await write_act(store, Act.TOKEN_REVOKED, by, now, row.tenant or "", token=id)
    await store.delete_token(id)


async def listed(store: Store, *, tenant: str | None = None) -> list[TokenRow]:
    """All of them, or those of one tenant, the oldest first."""
    return await store.tokens(tenant_id(tenant) if tenant is not None else None)


async def whose(store: Store, text: str, now: TimeMs) -> TokenRow | None:
    """The token that somebody shows, if it is one that is valid now. That it was used is noted, at most once a minute."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        return None
    row = await store.token(found[1])
    is_it = compare_digest(_digest(found[2]), row.digest if row is not None else _NOBODY)
    if row is None or not is_it or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.used_at is None or now - row.used_at >= USE_EVERY_MS:
        await store.note_use(row.id, now)
    return row


async def _found(store: Store, id: str, tenant: str | None) -> TokenRow:
    row = await store.token(id)
    if row is None or tenant not in (None, row.tenant):
        raise NotFound(f"there is no token {id!r}", kind="token", id=id)
    return row


def _digest(secret: str) -> bytes:
    return blake2b(secret.encode(), digest_size=32).digest()
