"""What an app stands on: the client, who is let in, the bounds; and what each request is about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, Header, Path, Request
from pydantic import AfterValidator, BaseModel

from cloche.client import Client, Cloche, TenantRuns
from cloche.errors import NotFound, UsageError
from cloche.http.addresses import NO_NAMES
from cloche.http.bodies import described
from cloche.http.moves import Moves
from cloche.http.polls import Polls
from cloche.http.principals import PRINCIPAL, SERVICE, SLASH, Auth, Principal, Role
from cloche.http.problems import Refused
from cloche.operations import names

if TYPE_CHECKING:
    from cloche.http.rates import Rates
    from cloche.operations.remote_steps import AttemptTokens
    from cloche.telemetry import Metrics

T = TypeVar("T")
# In the OpenAPI document: the least role that an endpoint needs, and whether it is for tokens of all tenants alone.
ROLE, ALL_TENANTS = "x-cloche-role", "x-cloche-all-tenants"


@dataclass(eq=False)
class Service:
    """One app. `draining` is set when the server is about to end: streams close then, and clients go on elsewhere."""

    client: Client
    auth: Auth
    rates: Rates
    body_bytes_max: int
    metrics: Metrics | None = None
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    attempts: AttemptTokens | None = None  # of remote steps, once any was asked for
    polls: Polls = field(init=False)
    moves: Moves = field(init=False)
    # What each stream that is open waits for, by what says that its client is gone.
    followed: dict[asyncio.Future[None], asyncio.Future[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.polls = Polls(self.client)
        self.moves = Moves(self.client)

    def drain(self) -> None:
        """End all streams and waits."""
        self.draining.set()
        for following in list(self.followed.values()):
            following.cancel()


def service_of(request: Request) -> Service:
    found: Service = request.scope[SERVICE]
    return found


def needs(
    role: Role, *, of_all_tenants: bool = False, body: type[BaseModel] | None = None, file: str | None = None
) -> dict[str, Any]:
    """Options of a route: who may use it, and what it is sent, a `body` or a `file` of this type.

    `of_all_tenants`: only those who reach all of them.
    """

    async def check(request: Request) -> None:
        principal: Principal = request.scope[PRINCIPAL]
        check_role(principal, role)
        if of_all_tenants and principal.tenant is not None:
            raise Refused(403, "forbidden", "this is for tokens of all tenants")

    extra: dict[str, Any] = {ROLE: role.label, ALL_TENANTS: of_all_tenants}
    if body is not None:
        extra["requestBody"] = described(body)
    if file is not None:
        binary = {"schema": {"type": "string", "format": "binary"}}
        extra["requestBody"] = {"required": True, "content": {file: binary}}
    return {"dependencies": [Depends(check)], "openapi_extra": extra}


def check_role(principal: Principal, role: Role) -> None:
    """
    Raises:
        Refused: the principal may not do what needs this role.
    """
    if not principal.role.may(role):
        what = f"this needs the role {role.label}, and the token is a {principal.role.label}'s"
        raise Refused(403, "forbidden", what)


def principal_of(request: Request) -> Principal:
    found: Principal = request.scope[PRINCIPAL]
    return found


async def _tenant(
    request: Request,
    cloche_tenant: Annotated[
        str | None,
        Header(
            description="Whose runs are meant, for tokens of all tenants.",
            min_length=1,
            max_length=200,
            json_schema_extra={"pattern": names.HEADER},
        ),
    ] = None,
) -> TenantRuns:
    """The runs that the request is about."""
    if cloche_tenant is not None:
        cloche_tenant = cloche_tenant.encode("latin-1", "replace").decode("utf-8", "replace")
    return tenant_of(service_of(request).client, principal_of(request), cloche_tenant)


def tenant_of(client: Client, principal: Principal, asked: str | None) -> TenantRuns:
    """The runs of the tenant that is asked for, or else of the one that the principal reaches.

    Raises:
        Refused: the principal does not reach it.
    """
    if principal.tenant is None:
        return client.tenant(asked or client.tenant_id)
    if asked not in (None, principal.tenant):
        raise Refused(403, "forbidden", "the token is of another tenant")
    return client.tenant(principal.tenant)


Tenant = Annotated[TenantRuns, Depends(_tenant)]


def _whole(text: str) -> str:
    return text.replace(SLASH, "/")


_NO_NAMES: dict[str, Any] = {"not": {"enum": list(NO_NAMES)}}
_ID = Path(min_length=1, description="Percent-encoded, a `/` in it too.", json_schema_extra=_NO_NAMES)
Id = Annotated[str, _ID, AfterValidator(_whole)]
_NAME = Path(
    min_length=1, description=_ID.description, json_schema_extra={"pattern": names.NAME, "maxLength": 200, **_NO_NAMES}
)
# What is made under this id, or sent: it has to be a name.
NewId = Annotated[str, _NAME, AfterValidator(_whole)]


async def found(asked: Callable[[], Awaitable[Any]], kind: str, id: str) -> Any:
    """What `asked` gives; what cannot be an id at all is not there.

    Raises:
        NotFound: it is not.
    """
    try:
        return await asked()
    except NotFound:
        raise
    except UsageError as error:
        if type(error) is not UsageError:
            raise
        raise NotFound(f"there is no {kind} {id!r}", kind=kind, id=id) from None


async def judged(asked: Awaitable[T], status: int) -> T:
    """What `asked` gives. What a request that is well formed is refused with for how things stand is told as a conflict (409),
    for what its texts say as their fault (422).

    Raises:
        Refused: with this status.
    """
    try:
        return await asked
    except UsageError as error:
        if type(error) is not UsageError:
            raise
        raise Refused(status, error.code, error.message) from error


def executes(client: Client) -> bool:
    """Whether the process that serves is a worker too, so that code can be deployed and runs be forked."""
    return isinstance(client, Cloche)
