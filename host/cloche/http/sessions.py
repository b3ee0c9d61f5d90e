"""Browser sessions: a token is changed for a cookie, which no script reads and no other site sends.

A session is a token of its own, in the store by its digest: it ends after twelve hours, when it is deleted, and with the token
that it was made of.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloche.http import shown
from cloche.http.bodies import answer, body_of
from cloche.http.models import NothingBody, PrincipalOut
from cloche.http.principals import SESSION, Role
from cloche.http.problems import Refused
from cloche.http.service import needs, principal_of, service_of
from cloche.operations import tokens

router = APIRouter()
_COOKIE = "Path=/; HttpOnly; Secure; SameSite=Strict"


@router.post("/session", status_code=201, response_model=PrincipalOut, **needs(Role.VIEWER, body=NothingBody))
async def begin_session(request: Request) -> Response:
    """Change the token of this request for a cookie that lasts twelve hours."""
    await body_of(request, NothingBody)
    principal = principal_of(request)
    id = principal.id.removeprefix("token ")
    if id == principal.id:
        raise Refused(409, "no-token", "only who holds a token of the store begins a session")
    made = await tokens.begin_session(_store(request), id, _now(request))
    cookie = f"{SESSION}={made.text}; Max-Age={int(tokens.SESSION_S)}; {_COOKIE}"
    who = shown.principal_out(principal, service_of(request).client.tenant_id)
    return answer(request, who, 201, headers={"Set-Cookie": cookie})


@router.delete("/session", status_code=204, response_model=None, **needs(Role.VIEWER))
async def end_session(request: Request) -> Response:
    """End the session of this request's cookie; without one nothing happens."""
    id = principal_of(request).id.removeprefix("session ")
    if id != principal_of(request).id:
        await tokens.revoke(_store(request), id, _now(request), by=principal_of(request).id)
    return Response(None, 204, {"Set-Cookie": f"{SESSION}=; Max-Age=0; {_COOKIE}"})


def _store(request: Request) -> Any:
    return service_of(request).client.connection.store


def _now(request: Request) -> Any:
    return service_of(request).client.connection.world.now()
