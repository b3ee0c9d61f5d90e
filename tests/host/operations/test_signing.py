"""Signed heads: a history that was rewritten, cut or put back is told, by whoever has the public key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.apps import in_loop
from support.commands import MATH, cloche
from support.stores import Log, begun, key

from cloche.errors import ForeignFile, UsageError
from cloche.history import TimeMs
from cloche.history.values import decode, encode_plain
from cloche.operations.signing import check_heads, new_key, sign_heads
from cloche.store import MemoryStore

AT = TimeMs(1_760_000_000_000)
PRIVATE, PUBLIC = new_key()


async def store_of(*runs: str) -> tuple[MemoryStore, list[Log]]:
    store, logs = MemoryStore(), []
    for run in runs:
        log, append = begun(run)
        await store.commit([append])
        logs.append(log)
    return store, logs


async def problems(store: MemoryStore, signed: bytes) -> list[str]:
    return [finding.problem async for finding in check_heads(store, signed, PUBLIC)]


@in_loop
async def test_what_is_as_it_was_signed_is_well() -> None:
    store, _ = await store_of("b", "a")
    assert await problems(store, await sign_heads(store, PRIVATE, AT)) == []


@in_loop
async def test_the_same_store_gives_the_same_statement() -> None:
    store, _ = await store_of("b", "a")
    assert await sign_heads(store, PRIVATE, AT) == await sign_heads(store, PRIVATE, AT)


@in_loop
async def test_a_run_that_is_gone_or_another_one_is_named() -> None:
    store, _ = await store_of("a", "b")
    signed = await sign_heads(store, PRIVATE, AT)
    del store._data.rows[key("a")]
    assert await problems(store, signed) == ["run a had 2 records when the heads were signed, and is not there"]
    other, _ = await store_of("a", "b")
    records = other._data.records[key("b")]
    records[1] = other._data.records[key("a")][1]
    assert await problems(other, signed) == ["record 2 of run b is another one than when the heads were signed"]


@in_loop
async def test_heads_of_another_key_or_changed_ones_are_refused() -> None:
    store, _ = await store_of("a")
    signed = await sign_heads(store, PRIVATE, AT)
    _, stranger = new_key()
    with pytest.raises(ForeignFile, match="not signed with that key"):
        [one async for one in check_heads(store, signed, stranger)]
    for place in range(len(signed)):
        changed = bytearray(signed)
        changed[place] ^= 1
        if bytes(decode(signed)[2]) in bytes(changed):  # the key that came along is for people
            with pytest.raises(ForeignFile):
                [one async for one in check_heads(store, bytes(changed), PUBLIC)]


@pytest.mark.parametrize("data", [b"", b"no heads", encode_plain([1, 2]), encode_plain([b"", b"", b""])])
@in_loop
async def test_what_is_no_statement_is_refused(data: bytes) -> None:
    with pytest.raises(ForeignFile):
        [one async for one in check_heads(MemoryStore(), data, PUBLIC)]


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", PUBLIC])
@in_loop
async def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(UsageError):
        await sign_heads(MemoryStore(), pem, AT)


@in_loop
async def test_without_the_optional_part_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(UsageError, match=r"cloche\[sign\]"):
        await sign_heads(MemoryStore(), PRIVATE, AT)


def test_on_the_command_line(tmp_path: Path) -> None:
    store, secret, heads = (str(tmp_path / name) for name in ("runs.db", "key.pem", "heads"))
    assert cloche("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", "r1").code == 0
    assert cloche("sign", "--new-key", secret).code == 0
    assert Path(secret).stat().st_mode & 0o777 == 0o600
    assert cloche("sign", "--new-key", secret).code == 2  # keys are not overwritten
    assert cloche("sign", "--key", secret, "-o", heads, "--store", store).code == 0
    check = ("verify", "--heads", heads, "--public-key", f"{secret}.pub")
    assert cloche(*check, "--store", store).code == 0
    assert cloche("run", MATH, "--input", '{"x": 6}', "--store", store, "--run-id", "r2").code == 0
    assert cloche(*check, "--store", store).code == 0  # what came since is well
    other = str(tmp_path / "other.db")
    assert cloche("run", MATH, "--input", '{"x": 7}', "--store", other, "--run-id", "r1").code == 0
    ran = cloche(*check, "--store", other)
    assert (ran.code, "is another one than when the heads were signed" in ran.err) == (3, True)
    assert cloche("verify", "--heads", heads, "--store", store).code == 2
