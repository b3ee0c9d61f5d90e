"""Attempts that are pushed: signed, to the receiver of their step, again where nobody took them, and each end once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, in_loop, until
from support.commands import cloche
from support.receiver import Received, receiving
from support.serving import Serving

from cloche import Client, Cloche, Kind, RemoteStep, create_workflow
from cloche.errors import UsageError
from cloche.operations import webhooks
from cloche.operations.pushes import Pushes
from cloche.operations.reach import Reach
from cloche.operations.signatures import checked_id
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore, Store

ECHO = f"{Path(__file__).parents[2]}/support/remote_flows.py:echo"
QUICK: dict[str, Any] = {"backoff_s": (0.02,), "look_s": 0.02}


def pushes_of(app: Cloche, **options: Any) -> Pushes:
    connection = app.connection
    more = {**QUICK, "reach": Reach(loopback=True), **options}
    return Pushes(connection.store, connection.world.now, connection.sent, connection.posted, **more)


@asynccontextmanager
async def pushing(url: str, store: Store | None = None, **of_step: Any) -> AsyncIterator[Cloche]:
    """A worker with a workflow of one remote step, which is pushed to the URL."""
    of_step = {"heartbeat_s": 5.0, **of_step}
    workflow = create_workflow(id="resizing").then(RemoteStep("resize", **of_step)).commit()
    async with AppOn(store or MemoryStore(), workflows=[workflow], world=SystemWorld()) as app:
        await put(app, url)
        async with pushes_of(app):
            yield app


async def put(app: Cloche, url: str, **options: Any) -> webhooks.WebhookRow:
    given = {"form": webhooks.STEPS, "steps": ["resize"], **options}
    return await webhooks.put(
        app.connection.store, "default", "resizer", url=url, now=app.connection.world.now(), **given
    )


def says(**end: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(end).encode()


async def kinds(app: Cloche) -> list[Kind]:
    return [record.kind for record in await (await app.get("r1")).history()]


async def ended(app: Cloche, value: Any = None) -> Any:
    return await (await app.start("resizing", value, run_id="r1")).result(final=True)


async def came(received: Received, count: int) -> None:
    await until(lambda: len(received.requests) >= count)


@in_loop
async def test_it_is_signed_and_says_what_an_attempt_is(store: Store) -> None:
    with receiving(lambda count: says(complete={"output": {"px": 3}})) as received:
        async with pushing(received.url, store) as app:
            assert (await ended(app, {"url": "x"})).result == {"px": 3}
            [(path, headers, body)] = received.requests
            row = await app.connection.store.webhook(KEY.tenant, "resizer")
            assert row is not None
            id = checked_id("standard", row.secret, headers, body, int(headers["webhook-timestamp"]))
            told = json.loads(body)
            assert (path, id[:4], told["type"]) == ("/hook", "att_", "step.attempt")
            attempt = told["data"]
            assert {name: attempt[name] for name in ("step", "input", "run_id", "attempt", "idempotency_key")} == {
                "step": "resize",
                "input": {"url": "x"},
                "run_id": "r1",
                "attempt": 1,
                "idempotency_key": "default:r1:1",
            }
            assert (await kinds(app)).count(Kind.ATTEMPT_SENT) == 1


@pytest.mark.parametrize(
    ("end", "status", "result"),
    [
        ({"complete": {"output": 7, "state": {"n": 1}}}, "success", 7),
        ({"complete": {"output": "early", "bail": True}}, "success", "early"),
        ({"fail": {"error": {"name": "NoSpace", "message": "full"}}}, "failed", None),
        ({"suspend": {"payload": {"ask": 1}, "labels": ["door"]}}, "suspended", None),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
@in_loop
async def test_each_kind_of_end_may_be_the_answer(end: Any, status: str, result: Any) -> None:
    with receiving(lambda count: says(**end)) as received:
        async with pushing(received.url) as app:
            found = await (await app.start("resizing", None, run_id="r1")).result()
            assert (found.status, found.result) == (status, result)
            if status == "failed":
                assert found.error is not None
                assert (found.error.name, found.error.message) == ("NoSpace", "full")


@in_loop
async def test_it_may_be_said_later_under_the_attempts_token() -> None:
    from support.served import asker

    from cloche import http

    with receiving(lambda count: (202, {})) as received:
        async with pushing(received.url) as app, asker(http.app(app, auth=http.local)) as ask:
            await app.start("resizing", None, run_id="r1")
            await came(received, 1)
            token = json.loads(received.requests[0][2])["data"]["token"]
            assert (await ask.post(f"/v1/steps/{token}/heartbeat", json={})).json() == {"is_canceled": False}
            await ask.post(f"/v1/steps/{token}/complete", json={"output": 5})
            assert (await (await app.get("r1")).result()).result == 5
            assert (await ask.post(f"/v1/steps/{token}/complete", json={"output": 6})).status_code == 200
            assert len(received.requests) == 1


@pytest.mark.parametrize("status", [500, 503, 404, 429, 302])
@in_loop
async def test_what_is_not_accepted_is_pushed_again_under_its_id(status: int) -> None:
    """A redirect is not followed: it is an answer as any other that accepts nothing."""

    def answer(count: int) -> Any:
        return (status, {"Location": "http://127.0.0.1:1/"}) if count < 4 else says(complete={"output": count})

    with receiving(answer) as received:
        async with pushing(received.url) as app:
            assert (await ended(app)).result == 4
            assert (len(received.ids), len(set(received.ids))) == (4, 1)
            assert (await kinds(app)).count(Kind.ATTEMPT_SENT) == 1


@in_loop
async def test_a_receiver_that_is_not_there_is_waited_for_and_the_run_says_so() -> None:
    with receiving() as gone:
        pass
    async with pushing(gone.url) as app:
        await app.start("resizing", None, run_id="r1")

        async def sentence() -> str:
            return (await app.why("r1")).sentence

        await until(sentence, lambda text: "is pushed to its receiver again" in text)
        assert (await app.why("r1")).kind == "remote"
        with receiving(lambda count: says(complete={"output": 1})) as received:
            await put(app, received.url)
            assert (await (await app.get("r1")).result()).result == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b"{}", b'{"complete": {}, "fail": {"error": {"name": "X"}}}', b'{"complete": {"more": 1}}',
     b"[" * 100_000, b'{"complete": {"output": NaN}}', b'{"complete": {"output": "' + b"x" * (1 << 20) + b'"}}'],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
@in_loop
async def test_an_answer_that_is_no_end_is_a_failed_attempt(body: bytes) -> None:
    with receiving(lambda count: (200, {}, body)) as received:
        async with pushing(received.url) as app:
            result = await ended(app)
            assert (result.status, result.error.name) == ("failed", "InvalidAnswer")
            assert len(received.requests) == 1


@in_loop
async def test_a_failure_is_retried_as_that_of_any_step() -> None:
    def answer(count: int) -> Any:
        return says(fail={"error": {"name": "Busy"}}) if count < 3 else says(complete={"output": "at last"})

    with receiving(answer) as received:
        async with pushing(received.url, retries=2) as app:
            assert (await ended(app)).result == "at last"
            assert [json.loads(body)["data"]["attempt"] for _, _, body in received.requests] == [1, 2, 3]
            assert len(set(received.ids)) == 3


# ---- at most once ----


@pytest.mark.parametrize(("status", "pushes"), [(500, 1), (502, 1), (429, 2), (503, 2)])
@in_loop
async def test_what_is_at_most_once_is_pushed_again_only_if_nobody_began_it(status: int, pushes: int) -> None:
    def answer(count: int) -> Any:
        return (status, {}) if count == 1 else says(complete={"output": count})

    with receiving(answer) as received:
        async with pushing(received.url, at_most_once=True) as app:
            result = await ended(app)
            assert len(received.requests) == pushes
            if pushes == 1:
                assert result.error.name == "UnknownOutcome"
            else:
                assert result.result == 2


@in_loop
async def test_what_is_at_most_once_has_an_unknown_outcome_where_the_answer_is_lost() -> None:
    """The connection breaks after the request was read: the receiver may have begun."""
    read = asyncio.Event()

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        read.set()
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with pushing(url, at_most_once=True) as app:
        assert (await ended(app)).error.name == "UnknownOutcome"
        assert read.is_set()
    server.close()


# ---- while it is open, and after ----


@in_loop
async def test_an_open_request_is_the_receivers_heartbeat() -> None:
    """It works for longer than it may be silent, and says nothing meanwhile."""
    go_on = threading.Event()

    def answer(count: int) -> Any:
        go_on.wait(60)
        return says(complete={"output": count})

    with receiving(answer) as received:
        async with pushing(received.url, heartbeat_s=1.0) as app:
            await app.start("resizing", None, run_id="r1")
            await came(received, 1)
            [before] = await app.connection.store.remote_tasks(taken=True)

            async def beats() -> int:
                return (await app.connection.store.remote_tasks(taken=True))[0].beat - before.beat

            await until(beats, lambda count: count >= 4)  # each is a third of what it may be silent
            go_on.set()
            assert (await (await app.get("r1")).result()).result == 1
            assert (await kinds(app)).count(Kind.ATTEMPT_SENT) == 1


@in_loop
async def test_a_receiver_that_took_it_and_fell_silent_is_given_it_again() -> None:
    def answer(count: int) -> Any:
        return (202, {}) if count == 1 else says(complete={"output": count})

    with receiving(answer) as received:
        async with pushing(received.url, heartbeat_s=1.0) as app:
            assert (await ended(app)).result == 2
            assert len(set(received.ids)) == 2  # another attempt, whose token is another
            first, second = (json.loads(body)["data"] for _, _, body in received.requests)
            assert (first["redispatched"], second["redispatched"]) == (0, 1)


@in_loop
async def test_a_canceled_run_closes_the_request() -> None:
    closed = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while await reader.read(1 << 16):
            pass
        writer.close()
        closed.set()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with pushing(url, heartbeat_s=1.0) as app:
        run = await app.start("resizing", None, run_id="r1")
        await until(lambda: app.connection.store.remote_tasks(taken=True), bool)
        await app.cancel("r1")
        assert (await run.result()).status == "canceled"
        await asyncio.wait_for(closed.wait(), 60)
    server.close()


@in_loop
async def test_a_worker_that_asks_gets_what_its_receiver_does_not_take() -> None:
    with receiving(lambda count: (503, {"Retry-After": "600"})) as received:
        async with pushing(received.url) as app:
            await app.start("resizing", None, run_id="r1")
            await came(received, 1)
            store = app.connection.store
            await until(store.remote_waiting, lambda waiting: waiting == [("default", "resize")])
            assert len(await store.take_remote(["resize"], 1, "w", app.connection.world.now())) == 1
            assert len(received.requests) == 1


@in_loop
async def test_several_who_push_send_each_attempt_once(store: Store) -> None:
    with receiving(lambda count: says(complete={"output": count})) as received:
        async with pushing(received.url, store) as app, pushes_of(app), pushes_of(app):
            runs = [await app.start("resizing", number) for number in range(20)]
            assert sorted([(await run.result()).result for run in runs]) == list(range(1, 21))
            assert (len(received.ids), len(set(received.ids))) == (20, 20)


def test_a_server_that_is_killed_while_it_pushes_loses_nothing(tmp_path: Path) -> None:
    """`kill -9` before the receiver has answered: the next server pushes the attempt again, and it ends once."""
    store, is_dead = str(tmp_path / "runs.db"), threading.Event()

    def answer(count: int) -> Any:
        if count == 1:
            is_dead.wait(60)
        return says(complete={"output": count})

    with receiving(answer) as received:
        put = cloche("webhook", "put", "echo", "--to", received.url, "--steps", "echo", "--store", store)
        assert put.out.startswith("whsec_")
        with Serving(ECHO, store=store, options=["--webhooks-to-loopback"]) as server:
            server.post("/v1/workflows/echo/runs", {"input": 1, "run_id": "r1"})
            while not received.requests:
                server.get("/healthz")
            server.kill()
        is_dead.set()
        with Serving(ECHO, store=store, options=["--webhooks-to-loopback"]) as again:
            result = again.get("/v1/runs/r1/result", Prefer="wait=30")
            assert (result.json()["status"], result.json()["result"]) == ("success", 2)
            records = again.get("/v1/runs/r1/log").json()["records"]
            assert [one["kind"] for one in records].count("step_completed") == 1
            assert len(received.ids) == 2


def test_a_worker_pushes_what_no_server_is_there_for(tmp_path: Path) -> None:
    store = str(tmp_path / "runs.db")
    with receiving(lambda count: says(complete={"output": "pushed"})) as received:
        cloche("webhook", "put", "echo", "--to", received.url, "--steps", "echo", "--store", store)
        line = [sys.executable, "-m", "cloche.cli", "worker", ECHO, "--store", store, "--webhooks-to-loopback"]
        with subprocess.Popen(line) as worker:
            try:
                asyncio.run(_start(store))
                deadline = time.monotonic() + 60
                while not received.requests:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            finally:
                worker.terminate()
    assert len(received.ids) == 1


async def _start(store: str) -> None:
    async with Client(store) as client:
        await client.start("echo", 1, run_id="r1")


# ---- where it may go ----


@in_loop
async def test_nothing_is_pushed_to_an_address_within() -> None:
    with receiving() as received:
        workflow = create_workflow(id="resizing").then(RemoteStep("resize")).commit()
        async with AppOn(MemoryStore(), workflows=[workflow], world=SystemWorld()) as app:
            await put(app, received.url)
            async with pushes_of(app, reach=Reach()):
                await app.start("resizing", None, run_id="r1")

                async def problem() -> str:
                    [task] = await app.connection.store.remote_tasks(key=KEY)
                    return task.given_back.problem if task.given_back is not None else ""

                await until(problem, lambda text: "is no public address" in text)
                assert received.requests == []


@pytest.mark.parametrize(
    "wrong",
    [{"steps": []}, {"steps": [""]}, {"steps": ["x" * 201]}, {"stops": ["failed"]}, {"url": "ftp://a"}, {"form": "out"},
     {"secret": "short"}],
    ids=str,
)  # fmt: skip
@in_loop
async def test_what_is_no_receiver_is_refused(wrong: dict[str, Any]) -> None:
    async with AppOn(MemoryStore(), world=SystemWorld()) as app:
        with pytest.raises(UsageError):
            await put(app, **{"url": "https://a.example/", **wrong})


@in_loop
async def test_ids_of_steps_may_hold_anything(store: Store) -> None:
    async with AppOn(store, world=SystemWorld()) as app:
        names = ["a b", "ä/%20", "failed"]
        row = await put(app, "https://a.example/", steps=names)
        [kept] = await store.webhooks(form=webhooks.STEPS)
        assert kept == row
        assert webhooks.steps_of(kept) == set(names)
        assert await store.webhooks(form=webhooks.OUT) == []
