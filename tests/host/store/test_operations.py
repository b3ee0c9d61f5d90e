"""What is done with runs at rest is the same on every store: export, signing, retention, usage, deployments."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest
from support import golden
from support.apps import Journal, in_loop
from support.stores import closed_after, key

from cloche import Cloche, Grant, Policy
from cloche.engines import SandboxEngine
from cloche.history import Seq, TenantId, TimeMs
from cloche.operations import prune, replay, schedules
from cloche.operations.export import export_run
from cloche.operations.export_all import export_all, import_all
from cloche.operations.signing import check_heads, new_key, sign_heads
from cloche.store import MemoryStore, SqliteStore, Store, Usage, all_records, open_store
from cloche.store.sqlite.database import VERSION
from cloche.testing.clock import START

LATER = TimeMs(START + 10**9)
PRIVATE, PUBLIC = new_key()
OPEN = {"asking", "sleeping", "hearing"}
ENDED = {"plain", "nested", "failing", "talking", "answered", "canceled"}
SOURCE = 'export default async (x) => await globalThis[Symbol.for("WORKFLOW_USE_STEP")]("inc")(x);\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The golden store: a run of each kind."""
    return golden.unpack(VERSION, tmp_path / "golden.db")


async def fill(store: Store, file: Path) -> bytes:
    """All runs of the golden store; the file that they came in."""
    target = file.with_suffix(".all")
    async with closed_after(SqliteStore(file)) as source:
        assert [one.error async for one in export_all(source, target)] == [None] * len(OPEN | ENDED)
    data = target.read_bytes()
    assert [one.error async for one in import_all(store, io.BytesIO(data), is_ours=lambda _: True)] == [None] * 9
    return data


@in_loop
async def test_every_golden_run_is_exported_as_it_came(store: Store, file: Path) -> None:
    await fill(store, file)
    async with closed_after(SqliteStore(file)) as source:
        for run in OPEN | ENDED:
            assert await export_run(store, key(run)) == await export_run(source, key(run))
            assert await all_records(store, key(run)) == await all_records(source, key(run))
            assert await replay.result_of(store, key(run)) == await replay.result_of(source, key(run))


@in_loop
async def test_schedules_go_on_where_their_runs_are(store: Store, tmp_path: Path) -> None:
    tenant, other = TenantId("acme"), TenantId("other")
    async with closed_after(await open_store(tmp_path / "source.db")) as source:
        for whose, name in ((tenant, "nightly"), (tenant, "paused"), (other, "hourly")):
            await schedules.put(
                source, whose, name, schedules.spec_of("w", {"n": 1}, now=START, every=3600), START, by=""
            )
        await schedules.pause(source, tenant, "paused", START, by="")
        file, whole = tmp_path / "acme.all", tmp_path / "whole.all"
        assert [one async for one in export_all(source, file, tenant)] == []
        assert [one async for one in export_all(source, whole)] == []
        of_acme = [replace(row, version=1, firings=0) for row in await source.schedules(tenant)]
    assert [one async for one in import_all(store, io.BytesIO(file.read_bytes()))] == []
    assert await store.schedules() == of_acme
    await schedules.resume(store, tenant, "paused", LATER, by="")
    changed = await store.schedule(tenant, "paused")
    assert [one async for one in import_all(store, io.BytesIO(whole.read_bytes()))] == []
    assert await store.schedule(tenant, "paused") == changed  # what is there is left alone
    assert [row.id for row in await store.schedules()] == ["nightly", "paused", "hourly"]


@pytest.mark.parametrize("run", sorted(OPEN | ENDED))
@in_loop
async def test_every_golden_run_replays(store: Store, file: Path, run: str) -> None:
    await fill(store, file)
    assert (await replay.replay(store, key(run), SandboxEngine())).ok


@in_loop
async def test_signed_heads_hold_and_tell_what_is_gone(store: Store, file: Path) -> None:
    await fill(store, file)
    signed = await sign_heads(store, PRIVATE, LATER)
    assert signed == await sign_heads(store, PRIVATE, LATER)
    assert [finding async for finding in check_heads(store, signed, PUBLIC)] == []
    assert await store.delete([key("plain")], LATER) == [key("plain")]
    [finding] = [finding async for finding in check_heads(store, signed, PUBLIC)]
    assert finding.run == "plain"


@in_loop
async def test_the_same_runs_are_signed_alike_on_every_store(store: Store, file: Path) -> None:
    await fill(store, file)
    async with closed_after(SqliteStore(file)) as source:
        assert await sign_heads(store, PRIVATE, LATER) == await sign_heads(source, PRIVATE, LATER)


@in_loop
async def test_old_runs_go_with_what_only_they_needed(store: Store, file: Path) -> None:
    await fill(store, file)
    codes = {row.code for row in await store.runs()}
    keys = await prune.prunable(store, LATER, tenant="default")
    assert {found.run for found in keys} == ENDED
    assert [deleted async for some in prune.delete(store, keys, LATER) for deleted in some] == keys
    collected = await prune.collect(store, LATER)
    open_codes = {row.code for row in await store.runs()}
    assert collected.parts > 0 or isinstance(store, MemoryStore)  # where bodies are whole
    assert collected.blobs == len(codes - open_codes)
    assert {row.key.run for row in await store.runs()} == OPEN
    assert all([await store.blob(code) is not None for code in open_codes])
    assert (await replay.verify(store, None)).findings == []


@in_loop
async def test_parts_of_a_conversation_are_there_for_every_record(store: Store, file: Path) -> None:
    await fill(store, file)
    records = await all_records(store, key("talking"))
    bodies = [record.body for record in records if record.payload is not None]
    assert len(bodies) > 5
    half = Seq(len(records) // 2)
    assert (
        await all_records(store, key("talking"), half) == records[half:]
    )  # the first ones of a page bring all they need


@in_loop
async def test_usage_stays_when_runs_are_deleted(store: Store, journal: Journal) -> None:
    async with Cloche(store, workflows=golden.WORKFLOWS) as app:
        for number in range(3):
            await (await app.start("plain", {"v": number}, run_id=f"r{number}")).result()
        [before] = await store.usage()
        assert (before.tenant, before.runs) == (TenantId("default"), 3)
        assert before.usage.fuel > 0
        assert before.usage.steps == 3 * 4
        await asyncio.sleep(0.01)  # they ended before now
        assert len((await app.prune(older_than_s=0)).runs) == 3
    assert await store.usage() == [before]
    assert await store.usage(TenantId("nobody")) == []
    assert before.usage != Usage()


@in_loop
async def test_what_was_deployed_is_there_for_a_later_process(store: Store, journal: Journal) -> None:
    async with Cloche(store) as app:
        first = await app.deploy("acme", SOURCE, workflow="w", language="javascript")
        other = await app.deploy("acme", SOURCE + "// once more\n", workflow="w", language="javascript")
    policy = Policy.strict(steps=[Grant(step="inc")])  # deployed code may call no step that it is not granted
    async with Cloche(store, steps=[journal.step("inc", lambda data: data + 1)], policy=policy) as app:
        acme = app.tenant("acme")
        assert [one.id for one in await acme.versions()] == [other.id, first.id]
        runs = [await acme.start(what, 1) for what in ("w", first.id)]
        assert [(await asyncio.wait_for(run.result(), 20)).result for run in runs] == [2, 2]
        await acme.withdraw(other.id)
        assert [one.id for one in await acme.versions()] == [first.id]
        assert (await app.prune()).blobs == 0  # a run that has ended keeps its code
        assert (await acme.replay(runs[0].id)).ok
