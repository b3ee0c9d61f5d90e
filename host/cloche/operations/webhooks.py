"""Webhooks of tenants: who is told when runs stop, and whose signatures hooks take."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from hashlib import blake2b
from urllib.parse import quote, unquote, urlsplit

from cloche.errors import NotFound, UsageError
from cloche.history.ids import TimeMs, tenant_id
from cloche.operations.acts import Act, write_act
from cloche.operations.forms import instant
from cloche.operations.signatures import FORMS, check_secret, made_secret
from cloche.status import RunStatus
from cloche.store import OUT, Delivery, Store, WebhookRow

__all__ = [
    "FORMS",
    "OUT",
    "STEPS",
    "STOPS",
    "Delivery",
    "WebhookRow",
    "body_of",
    "delivery_id",
    "forget",
    "given_to",
    "note_given",
    "put",
    "signer_of",
    "steps_of",
    "undelivered",
]

# What a webhook can be told of: ends, and where a run waits. `waiting` is for a time or an event, and may come often.
STOPS = tuple(map(str, (*(RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELED), RunStatus.SUSPENDED, "waiting")))
BY_DEFAULT = STOPS[:4]
STEPS = "steps"  # the form of a receiver: attempts of remote steps are pushed to it
STEPS_MAX = 1_000
URL_CHARS_MAX = 2000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


async def put(
    store: Store,
    tenant: str,
    name: str,
    *,
    form: str = OUT,
    url: str = "",
    secret: str | None = None,
    stops: Sequence[str] | None = None,
    steps: Sequence[str] | None = None,
    now: TimeMs,
    by: str = "",
) -> WebhookRow:
    """Keep a webhook, or change that of its name.

    Args:
        form: `out`: it is sent to `url` when a run comes to one of `stops`. `steps`: attempts of the remote `steps` are pushed
            to `url`. Else it is received: hooks whose tokens begin with the name and a colon take what is signed in this form.
        secret: that both sides sign with; None: the one that it has, or for one that is sent a new one.
        by: who asks, for the audit log.

    Raises:
        UsageError: the name, form, URL, secret or a stop is not one.
    """
    whose = tenant_id(tenant)
    check_name(name)
    before = await store.webhook(whose, name)
    secret = secret if secret is not None or before is None else before.secret
    told = wanted(form, url, stops, steps)
    if form in (OUT, STEPS):
        secret = secret or made_secret()
    if not secret:
        raise UsageError("say the secret that its sender signs with")
    check_secret(form, secret)
    row = WebhookRow(whose, name, form, url, secret, told, before.created_at if before is not None else now)
    await write_act(store, Act.WEBHOOK_PUT, by, now, whose, webhook=name, form=form, url=url, stops=list(told))
    await store.put_webhook(row)
    return row


def check_name(name: str) -> None:
    """
    Raises:
        UsageError: no webhook has it.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("the name of a webhook is 1 to 63 small letters, digits, '-' and '_'")


def wanted(form: str, url: str, stops: Sequence[str] | None, steps: Sequence[str] | None) -> tuple[str, ...]:
    """What a webhook is told of, as its row has it.

    Raises:
        UsageError: it is not said as this form needs it.
    """
    if form != STEPS and steps:
        raise UsageError("steps are those of a receiver, whose form is 'steps'")
    if form == STEPS:
        check_url(url)
        if stops:
            raise UsageError("a receiver of steps is told of attempts, not of runs that stop")
        return _stored(steps)
    if form == OUT:
        check_url(url)
        told = tuple(stop for stop in STOPS if stop in (BY_DEFAULT if stops is None else stops))
        if not told or not set(stops or ()) <= set(STOPS):
            raise UsageError(f"a webhook is told of {', '.join(STOPS)}")
        return told
    if form not in FORMS or url or stops:
        raise UsageError(f"a webhook that is received has a form ({', '.join(FORMS)}) and a secret, and no more")
    return ()


async def forget(store: Store, tenant: str, name: str, *, now: TimeMs, by: str = "") -> None:
    """Forget a webhook, with what was to be delivered by it.

    Raises:
        NotFound: there is none.
    """
    row = await _found(store, tenant, name)
    await write_act(store, Act.WEBHOOK_DELETED, by, now, row.tenant, webhook=name)
    await store.delete_webhook(row.tenant, name)


async def undelivered(store: Store, tenant: str, name: str) -> list[Delivery]:
    """What a webhook is still to be told, or was not told after all, the newest first, 100 at most.

    Raises:
        NotFound: there is none.
    """
    row = await _found(store, tenant, name)
    return await store.deliveries(row.tenant, name)


async def signer_of(store: Store, tenant: str, token: str) -> WebhookRow | None:
    """The webhook that is received by the hook of this token: the one by whose name and a colon it begins."""
    name, colon, _ = token.partition(":")
    row = await store.webhook(tenant_id(tenant), name) if colon else None
    return row if row is not None and row.form in FORMS else None


def steps_of(row: WebhookRow) -> frozenset[str]:
    """The ids of the steps whose attempts are pushed to a receiver."""
    return frozenset(map(unquote, row.stops))


def _stored(steps: Sequence[str] | None) -> tuple[str, ...]:
    """The ids of steps as a row has them: without spaces, each once.

    Raises:
        UsageError: they are none.
    """
    found = sorted(set(steps or ()))
    if not found or len(found) > STEPS_MAX or not all(0 < len(one) <= 200 for one in found):
        raise UsageError(f"a receiver names 1 to {STEPS_MAX:,} remote steps, by their ids")
    return tuple(quote(one.encode("utf-8", "replace"), safe="") for one in found)


async def given_to(store: Store, tenant: str, id: str) -> str | None:
    """The run that a webhook was given to which was received under this id; None: it is new."""
    return await store.received(tenant_id(tenant), id)


async def note_given(store: Store, tenant: str, id: str, run: str, now: TimeMs) -> None:
    """A webhook was given to a run: it is not new any more, for a week."""
    await store.note_received(tenant_id(tenant), id, run, now)


def check_url(url: str) -> None:
    """
    Raises:
        UsageError: nothing is ever sent there.
    """
    if len(url) > URL_CHARS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError("the URL of a webhook is printable ASCII of up to 2,000 characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("that is no URL") from None
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or parts.username is not None or parts.fragment or port == 0:
        raise UsageError("a webhook is sent to https://HOST/PATH, without a user and a fragment")
    if parts.scheme == "http" and not _is_loopback(host):
        raise UsageError("a webhook is sent over https")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def delivery_id(one: Delivery) -> str:
    """What the receiver knows it by: the same for each attempt, whoever makes it, and another for everything else."""
    parts = "\x00".join((one.tenant, one.webhook, one.run, str(one.seq), one.status))
    return f"msg_{blake2b(parts.encode(), digest_size=16).hexdigest()}"


def body_of(one: Delivery) -> bytes:
    """What is sent: that a run has come to a status. What it holds is read by whoever may read it."""
    data = {"tenant": one.tenant, "run_id": one.run, "workflow": one.workflow, "status": one.status, "seq": one.seq}
    return json.dumps(
        {"type": f"run.{one.status}", "timestamp": instant(one.at), "data": data}, ensure_ascii=False
    ).encode()


async def _found(store: Store, tenant: str, name: str) -> WebhookRow:
    row = await store.webhook(tenant_id(tenant), name)
    if row is None:
        raise NotFound(f"there is no webhook {name!r}", kind="webhook", id=name)
    return row
