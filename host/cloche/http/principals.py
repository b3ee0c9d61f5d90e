"""Who asks: a principal, what its role lets it do, and what tells one from a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from cloche.operations import tokens

if TYPE_CHECKING:
    from cloche.client import Client

Scope: TypeAlias = MutableMapping[str, Any]  # of ASGI
SERVICE = "cloche.service"  # under this name the app is in the scope of each request
PRINCIPAL = "cloche.principal"  # under this name it is in the scope of a request that was let in
SESSION = "__Host-cloche"  # the cookie of a browser
LASTING = "cloche.lasting"  # and under this one what answers it, for as long as it likes
SLASH = "\ufffe"  # stands for a `/` within an id, in the path that is routed; no name holds this character


class Role(IntEnum):
    """Each may do what those before it may, but for a worker: what it may do, an operator may too, and no viewer."""

    WORKER = 0  # takes attempts of remote steps, and says what came of them
    VIEWER = 1  # reads
    OPERATOR = 2  # starts runs, and moves them
    ADMIN = 3  # deletes, deploys, and gives tokens

    @property
    def label(self) -> str:
        """As people write it."""
        return self.name.lower()

    def may(self, needed: Role) -> bool:
        """Whether it may do what needs that role."""
        return self is needed or self >= max(needed, Role.OPERATOR if needed is Role.WORKER else needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """`id` is what its requests and streams are counted by. `tenant` is the only one that it reaches; None: all of them."""

    id: str
    role: Role
    tenant: str | None = None


# What an app is given: the principal that a request comes from, or None. The scope is that of ASGI.
Auth: TypeAlias = Callable[[Scope], "Principal | None | Awaitable[Principal | None]"]


def by_token(client: Client) -> Auth:
    """Who holds a token of the client's store (`cloche token create`), sent as `Authorization: Bearer TOKEN`, or whose browser
    has changed it for a cookie (`POST /v1/session`).

    The store is asked for each request, so that a token which is revoked lets nobody in any more.
    """

    async def auth(scope: Scope) -> Principal | None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        cookie = session_in(headers)
        scheme, _, shown = headers.get(b"authorization", f"bearer {cookie or ''}").partition(" ")
        if scheme.lower() != "bearer" or not shown:
            return None
        connection = client.connection
        row = await tokens.whose(connection.store, shown.strip(), connection.world.now())
        if row is None or tokens.is_session(row) != (cookie is not None):  # a cookie is no token, and a token no cookie
            return None
        kind = "session" if cookie is not None else "token"
        return Principal(f"{kind} {row.id}", Role[row.role.upper()], row.tenant)

    return auth


def session_in(headers: Mapping[bytes, str]) -> str | None:
    """What the cookie of a session has, of a request without a token. Names of headers in small letters."""
    if b"authorization" in headers:
        return None
    parts = (part.strip().partition("=") for part in headers.get(b"cookie", "").split(";"))
    return next((value for name, _, value in parts if name == SESSION), None)


def local(scope: Scope) -> Principal:
    """Everybody who reaches the server is its admin: for a server that listens on the machine's own address alone.

    An app with it answers to the names of this machine only, so that no page can reach it by a name of its own (DNS rebinding).
    """
    return Principal("local", Role.ADMIN)
