"""Endpoints for those who perform remote steps: they take attempts, and say what came of them.

Who may: a token of the role `worker`, which may do nothing else, or an operator's. What is said of an attempt is said under the
attempt's own token, which whoever has taken it was given, and nobody else. `docs/operations/remote-steps.md` is the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloche.http.bodies import answer, body_of
from cloche.http.principals import Role
from cloche.http.service import Id, Service, Tenant, needs, principal_of, service_of
from cloche.http.step_models import (
    AttemptSaid,
    BeatBody,
    CompleteBody,
    FailBody,
    Heard,
    LookBody,
    PollBody,
    Polled,
    ProgressBody,
    Seen,
    SuspendBody,
)
from cloche.operations import remote_steps
from cloche.operations.remote_answers import told_meanwhile, told_of
from cloche.operations.remote_steps import AttemptName, AttemptTokens, RemoteTask, TenantId

router = APIRouter()
WAIT_S_MAX = 30.0


@router.post("/steps/poll", response_model=Polled, **needs(Role.WORKER, body=PollBody))
async def poll_steps(request: Request, runs: Tenant) -> Response:
    """Take attempts of these steps: as soon as there is one, or none after `wait_s` seconds."""
    body, service = await body_of(request, PollBody), service_of(request)
    holder = f"{principal_of(request).id} {body.worker}".strip()
    tasks = await _taken(request, service, body, holder, _tenant(request, runs))
    tokens = await _tokens(service)
    return answer(request, {"attempts": [remote_steps.given(one, tokens) for one in tasks]})


async def _taken(
    request: Request, service: Service, body: PollBody, holder: str, tenant: TenantId | None
) -> list[RemoteTask]:
    """What is taken for a worker: nothing for one that has gone away meanwhile, and for nobody when the server drains."""
    taking = asyncio.ensure_future(
        service.polls.take(body.steps, body.most, holder, tenant, min(body.wait_s, WAIT_S_MAX))
    )
    others = [asyncio.ensure_future(service.draining.wait()), asyncio.ensure_future(_gone(request))]
    try:
        await asyncio.wait([taking, *others], return_when=asyncio.FIRST_COMPLETED)
        return taking.result() if taking.done() else []
    finally:
        for task in (taking, *others):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _gone(request: Request) -> None:
    """Until the client has closed its connection. Its body was read, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@router.post("/steps/{token}/heartbeat", response_model=Heard, **needs(Role.WORKER, body=BeatBody))
async def beat_attempt(request: Request, runs: Tenant, token: Id) -> Response:
    """Say that the attempt is being performed. An attempt that is at most once begins with this."""
    await body_of(request, BeatBody)
    service, name = service_of(request), await _named(request, runs, token)
    is_wanted = await remote_steps.beat(service.client.connection.store, name)
    return answer(request, {"is_canceled": not is_wanted})


@router.post("/steps/{token}/progress", status_code=202, response_model=Heard, **needs(Role.WORKER, body=ProgressBody))
async def write_progress(request: Request, runs: Tenant, token: Id) -> Response:
    """Record a value while the attempt is performed; a heartbeat too. The same `key` again is the same value."""
    body = await body_of(request, ProgressBody)
    service, name = service_of(request), await _named(request, runs, token)
    is_wanted = await remote_steps.beat(service.client.connection.store, name)
    if is_wanted:
        key = body.key if body.key is not None else secrets.token_hex(8)
        await _say(service, name, key, **told_meanwhile(body.value, body.abort, tagged=body.is_tagged))
    return answer(request, {"is_canceled": not is_wanted}, 202)


@router.post("/steps/{token}/look", response_model=Seen, **needs(Role.WORKER, body=LookBody))
async def look_at_run(request: Request, runs: Tenant, token: Id) -> Response:
    """What has become of streams and signals that the step was given."""
    body, name = await body_of(request, LookBody), await _named(request, runs, token)
    store = service_of(request).client.connection.store
    return answer(request, await remote_steps.look(store, name, body.stream, body.run, body.after, body.signals))


@router.post(
    "/steps/{token}/complete",
    status_code=202,
    response_model=AttemptSaid,
    responses={200: {"model": AttemptSaid, "description": "An end of this attempt was accepted before."}},
    **needs(Role.WORKER, body=CompleteBody),
)
async def complete_attempt(request: Request, runs: Tenant, token: Id) -> Response:
    """End the attempt with its output; durable when this answers. `bail` ends the innermost workflow with it."""
    return await _end(request, runs, token, await body_of(request, CompleteBody))


@router.post(
    "/steps/{token}/fail",
    status_code=202,
    response_model=AttemptSaid,
    responses={200: {"model": AttemptSaid, "description": "An end of this attempt was accepted before."}},
    **needs(Role.WORKER, body=FailBody),
)
async def fail_attempt(request: Request, runs: Tenant, token: Id) -> Response:
    """End the attempt with a failure. Whether another follows is said by the step's retries."""
    return await _end(request, runs, token, await body_of(request, FailBody))


@router.post(
    "/steps/{token}/suspend",
    status_code=202,
    response_model=AttemptSaid,
    responses={200: {"model": AttemptSaid, "description": "An end of this attempt was accepted before."}},
    **needs(Role.WORKER, body=SuspendBody),
)
async def suspend_attempt(request: Request, runs: Tenant, token: Id) -> Response:
    """End the attempt: the step waits for data from outside, and begins anew when its run is resumed."""
    return await _end(request, runs, token, await body_of(request, SuspendBody))


async def _end(request: Request, runs: Any, token: str, body: CompleteBody | FailBody | SuspendBody) -> Response:
    service, name = service_of(request), await _named(request, runs, token)
    result = await _say(service, name, "", **told_of(body))
    return answer(request, {"is_late": result == "late"}, 200 if result == "known" else 202)


async def _say(service: Service, name: AttemptName, key: str, **said: Any) -> remote_steps.Said:
    connection = service.client.connection
    result = await remote_steps.say(connection.store, name, connection.world.now(), key, **said)
    await connection.posted()
    return result


async def _named(request: Request, runs: Any, token: str) -> AttemptName:
    """The attempt of a token, if it is one of a tenant whom the request may speak for.

    Raises:
        NotFound: it is not.
    """
    name = (await _tokens(service_of(request))).read(token)
    if _tenant(request, runs) not in (None, name.key.tenant):
        raise remote_steps.no_such_attempt()
    return name


async def _tokens(service: Service) -> AttemptTokens:
    if service.attempts is None:
        service.attempts = await AttemptTokens.of(service.client.connection.store)
    return service.attempts


def _tenant(request: Request, runs: Any) -> TenantId | None:
    """Whose attempts are meant; None: those of all tenants."""
    is_of_all = principal_of(request).tenant is None and "cloche-tenant" not in request.headers
    return None if is_of_all else runs.tenant_id
