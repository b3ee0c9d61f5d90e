"""A worker that is older than a run's guest leaves the run to others: it neither drives nor blocks it."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from support.apps import KEY, AppOn, Journal, ManualWorld, in_loop, until

from cloche import create_workflow
from cloche.client.workflows import Workflow
from cloche.engines import Code, SandboxEngine
from cloche.errors import GuestFault
from cloche.history.limits import Limits
from cloche.run.code import load_code
from cloche.sandbox import base_image
from cloche.store import MemoryStore, blob_digest
from cloche_guest import abi_of, ensure_guest
from cloche_guest.wasm import constant_of


def newer_wasm() -> bytes:
    """Today's guest, but its layout says ABI 3."""
    wasm = ensure_guest().wasm
    words = struct.pack("<2I", 2, struct.unpack("<I", wasm_words(wasm)[4:8])[0])
    assert wasm.count(words) == 1
    return wasm.replace(words, struct.pack("<I", 3) + words[4:])


def wasm_words(wasm: bytes) -> bytes:
    from cloche_guest.wasm import bytes_at

    return bytes_at(wasm, constant_of(wasm, "layout"), 28)


async def hand_over(store: MemoryStore, *, back: bool = False) -> None:
    """The run is pinned to a guest of ABI 3, as a newer cloche would have it; `back`: to the one it began with."""
    data, row = store._connection.data, await store.run(KEY)
    assert row is not None
    code: Code = await load_code(store, row.code)
    wasm = ensure_guest().wasm if back else newer_wasm()
    packed = replace(code, guest=blob_digest(wasm), abi=abi_of(wasm)).pack()
    data.keep({blob_digest(wasm): wasm, blob_digest(packed): packed})
    data.rows[KEY] = replace(row, code=blob_digest(packed))


def flow(journal: Journal, kind: str) -> Workflow:
    begun: Any = create_workflow(id="w").then(journal.inc())
    begun = begun.sleep(30) if kind == "due" else begun.then(journal.ask())
    made: Workflow = begun.then(journal.dbl()).commit()
    return made


@pytest.mark.parametrize("kind", ["due", "asked for"])
def test_a_run_of_a_newer_guest_is_left_to_others(kind: str, journal: Journal) -> None:
    @in_loop
    async def live() -> None:
        store, world, workflow = MemoryStore(), ManualWorld(), flow(journal, kind)
        async with AppOn(store, workflows=[workflow], world=world) as app:
            await app.start("w", {"v": 1}, run_id=KEY.run)
            await until(lambda: status(store), lambda found: found in ("waiting", "suspended"))
        await hand_over(store)
        before, records = await status(store), len(await store.records(KEY))
        async with AppOn(store, workflows=[workflow], world=world) as older:
            world.move(60, older)
            if kind == "asked for":
                await older.request_resume(KEY.run, resume_data={"add": 5})
            for _ in range(3):
                await older._running.claims.look()
            row = await store.run(KEY)
            assert row is not None
            assert (row.status, row.owner, row.problem, len(await store.records(KEY))) == (before, None, None, records)
        await hand_over(store, back=True)
        async with AppOn(store, workflows=[workflow], world=world) as newer:
            world.move(60, newer)
            result = await (await newer.get(KEY.run)).result() if kind == "due" else None
            await until(lambda: status(store), lambda found: found == "success")
            assert result is None or result.unwrap() == {"v": 4}

    live()


async def status(store: MemoryStore) -> str:
    row = await store.run(KEY)
    return row.status if row is not None else ""


def test_a_guest_of_an_unknown_version_is_no_base_image() -> None:
    wasm = newer_wasm()
    with pytest.raises(GuestFault, match="speaks ABI 3, and this cloche speaks 1 and 2: use a newer one"):
        base_image(blob_digest(wasm), wasm)


def test_the_version_is_read_without_running_the_guest() -> None:
    assert (abi_of(ensure_guest().wasm), abi_of(newer_wasm())) == (2, 3)
    digest, _ = SandboxEngine(Limits()).guest()
    assert digest == ensure_guest().digest
