"""Endpoints for tokens: an admin gives them for what the admin reaches, and for nothing else."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloche.http.bodies import answer, body_of
from cloche.http.models import NothingBody, TokenBody, TokenList, TokenMade
from cloche.http.principals import Role
from cloche.http.problems import Refused
from cloche.http.service import Id, Tenant, needs, principal_of, service_of
from cloche.operations import tokens
from cloche.operations.forms import instant

router = APIRouter()


@router.get("/tokens", response_model=TokenList, **needs(Role.ADMIN))
async def list_tokens(request: Request, runs: Tenant) -> Response:
    """The tokens of the tenant; for a token of all tenants that names none, all of them."""
    found = await tokens.listed(_store(request), tenant=_reach(request, runs))
    return answer(request, {"tokens": [_out(row) for row in found]})


@router.post("/tokens", status_code=201, response_model=TokenMade, **needs(Role.ADMIN, body=TokenBody))
async def create_token(request: Request, runs: Tenant) -> Response:
    """Make a token. It is shown in this answer, and never again."""
    body = await body_of(request, TokenBody)
    if body.all_tenants and principal_of(request).tenant is not None:
        raise Refused(403, "forbidden", "only a token of all tenants gives one that reaches all of them")
    made = await tokens.create(
        _store(request),
        tenant=None if body.all_tenants else runs.tenant_id,
        role=body.role,
        label=body.label,
        now=_now(request),
        lasts_s=body.lasts_s,
        by=principal_of(request).id,
    )
    return _made(request, made, 201)


@router.post("/tokens/{token_id}/rotate", response_model=TokenMade, **needs(Role.ADMIN, body=NothingBody))
async def rotate_token(request: Request, runs: Tenant, token_id: Id) -> Response:
    """Give a token another secret; the old one is void at once."""
    await body_of(request, NothingBody)
    made = await tokens.rotate(
        _store(request), token_id, _now(request), tenant=_reach(request, runs), by=principal_of(request).id
    )
    return _made(request, made, 200)


@router.delete("/tokens/{token_id}", status_code=204, response_model=None, **needs(Role.ADMIN))
async def revoke_token(request: Request, runs: Tenant, token_id: Id) -> Response:
    """Forget a token: it lets nobody in any more."""
    by = principal_of(request).id
    await tokens.revoke(_store(request), token_id, _now(request), tenant=_reach(request, runs), by=by)
    return Response(None, 204)


def _store(request: Request) -> Any:
    return service_of(request).client.connection.store


def _now(request: Request) -> Any:
    return service_of(request).client.connection.world.now()


def _reach(request: Request, runs: Any) -> str | None:
    """The tenant whose tokens are meant; None: of all."""
    is_of_all = principal_of(request).tenant is None and "cloche-tenant" not in request.headers
    return None if is_of_all else str(runs.tenant_id)


def _out(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "tenant": row.tenant,
        "role": row.role,
        "label": row.label,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.expires_at) if row.expires_at is not None else None,
        "used_at": instant(row.used_at) if row.used_at is not None else None,
    }


def _made(request: Request, made: tokens.Made, status: int) -> Response:
    return answer(request, {**_out(made.row), "token": made.text}, status)
