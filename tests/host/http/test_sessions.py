"""Sessions of browsers: a cookie for a token, which ends when it should and acts for no page of another site."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop
from support.served import adding, asker

from cloche import http
from cloche.errors import UsageError
from cloche.operations import tokens
from cloche.store import MemoryStore

OWN = {"Sec-Fetch-Site": "same-origin"}


@asynccontextmanager
async def with_token(journal: Journal) -> AsyncIterator[tuple[httpx.AsyncClient, ManualWorld, Any, tokens.Made]]:
    world, store = ManualWorld(), MemoryStore()
    async with AppOn(store, workflows=[adding(journal)], world=world) as app, asker(http.app(app)) as ask:
        options: dict[str, Any] = {"tenant": "default", "role": "operator", "label": "", "now": world.now()}
        yield ask, world, store, await tokens.create(store, **options)


async def begun(ask: httpx.AsyncClient, made: tokens.Made) -> dict[str, str]:
    """The header of a browser that has a session."""
    answer = await ask.post("/v1/session", headers={"Authorization": f"Bearer {made.text}"})
    assert answer.status_code == 201
    ask.cookies.clear()
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert attributes == ["Max-Age=43200", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"]
    return {"Cookie": f"other=1; {cookie}"}


@in_loop
async def test_a_session_lets_in_as_its_token_does(journal: Journal) -> None:
    async with with_token(journal) as (ask, _, store, made):
        cookie = await begun(ask, made)
        me = (await ask.get("/v1/me", headers=cookie)).json()
        assert (me["role"], me["tenant"], me["id"].split()[0]) == ("operator", "default", "session")
        start = "/v1/workflows/adding/runs"
        assert (await ask.post(start, json={"input": {"v": 1}}, headers={**cookie, **OWN})).status_code == 201
        assert (await ask.get("/v1/tokens", headers=cookie)).status_code == 403
        assert made.text not in str([row.digest for row in await store.tokens()])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:4700"}, 201),
        (OWN, 201),
    ],
)
@in_loop
async def test_no_page_of_another_site_acts_with_a_cookie(
    journal: Journal, headers: dict[str, str], status: int
) -> None:
    async with with_token(journal) as (ask, _, _, made):
        cookie = await begun(ask, made)
        answer = await ask.post("/v1/workflows/adding/runs", json={"input": {"v": 1}}, headers={**cookie, **headers})
        assert answer.status_code == status


@in_loop
async def test_a_session_ends_after_twelve_hours(journal: Journal) -> None:
    async with with_token(journal) as (ask, world, _, made):
        cookie = await begun(ask, made)
        world.move(12 * 3600 - 1)
        assert (await ask.get("/v1/me", headers=cookie)).status_code == 200
        world.move(1)
        assert (await ask.get("/v1/me", headers=cookie)).status_code == 401


@in_loop
async def test_a_session_ends_when_it_is_ended_and_with_its_token(journal: Journal) -> None:
    async with with_token(journal) as (ask, world, store, made):
        first, second = await begun(ask, made), await begun(ask, made)
        ended = await ask.delete("/v1/session", headers={**first, **OWN})
        assert (ended.status_code, "Max-Age=0" in ended.headers["set-cookie"]) == (204, True)
        assert [(await ask.get("/v1/me", headers=one)).status_code for one in (first, second)] == [401, 200]
        await tokens.revoke(store, made.row.id, world.now())
        assert (await ask.get("/v1/me", headers=second)).status_code == 401


@in_loop
async def test_a_cookie_is_no_token_and_a_token_no_cookie(journal: Journal) -> None:
    async with with_token(journal) as (ask, world, store, made):
        cookie = await begun(ask, made)
        as_token = {"Authorization": f"Bearer {cookie['Cookie'].partition('__Host-cloche=')[2]}"}
        as_cookie = {"Cookie": f"__Host-cloche={made.text}"}
        assert [(await ask.get("/v1/me", headers=one)).status_code for one in (as_token, as_cookie)] == [401, 401]
        assert (await ask.post("/v1/session", headers={**cookie, **OWN})).status_code == 409
        with pytest.raises(UsageError, match="sessions of browsers"):
            await tokens.create(store, tenant=None, role="admin", label="session of x", now=world.now())
