"""`app`: a client's runs as an ASGI app, by itself or mounted in another one at any prefix."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
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
from cloche.http.document import PROBLEMS, document_of
from cloche.http.gate import Gate
from cloche.http.methods import Methods
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


class App(FastAPI):
    """An ASGI app. `drain` is for whoever is about to end the server."""

    def drain(self) -> None:
        """End all streams and waits: their clients go on with another server, from where they are."""
        service: Service = self.state.service
        service.drain()

    def openapi(self) -> dict[str, Any]:
        """The document of the API, OpenAPI 3.1."""
        if self.openapi_schema is None:
            self.openapi_schema = document_of(self)
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
        responses={status: {"description": text} for status, text in PROBLEMS.items()},
    )
    made.state.service = service
    made.add_middleware(Gate, service=service)
    made.add_exception_handler(ClocheError, _on_error)
    made.add_exception_handler(problems.Refused, _on_refusal)
    made.add_exception_handler(RequestValidationError, _on_parameters)
    made.add_exception_handler(HTTPException, _on_status)
    _include(made, (*_ROUTERS, workflows.executing) if executes(client) else _ROUTERS)
    return made


def _include(made: App, routers: Sequence[APIRouter]) -> None:
    for router in routers:
        made.include_router(router, prefix="/v1")
    made.include_router(about.health)
    made.include_router(assets.router)
    made.state.methods = Methods([*routers, about.health], "/v1")


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
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers |= request.app.state.methods.allow(request.scope)
    return problems.problem_of_status(error.status_code, str(error.detail), headers)
