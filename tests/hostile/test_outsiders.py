"""Tenants that reach for what is another's: runs by their ids, requests by their tokens, checkpoints, files that lie."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any

import cbor2
import pytest
from support.apps import AppOn, Journal, in_loop, until

from cloche import Workflow, create_step, create_workflow
from cloche.errors import (
    BrokenChain,
    CheckpointRejected,
    ClocheError,
    ForeignFile,
    InvalidInput,
    NotFound,
    NotSuspended,
)
from cloche.history import RunId, RunKey, TenantId
from cloche.history.check import decode_sequence
from cloche.history.payloads import part_digest
from cloche.history.records import chained, genesis
from cloche.history.values import encode_plain
from cloche.operations.export import export_run, import_run
from cloche.run import checkpoints
from cloche.store import MemoryCheckpoints, MemoryStore, all_records
from cloche.tenancy import Policy
from cloche.worker.answers import token_of

VICTIM, MALLORY = "victim", "mallory"


def key(tenant: str, run: str = "r1") -> RunKey:
    return RunKey(TenantId(tenant), RunId(run))


def asking(journal: Journal) -> Workflow:
    return create_workflow(id="w").then(journal.ask()).wait_for_event("signed").commit()


# ---- ids and tokens --------------------------------------------------------------------------------------------------

REACHES: dict[str, Callable[[Any, str], Any]] = {
    "get": lambda app, run: app.get(run),
    "resume": lambda app, run: app.resume(run, resume_data={"add": 1}),
    "resume with a key": lambda app, run: app.resume(run, resume_data={"add": 1}, idempotency_key="k"),
    "event": lambda app, run: app.send_event(run, "signed", 1),
    "cancel": lambda app, run: app.cancel(run),
    "replay": lambda app, run: app.replay(run),
    "export": lambda app, run: app.export(run),
    "fork": lambda app, run: app.fork(run, at="ask"),
    "delete": lambda app, run: app.delete(run),
}


@pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
def test_a_run_of_another_tenant_is_answered_as_one_that_never_was(reach: Callable[[Any, str], Any]) -> None:
    @in_loop
    async def live() -> None:
        store, workflow = MemoryStore(), asking(Journal())
        home, den = (AppOn(store, tenant=tenant, workflows=[workflow]) for tenant in (VICTIM, MALLORY))
        async with home, den:
            assert (await (await home.start("w", {"v": 1}, run_id="r1")).result()).status == "suspended"
            before = await all_records(store, key(VICTIM))
            answers = []
            for run in ("r1", "never"):
                with pytest.raises(NotFound) as refused:
                    await reach(den, run)
                answers.append((type(refused.value), refused.value.message.replace(run, "RUN")))
            assert answers[0] == answers[1]
            assert await all_records(store, key(VICTIM)) == before
            assert list(await den.list()) == []

    live()


def test_no_id_makes_a_token_that_is_another_tenant_s() -> None:
    parts = ["a", "b", "c", "a:b", "b:c", "a%3Ab", "%", "event", "a:event", "c:event"]
    tokens = [
        token_of(key(t, r), kind, k) for t in parts for r in parts for kind in ("event", "resume") for k in ("k", "x")
    ]
    assert len(set(tokens)) == len(tokens)


def test_the_same_key_of_two_tenants_is_two_wishes() -> None:
    @in_loop
    async def live() -> None:
        store, workflow = MemoryStore(), create_workflow(id="w").wait_for_event("signed").commit()
        home, den = (AppOn(store, tenant=tenant, workflows=[workflow]) for tenant in ("a", "a:r"))
        async with home, den:
            mine, theirs = await home.start("w", 1, run_id="r:x"), await den.start("w", 1, run_id="x")
            await den.send_event("x", "signed", "theirs", idempotency_key="guessed")
            assert (await theirs.result()).result == "theirs"
            await home.send_event("r:x", "signed", "mine", idempotency_key="guessed")
            assert (await mine.result()).result == "mine"

    live()


@pytest.mark.parametrize("name", ["Signed", "ask", "signed.", "x" * 200, "sïgned"])
def test_an_event_of_a_guessed_name_reaches_no_hook(name: str) -> None:
    @in_loop
    async def live() -> None:
        workflow = create_workflow(id="w").wait_for_event("signed").commit()
        async with AppOn(MemoryStore(), workflows=[workflow]) as app:
            run = await app.start("w", 1, run_id="r1")
            assert (await run.status()) != "success"
            await app.send_event("r1", name, "guessed")
            await app.send_event("r1", "signed", "meant")
            assert (await run.result()).result == "meant"

    live()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"step": "nobody"}, NotSuspended),
        ({"label": "guessed"}, NotSuspended),
        ({"step": "ask", "foreach_index": 7}, NotSuspended),
        ({"step": "ask", "resume_data": object()}, InvalidInput),
    ],
)
def test_a_resume_that_is_meant_for_nothing_changes_nothing(options: dict[str, Any], error: type[ClocheError]) -> None:
    @in_loop
    async def live() -> None:
        store = MemoryStore()
        async with AppOn(store, workflows=[asking(Journal())], tenant=VICTIM) as app:
            await (await app.start("w", {"v": 1}, run_id="r1")).result()
            before = await all_records(store, key(VICTIM))
            with pytest.raises(error):
                await app.resume("r1", **{"resume_data": {"add": 1}, **options})
            assert await all_records(store, key(VICTIM)) == before

    live()


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", " x", "x\n", "x\x1b[2J", "x\x9b2J", "ab\u202ecd", "a\u200bb", "\ufeffx", "\ud800", "x" * 201, "é" * 101],
)
def test_ids_that_would_not_show_what_they_are_name_nothing(name: str) -> None:
    @in_loop
    async def live() -> None:
        workflow = create_workflow(id="w").then(create_step(id="s", execute=lambda data: data)).commit()
        async with AppOn(MemoryStore(), workflows=[workflow]) as app:
            with pytest.raises(ClocheError, match="is not 1 to 200 bytes"):
                await app.start("w", 1, run_id=name)
        with pytest.raises(ClocheError, match="is not 1 to 200 bytes"):
            AppOn(MemoryStore(), workflows=[workflow], tenant=name)

    live()


def test_texts_that_unicode_takes_for_the_same_name_the_same_run() -> None:
    @in_loop
    async def live() -> None:
        workflow = create_workflow(id="w").then(create_step(id="s", execute=lambda data: data)).commit()
        async with AppOn(MemoryStore(), workflows=[workflow]) as app:
            await (await app.start("w", 1, run_id="cafe\u0301")).result()
            assert (await app.get("caf\u00e9")).id == "caf\u00e9"
            assert len(await app.list()) == 1

    live()


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_tenant_is_not_thawed() -> None:
    """Both run the same code to the same place, so everything but whose it is fits."""

    @in_loop
    async def live() -> None:
        store, kept, journal = MemoryStore(), MemoryCheckpoints(), Journal()
        workflow = create_workflow(id="w").then(journal.inc()).then(journal.dbl()).then(journal.ask()).commit()
        for tenant, value in ((VICTIM, 20), (MALLORY, 1)):
            async with AppOn(store, kept, tenant=tenant, workflows=[workflow], checkpoint_every=1) as app:
                await (await app.start("w", {"v": value}, run_id="r1")).result()
                await until(partial(kept.get, key(tenant)))
        theirs = await kept.get(key(VICTIM))
        assert theirs is not None
        with pytest.raises(CheckpointRejected, match="not made by this user's cloche on this machine for this run"):
            checkpoints.opened(key(MALLORY), theirs)
        kept._kept[key(MALLORY)] = (checkpoints.opened(key(VICTIM), theirs).seq, theirs)
        async with AppOn(store, kept, tenant=MALLORY, workflows=[workflow]) as app:
            assert (await app.resume("r1", resume_data={"add": 0})).result == {"v": 4}
            assert (await app.verify()).ok

    live()


# ---- files that lie --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported() -> bytes:
    """An exported run with a large body, of tenant `victim`."""
    files: list[bytes] = []

    @in_loop
    async def live() -> None:
        store = MemoryStore()
        grow = create_step(id="grow", execute=lambda data: {"text": "x" * 20_000})
        async with AppOn(store, tenant=VICTIM, workflows=[create_workflow(id="w").then(grow).commit()]) as app:
            await (await app.start("w", 1, run_id="r1")).result()
        files.append(await export_run(store, key(VICTIM)))

    live()
    return files[0]


def sealed(items: list[Any]) -> bytes:
    body = b"".join(encode_plain(item) for item in items)
    return body + encode_plain(blake2b(body, digest_size=32).digest())


def forged(exported: bytes, change: Callable[[int, list[Any]], bytes | list[Any]], *extra: list[Any]) -> bytes:
    """The file with other records, its chain and its seal made again: `change` gives what is packed instead."""
    header, code, guest, *items, _ = decode_sequence(exported)
    head, pairs = genesis(key(VICTIM)), list(extra)
    for item in items:
        if isinstance(item[0], int):
            pairs.append(item)
            continue
        changed = change(item[0][2], decode_sequence(item[0])[0])
        packed = changed if isinstance(changed, bytes) else encode_plain(changed)
        head = chained(head, packed)
        pairs.append([packed, head])
    return sealed([header, code, guest, *pairs])


def body(seq: int, made: Any) -> Callable[[int, list[Any]], list[Any]]:
    """Record `seq` with another body."""
    return lambda _, record: [*record[:6], made] if record[1] == seq else record


@in_loop
async def test_a_file_that_is_forged_without_a_change_is_taken(exported: bytes) -> None:
    assert await import_run(MemoryStore(), forged(exported, lambda _, record: record)) == key(VICTIM)


SHARED = b"\xd8\x1c\x82\xd8\x1d\x00\xd8\x1d\x00"  # tags 28 and 29: a list that holds itself
LIES: dict[str, Any] = {
    "a body with shared references": body(3, SHARED),
    "a body that ends early": body(3, b"\x85\x00"),
    "a body with something behind it": body(3, encode_plain([4, 2, "x"]) + b"\x00"),
    "a command that is another": body(3, encode_plain([4, 2, "x"])),
    "a call of another number": body(3, encode_plain([0, 7, "grow", "grow", [1]])),
    "a call at another place": body(3, encode_plain([0, 1, "elsewhere", "grow", [1]])),
    "an event with other fields": body(2, encode_plain([0, 1, 2, 3])),
    "an event that is no list": body(2, encode_plain({"a": 1})),
    "a note that is no mapping": body(4, encode_plain([1])),
    "an envelope with shared references": lambda _, record: SHARED,
    "an envelope of indefinite length": lambda _, record: b"\x9f" + encode_plain(record)[1:] + b"\xff",
    "an envelope with another number": lambda _, record: [record[0], record[1] + 1, *record[2:]],
    "an unknown kind": lambda _, record: [record[0], record[1], 99, *record[3:]],
    "a time that is none": lambda _, record: [*record[:3], "now", *record[4:]],
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
@in_loop
async def test_a_file_whose_chain_is_whole_is_still_read_record_by_record(exported: bytes, change: Any) -> None:
    with pytest.raises((BrokenChain, ForeignFile)):
        await import_run(MemoryStore(), forged(exported, change))


@in_loop
async def test_a_tree_of_parts_that_names_itself_a_thousand_times_is_not_unfolded(exported: bytes) -> None:
    """Four parts of 16 KiB that would be 10^11 of them."""
    leaf = b"x" * 1024
    parts, digest = [[0, leaf]], part_digest(0, leaf)
    for depth in range(1, 5):
        parts.append([depth, digest * 500])
        digest = part_digest(depth, digest * 500)

    def in_parts(_: int, record: list[Any]) -> list[Any]:
        return [2, *record[1:6], [1 << 27, 4, digest]] if record[1] == 3 else record

    with pytest.raises(BrokenChain, match="more parts than"):
        await import_run(MemoryStore(), forged(exported, in_parts, *parts))


@pytest.mark.parametrize("size", [1 << 40, -1, "1", None])
@in_loop
async def test_a_body_says_a_size_that_there_can_be(exported: bytes, size: Any) -> None:
    with pytest.raises(BrokenChain, match="not described as one"):
        await import_run(
            MemoryStore(), forged(exported, lambda _, r: [2, *r[1:6], [size, 0, bytes(32)]] if r[1] == 3 else r)
        )


@pytest.mark.parametrize("place", [1, 2])
@in_loop
async def test_a_file_that_inflates_is_cut_off(exported: bytes, place: int) -> None:
    items = decode_sequence(exported)[:-1]
    items[place] = zlib.compress(bytes(65 << 20), 9)
    with pytest.raises(ForeignFile, match="larger than 64 MiB"):
        await import_run(MemoryStore(), sealed(items))


@pytest.mark.parametrize(
    "change", [{"run": "x\x1b[2J"}, {"tenant": ""}, {"run": "e\u0301"}, {"tenant": 7}, {"run": "x" * 999}]
)
@in_loop
async def test_a_file_names_a_run_as_a_run_can_be_named(exported: bytes, change: dict[str, Any]) -> None:
    header, *items, _ = decode_sequence(exported)
    with pytest.raises(ForeignFile, match="name that"):
        await import_run(MemoryStore(), sealed([{**header, **change}, *items]))


@pytest.mark.parametrize(
    "limits", [{"fuel_per_event": 1 << 62}, {"memory_bytes": 1 << 32}, {"wall_ms_per_event": "for ever"}]
)
def test_a_file_promises_its_run_no_more_than_runs_get_here(exported: bytes, limits: dict[str, Any]) -> None:
    def promised(_: int, record: list[Any]) -> list[Any]:
        if record[1] != 1:
            return record
        content = cbor2.loads(record[6])
        return [*record[:6], encode_plain({**content, "limits": {**content["limits"], **limits}})]

    @in_loop
    async def live() -> None:
        async with AppOn(MemoryStore(), policy=Policy()) as app:
            with pytest.raises(ForeignFile, match="was promised"):
                await app.import_(forged(exported, promised))

    live()
