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
from cloche.history.ids import TenantId, TimeMs, tenant_id
from cloche.operations.acts import Act, write_act
from cloche.store import Store, TokenRow

__all__ = [
    "ROLES",
    "SESSION_S",
    "Made",
    "TokenRow",
    "begin_session",
    "create",
    "is_session",
    "listed",
    "revoke",
    "rotate",
    "whose",
]

ROLES = ("worker", "viewer", "operator", "admin")
LABEL_CHARS_MAX = 200
SESSION_S = 12 * 3600.0
SESSION_OF = "session of "  # begins the label of a session; the id of its token follows
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
    if label.startswith(SESSION_OF):
        raise UsageError(f"a label does not begin with {SESSION_OF!r}: sessions of browsers have such")
    if len(label) > LABEL_CHARS_MAX or not label.isprintable():
        raise UsageError(f"a label is up to {LABEL_CHARS_MAX} characters that show")
    if lasts_s is not None and not 0 < lasts_s < 1e10:
        raise UsageError("a token lasts for a time above 0")
    until = TimeMs(now + int(lasts_s * 1000)) if lasts_s is not None else None
    return await _made(store, tenant_id(tenant) if tenant is not None else None, role, label, now, until, by)


async def _made(
    store: Store, tenant: TenantId | None, role: str, label: str, now: TimeMs, until: TimeMs | None, by: str
) -> Made:
    id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = TokenRow(id, _digest(secret), tenant, role, label, now, until)
    await write_act(store, Act.TOKEN_CREATED, by, now, row.tenant or "", token=id, role=role, label=label)
    await store.put_token(row)
    return Made(row, f"clk_{id}_{secret}")


async def begin_session(store: Store, id: str, now: TimeMs) -> Made:
    """A token for a browser, that lets in as the token `id` does, for `SESSION_S` at most and no longer than that.

    Raises:
        NotFound: there is no such token.
    """
    row = await _found(store, id, None)
    until = TimeMs(now + int(SESSION_S * 1000))
    until = until if row.expires_at is None else min(until, row.expires_at)
    return await _made(store, row.tenant, row.role, f"{SESSION_OF}{id}", now, until, f"token {id}")


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
    if is_session(row) and await store.token(row.label.removeprefix(SESSION_OF)) is None:
        return None
    if row.used_at is None or now - row.used_at >= USE_EVERY_MS:
        await store.note_use(row.id, now)
    return row


def is_session(row: TokenRow) -> bool:
    """Whether it is the cookie of a browser, and no token that programs send."""
    return row.label.startswith(SESSION_OF)


async def _found(store: Store, id: str, tenant: str | None) -> TokenRow:
    row = await store.token(id)
    if row is None or tenant not in (None, row.tenant):
        raise NotFound(f"there is no token {id!r}", kind="token", id=id)
    return row


def _digest(secret: str) -> bytes:
    return blake2b(secret.encode(), digest_size=32).digest()
