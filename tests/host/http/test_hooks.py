"""Webhooks that are received: who may send what to a hook, and that each reaches the run once."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import httpx
import pytest
from support.apps import AppOn, in_loop, until
from support.served import asker

from cloche import Cloche, create_workflow, http
from cloche.errors import UsageError
from cloche.history import TenantId
from cloche.http import Principal, Role
from cloche.operations import webhooks
from cloche.operations.signatures import BadSignature, check_secret, checked_id, made_secret, signed
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore

CAPABILITY = "00112233445566778899aabbccddeeff"  # of the form of a token that cloche has made
STANDARD, OTHER = "whsec_" + base64.b64encode(b"k" * 32).decode(), "whsec_" + base64.b64encode(b"o" * 32).decode()
BODY = json.dumps({"id": "evt_1", "paid": True}).encode()


def nobody(scope: Any) -> Principal | None:
    said = dict(scope["headers"]).get(b"x-who", b"").decode()
    return Principal("p", Role[said.upper()], "default") if said else None


@asynccontextmanager
async def waiting(token: str) -> AsyncIterator[tuple[httpx.AsyncClient, Cloche]]:
    """A server with a run `r1` that waits with a hook of this token."""
    flow = create_workflow(id="hears").wait_for_event(token).commit()
    async with AppOn(MemoryStore(), workflows=[flow], world=SystemWorld()) as app:
        await app.start("hears", None, run_id="r1")
        await until(partial(app.connection.store.waiting_for, TenantId("default"), token))
        async with asker(http.app(app, auth=nobody)) as ask:
            yield ask, app


async def signer(app: Cloche, form: str, secret: str = STANDARD, name: str = "shop") -> None:
    connection = app.connection
    await webhooks.put(connection.store, "default", name, form=form, secret=secret, now=connection.world.now())


def mac(secret: bytes, data: bytes) -> bytes:
    return hmac.new(secret, data, sha256).digest()


def github(secret: str, body: bytes = BODY, id: str = "72d3162e") -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={mac(secret.encode(), body).hex()}", "X-GitHub-Delivery": id}


def stripe(secret: str, body: bytes = BODY, at: float = 0) -> dict[str, str]:
    t = int(time.time() + at)
    return {"Stripe-Signature": f"t={t},v1={'0' * 64},v1={mac(secret.encode(), f'{t}.'.encode() + body).hex()},v0=x"}


def standard(secret: str, body: bytes = BODY, at: float = 0, id: str = "msg_1") -> dict[str, str]:
    t = int(time.time() + at)
    made = base64.b64encode(mac(base64.b64decode(secret[6:]), f"{id}.{t}.".encode() + body)).decode()
    return {"webhook-id": id, "webhook-timestamp": str(t), "webhook-signature": f"v1a,x v1,{made}"}


SIGNS: dict[str, Callable[..., dict[str, str]]] = {"standard": standard, "github": github, "stripe": stripe}


def test_the_signature_of_the_specification_is_made_and_checked() -> None:
    """The example of the Standard Webhooks specification, and GitHub's own."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    made = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert checked_id("standard", secret, made, body, 1614265330) == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    told = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-hub-signature-256": told, "x-github-delivery": "1"}
    assert checked_id("github", "It's a Secret to Everybody", headers, b"Hello, World!", 0) == "1"


@pytest.mark.parametrize("form", sorted(SIGNS))
def test_nothing_else_is_taken_for_signed(form: str) -> None:
    headers = {name.lower(): value for name, value in SIGNS[form](STANDARD).items()}
    now = time.time()
    checked_id(form, STANDARD, headers, BODY, now)
    wrong: list[tuple[dict[str, str], bytes, str, float]] = [
        (headers, BODY + b" ", STANDARD, now),
        (headers, BODY, OTHER, now),
        ({}, BODY, STANDARD, now),
        *(({**headers, name: ""}, BODY, STANDARD, now) for name in headers),
    ]
    if form != "github":  # which signs no time
        wrong += [(headers, BODY, STANDARD, now + 400), (headers, BODY, STANDARD, now - 400)]
    for given, body, secret, at in wrong:
        with pytest.raises(BadSignature):
            checked_id(form, secret, given, body, at)


def test_a_secret_that_is_made_is_one_and_others_are_refused() -> None:
    check_secret("out", made_secret())
    assert made_secret() != made_secret()
    for wrong in ("", "whsec_", "whsec_short", "whsec_ä"):
        with pytest.raises(UsageError, match="Standard Webhooks"):
            check_secret("standard", wrong)


@in_loop
async def test_whoever_knows_a_token_of_cloches_own_may_send() -> None:
    async with waiting(CAPABILITY) as (ask, app):
        answer = await ask.post(f"/v1/hooks/{CAPABILITY}", json={"ok": True})
        assert (answer.status_code, answer.json()) == (202, {"id": "r1"})
        assert (await (await app.get("r1")).result()).unwrap() == {"ok": True}
        unknown = await ask.post(f"/v1/hooks/{'0' * 32}", json=1)
        assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:cloche:error:not-found")


@in_loop
async def test_a_token_that_may_be_guessed_needs_an_operator() -> None:
    async with waiting("order-17") as (ask, app):
        for who, status in (("", 401), ("viewer", 403), ("operator", 202)):
            headers = {"X-Who": who} if who else {}
            answers = [
                await ask.post(f"/v1/hooks/{token}", json=17, headers=headers) for token in ("nobody", "order-17")
            ]
            assert answers[1].status_code == status
            assert status == 202 or answers[0].content == answers[1].content  # it tells nobody which there are
        assert (await (await app.get("r1")).result()).unwrap() == 17


@pytest.mark.parametrize("form", sorted(SIGNS))
@in_loop
async def test_what_is_signed_reaches_the_run_with_its_headers(form: str) -> None:
    async with waiting("shop:17") as (ask, app):
        await signer(app, form)
        headers = {"Content-Type": "application/json", "X-GitHub-Event": "push", "X-Secret": "no"}
        for wrong in ({}, SIGNS[form](OTHER), SIGNS[form](STANDARD, BODY + b" ")):
            answer = await ask.post("/v1/hooks/shop:17", content=BODY, headers={**headers, **wrong})
            assert (answer.status_code, answer.json()["type"]) == (401, "urn:cloche:error:bad-signature")
        answer = await ask.post("/v1/hooks/shop:17", content=BODY, headers={**headers, **SIGNS[form](STANDARD)})
        assert (answer.status_code, answer.json()) == (202, {"id": "r1"})
        got = (await (await app.get("r1")).result()).unwrap()
        assert got["body"] == json.loads(BODY)
        assert (got["headers"]["x-github-event"], "x-secret" in got["headers"]) == ("push", False)


@pytest.mark.parametrize("form", sorted(SIGNS))
@in_loop
async def test_a_webhook_that_comes_again_is_taken_once(form: str) -> None:
    """Also where the hook is closed by then, and another run waits with its token."""
    async with waiting("shop:17") as (ask, app):
        await signer(app, form)
        for status in (202, 200):
            answer = await ask.post("/v1/hooks/shop:17", content=BODY, headers=SIGNS[form](STANDARD))
            assert (answer.status_code, answer.json()) == (status, {"id": "r1"})
            await (await app.get("r1")).result()
        await app.start("hears", None, run_id="r2")
        await until(partial(app.connection.store.waiting_for, TenantId("default"), "shop:17"))
        again = await ask.post("/v1/hooks/shop:17", content=BODY, headers=SIGNS[form](STANDARD))
        assert (again.status_code, again.json()) == (200, {"id": "r1"})
        assert not await (await app.get("r2")).history() or str(await (await app.get("r2")).status()) == "waiting"


@in_loop
async def test_the_id_of_an_unsigned_webhook_counts_too() -> None:
    async with waiting(CAPABILITY) as (ask, _):
        answers = [await ask.post(f"/v1/hooks/{CAPABILITY}", json=1, headers={"webhook-id": "w1"}) for _ in range(3)]
        assert [one.status_code for one in answers] == [202, 200, 200]


@pytest.mark.parametrize(
    ("kind", "sent", "got"),
    [
        ("application/json", b'{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        ("application/vnd.github+json", b"[]", []),
        ("application/x-www-form-urlencoded", b"a=1&b=x%20y&c=", {"a": "1", "b": "x y", "c": ""}),
        ("text/plain; charset=utf-8", "größe".encode(), "größe"),
        ("application/pdf", b"%PDF\xff", b"%PDF\xff"),
        ("application/json", b"", None),
    ],
)
@in_loop
async def test_a_body_is_what_its_type_says(kind: str, sent: bytes, got: Any) -> None:
    async with waiting(CAPABILITY) as (ask, app):
        answer = await ask.post(f"/v1/hooks/{CAPABILITY}", content=sent, headers={"Content-Type": kind})
        assert answer.status_code == 202
        assert (await (await app.get("r1")).result()).unwrap() == got


@in_loop
async def test_a_body_that_is_not_what_it_says_is_refused() -> None:
    async with waiting(CAPABILITY) as (ask, _):
        for kind, sent in (("application/json", b"{"), ("text/plain", b"\xff"), ("application/cbor", b"\xff")):
            answer = await ask.post(f"/v1/hooks/{CAPABILITY}", content=sent, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:cloche:error:invalid-input")


@in_loop
async def test_the_hook_of_another_tenant_is_named_by_its_tenant() -> None:
    flow = create_workflow(id="hears").wait_for_event(CAPABILITY).commit()
    async with AppOn(MemoryStore(), workflows=[flow], world=SystemWorld()) as app:
        await app.tenant("acme").start("hears", None, run_id="r1")
        await until(partial(app.connection.store.waiting_for, TenantId("acme"), CAPABILITY))
        async with asker(http.app(app, auth=nobody)) as ask:
            assert (await ask.post(f"/v1/hooks/{CAPABILITY}", json=1)).status_code == 404
            own = await ask.post(f"/v1/hooks/{CAPABILITY}?tenant=acme", json=1, headers={"X-Who": "operator"})
            assert own.status_code == 403
            assert (await ask.post(f"/v1/hooks/{CAPABILITY}?tenant=acme", json=1)).status_code == 202


@in_loop
async def test_those_who_are_not_known_are_counted_by_their_address() -> None:
    flow = create_workflow(id="hears").wait_for_event("door").commit()
    worker = AppOn(MemoryStore(), workflows=[flow], world=SystemWorld())
    async with worker, asker(http.app(worker, auth=nobody, requests_per_s=0.001, burst=2)) as ask:
        answers = [(await ask.post(f"/v1/hooks/{CAPABILITY}", json=1)).status_code for _ in range(3)]
        assert answers == [404, 404, 429]
