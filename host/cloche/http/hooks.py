"""The endpoint that takes webhooks: what others send goes to the run that waits with the hook which the URL names.

Whoever sends needs no token of a client: a hook's token that cloche has made has 128 bits that nobody can compute, so who knows
the URL may send. A token `NAME:…`, where the tenant has a webhook NAME that is received, takes what is signed with its secret.
Any other token may have been guessed: then who sends must be an operator.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from cloche.client import TenantRuns
from cloche.errors import InvalidInput
from cloche.http.bodies import CBOR, JSON, answer, json_of
from cloche.http.models import HookTaken
from cloche.http.moving import Key
from cloche.http.principals import PRINCIPAL, Principal, Role
from cloche.http.problems import Refused
from cloche.http.service import ALL_TENANTS, ROLE, NewId, service_of, tenant_of
from cloche.operations import names, webhooks
from cloche.operations.forms import from_cbor
from cloche.operations.signatures import BadSignature, checked_id

router = APIRouter()
# Of a webhook that is signed the workflow sees these; names in small letters.
SHOWN = ("content-type", "webhook-id", "webhook-timestamp", "x-github-event", "x-github-delivery", "x-github-hook-id")
SIGNATURES = ("webhook-signature", "x-hub-signature-256", "stripe-signature")
_UNGUESSABLE = re.compile(r"[0-9a-f]{32}")
_FORM, _TEXT = "application/x-www-form-urlencoded", "text/"
_ANY: dict[str, Any] = {"content": {kind: {"schema": {}} for kind in (JSON, CBOR)}}


@router.post(
    "/hooks/{token}",
    status_code=202,
    response_model=HookTaken,
    responses={200: {"model": HookTaken, "description": "It was taken before, under the same id."}},
    openapi_extra={ROLE: Role.OPERATOR.label, ALL_TENANTS: False, "requestBody": _ANY},
)
async def take_webhook(
    request: Request,
    token: NewId,
    tenant: Annotated[
        str | None,
        Query(
            min_length=1, max_length=200, description="Whose hook is meant.", json_schema_extra={"pattern": names.KNOWN}
        ),
    ] = None,
    cloche_tenant: Annotated[
        str | None, Header(min_length=1, max_length=200, json_schema_extra={"pattern": names.HEADER})
    ] = None,
    idempotency_key: Key = None,
    webhook_id: Annotated[str | None, Header(description="The same id again is the same webhook.")] = None,
) -> Response:
    """Send the body to whichever run waits with the hook that has this token; durable when this answers.

    Who sends is an operator, knows a token of cloche's own making, or signs (Standard Webhooks, GitHub, Stripe) where the token
    begins with the name of a webhook and a colon. What is signed reaches the run as `{"body": …, "headers": …}`.
    """
    principal: Principal | None = request.scope.get(PRINCIPAL)
    runs = _runs(request, principal, tenant if tenant is not None else cloche_tenant)
    webhook = await webhooks.signer_of(runs.connection.store, runs.tenant_id, token)
    is_operator = principal is not None and principal.role >= Role.OPERATOR
    given = idempotency_key or webhook_id
    if webhook is not None and (not is_operator or any(name in request.headers for name in SIGNATURES)):
        given = await _checked(request, webhook)
        payload: Any = {"body": await _value(request), "headers": _shown(request)}
    elif is_operator or _UNGUESSABLE.fullmatch(token):
        payload = await _value(request)
    elif principal is not None:
        raise Refused(403, "forbidden", f"this needs the role operator, and the token is a {principal.role.label}'s")
    else:
        headers = {"WWW-Authenticate": 'Bearer realm="cloche"'}
        raise Refused(401, "unauthenticated", "the request has no token that is valid", headers=headers)
    return await _taken(request, runs, token, payload, given)


async def _taken(request: Request, runs: TenantRuns, token: str, payload: Any, given: str | None) -> Response:
    """Give it to the run, once by its id: also where the hook is closed by then, or another run waits with it."""
    if given is None:
        return answer(request, {"id": await runs.resume_hook(token, payload)}, 202)
    connection, whose = runs.connection, runs.tenant_id
    id = blake2b(f"{token}\x00{given}".encode("utf-8", "replace"), digest_size=16).hexdigest()
    if (known := await webhooks.given_to(connection.store, whose, id)) is not None:
        return answer(request, {"id": known}, 200)
    run_id = await runs.resume_hook(token, payload, idempotency_key=f"webhook-{id}")
    await webhooks.note_given(connection.store, whose, id, run_id, connection.world.now())
    return answer(request, {"id": run_id}, 202)


def _runs(request: Request, principal: Principal | None, asked: str | None) -> TenantRuns:
    service = service_of(request)
    if principal is None:
        return service.client.tenant(asked or service.client.tenant_id)
    return tenant_of(service.client, principal, asked)


async def _checked(request: Request, webhook: webhooks.WebhookRow) -> str:
    now_s = service_of(request).client.connection.world.now() / 1000
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        return checked_id(webhook.form, webhook.secret, headers, await request.body(), now_s)
    except BadSignature as error:
        raise Refused(401, "bad-signature", str(error)) from None


async def _value(request: Request) -> Any:
    """The body as its type says: a value, the fields of a form, text, or bytes. None where there is nothing."""
    data = await request.body()
    kind = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if not data:
        return None
    if kind == JSON or kind.endswith("+json"):
        return json_of(data)
    if kind == CBOR:
        return from_cbor(data)
    if kind == _FORM or kind.startswith(_TEXT):
        try:
            text = data.decode()
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=1000)) if kind == _FORM else text
        except ValueError as error:
            raise InvalidInput(f"the body cannot be read: {error}", path="", problems=[]) from None
    return data


def _shown(request: Request) -> dict[str, str]:
    return {name: request.headers[name] for name in SHOWN if name in request.headers}
