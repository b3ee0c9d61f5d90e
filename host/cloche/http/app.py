"""`app`: a client's runs as an ASGI app, by itself or mounted in another one at any prefix."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from cloche.client import Client
from cloche.errors import ClocheError
from cloche.http import (
    about,
    assets,
    feed,
    hooks,
    limits,
    many,
    moving,
    overview,
    pages,
    problems,
    run_pages,
    runs,
    schedules,
    sessions,
    steps,
    streams,
    tokens,
    webhooks,
    workflows,
)
from cloche.http.gate import OPEN, Gate
from cloche.http.models import Problem
from cloche.http.principals import Auth, by_token
from cloche.http.rates import Rates
from cloche.http.service import Service, executes

if TYPE_CHECKING:
    from cloche.telemetry import Metrics

BODY_BYTES_MAX = 1 << 20  # of one request: what a value may have by default, and more than people type
REQUESTS_PER_S, BURST = 100.0, 500
_ROUTERS = (
    steps.router,  # those that are asked most stand first: each request goes along all that stand before its own
    runs.router,
    run_pages.router,
    pages.router,
    streams.router,
    feed.router,
    moving.router,
    many.router,
    overview.router,
    hooks.router,
    schedules.router,
    limits.router,
    workflows.router,
    tokens.router,
    sessions.router,
    webhooks.router,
    about.router,
)
_PROBLEMS = {
    400: "The request cannot be meant.",
    401: "Nobody knows who asks.",
    403: "The principal may not do this.",
    404: "There is no such thing, or it is another tenant's.",
    405: "The address is another one: an id was `.` or `..`, which clients leave out of addresses.",
    406: "None of the types that are accepted is there.",
    408: "The body came too slowly.",
    409: "It does not go with what is there.",
    413: "The body is too large.",
    415: "The body is of another type.",
    421: "The server has another name.",
    422: "Something that was sent is not what it should be.",
    429: "Too much is asked for; `Retry-After` says when to try again.",
    500: "A fault of the server's own.",
    503: "The store cannot be reached just now; `Retry-After` says when to try again.",
}


class App(FastAPI):
    """An ASGI app. `drain` is for whoever is about to end the server."""

    def drain(self) -> None:
        """End all streams and waits: their clients go on with another server, from where they are."""
        service: Service = self.state.service
        service.drain()

    def openapi(self) -> dict[str, Any]:
        """The document of the API, OpenAPI 3.1."""
        if self.openapi_schema is None:
            self.openapi_schema = _document(self)
        return self.openapi_schema


def app(
    client: Client,
    *,
    auth: Auth | None = None,
    body_bytes_max: int = BODY_BYTES_MAX,
    requests_per_s: float = REQUESTS_PER_S,
    burst: int = BURST,
    metrics: Metrics | None = None,
) -> App:
    """An ASGI app that serves the runs of `client`, under `/v1`, and the dashboard at `/`.

    Where the client is open already it stays so; else it is opened and closed with the app. An app that is mounted in another
    one hears of neither: then whoever mounts it opens the client.

    Args:
        client: a `Client`, or a `Cloche`, which executes what it serves.
        auth: tells who asks: given the ASGI scope of a request it returns its `Principal`, or None. It may be async. Without:
            who holds a token of the client's store. `local` lets in everybody who reaches the server, and is for an address of
            this machine alone.
        body_bytes_max: of one request.
        requests_per_s: of one principal, in this process; `burst` of them at once.
        metrics: what `/metrics` shows beside the runs that are open: the observer that the client was given.
    """
    rates = Rates(time.monotonic, per_s=requests_per_s, burst=burst)
    service = Service(client, auth or by_token(client), rates, body_bytes_max, metrics)
    made = App(
        title="cloche",
        version=version("cloche"),
        docs_url=None,  # a page of scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        responses={status: {"description": text} for status, text in _PROBLEMS.items()},
    )
    made.state.service = service
    made.add_middleware(Gate, service=service)
    made.add_exception_handler(ClocheError, _on_error)
    made.add_exception_handler(problems.Refused, _on_refusal)
    made.add_exception_handler(RequestValidationError, _on_parameters)
    made.add_exception_handler(HTTPException, _on_status)
    for router in (*_ROUTERS, workflows.executing) if executes(client) else _ROUTERS:
        made.include_router(router, prefix="/v1")
    made.include_router(about.health)
    made.include_router(assets.router)
    return made


@asynccontextmanager
async def _lifespan(made: App) -> AsyncIterator[None]:
    service: Service = made.state.service
    if service.client.is_open:
        yield
    else:
        async with service.client:
            yield
    made.drain()


async def _on_error(request: Any, error: Any) -> Response:
    return problems.problem_of(error)


async def _on_refusal(request: Any, error: Any) -> Response:
    response: Response = error.response()
    return response


async def _on_parameters(request: Any, error: Any) -> Response:
    return problems.problem_of_parameters(error.errors())


async def _on_status(request: Any, error: Any) -> Response:
    return problems.problem_of_status(error.status_code, str(error.detail), error.headers)


def _document(made: App) -> dict[str, Any]:
    document = get_openapi(title=made.title, version=made.version, routes=made.routes)
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    content = {problems.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if path not in OPEN:
                operation["security"] = [{"token": []}]
            for status, said in operation["responses"].items():
                if int(status) in _PROBLEMS and "content" not in said:
                    said["content"] = content
    return document
