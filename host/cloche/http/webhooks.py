"""Endpoints for the webhooks of a tenant: who is told when its runs stop, and whose signatures its hooks take."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from cloche.http.bodies import answer, body_of
from cloche.http.models import Given, Shown
from cloche.http.principals import Role
from cloche.http.rules import WEBHOOK, WEBHOOK_NAME
from cloche.http.service import Id, Tenant, judged, needs, principal_of, service_of
from cloche.operations import webhooks
from cloche.operations.forms import instant

router = APIRouter()
NewName = Annotated[str, Path(json_schema_extra={"pattern": WEBHOOK_NAME})]
Stop = Literal["success", "failed", "canceled", "suspended", "waiting"]


class WebhookBody(Given):
    """A webhook that is sent when runs stop (`out`), a receiver to which attempts of remote `steps` are pushed, or a webhook
    that is received, and signed in the form that is named."""

    model_config = ConfigDict(json_schema_extra=WEBHOOK)

    form: Literal["out", "steps", "standard", "github", "stripe"] = "out"
    url: str = Field("", max_length=webhooks.URL_CHARS_MAX, description="Where it is sent; https.")
    stops: list[Stop] | None = Field(
        None, max_length=5, description="What it is told of; null: success, failed, canceled and suspended."
    )
    steps: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        None, max_length=webhooks.STEPS_MAX, description="Of a receiver: the ids of its remote steps."
    )
    secret: str | None = Field(
        None, min_length=1, max_length=200, description="Null: the one that it has, or a new one."
    )


class WebhookOut(Shown):
    """Times as RFC 3339."""

    name: str
    tenant: str
    form: str
    url: str
    stops: list[str]
    steps: list[str]
    created_at: str


class WebhookPut(WebhookOut):
    """`secret` is that of a webhook that is sent: its receiver checks signatures with it."""

    secret: str | None


class WebhookList(Shown):
    webhooks: list[WebhookOut]


class DeliveryOut(Shown):
    """`id` is the `webhook-id`. `due_at` is null where it was given up; `problem` is how the last attempt ended."""

    id: str
    run_id: str
    status: str
    attempts: int
    due_at: str | None
    problem: str | None


class DeliveryList(Shown):
    deliveries: list[DeliveryOut]


@router.get("/webhooks", response_model=WebhookList, **needs(Role.ADMIN))
async def list_webhooks(request: Request, runs: Tenant) -> Response:
    """The webhooks of the tenant, without their secrets."""
    found = await _store(request).webhooks(runs.tenant_id)
    return answer(request, {"webhooks": [_out(row) for row in found]})


@router.put("/webhooks/{name}", response_model=WebhookPut, **needs(Role.ADMIN, body=WebhookBody))
async def put_webhook(request: Request, runs: Tenant, name: NewName) -> Response:
    """Keep a webhook, or change that of its name."""
    body = await body_of(request, WebhookBody)
    asked = {field: getattr(body, field) for field in WebhookBody.model_fields}
    by = principal_of(request).id
    webhooks.check_name(name)
    webhooks.wanted(body.form, body.url, body.stops, body.steps)
    putting = webhooks.put(_store(request), runs.tenant_id, name, now=_now(request), by=by, **asked)
    row = await (
        judged(putting, 409) if body.secret is None else putting
    )  # it is the one that the webhook has, or has not
    return answer(request, {**_out(row), "secret": row.secret if row.form in (webhooks.OUT, webhooks.STEPS) else None})


@router.delete("/webhooks/{name}", status_code=204, response_model=None, **needs(Role.ADMIN))
async def delete_webhook(request: Request, runs: Tenant, name: Id) -> Response:
    """Forget a webhook, with what was to be delivered by it."""
    by = principal_of(request).id
    await webhooks.forget(_store(request), runs.tenant_id, name, now=_now(request), by=by)
    return Response(None, 204)


@router.get("/webhooks/{name}/deliveries", response_model=DeliveryList, **needs(Role.ADMIN))
async def list_deliveries(request: Request, runs: Tenant, name: Id) -> Response:
    """What is still to be delivered by a webhook, or was given up: the newest first, 100 at most."""
    found = await webhooks.undelivered(_store(request), runs.tenant_id, name)
    return answer(request, {"deliveries": [_delivery(one) for one in found]})


def _store(request: Request) -> Any:
    return service_of(request).client.connection.store


def _now(request: Request) -> Any:
    return service_of(request).client.connection.world.now()


def _out(row: webhooks.WebhookRow) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": row.name, "tenant": row.tenant, "form": row.form, "url": row.url}
    steps = sorted(webhooks.steps_of(row)) if row.form == webhooks.STEPS else []
    stops = list(row.stops) if row.form == webhooks.OUT else []
    return {**shown, "stops": stops, "steps": steps, "created_at": instant(row.created_at)}


def _delivery(one: webhooks.Delivery) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": webhooks.delivery_id(one), "run_id": one.run, "status": one.status}
    due_at = instant(one.due_at) if one.due_at is not None else None
    return {**shown, "attempts": one.attempts, "due_at": due_at, "problem": one.problem}
