"""Runs as files: what was exported verifies and goes on elsewhere, and nothing else is taken in."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Iterator
from hashlib import blake2b

import pytest
from support import golden
from support.apps import in_loop
from support.stores import key

from cloche.engines import SandboxEngine
from cloche.errors import BrokenChain, ClocheError, ForeignFile, RunConflict
from cloche.history.check import decode_sequence
from cloche.history.values import encode_plain
from cloche.operations import replay
from cloche.operations.export import export_run, import_run
from cloche.store import MemoryStore, SqliteStore, Store, all_records

RUNS = ["plain", "talking", "asking", "failing"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    opened = SqliteStore(golden.unpack(2, tmp_path_factory.mktemp("golden") / "store.db"))
    yield opened
    asyncio.run(opened.close())


def sealed(items: list[object]) -> bytes:
    body = b"".join(encode_plain(item) for item in items)
    return body + encode_plain(blake2b(body, digest_size=32).digest())


@pytest.mark.parametrize("run", RUNS)
@in_loop
async def test_a_run_is_the_same_elsewhere(store: SqliteStore, run: str) -> None:
    elsewhere: Store = MemoryStore()
    exported = await export_run(store, key(run))
    assert await import_run(elsewhere, exported, is_ours=lambda _: True) == key(run)
    assert await all_records(elsewhere, key(run)) == await all_records(store, key(run))
    assert await replay.result_of(elsewhere, key(run)) == await replay.result_of(store, key(run))
    assert (list(await elsewhere.audit()), (await replay.replay(elsewhere, key(run), SandboxEngine())).ok) == ([], True)
    assert await export_run(elsewhere, key(run)) == await export_run(store, key(run))


@in_loop
async def test_parts_are_in_a_file_once(store: SqliteStore) -> None:
    """Twelve turns of a conversation: what several records pass on is there once."""
    payloads = [record.payload for record in await all_records(store, key("talking")) if record.payload is not None]
    parts = {digest: part for payload in payloads for digest, part in payload.parts.items()}
    items = decode_sequence(await export_run(store, key("talking")))
    written = [item[1] for item in items[3:-1] if isinstance(item[0], int)]
    assert sorted(written) == sorted(parts.values())
    assert sum(len(payload.parts) for payload in payloads) > 1.5 * len(parts)


@in_loop
async def test_a_file_of_the_first_version_is_read(store: SqliteStore) -> None:
    header, *items = decode_sequence(await export_run(store, key("plain")))[:-1]
    elsewhere = MemoryStore()
    await import_run(elsewhere, sealed([{**header, "version": 1}, *items]))
    assert await all_records(elsewhere, key("plain")) == await all_records(store, key("plain"))


@in_loop
async def test_a_run_that_is_there_is_left_alone_if_it_is_the_same(store: SqliteStore) -> None:
    data, elsewhere = await export_run(store, key("plain")), MemoryStore()
    await import_run(elsewhere, data)
    assert await import_run(elsewhere, data) == key("plain")
    header, code, guest, *items, _ = decode_sequence(data)
    with pytest.raises(RunConflict):
        await import_run(elsewhere, sealed([header, code, guest, *items[:-1]]))


@in_loop
async def test_no_byte_of_a_file_can_be_changed(store: SqliteStore) -> None:
    data, chance = await export_run(store, key("talking")), random.Random(7)
    for at in [
        *range(200),
        *(len(data) - n for n in range(1, 200)),
        *(chance.randrange(len(data)) for _ in range(200)),
    ]:
        with pytest.raises(ForeignFile):
            await import_run(MemoryStore(), data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        with pytest.raises(ForeignFile):
            await import_run(MemoryStore(), data[:at])


@pytest.mark.parametrize("seed", range(4))
@in_loop
async def test_a_file_that_was_sealed_again_is_still_checked_throughout(store: SqliteStore, seed: int) -> None:
    """Whoever can change a file can close it with a new digest: the blobs, the parts and the chain still tell."""
    chance = random.Random(seed)
    header, *items, _ = decode_sequence(await export_run(store, key("talking")))
    for place, item in enumerate(items):
        kinds = [one for one in (item if isinstance(item, list) else [item]) if isinstance(one, bytes)]
        for one in kinds:
            at = chance.randrange(len(one))
            broken = one[:at] + bytes([one[at] ^ 0x10]) + one[at + 1 :]
            changed = broken if item is one else [broken if part is one else part for part in item]
            with pytest.raises((ForeignFile, BrokenChain)):
                await import_run(MemoryStore(), sealed([header, *items[:place], changed, *items[place + 1 :]]))
        if place < len(items) - 1:  # a chain without its last record is a whole, older history
            with pytest.raises((ForeignFile, BrokenChain)):
                await import_run(MemoryStore(), sealed([header, *items[:place], *items[place + 1 :]]))


@pytest.mark.parametrize(
    "change",
    [{"run": "other"}, {"tenant": "other"}, {"workflow": "other"}, {"code": "0" * 64}, {"version": 99}, {"run": 7}],
    ids=str,
)
@in_loop
async def test_a_header_that_says_something_else_is_refused(store: SqliteStore, change: dict[str, object]) -> None:
    header, *items, _ = decode_sequence(await export_run(store, key("plain")))
    with pytest.raises(ClocheError):
        await import_run(MemoryStore(), sealed([{**header, **change}, *items]))


@in_loop
async def test_a_file_cannot_make_us_inflate_without_end(store: SqliteStore) -> None:
    header, _, *items, _ = decode_sequence(await export_run(store, key("plain")))
    with pytest.raises(ForeignFile, match="larger than 64 MiB"):
        await import_run(MemoryStore(), sealed([header, zlib.compress(bytes(65 << 20), 9), *items]))


@in_loop
async def test_parts_that_no_record_needs_are_refused(store: SqliteStore) -> None:
    header, code, guest, *items = decode_sequence(await export_run(store, key("talking")))[:-1]
    with pytest.raises(ForeignFile, match="1 parts that no record in it needs"):
        await import_run(MemoryStore(), sealed([header, code, guest, [0, b"x" * 1_000], *items]))
