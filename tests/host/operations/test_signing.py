"""Signed heads: a history that was rewritten, cut or put back is told, by whoever has the public key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.commands import MATH, cloche
from support.stores import Log, begun, key

from cloche.errors import ForeignFile, UsageError
from cloche.history import TimeMs
from cloche.history.values import decode, encode_plain
from cloche.operations.signing import check_heads, new_key, sign_heads
from cloche.store import MemoryStore

AT = TimeMs(1_760_000_000_000)
PRIVATE, PUBLIC = new_key()


def store_of(*runs: str) -> tuple[MemoryStore, list[Log]]:
    store, logs = MemoryStore(), []
    for run in runs:
        log, append = begun(run)
        store.commit([append])
        logs.append(log)
    return store, logs


def problems(store: MemoryStore, signed: bytes) -> list[str]:
    return [finding.problem for finding in check_heads(store, signed, PUBLIC)]


def test_what_is_as_it_was_signed_is_well() -> None:
    store, _ = store_of("b", "a")
    assert problems(store, sign_heads(store, PRIVATE, AT)) == []


def test_the_same_store_gives_the_same_statement() -> None:
    store, _ = store_of("b", "a")
    assert sign_heads(store, PRIVATE, AT) == sign_heads(store, PRIVATE, AT)


def test_a_run_that_is_gone_or_another_one_is_named() -> None:
    store, _ = store_of("a", "b")
    signed = sign_heads(store, PRIVATE, AT)
    del store._data.rows[key("a")]
    assert problems(store, signed) == ["run a had 2 records when the heads were signed, and is not there"]
    other, _ = store_of("a", "b")
    records = other._data.records[key("b")]
    records[1] = other._data.records[key("a")][1]
    assert problems(other, signed) == ["record 2 of run b is another one than when the heads were signed"]


def test_heads_of_another_key_or_changed_ones_are_refused() -> None:
    store, _ = store_of("a")
    signed = sign_heads(store, PRIVATE, AT)
    _, stranger = new_key()
    with pytest.raises(ForeignFile, match="not signed with that key"):
        list(check_heads(store, signed, stranger))
    for place in range(len(signed)):
        changed = bytearray(signed)
        changed[place] ^= 1
        if bytes(decode(signed)[2]) in bytes(changed):  # the key that came along is for people
            with pytest.raises(ForeignFile):
                list(check_heads(store, bytes(changed), PUBLIC))


@pytest.mark.parametrize("data", [b"", b"no heads", encode_plain([1, 2]), encode_plain([b"", b"", b""])])
def test_what_is_no_statement_is_refused(data: bytes) -> None:
    with pytest.raises(ForeignFile):
        list(check_heads(MemoryStore(), data, PUBLIC))


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", PUBLIC])
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(UsageError):
        sign_heads(MemoryStore(), pem, AT)


def test_without_the_optional_part_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(UsageError, match=r"cloche\[sign\]"):
        sign_heads(MemoryStore(), PRIVATE, AT)


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
