"""`cloche serve` as a process: what it says, what it answers, and how it ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.commands import FLOWS, MATH, cloche
from support.serving import Serving


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


def test_it_serves_and_executes_what_it_is_given(store: str) -> None:
    with Serving(MATH, store=store) as server:
        answer = server.post("/v1/workflows/math/runs", {"input": {"x": 5}}, Prefer="wait=30")
        assert (answer.status_code, answer.json()["result"]) == (201, {"x": 20})
        assert server.get("/v1/workers").json()["workers"] != []


def test_without_targets_it_executes_nothing(store: str) -> None:
    with Serving(store=store) as server:
        assert server.post("/v1/workflows/math/runs", {"input": {"x": 5}, "run_id": "r1"}).json()["status"] == "pending"
        assert server.get("/v1/workers").json() == {"workers": [], "details": []}
        ran = cloche("worker", MATH, "--store", store, "--once")
        assert ran.code == 0
        assert server.get("/v1/runs/r1").json()["status"] == "success"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_drains_and_ends_when_it_is_asked_to(store: str, number: signal.Signals) -> None:
    with Serving(f"{FLOWS}:asking", store=store) as server:
        server.post("/v1/workflows/asking/runs", {"input": {"v": 1}, "run_id": "r1"}, Prefer="wait=30")
        with server.stream("/v1/runs/r1/events", until="ended") as lines:
            assert next(lines) == "retry: 1000"
            server.process.send_signal(number)
            assert not [line for line in lines if line.startswith("event: stopped")]  # it may go on elsewhere
        assert server.process.wait(30) == 0


def test_an_address_that_is_taken_is_said(store: str) -> None:
    with Serving(store=store) as server:
        ran = cloche("serve", "--store", store, "--port", str(server.port))
        assert (ran.code, f"127.0.0.1:{server.port} cannot be listened on" in ran.err) == (2, True)


def test_others_reach_a_server_that_knows_them_alone(store: str) -> None:
    ran = cloche("serve", "--store", store, "--host", "0.0.0.0", "--port", "0")
    assert (ran.code, "0.0.0.0 can be reached by others" in ran.err) == (2, True)
    token = cloche("token", "create", "--tenant", "default", "--role", "operator", "--store", store).out.strip()
    with Serving(MATH, store=store, options=["--host", "0.0.0.0"], token=token) as server:
        started = server.post("/v1/workflows/math/runs", {"input": {"x": 5}}, Prefer="wait=30")
        assert started.json()["result"] == {"x": 20}
        assert server.get("/v1/runs", Authorization="Bearer nobody").status_code == 401
        assert server.get("/v1/workers").status_code == 403
    rows = cloche("token", "list", "--store", store, "--json").lines()
    assert [(row["tenant"], row["role"], row["used_at"] is not None) for row in rows] == [("default", "operator", True)]
    assert cloche("token", "revoke", rows[0]["id"], "--store", store).code == 0
    assert cloche("token", "list", "--store", store).out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create"], "--tenant ID, or --all-tenants"),
        (["create", "--tenant", "a", "--all-tenants"], "--tenant ID, or --all-tenants"),
        (["create", "--tenant", "a", "--expires", "soon"], "--expires 'soon' is not a time"),
        (["revoke"], "say which token to revoke"),
        (["rotate", "nobody"], "there is no token 'nobody'"),
    ],
)
def test_a_token_that_cannot_be_meant_is_said(store: str, arguments: list[str], said: str) -> None:
    cloche("token", "create", "--all-tenants", "--store", store)
    ran = cloche("token", *arguments, "--store", store)
    assert (ran.code in (2, 4), said in ran.err) == (True, True)
