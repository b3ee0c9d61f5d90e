"""Endpoints that start runs and move them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from cloche.client import Run, TenantRuns
from cloche.errors import NotFound
from cloche.http.bodies import answer, body_of, wait_s
from cloche.http.models import (
    Canceling,
    EventBody,
    EventSent,
    NothingBody,
    ResumeBody,
    Resumed,
    RetryBody,
    StartBody,
    Started,
    ViewOut,
)
from cloche.http.principals import Role
from cloche.http.runs import run_of
from cloche.http.service import Id, NewId, Tenant, found, judged, needs, principal_of, service_of
from cloche.http.shown import view_data
from cloche.http.waiting import is_at_rest, until_accepted, view_at_rest
from cloche.operations import names
from cloche.operations.view import row_there
from cloche.status import RunStatus
from cloche.telemetry.starter import tags_with_starter

router = APIRouter()
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", description="The same key again is the same request.", min_length=1, max_length=200
    ),
]
NamedKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key again is the same request.",
        min_length=1,
        max_length=200,
        json_schema_extra={"pattern": names.KEY},
    ),
]

# Where the id of a run that was started leads.
_LINKS = {
    name: {"operationId": operation, "parameters": {"run_id": "$response.body#/id"}}
    for name, operation in (
        ("run", "get_run_v1_runs__run_id__get"),
        ("why", "get_why_v1_runs__run_id__why_get"),
        ("log", "get_log_v1_runs__run_id__log_get"),
        ("cancel", "cancel_run_v1_runs__run_id__cancel_post"),
    )
}


@router.post(
    "/workflows/{workflow}/runs",
    status_code=201,
    response_model=Started | ViewOut,
    responses={
        200: {"model": Started | ViewOut, "description": "It was started before, with the same input."},
        201: {"links": _LINKS},
        202: {"model": Started, "description": "It was started, and has not come to rest in the time of `Prefer`."},
    },
    **needs(Role.OPERATOR, body=StartBody),
)
async def start_run(
    request: Request,
    runs: Tenant,
    workflow: Id,
    idempotency_key: Key = None,
    traceparent: Annotated[str | None, Header(description="W3C Trace Context: kept as the run's tag.")] = None,
) -> Response:
    """Start a run; durable when this answers. With `Prefer: wait=SECONDS` the answer has its result, if it comes in time."""
    body = await body_of(request, StartBody)
    run_id = body.run_id if body.run_id is not None else _run_id(idempotency_key)
    is_new = run_id is None or not await _is_there(runs, run_id)
    run: Run = await found(
        lambda: runs.start(
            workflow,
            body.input,
            run_id=run_id,
            initial_state=body.initial_state,
            request_context=body.request_context,
            per_step=body.per_step,
            tags=tags_with_starter(body.tags, traceparent),
            deadline=body.deadline,
        ),
        "workflow",
        workflow,
    )
    headers = {"Location": _location(request, run.id)}
    status = 201 if is_new else 200
    if seconds := wait_s(request):
        headers["Preference-Applied"] = f"wait={seconds:g}"
        view = await view_at_rest(service_of(request), runs, run, seconds)
        if is_at_rest(view):
            return answer(request, view_data(view, principal_of(request)), status, headers=headers)
        status = 202
    row = await row_there(
        runs.connection.store, run.id, runs.tenant_id
    )  # one look, while its first turn waits for the loop
    is_it = row is not None and row.status != RunStatus.CONTINUED
    started = {"id": run.id, "status": str(row.status if row is not None and is_it else await run.status())}
    return answer(request, started, status, headers=headers)


def _run_id(key: str | None) -> str | None:
    """The id of the run that a key names: the same key again is the same run."""
    return None if key is None else f"key-{blake2b(key.encode(), digest_size=16).hexdigest()}"


async def _is_there(runs: TenantRuns, run_id: str) -> bool:
    try:
        await runs.get(run_id)
    except NotFound:
        return False
    return True


def _location(request: Request, run_id: str) -> str:
    return f"{request.scope.get('root_path', '')}/v1/runs/{quote(run_id, safe='')}"


@router.post(
    "/runs/{run_id}/resume",
    status_code=202,
    response_model=Resumed,
    responses={200: {"model": Resumed, "description": "It was accepted before, under this key."}},
    **needs(Role.OPERATOR, body=ResumeBody),
)
async def resume_run(request: Request, runs: Tenant, run_id: Id, idempotency_key: NamedKey = None) -> Response:
    """Give a suspended step the data it waits for; durable when this answers, and a worker gives it to the run.

    With `Prefer: wait=SECONDS` and an `Idempotency-Key` this answers when a worker has accepted it, or with what it was
    refused with; after that time all the same.
    """
    await run_of(runs, run_id)
    body = await body_of(request, ResumeBody)
    paths = await runs.request_resume(
        run_id,
        step=body.step,
        label=body.label,
        foreach_index=body.foreach_index,
        resume_data=body.data,
        is_given="data" in body.model_fields_set,
        by=principal_of(request).id,
        idempotency_key=idempotency_key,
    )
    if idempotency_key is not None:
        await until_accepted(service_of(request), runs, run_id, "resume", idempotency_key, wait_s(request))
    return answer(request, {"paths": paths}, 200 if paths is None else 202)


@router.post(
    "/runs/{run_id}/events/{name}",
    status_code=202,
    response_model=EventSent,
    responses={200: {"model": EventSent, "description": "It was delivered before, under this key."}},
    **needs(Role.OPERATOR, body=EventBody),
)
async def send_event(
    request: Request, runs: Tenant, run_id: Id, name: NewId, idempotency_key: NamedKey = None
) -> Response:
    """Send an event to a run that waits for it, or will; durable when this answers. `Prefer: wait` is as with `resume`."""
    await run_of(runs, run_id)
    body = await body_of(request, EventBody)
    if body.heartbeat:
        await runs.heartbeat_event(run_id, name)
        return answer(request, {"is_new": True}, 202)
    error = None if body.error is None else body.error.model_dump()
    is_new = await runs.send_event(run_id, name, body.payload, error=error, idempotency_key=idempotency_key)
    if idempotency_key is not None:
        await until_accepted(service_of(request), runs, run_id, "event", idempotency_key, wait_s(request))
    return answer(request, {"is_new": is_new}, 202 if is_new else 200)


@router.post(
    "/runs/{run_id}/cancel", status_code=202, response_model=Canceling, **needs(Role.OPERATOR, body=NothingBody)
)
async def cancel_run(request: Request, runs: Tenant, run_id: Id) -> Response:
    """Ask a run to end; durable when this answers. Asking twice is asking once."""
    await run_of(runs, run_id)
    await body_of(request, NothingBody)
    await runs.cancel(run_id, by=principal_of(request).id)
    return answer(request, {"id": run_id}, 202)


@router.post(
    "/runs/{run_id}/retry",
    status_code=201,
    response_model=Started,
    **needs(Role.OPERATOR, body=RetryBody),
)
async def retry_run(request: Request, runs: Tenant, run_id: Id) -> Response:
    """Go on from where a run failed, in a new run. Asking twice is asking once."""
    await run_of(runs, run_id)
    body = await body_of(request, RetryBody)
    options = {name: getattr(body, name) for name in RetryBody.model_fields}
    run: Run = await judged(runs.retry(run_id, by=principal_of(request).id, **options), 409)
    started = {"id": run.id, "status": str(await run.status())}
    return answer(request, started, 201, headers={"Location": _location(request, run.id)})
