"""The app stands in other apps at a prefix, and its links and locations go by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.apps import AppOn, Journal, in_loop
from support.served import adding, asker

from cloche import http
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore


def under_fastapi(app: Any) -> Any:
    from fastapi import FastAPI

    outer = FastAPI()
    outer.mount("/cloche", app)
    return outer


def under_starlette(app: Any) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/inner", routes=[Mount("/cloche", app)])])


def under_litestar(app: Any) -> Any:
    from litestar import Litestar
    from litestar.handlers import asgi

    @asgi("/cloche", is_mount=True, copy_scope=True)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return Litestar([mounted])


def under_django(app: Any) -> Any:
    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="support.django_urls", SECRET_KEY="of a test")
        django.setup()
    pages = get_asgi_application()

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/cloche/"):
            await app({**scope, "root_path": f"{scope.get('root_path', '')}/cloche"}, receive, send)
        else:
            await pages(scope, receive, send)

    return outer


@pytest.mark.parametrize(
    ("outer", "prefix"),
    [
        (under_fastapi, "/cloche"),
        (under_starlette, "/inner/cloche"),
        (under_litestar, "/cloche"),
        (under_django, "/cloche"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_an_app_is_mounted_at_a_prefix(journal: Journal, outer: Callable[[Any], Any], prefix: str) -> None:
    @in_loop
    async def asked() -> None:
        worker = AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld())
        async with worker, asker(outer(http.app(worker, auth=http.local))) as ask:
            body = {"input": {"v": 1}, "run_id": "a/b"}
            place = f"{prefix}/v1/workflows/adding/runs"
            made = await ask.post(place, json=body, headers={"Prefer": "wait=20"})
            assert (made.status_code, made.json()["result"]) == (201, {"v": 2})
            assert made.headers["location"] == f"{prefix}/v1/runs/a%2Fb"
            run = await ask.get(made.headers["location"])
            assert (run.status_code, run.json()["id"]) == (200, "a/b")
            stream = await ask.get(f"{made.headers['location']}/events")
            assert "event: stopped" in stream.text
            missing = await ask.get(f"{prefix}/v1/runs/nobody")
            assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
            assert (await ask.get(f"{prefix}/openapi.json")).json()["openapi"].startswith("3.1")
            assert (await ask.get(f"{prefix}/healthz")).status_code == 200

    asked()


@in_loop
async def test_an_app_opens_its_client_where_it_stands_alone(journal: Journal) -> None:
    worker = AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld())
    app = http.app(worker, auth=http.local)
    async with app.router.lifespan_context(app):
        assert worker.is_open
        async with asker(app) as ask:
            assert (await ask.get("/v1/workflows")).status_code == 200
    assert not worker.is_open


@in_loop
async def test_an_app_over_a_client_that_nobody_opened_says_so(journal: Journal) -> None:
    worker = AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld())
    async with asker(http.app(worker, auth=http.local)) as ask:
        answer = await ask.get("/v1/runs")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:cloche:error:not-open")
