"""Who is let in, and to what: tokens, their roles and tenants, for every endpoint that there is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop
from support.served import adding, asker, asking, heard, served, started

from cloche import Client, create_step, create_workflow, http
from cloche.errors import NotFound, UsageError
from cloche.http import App, Principal, Role
from cloche.http.service import ALL_TENANTS, ROLE
from cloche.operations import tokens
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore, SqliteStore

WORKER, VIEWER, OPERATOR, ADMIN = Role.WORKER, Role.VIEWER, Role.OPERATOR, Role.ADMIN

# Every endpoint: the least role that it needs. Those of `OF_ALL_TENANTS` are for tokens of all tenants alone.
ENDPOINTS: dict[tuple[str, str], Role | None] = {
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): VIEWER,
    ("GET", "/v1/me"): VIEWER,
    ("POST", "/v1/session"): VIEWER,
    ("DELETE", "/v1/session"): VIEWER,
    ("GET", "/v1/usage"): VIEWER,
    ("GET", "/v1/workers"): VIEWER,
    ("GET", "/v1/workflows"): VIEWER,
    ("GET", "/v1/workflows/{workflow}/versions"): VIEWER,
    ("POST", "/v1/workflows/{workflow}/versions"): ADMIN,
    ("DELETE", "/v1/versions/{version}"): ADMIN,
    ("POST", "/v1/workflows/{workflow}/check"): OPERATOR,
    ("POST", "/v1/workflows/{workflow}/runs"): OPERATOR,
    ("GET", "/v1/runs"): VIEWER,
    ("GET", "/v1/runs/{run_id}"): VIEWER,
    ("DELETE", "/v1/runs/{run_id}"): ADMIN,
    ("GET", "/v1/runs/{run_id}/result"): VIEWER,
    ("GET", "/v1/runs/{run_id}/usage"): VIEWER,
    ("GET", "/v1/runs/{run_id}/state"): VIEWER,
    ("GET", "/v1/feed"): VIEWER,
    ("POST", "/v1/runs/import"): ADMIN,
    ("GET", "/v1/runs/{run_id}/log"): VIEWER,
    ("GET", "/v1/runs/{run_id}/records/{seq}"): VIEWER,
    ("GET", "/v1/runs/{run_id}/records/{seq}/body"): VIEWER,
    ("GET", "/v1/runs/{run_id}/graph"): VIEWER,
    ("GET", "/v1/runs/{run_id}/heads"): VIEWER,
    ("GET", "/v1/runs/{run_id}/shape"): VIEWER,
    ("GET", "/v1/runs/{run_id}/source"): VIEWER,
    ("GET", "/v1/runs/{run_id}/export"): VIEWER,
    ("GET", "/v1/runs/{run_id}/lineage"): VIEWER,
    ("GET", "/v1/runs/{run_id}/code"): VIEWER,
    ("GET", "/v1/workflows/{workflow}/code"): VIEWER,
    ("GET", "/v1/workflows/{workflow}/shape"): VIEWER,
    ("GET", "/v1/schedules/{schedule_id}/upcoming"): VIEWER,
    ("GET", "/v1/runs/{run_id}/events"): VIEWER,
    ("POST", "/v1/runs/{run_id}/resume"): OPERATOR,
    ("POST", "/v1/runs/{run_id}/events/{name}"): OPERATOR,
    ("POST", "/v1/hooks/{token}"): OPERATOR,
    ("POST", "/v1/runs/{run_id}/cancel"): OPERATOR,
    ("POST", "/v1/runs/{run_id}/retry"): OPERATOR,
    ("GET", "/v1/runs/{run_id}/why"): VIEWER,
    ("POST", "/v1/bulk"): OPERATOR,
    ("GET", "/v1/failures"): VIEWER,
    ("GET", "/v1/top"): VIEWER,
    ("GET", "/v1/summary"): VIEWER,
    ("GET", "/v1/reasons"): VIEWER,
    ("GET", "/v1/runs/{run_id}/timing"): VIEWER,
    ("POST", "/v1/runs/{run_id}/fork"): OPERATOR,
    ("GET", "/v1/limits"): VIEWER,
    ("GET", "/v1/schedules"): VIEWER,
    ("GET", "/v1/schedules/{schedule_id}"): VIEWER,
    ("GET", "/v1/schedules/{schedule_id}/firings"): VIEWER,
    ("PUT", "/v1/schedules/{schedule_id}"): OPERATOR,
    ("DELETE", "/v1/schedules/{schedule_id}"): OPERATOR,
    ("POST", "/v1/schedules/{schedule_id}/pause"): OPERATOR,
    ("POST", "/v1/schedules/{schedule_id}/resume"): OPERATOR,
    ("POST", "/v1/schedules/{schedule_id}/fire"): OPERATOR,
    ("POST", "/v1/steps/poll"): WORKER,
    ("POST", "/v1/steps/{token}/heartbeat"): WORKER,
    ("POST", "/v1/steps/{token}/progress"): WORKER,
    ("POST", "/v1/steps/{token}/look"): WORKER,
    ("POST", "/v1/steps/{token}/complete"): WORKER,
    ("POST", "/v1/steps/{token}/fail"): WORKER,
    ("POST", "/v1/steps/{token}/suspend"): WORKER,
    ("GET", "/v1/tokens"): ADMIN,
    ("POST", "/v1/tokens"): ADMIN,
    ("POST", "/v1/tokens/{token_id}/rotate"): ADMIN,
    ("DELETE", "/v1/tokens/{token_id}"): ADMIN,
    ("GET", "/v1/webhooks"): ADMIN,
    ("PUT", "/v1/webhooks/{name}"): ADMIN,
    ("DELETE", "/v1/webhooks/{name}"): ADMIN,
    ("GET", "/v1/webhooks/{name}/deliveries"): ADMIN,
}
OF_ALL_TENANTS = {("GET", "/metrics"), ("GET", "/v1/workers"), ("POST", "/v1/runs/import")}
OF_A_RUN = [endpoint for endpoint in ENDPOINTS if "{run_id}" in endpoint[1]]


def place(path: str, run: str = "r1") -> str:
    return path.format(
        workflow="adding", version="v", run_id=run, seq=1, name="paid", token_id="nobody", token="door", schedule_id="s"
    )


Who = tuple[Role, str | None]


def as_header(scope: Any) -> Principal | None:
    """Whoever the request says that it comes from: `role tenant`, a tenant of `*` for all."""
    said = dict(scope["headers"]).get(b"x-who", b"").decode().split()
    return Principal("p", Role[said[0].upper()], None if said[1] == "*" else said[1]) if said else None


def who(role: Role, tenant: str | None) -> dict[str, str]:
    return {"X-Who": f"{role.label} {tenant or '*'}"}


@asynccontextmanager
async def of_everybody(journal: Journal) -> AsyncIterator[tuple[httpx.AsyncClient, App]]:
    async with served(adding(journal), asking(journal), auth=as_header, requests_per_s=1e6, burst=10**6) as found:
        yield found


@in_loop
async def test_every_endpoint_has_its_row(journal: Journal) -> None:
    async with of_everybody(journal) as (_, app):
        paths = app.openapi()["paths"]
        there = {(method.upper(), path): one for path, methods in paths.items() for method, one in methods.items()}
        assert {key: one.get(ROLE) for key, one in there.items()} == {
            key: role.label if role is not None else None for key, role in ENDPOINTS.items()
        }
        assert {key for key, one in there.items() if one.get(ALL_TENANTS)} == OF_ALL_TENANTS


@in_loop
async def test_every_endpoint_answers_each_role_of_each_tenant_as_the_table_says(journal: Journal) -> None:
    """The real endpoints on a real run of acme: let in or not, for nobody, each role of acme, of another tenant, and of all."""
    principals = [None, *itertools.product(Role, ("acme", "other", None))]
    async with of_everybody(journal) as (ask, app):
        acme = who(ADMIN, "acme")
        await started(ask, "asking", {"v": 1}, "r1", **acme)
        for (method, path), needed in ENDPOINTS.items():
            for principal in principals:
                headers = {} if principal is None else who(*principal)
                if principal is not None and principal[1] is None:
                    headers["Cloche-Tenant"] = "acme"
                run = "r1" if method == "GET" else "nobody"
                answer = await _begun(ask, app, method, place(path, run), headers)
                expected = _expected(needed, principal, (method, path))
                got = {401: 401, 403: 403}.get(answer, 200)
                assert got == expected, (method, path, principal, answer)
                assert answer < 500, (method, path, principal)


async def _begun(ask: httpx.AsyncClient, app: App, method: str, url: str, headers: dict[str, str]) -> int:
    if url == "/v1/feed":  # it has no end
        return (await heard(app, url, headers))[0]
    answer = await ask.request(method, url, headers=headers)
    return answer.status_code


def _expected(needed: Role | None, principal: Who | None, endpoint: tuple[str, str]) -> int:
    if needed is None:
        return 200
    if principal is None:
        return 401
    role, tenant = principal
    may = role in (WORKER, OPERATOR, ADMIN) if needed is WORKER else role >= needed
    return 403 if not may or (endpoint in OF_ALL_TENANTS and tenant is not None) else 200


@in_loop
async def test_the_run_of_another_tenant_is_answered_as_none(journal: Journal) -> None:
    """By the same bytes, for every endpoint."""
    async with of_everybody(journal) as (ask, _):
        other = who(ADMIN, "other")
        before = [await _bytes(ask, endpoint, other) for endpoint in OF_A_RUN]
        await started(ask, "adding", {"v": 1}, "r1", **who(ADMIN, "acme"))
        assert [await _bytes(ask, endpoint, other) for endpoint in OF_A_RUN] == before
        assert {status for status, *_ in before} == {404}


async def _bytes(ask: httpx.AsyncClient, endpoint: tuple[str, str], headers: dict[str, str]) -> tuple[Any, ...]:
    answer = await ask.request(endpoint[0], place(endpoint[1]), headers=headers)
    return answer.status_code, answer.content, sorted(answer.headers.items())


class TellingStore(MemoryStore):
    """Notes which methods are called, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("_") and asyncio.iscoroutinefunction(found):
            super().__getattribute__("called").append(name)
        return found


@in_loop
async def test_the_run_of_another_tenant_is_looked_for_as_none() -> None:
    """By the same statements in the same order, so that the time tells nothing either."""
    store = TellingStore()
    async with Client(store) as client, asker(http.app(client, auth=as_header)) as ask:

        async def statements() -> list[list[str]]:
            found = []
            for method, path in OF_A_RUN:
                store.called.clear()
                await ask.request(method, place(path), headers=who(ADMIN, "other"))
                found.append(list(store.called))
            return found

        before = await statements()
        async with AppOn(store, workflows=[adding(Journal())], world=SystemWorld()) as worker:
            await (await worker.tenant("acme").start("adding", {"v": 1}, run_id="r1")).result()
        assert await statements() == before
        assert any(before)


@in_loop
async def test_a_token_of_all_tenants_says_which_it_means(journal: Journal) -> None:
    async with of_everybody(journal) as (ask, _):
        await started(ask, "adding", {"v": 1}, "r1", **who(OPERATOR, "acme"))
        every = who(VIEWER, None)
        assert (await ask.get("/v1/runs/r1", headers=every)).status_code == 404
        assert (await ask.get("/v1/runs/r1", headers={**every, "Cloche-Tenant": "acme"})).status_code == 200
        used = (await ask.get("/v1/usage", headers=every)).json()["tenants"]
        assert [one["tenant"] for one in used] == ["acme"]
        own = {**who(VIEWER, "other"), "Cloche-Tenant": "acme"}
        assert (await ask.get("/v1/runs/r1", headers=own)).status_code == 403


# ---- tokens ----


@in_loop
async def test_a_token_lets_in_until_it_is_over() -> None:
    store, world = MemoryStore(), ManualWorld()
    made = await tokens.create(store, tenant="acme", role="viewer", label="", now=world.now(), lasts_s=60)
    assert await tokens.whose(store, made.text, world.now()) == made.row
    world.move(60)
    assert await tokens.whose(store, made.text, world.now()) is None


@in_loop
async def test_only_the_whole_token_lets_in() -> None:
    store, world = MemoryStore(), ManualWorld()
    made = await tokens.create(store, tenant="acme", role="viewer", label="", now=world.now())
    other = await tokens.create(store, tenant="acme", role="admin", label="", now=world.now())
    secret = made.text.rpartition("_")[2]
    for wrong in ("", "clk_", made.text[:-1], f"{made.text}x", secret, f"clk_{other.row.id}_{secret}"):
        assert await tokens.whose(store, wrong, world.now()) is None, wrong


@in_loop
async def test_a_token_that_is_renewed_has_another_secret() -> None:
    store, world = MemoryStore(), ManualWorld()
    made = await tokens.create(store, tenant="acme", role="viewer", label="ci", now=world.now())
    with pytest.raises(NotFound):
        await tokens.rotate(store, made.row.id, world.now(), tenant="other")
    renewed = await tokens.rotate(store, made.row.id, world.now(), tenant="acme")
    assert await tokens.whose(store, made.text, world.now()) is None
    assert (await tokens.whose(store, renewed.text, world.now())) == renewed.row
    assert (renewed.row.label, renewed.row.id) == ("ci", made.row.id)


@in_loop
async def test_a_use_is_noted_once_a_minute() -> None:
    store, world = MemoryStore(), ManualWorld()
    made = await tokens.create(store, tenant=None, role="admin", label="", now=world.now())
    first = world.now()
    for _ in range(3):
        await tokens.whose(store, made.text, world.now())
        world.move(25)
    assert (await store.tokens())[0].used_at == first
    await tokens.whose(store, made.text, world.now())
    assert (await store.tokens())[0].used_at == world.now()


@in_loop
@pytest.mark.parametrize("wrong", [{"role": "owner"}, {"lasts_s": 0}, {"label": "\x1b[1m"}, {"tenant": ""}])
async def test_a_token_that_cannot_be_meant_is_not_made(wrong: dict[str, Any]) -> None:
    store, options = MemoryStore(), {"tenant": "acme", "role": "viewer", "label": "", "now": ManualWorld().now()}
    make: Callable[..., Awaitable[Any]] = tokens.create
    with pytest.raises(UsageError):
        await make(store, **{**options, **wrong})
    assert await store.tokens() == []


@in_loop
async def test_no_secret_is_in_the_store(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    store = SqliteStore(file)
    made = await tokens.create(store, tenant="acme", role="admin", label="", now=ManualWorld().now())
    await tokens.rotate(store, made.row.id, ManualWorld().now())
    last = await tokens.create(store, tenant="acme", role="admin", label="", now=ManualWorld().now())
    await store.close()
    data = file.read_bytes()
    assert last.row.id.encode() in data
    for one in (made, last):
        assert one.text.rpartition("_")[2].encode() not in data


@in_loop
async def test_an_admin_gives_tokens_for_what_the_admin_reaches(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[adding(journal)]) as worker, asker(http.app(worker)) as ask:
        now = worker.connection.world.now()

        async def holder(tenant: str | None) -> dict[str, str]:
            made = await tokens.create(worker.connection.store, tenant=tenant, role="admin", label="", now=now)
            return {"Authorization": f"Bearer {made.text}"}

        acme, every = await holder("acme"), await holder(None)
        assert (await ask.get("/v1/me", headers=acme)).json()["tenant"] == "acme"
        made = await ask.post("/v1/tokens", json={"role": "viewer", "label": "page"}, headers=acme)
        assert (made.status_code, made.json()["tenant"]) == (201, "acme")
        page = {"Authorization": f"Bearer {made.json()['token']}"}
        assert (await ask.get("/v1/me", headers=page)).json()["role"] == "viewer"
        assert (await ask.post("/v1/tokens", json={}, headers=page)).status_code == 403
        assert (await ask.post("/v1/tokens", json={"all_tenants": True}, headers=acme)).status_code == 403
        assert len((await ask.get("/v1/tokens", headers=acme)).json()["tokens"]) == 2
        listed = (await ask.get("/v1/tokens", headers=every)).json()["tokens"]
        assert (len(listed), "token" in listed[0]) == (3, False)
        other = {**every, "Cloche-Tenant": "other"}
        assert (await ask.delete(f"/v1/tokens/{made.json()['id']}", headers=other)).status_code == 404
        renewed = await ask.post(f"/v1/tokens/{made.json()['id']}/rotate", headers=acme)
        assert (await ask.get("/v1/me", headers=page)).status_code == 401
        page = {"Authorization": f"Bearer {renewed.json()['token']}"}
        assert (await ask.delete(f"/v1/tokens/{made.json()['id']}", headers=acme)).status_code == 204
        assert (await ask.get("/v1/me", headers=page)).status_code == 401


def _always(principal: Principal) -> Callable[[Any], Principal]:
    return lambda scope: principal


@in_loop
async def test_a_tenant_is_not_told_files_of_the_host() -> None:
    """The traceback of a step that failed is for whoever runs the host: it is in no answer to a token of one tenant."""

    def refuse(value: int) -> int:
        raise ValueError("no")

    flow = create_workflow(id="refuses").then(create_step(id="refuse", execute=refuse)).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        await (await app.start("refuses", 1, run_id="r1")).result(final=True)
        told = {}
        for name, tenant in (("host", None), ("tenant", "default")):
            async with asker(http.app(app, auth=_always(Principal(name, VIEWER, tenant)))) as ask:
                result = await ask.get("/v1/runs/r1/result")
                log = await ask.get("/v1/runs/r1/log", params={"bodies": "full"})
                stream = await ask.get("/v1/runs/r1/events", params={"bodies": "full"})
                [failed] = [one for one in log.json()["records"] if one["kind"] == "attempt_failed"]
                body = await ask.get(
                    f"/v1/runs/r1/records/{failed['seq']}/body", headers={"Accept": "application/json"}
                )
                told[name] = [__file__ in answer.text for answer in (result, log, stream, body)]
                assert result.json()["error"]["message"] == "no"
    assert told == {"host": [True] * 4, "tenant": [False] * 4}
