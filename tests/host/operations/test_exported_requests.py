"""What waits for a run goes with it: delivered elsewhere, once, and nothing else is taken in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, Journal, in_loop, one_loop, run_in_loop, until
from support.stores_of_all_kinds import STORES

from cloche import Client, Policy, create_workflow
from cloche.errors import ClocheError, ForeignFile
from cloche.history import CallId, Kind, RunKey, TimeMs
from cloche.history.check import decode_sequence
from cloche.history.notes import StepWrote
from cloche.history.values import encode, encode_plain
from cloche.operations.export import export_run, import_run
from cloche.operations.exported_requests import is_granted, is_request
from cloche.operations.replay import machine_of
from cloche.store import Append, InboxRow, MemoryStore, Store
from cloche.testing.clock import START


def sealed(items: list[Any]) -> bytes:
    body = b"".join(encode_plain(item) for item in items)
    return body + encode_plain(blake2b(body, digest_size=32).digest())


async def exported(journal: Journal, **options: Any) -> bytes:
    """A run that sleeps, with two events and data that wait for it."""
    flow = create_workflow(id="w").sleep(3_600).wait_for_event("go").commit()
    async with AppOn(MemoryStore(), workflows=[flow], **options) as app:
        run = await app.start("w", 1, run_id="r1")
        await app.send_event("r1", "go", "first", idempotency_key="k")
        await app.send_event("r1", "go", "second")
        await until(lambda: run._key not in app._running.drivers)
        return await app.export("r1")


@in_loop
async def test_waiting_events_go_with_their_run(journal: Journal) -> None:
    file = await exported(journal)
    flow = create_workflow(id="w").sleep(3_600).wait_for_event("go").commit()
    store = MemoryStore()
    async with AppOn(store, workflows=[flow]) as app:
        for _ in range(2):  # the same file again is the same run, and the same events
            await app.import_(file)
        assert [(row.name, row.kept) for row in await store.requests(KEY)] == [("go", True), ("go", False)]
        await app.send_event("r1", "go", "again", idempotency_key="k")
        assert len(await store.requests(KEY)) == 2
        assert await app.export("r1") == file


@in_loop
async def test_an_event_wakes_the_run_that_it_came_with(journal: Journal) -> None:
    flow = create_workflow(id="w").then(journal.step("a")).wait_for_event("go").commit()
    other, store = MemoryStore(), MemoryStore()
    async with AppOn(other, workflows=[flow]) as app:
        await app.start("w", 1, run_id="r1")
        await until(lambda: KEY not in app._running.drivers)
    await other.post(KEY, "event", encode(["go", 5]), "default:r1:event:x", 1, name="go")  # type: ignore[arg-type]
    async with Client(other) as client:  # no worker: the event still waits
        file = await client.export("r1")
    async with AppOn(store, workflows=[flow]) as app:
        await app.import_(file)
        await app._running.inbox.look()
        assert (await asyncio.wait_for((await app.get("r1")).result(final=True), 5)).result == 5


def forged(file: bytes, **changes: Any) -> bytes:
    *items, request, _, _ = decode_sequence(file)
    fields = dict(zip(("mark", "kind", "name", "body", "token", "kept", "at"), request, strict=True))
    return sealed([*items, list({**fields, **changes}.values())])


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "start"},
        {"kind": 5},
        {"name": None},
        {"name": "other"},
        {"name": "go\x07"},
        {"body": b"\xff"},
        {"body": encode(["go"])},
        {"body": "text"},
        {"token": "other:r1:event:x"},
        {"token": 7},
        {"kept": 1},
        {"at": -1},
        {"at": "now"},
        {"more": 1},
    ],
)
def test_a_forged_request_is_refused(journal: Journal, changes: dict[str, Any]) -> None:
    @in_loop
    async def live() -> None:
        file, store = await exported(journal), MemoryStore()
        async with AppOn(store, policy=Policy()) as app:
            with pytest.raises(ForeignFile):
                await app.import_(forged(file, **changes))
            assert (await store.runs(), await store.requests()) == ([], [])

    live()


@in_loop
async def test_a_request_may_not_be_larger_than_the_policy_allows(journal: Journal) -> None:
    file = await exported(journal, policy=Policy(payload_bytes=1_000))
    async with AppOn(MemoryStore(), policy=Policy()) as app:
        with pytest.raises(ClocheError, match="payload_bytes"):
            await app.import_(forged(file, body=encode(["go", "x" * 1_000])))
        assert await app.list() == []


class TakenMeanwhile(MemoryStore):
    """An event is delivered after the requests were read, and before the records are."""

    takes = True

    async def requests(self, key: RunKey | None = None, *, events: bool = True) -> list[InboxRow]:
        found = await super().requests(key, events=events)
        if self.takes and found:
            self.takes = False
            await self.take_first(found[0])
        return found

    async def take_first(self, row: InboxRow) -> None:
        machine = await machine_of(self, row.key)
        batch = machine.accept([StepWrote(TimeMs(START), CallId(1), "taken")], b"", TimeMs(START))
        taken = Append(row.key, batch.expect, batch.records, machine.status, machine.wake_at, START, taken=[row.id])
        assert await self.commit([taken]) == [None]


@in_loop
async def test_what_is_delivered_meanwhile_is_not_in_the_file_twice(journal: Journal) -> None:
    store = TakenMeanwhile()
    store.takes = False
    await import_run(store, await exported(journal))
    store.takes = True
    items = decode_sequence(await export_run(store, KEY))
    assert [item[2:4] for item in items if is_request(item)] == [["go", encode(["go", "second"])]]
    assert [item[2] for item in items if is_granted(item)] == ["default:r1:event:k"]


@pytest.fixture(params=STORES)
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        yield made
        run_in_loop(made.close())


@in_loop
async def test_a_key_that_was_accepted_is_known_elsewhere(elsewhere: Store) -> None:
    """Whether its run has ended there or goes on: also when it moves back, and when the same file comes again."""
    twice = create_workflow(id="w").wait_for_event("go").wait_for_event("go", id="more").commit()
    async with AppOn(MemoryStore(), workflows=[twice]) as app:
        run = await app.start("w", None, run_id="r1")
        assert await app.send_event("r1", "go", 1, idempotency_key="first")
        await until(run.history, lambda records: any(one.kind is Kind.HOOK_RECEIVED for one in records))
        file = await app.export("r1")
    async with AppOn(elsewhere, workflows=[twice]) as app:
        for _ in range(2):
            await app.import_(file)
        assert not await app.send_event("r1", "go", 1, idempotency_key="first")
        assert (await elsewhere.requests(KEY), await elsewhere.requests()) == ([], [])
        assert await app.export("r1") == file
        assert await app.send_event("r1", "go", 2, idempotency_key="second")
        await app._running.inbox.look()
        assert (await (await app.get("r1")).result(final=True)).unwrap() == 2
        back = await app.export("r1")
        assert (await app.verify()).ok
    store = MemoryStore()
    await import_run(store, back)
    async with Client(store) as client:
        assert [await client.send_event("r1", "go", 1, idempotency_key=one) for one in ("first", "second")] == [
            False
        ] * 2


@pytest.mark.parametrize(
    "item",
    [
        ["granted", "event", "other:r1:event:x", 1],
        ["granted", "start", "default:r1:start:x", 1],
        ["granted", "event", 7, 1],
        ["granted", "event", "default:r1:event:x", -1],
        ["granted", "event", "default:r1:event:x"],
    ],
)
def test_a_forged_acceptance_is_refused(journal: Journal, item: list[Any]) -> None:
    @in_loop
    async def live() -> None:
        *items, _ = decode_sequence(await exported(journal))
        async with AppOn(MemoryStore(), policy=Policy()) as app:
            with pytest.raises(ForeignFile, match="that was accepted"):
                await app.import_(sealed([*items, item]))
            assert await app.list() == []

    live()
