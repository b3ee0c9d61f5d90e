"""What is asked for more often than all else, without the framework's own work between: a run that is started or read, and
attempts of remote steps that are taken, kept and ended.

Routing a request and solving its parameters takes longer than such an answer. Only the plain form is answered here; one with a
query, or for another tenant than the token's, goes the usual way, to the same function.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi import Request
from fastapi.responses import Response

from cloche.errors import ClocheError
from cloche.http.moving import start_run
from cloche.http.principals import PRINCIPAL, SLASH, Role, Scope
from cloche.http.problems import problem_of
from cloche.http.runs import get_run
from cloche.http.service import check_role, tenant_of
from cloche.http.steps import beat_attempt, complete_attempt, poll_steps

if TYPE_CHECKING:
    from cloche.client import TenantRuns
    from cloche.http.service import Service

Endpoint: TypeAlias = "Callable[[Request, TenantRuns], Awaitable[Response]]"
_RUN = re.compile("/v1/runs/([^/]+)")
_START = re.compile("/v1/workflows/([^/]+)/runs")
_STEP = re.compile("/v1/steps/([^/]+)/(heartbeat|complete)")
_OF_ATTEMPT = {"heartbeat": beat_attempt, "complete": complete_attempt}


def direct(scope: Scope, path: str) -> tuple[Role, Endpoint] | None:
    """The endpoint that answers, and the role that it needs; None: it is another request."""
    if scope["query_string"] or any(name == b"cloche-tenant" for name, _ in scope["headers"]):
        return None
    if scope["method"] == "GET":
        found = _RUN.fullmatch(path)
        if found is None:
            return None
        run_id = found[1].replace(SLASH, "/")
        return Role.VIEWER, lambda request, runs: get_run(request, runs, run_id)
    if scope["method"] != "POST":
        return None
    if path == "/v1/steps/poll":
        return Role.WORKER, poll_steps
    if (found := _START.fullmatch(path)) is not None:
        return _start(scope, found[1].replace(SLASH, "/"))
    if (found := _STEP.fullmatch(path)) is not None:
        token, of_attempt = found[1].replace(SLASH, "/"), _OF_ATTEMPT[found[2]]
        return Role.WORKER, lambda request, runs: of_attempt(request, runs, token)
    return None


def _start(scope: Scope, workflow: str) -> tuple[Role, Endpoint] | None:
    """Of a run; with a key of its client's the usual way."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if b"idempotency-key" in headers:
        return None
    traceparent = headers.get(b"traceparent")
    return Role.OPERATOR, lambda request, runs: start_run(request, runs, workflow, traceparent=traceparent)


async def answer_directly(
    service: Service, found: tuple[Role, Endpoint], scope: Scope, receive: Any, send: Any
) -> None:
    """What the endpoint answers.

    Raises:
        Refused: as the endpoint.
    """
    role, endpoint = found
    check_role(scope[PRINCIPAL], role)
    request = Request(scope, receive)
    try:
        response = await endpoint(request, tenant_of(service.client, scope[PRINCIPAL], None))
    except ClocheError as error:
        response = problem_of(error)
    await response(scope, receive, send)
