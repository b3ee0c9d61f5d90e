"""Every store: webhooks are kept, and what is to be delivered is left in the commit by which a run stops."""

from __future__ import annotations

from dataclasses import replace

from support.apps import in_loop
from support.histories import at
from support.stores import Log, key

from cloche.history import Kind, TenantId
from cloche.store import OUT, Delivery, Lease, Store, WebhookRow
from cloche.store.webhooks import RECEIVED_MS

ACME = TenantId("acme")
OPS = WebhookRow(ACME, "ops", OUT, "https://ops.example/hook", "whsec_c2VjcmV0", ("failed", "suspended"), at(0))
WORKERS = ("A",)
LEASE = Lease("A", 1)


async def moved(store: Store, run: str, *statuses: str, tenant: str = "acme", lease: Lease | None = LEASE) -> None:
    """A run that comes to each of these statuses."""
    log = Log(key(run, tenant))
    first, *others = statuses
    assert await store.commit([replace(log.begin(status=first), lease=lease)]) == [None]
    for status in others:
        assert await store.commit([replace(log.append(Kind.RUN_PAUSED, status=status), lease=lease)]) == [None]


async def left(store: Store, name: str = "ops") -> list[tuple[str, str, int]]:
    return [(one.run, one.status, one.seq) for one in reversed(await store.deliveries(ACME, name))]


@in_loop
async def test_a_webhook_takes_the_place_of_that_of_its_name(store: Store) -> None:
    other = replace(OPS, tenant=TenantId("other"), form="github", url="", stops=())
    for one in (OPS, other, replace(OPS, url="https://ops.example/2")):
        await store.put_webhook(one)
    assert await store.webhooks() == [replace(OPS, url="https://ops.example/2"), other]
    assert await store.webhooks(ACME) == [await store.webhook(ACME, "ops")]
    assert [await store.delete_webhook(ACME, "ops") for _ in range(2)] == [True, False]
    assert (await store.webhook(ACME, "ops"), await store.webhooks()) == (None, [other])


@in_loop
async def test_a_run_that_stops_leaves_what_is_to_be_delivered(store: Store) -> None:
    await store.put_webhook(OPS)
    await store.put_webhook(replace(OPS, name="audit", stops=("failed", "success", "canceled")))
    await store.put_webhook(replace(OPS, name="github", form="github"))
    await moved(store, "r1", "running", "suspended", "running", "suspended", "failed")
    await moved(store, "r2", "success")
    await moved(store, "r3", "running", "failed", tenant="other")
    assert await left(store) == [("r1", "suspended", 3), ("r1", "suspended", 5), ("r1", "failed", 6)]
    assert await left(store, "audit") == [("r1", "failed", 6), ("r2", "success", 2)]
    assert await left(store, "github") == []
    [last, *_] = await store.deliveries(ACME, "ops")
    assert last == Delivery(last.id, ACME, "ops", "r1", "orders", "failed", 6, at(6), 0, at(6), None)


@in_loop
async def test_a_run_that_is_brought_from_elsewhere_leaves_nothing(store: Store) -> None:
    await store.put_webhook(OPS)
    await moved(store, "r1", "failed", lease=None)
    await moved(store, "r2", "running", "failed", lease=None)
    assert await left(store) == []


@in_loop
async def test_a_status_that_stays_is_told_once(store: Store) -> None:
    await store.put_webhook(OPS)
    await moved(store, "r1", "suspended", "suspended")
    assert await left(store) == [("r1", "suspended", 2)]


@in_loop
async def test_a_delivery_is_claimed_by_one_until_its_time_is_over(store: Store) -> None:
    await store.put_webhook(OPS)
    await moved(store, "r1", "failed")
    await moved(store, "r2", "failed")
    assert await store.claim_deliveries(at(1), at(100), 10) == []
    [first] = await store.claim_deliveries(at(50), at(100), 1)
    [second] = await store.claim_deliveries(at(50), at(200), 10)
    assert ((first.run, first.attempts, first.due_at), (second.run, second.attempts)) == (("r1", 1, at(100)), ("r2", 1))
    assert await store.claim_deliveries(at(99), at(300), 10) == []
    [again] = await store.claim_deliveries(at(100), at(300), 10)
    assert (again.id, again.attempts) == (first.id, 2)


@in_loop
async def test_a_delivery_is_postponed_given_up_or_over(store: Store) -> None:
    await store.put_webhook(OPS)
    for run in ("r1", "r2", "r3"):
        await moved(store, run, "failed")
    one, two, three = await store.claim_deliveries(at(50), at(100), 10)
    await store.postpone_delivery(one.id, at(70), "503")
    await store.postpone_delivery(two.id, None, "410")
    await store.end_delivery(three.id)
    assert [(left.run, left.due_at, left.problem) for left in await store.deliveries(ACME, "ops")] == [
        ("r2", None, "410"),
        ("r1", at(70), "503"),
    ]
    assert [again.id for again in await store.claim_deliveries(at(10**9), at(10**10), 10)] == [one.id]
    assert await store.delete_webhook(ACME, "ops")
    assert await store.deliveries(ACME, "ops") == []


@in_loop
async def test_a_webhook_that_was_received_is_known_for_a_week(store: Store) -> None:
    await store.note_received(ACME, "github:1", "r1", at(0))
    await store.note_received(ACME, "github:1", "r2", at(1))
    known = [await store.received(TenantId(tenant), id) for tenant, id in (("acme", "github:1"), ("other", "github:1"))]
    assert (known, await store.received(ACME, "github:2")) == (["r1", None], None)
    await store.note_received(ACME, "github:2", "r3", at(RECEIVED_MS + 1))
    assert [await store.received(ACME, id) for id in ("github:1", "github:2")] == [None, "r3"]
