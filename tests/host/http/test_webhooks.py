"""Webhooks that are sent: when runs stop, at least once with the same id, signed, and to nowhere but where they may go."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, in_loop, until
from support.commands import MATH, cloche
from support.receiver import Received, receiving
from support.served import adding, asker, asking
from support.serving import Serving

from cloche import Cloche, http
from cloche.errors import UsageError
from cloche.operations import webhooks
from cloche.operations.deliveries import Deliveries
from cloche.operations.reach import Reach, Unreachable, is_public, post
from cloche.operations.signatures import checked_id
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore

LOOPBACK = Reach(loopback=True)
QUICK: dict[str, Any] = {"look_s": 0.02, "backoff_s": (0.02, 0.02)}


@asynccontextmanager
async def sending(journal: Journal, **options: Any) -> AsyncIterator[Cloche]:
    """A worker, and whoever sends the webhooks of its store."""
    async with AppOn(MemoryStore(), workflows=[adding(journal), asking(journal)], world=SystemWorld()) as app:
        connection = app.connection
        async with Deliveries(connection.store, connection.world.now, **{"reach": LOOPBACK, **QUICK, **options}):
            yield app


async def put(app: Cloche, url: str, name: str = "ops", **options: Any) -> webhooks.WebhookRow:
    connection = app.connection
    return await webhooks.put(connection.store, "default", name, url=url, now=connection.world.now(), **options)


async def undelivered(app: Cloche) -> list[webhooks.Delivery]:
    return await webhooks.undelivered(app.connection.store, "default", "ops")


async def came(received: Received, count: int) -> None:
    await until(lambda: len(received.requests) >= count)


@in_loop
async def test_a_run_that_ends_or_waits_for_a_person_is_told(journal: Journal) -> None:
    async with sending(journal) as app:
        with receiving() as received:
            webhook = await put(app, received.url)
            await (await app.start("adding", {"v": 1}, run_id="r1")).result()
            await came(received, 1)
            await (await app.start("asking", {"v": 1}, run_id="r2")).result()
            await came(received, 2)
            told = [json.loads(body) for _, _, body in received.requests]
            assert [(one["type"], one["data"]["run_id"]) for one in told] == [
                ("run.success", "r1"),
                ("run.suspended", "r2"),
            ]
            row = await (await app.get("r1")).row()
            assert told[0]["data"] == {
                "tenant": "default",
                "run_id": "r1",
                "workflow": "adding",
                "status": "success",
                "seq": row.head_seq,
            }
            for path, headers, body in received.requests:
                assert (path, headers["content-type"]) == ("/hook", "application/json")
                now_s = int(headers["webhook-timestamp"])
                assert checked_id("standard", webhook.secret, headers, body, now_s) == headers["webhook-id"]
            await until(partial(undelivered, app), lambda left: not left)
            assert len(set(received.ids)) == 2


@in_loop
async def test_what_was_not_taken_is_sent_again_under_its_id(journal: Journal) -> None:
    async with sending(journal) as app:
        with receiving(lambda count: (503 if count < 3 else 200, {})) as received:
            await put(app, received.url)
            await app.start("adding", {"v": 1})
            await came(received, 3)
            await until(partial(undelivered, app), lambda left: not left)
            assert (len(received.ids), len(set(received.ids))) == (3, 1)


@pytest.mark.parametrize(("status", "attempts"), [(500, 3), (410, 1)])
@in_loop
async def test_it_is_given_up_after_the_last_attempt(journal: Journal, status: int, attempts: int) -> None:
    async with sending(journal) as app:
        with receiving(lambda count: (status, {})) as received:
            await put(app, received.url)
            await app.start("adding", {"v": 1})
            await until(partial(undelivered, app), lambda left: left and left[0].due_at is None)
            left = await undelivered(app)
            assert [(one.attempts, one.problem) for one in left] == [(attempts, f"it was answered with {status}")]
            assert len(received.requests) == attempts


@in_loop
async def test_a_redirect_is_not_followed(journal: Journal) -> None:
    with receiving() as other, receiving(lambda count: (307, {"Location": other.url})) as received:
        async with sending(journal) as app:
            await put(app, received.url)
            await app.start("adding", {"v": 1})
            await until(partial(undelivered, app), lambda left: left and left[0].due_at is None)
        assert (len(received.requests), other.requests) == (3, [])


@in_loop
async def test_a_webhook_hears_of_what_it_names_alone(journal: Journal) -> None:
    async with sending(journal) as app:
        with receiving() as received:
            await put(app, received.url, stops=["canceled"])
            await (await app.start("asking", {"v": 1}, run_id="r1")).result()
            await app.cancel("r1")
            await came(received, 1)
            assert json.loads(received.requests[0][2])["type"] == "run.canceled"


# ---- where it may go ----


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe",
     "2002:7f00:1::", "2002:a00:1::", "2001:0:1::1", "::7f00:1", "2001:db8::1",
     "64:ff9b:1::808:808", "64:ff9b:1:7f00:0:108:808:808"],
)  # fmt: skip
def test_no_address_of_a_network_within_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_open_network_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1"])
@in_loop
async def test_nothing_is_sent_to_this_machine(host: str) -> None:
    """Whatever it is called: it is the address that counts."""
    with receiving() as received:
        port = received.url.split(":")[2].split("/")[0]
        with pytest.raises(Unreachable):
            await post(Reach(), f"http://{host}:{port}/hook", {}, b"{}", 5)
        assert received.requests == []


@in_loop
async def test_a_name_is_resolved_once_and_all_that_it_leads_to_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a public address and to one of ours is not used; one that was checked is not asked for again."""
    import asyncio

    asked: list[str] = []
    answers = [[(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("127.0.0.1", 443))]]

    async def leads(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        return answers[0]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", leads)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 is no public address"):
        await post(Reach(), "https://two.example/hook", {}, b"{}", 5)
    with receiving() as received:
        answers[0] = [(2, 1, 6, "", ("127.0.0.1", 80))]
        url = received.url.replace("127.0.0.1", "rebinds.example")
        assert (await post(LOOPBACK, url, {}, b"{}", 5)).status == 204
        assert received.requests[0][1]["host"].startswith("rebinds.example:")
    assert asked == ["two.example", "rebinds.example"]


@in_loop
async def test_only_hosts_of_the_list_are_reached() -> None:
    with receiving() as received:
        for hosts, is_reached in (((), True), (("127.0.0.1",), True), ((".example.com", "example.com"), False)):
            reach = Reach(hosts, loopback=True)
            if is_reached:
                await post(reach, received.url, {}, b"{}", 5)
            else:
                with pytest.raises(Unreachable, match="not on the list"):
                    await post(reach, received.url, {}, b"{}", 5)
    Reach((".example.com",)).check_host("a.example.com")
    for host in ("example.com", "example.com.evil.org", "xexample.com"):
        with pytest.raises(Unreachable):
            Reach((".example.com",)).check_host(host)


@in_loop
async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    import asyncio

    async def silent(reader: Any, writer: Any) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unreachable, match="no answer within"):
        await post(LOOPBACK, f"http://127.0.0.1:{port}/", {}, b"{}", 0.2)
    server.close()


@pytest.mark.parametrize(
    "url",
    ["", "ftp://a.example", "http://a.example/", "https://", "https://u:p@a.example/", "https://a.example/#x", "https://a\r\nb/",
     "https://a.example/ x", "https://ä.example/", "https://a.example:0/", "https://a.example:99999/", "file:///etc/passwd"],
)  # fmt: skip
def test_a_url_that_nothing_is_sent_to_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        webhooks.check_url(url)


# ---- keeping them ----


@in_loop
async def test_an_admin_keeps_webhooks_over_http(journal: Journal) -> None:
    app = AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld())
    async with app, asker(http.app(app, auth=http.local)) as ask:
        url = "https://ops.example.com/hook"
        made = (await ask.put("/v1/webhooks/ops", json={"url": url, "stops": ["failed"]})).json()
        assert made["secret"].startswith("whsec_")
        again = (await ask.put("/v1/webhooks/ops", json={"url": url})).json()
        assert (again["secret"], again["stops"]) == (made["secret"], list(webhooks.BY_DEFAULT))
        signed = await ask.put("/v1/webhooks/github", json={"form": "github", "secret": "a secret of theirs"})
        assert (signed.status_code, signed.json()["secret"]) == (200, None)
        listed = (await ask.get("/v1/webhooks")).json()["webhooks"]
        assert ([one["name"] for one in listed], any("secret" in one for one in listed)) == (
            ["github", "ops"],
            False,
        )
        assert (await ask.get("/v1/webhooks/ops/deliveries")).json() == {"deliveries": []}
        for wrong in (
            {"url": "http://a.example"},
            {"form": "stripe", "secret": "x" * 9, "url": url},
        ):
            assert (await ask.put("/v1/webhooks/new", json=wrong)).status_code == 400
        lacking = await ask.put("/v1/webhooks/new", json={"form": "github"})  # one that is there has a secret
        assert (lacking.status_code, "secret" in lacking.json()["detail"]) == (409, True)
        assert (await ask.put("/v1/webhooks/New", json={"url": url})).status_code == 400
        assert (await ask.delete("/v1/webhooks/ops")).status_code == 204
        assert (await ask.delete("/v1/webhooks/ops")).status_code == 404
        acts = [one.action for one in await app.connection.store.audit_log("default")]
        assert acts == ["webhook deleted", "webhook put", "webhook put", "webhook put"]


def test_webhooks_are_kept_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = str(tmp_path / "runs.db")
    made = cloche("webhook", "put", "ops", "--to", "https://ops.example.com/x", "--on", "failed", "--store", store)
    assert made.out.startswith("whsec_")
    monkeypatch.setenv("CLOCHE_WEBHOOK_SECRET", "a secret of theirs")
    assert cloche("webhook", "put", "github", "--from", "github", "--store", store).code == 0
    listed = cloche("webhook", "list", "--store", store)
    assert "to https://ops.example.com/x on failed" in listed.out
    assert "secret" not in listed.out
    assert "nothing is left" in cloche("webhook", "deliveries", "ops", "--store", store).err
    assert cloche("webhook", "delete", "ops", "--store", store).code == 0
    assert cloche("webhook", "delete", "ops", "--store", store).code == 4


# ---- after a crash ----


def test_a_server_that_is_killed_while_it_sends_loses_nothing(tmp_path: Path) -> None:
    """`kill -9` of the process that sends, before the receiver has answered: the next one sends it again under its id."""
    store, is_dead = str(tmp_path / "runs.db"), threading.Event()

    def answer(count: int) -> tuple[int, dict[str, str]]:
        if count == 1:
            is_dead.wait(60)
        return (503 if count == 2 else 204, {})

    with receiving(answer) as received:
        assert cloche("webhook", "put", "ops", "--to", received.url, "--on", "success", "--store", store).code == 0
        with Serving(MATH, store=store, options=["--webhooks-to-loopback"]) as server:
            server.post("/v1/workflows/math/runs", {"input": {"x": 1}, "run_id": "r1"}, Prefer="wait=30")
            while not received.requests:
                server.get("/healthz")
            server.kill()
        is_dead.set()
        subprocess.run([sys.executable, "-c", SENDER, store], check=True, timeout=60)
    assert (len(received.ids), len(set(received.ids))) == (3, 1)


# Sends what is due in a store, two minutes later, until nothing is left.
SENDER = """
import asyncio, sys, time
from cloche import Client
from cloche.operations.deliveries import Deliveries
from cloche.operations.reach import Reach

async def main():
    async with Client(sys.argv[1], must_exist=True) as client:
        store = client.connection.store
        later = lambda: int(time.time() * 1000) + 120_000
        async with Deliveries(store, later, Reach(loopback=True), look_s=0.02, backoff_s=[0.02] * 9):
            while await store.deliveries("default", "ops"):
                await asyncio.sleep(0.02)

asyncio.run(main())
"""
