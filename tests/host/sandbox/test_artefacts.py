"""The cache of compiled guests is native code: only what this user wrote there is loaded, and nothing depends on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from cloche.sandbox.artefacts import cache_directory, compiled
from cloche.sandbox.engine import engine

WASM = bytes(wasmtime.wat2wasm('(module (func (export "answer") (result i32) (i32.const 42)))'))
OTHER = bytes(wasmtime.wat2wasm('(module (func (export "answer") (result i32) (i32.const 666)))'))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "cache"
    monkeypatch.setenv("CLOCHE_CACHE", str(directory))
    return directory


def answer(module: wasmtime.Module) -> int:
    store = wasmtime.Store(engine().wasm)
    store.set_fuel(1000)
    store.set_epoch_deadline(1000)
    function = wasmtime.Instance(store, module, []).exports(store)["answer"]
    assert isinstance(function, wasmtime.Func)
    return int(function(store))


def only(cache: Path) -> Path:
    [file] = cache.glob("*.cwasm")
    return file


def test_a_guest_is_compiled_once_and_kept_privately(cache: Path) -> None:
    assert answer(compiled("one", WASM)) == 42
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in (cache, cache / "key", only(cache))} == {
        "cache": "0o700",
        "key": "0o600",
        only(cache).name: "0o600",
    }
    before = only(cache).read_bytes()
    assert answer(compiled("one", b"would not compile, and need not")) == 42
    assert only(cache).read_bytes() == before


def test_its_name_holds_all_that_it_depends_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled("one", WASM)
    compiled("two", OTHER)
    monkeypatch.setattr("cloche.sandbox.engine.version", lambda _: "99.0.0")
    compiled("one", WASM)
    assert len(list(cache.glob("*.cwasm"))) == 3


@pytest.mark.parametrize("damage", ["first byte", "last byte", "cut short", "empty", "without its MAC", "another's"])
def test_a_file_that_is_not_what_was_written_is_replaced(cache: Path, damage: str) -> None:
    compiled("one", WASM)
    good = only(cache).read_bytes()
    compiled("two", OTHER)
    files = {file: file.read_bytes() for file in cache.glob("*.cwasm")}
    [victim], [stranger] = [f for f in files if files[f] == good], [f for f in files if files[f] != good]
    bad = {
        "first byte": bytes([good[0] ^ 1]) + good[1:],
        "last byte": good[:-1] + bytes([good[-1] ^ 1]),
        "cut short": good[: len(good) // 2],
        "empty": b"",
        "without its MAC": bytes(engine_bytes()),
        "another's": files[stranger],
    }[damage]
    victim.write_bytes(bad)
    assert answer(compiled("one", WASM)) == 42
    assert victim.read_bytes() == good


def engine_bytes() -> bytes:
    """A valid artefact of somebody else's module, as an attacker would leave it."""
    return bytes(wasmtime.Module(engine().wasm, OTHER).serialize())


def test_a_lost_key_means_compiling_anew(cache: Path) -> None:
    compiled("one", WASM)
    before = only(cache).read_bytes()
    (cache / "key").unlink()
    assert answer(compiled("one", WASM)) == 42
    assert only(cache).read_bytes() != before


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_not_used(cache: Path, mode: int) -> None:
    cache.mkdir()
    cache.chmod(mode)
    assert answer(compiled("one", WASM)) == 42
    assert list(cache.iterdir()) == []


def test_a_directory_of_somebody_else_is_not_used(cache: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    cache.mkdir(mode=0o700)
    os.chown(cache, 12345, 12345)
    assert answer(compiled("one", WASM)) == 42
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    "obstacle", ["cache is a file", "key is a directory", "key is short", "artefact is a directory"]
)
def test_a_cache_that_cannot_be_used_is_done_without(cache: Path, obstacle: str) -> None:
    if obstacle == "cache is a file":
        cache.write_text("")
    else:
        compiled("one", WASM)
        victim = only(cache) if obstacle.startswith("artefact") else cache / "key"
        victim.unlink()
        if obstacle == "key is short":
            victim.write_bytes(b"short")
        else:
            victim.mkdir()
    assert answer(compiled("one", WASM)) == 42


def test_the_place_is_the_user_s_own_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOCHE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_directory() == Path("/x/cloche")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/h")
    assert cache_directory() == Path("/h/.cache/cloche")
    monkeypatch.setenv("CLOCHE_CACHE", "/c")
    assert cache_directory() == Path("/c")


def test_processes_that_race_all_have_their_guest(cache: Path) -> None:
    script = f"from cloche.sandbox.artefacts import compiled; compiled('one', {WASM!r}); print('ok')"
    racers = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [racer.communicate(timeout=60)[0] for racer in racers] == ["ok\n"] * 4
    assert sorted(file.suffix for file in cache.iterdir()) == ["", ".cwasm"]
    assert answer(compiled("one", b"")) == 42
