"""Building and baking: the same sources give the same bytes, and what is found is whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche_guest import BuildFailed, GuestMissing, MalformedModule, artifacts, ensure_guest, parse_layout, wasm
from cloche_guest.bake import Script, bake
from cloche_guest.build import Sources, build


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def cache() -> Path:
    return artifacts._cache_directory()


def test_two_builds_give_the_same_bytes(cache: Path) -> None:
    assert build(artifacts.SOURCES, cache, quiet).wasm == ensure_guest().wasm


def test_a_build_from_another_folder_and_cache_of_objects_gives_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    for name in ("js", "common"):
        shutil.copytree(artifacts.SOURCES.root.parent / name, copy / name)
    other = tmp_path / "cache"
    other.mkdir()
    for kept in cache.iterdir():  # what takes long, or a download, is shared; our own files are compiled again
        if kept.name == "zig" or kept.stem.split("-")[0] in ("quickjs", "libregexp", "libunicode", "dtoa"):
            os.symlink(kept, other / kept.name)

    assert build(Sources(copy / "js"), other, quiet).wasm == ensure_guest().wasm


def test_no_path_of_this_machine_is_in_the_guest() -> None:
    guest = ensure_guest().wasm

    assert str(Path.home()).encode() not in guest or Path.home() == Path("/")
    assert str(artifacts.SOURCES.root).encode() not in guest
    assert b"quickjs.c" not in guest


def test_the_key_follows_every_source(tmp_path: Path) -> None:
    root = tmp_path / "js"
    (root / "src").mkdir(parents=True)
    (root / "prelude").mkdir()
    (root / "engine").mkdir()
    files = [
        "requirements.txt",
        "weights.txt",
        "zones.txt",
        "engine/names.c",
        "src/a.c",
        "src/a.h",
        "prelude/globals.js",
        "prelude/b.js",
        "prelude/freeze.js",
    ]
    for name in files:
        (root / name).write_text("1")
    keys = {Sources(root).key()}
    for name in files:
        (root / name).write_text("2")
        keys.add(Sources(root).key())

    assert len(keys) == len(files) + 1


def test_prelude_files_run_in_order() -> None:
    names = [file.name for file in artifacts.SOURCES.prelude]

    assert (names[0], names[-1]) == ("globals.js", "freeze.js")
    at_once = [file.name for file in artifacts.SOURCES.prelude[1:-1] if file.parent.name != "later"]
    assert names[1 : len(at_once) + 1] == at_once == sorted(at_once)
    assert names[len(at_once) + 1 : -1] == sorted(names[len(at_once) + 1 : -1])


def test_the_digest_is_that_of_the_wasm() -> None:
    from hashlib import blake2b

    guest = ensure_guest("javascript")

    assert guest.digest == blake2b(guest.wasm, digest_size=32).hexdigest()
    assert guest.language == "javascript"


def test_an_installation_without_sources_uses_the_guest_it_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "built"
    shipped.mkdir()
    (shipped / "javascript-0123456789abcdef.wasm").write_bytes(ensure_guest().wasm)
    digest = ensure_guest().digest
    monkeypatch.setattr(artifacts, "SOURCES", Sources(tmp_path / "nothing"))
    monkeypatch.setattr(artifacts, "BUILT", shipped)

    assert ensure_guest().digest == digest


def test_an_installation_without_guests_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "SOURCES", Sources(tmp_path / "nothing"))
    monkeypatch.setattr(artifacts, "BUILT", tmp_path)

    with pytest.raises(GuestMissing, match="no javascript guest"):
        ensure_guest()


def test_a_build_appears_whole_and_older_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "javascript-old.wasm").write_bytes(b"old")
    (tmp_path / "python-other.wasm").write_bytes(b"kept")
    monkeypatch.setattr(artifacts, "BUILT", tmp_path)

    guest = ensure_guest()

    licences = guest.path.with_suffix(".licences.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", licences.name, guest.path.name, "python-other.wasm"]
    assert {"QuickJS-NG", "wasi-libc", "musl", "tzdata"} == set(
        re.findall(r"^==== (.*) ====$", licences.read_text(), re.M)
    )
    assert "Permission is hereby granted" in licences.read_text()


def test_a_missing_weight_target_fails_the_build_by_name(cache: Path, tmp_path: Path) -> None:
    from cloche_guest.engine import _weight

    (tmp_path / "a.c").write_text("static int f(int a)\n{\n    return a;\n}\n")
    weights = tmp_path / "weights.txt"
    weights.write_text("# comment\n\na.c f 64\n")
    _weight(tmp_path, weights)
    assert "char stack_weight[64]" in (tmp_path / "a.c").read_text()

    weights.write_text("a.c g 64\n")
    with pytest.raises(BuildFailed, match=r"a\.c has 0 definitions of g"):
        _weight(tmp_path, weights)


def test_an_edit_that_fits_no_more_fails_the_build_by_name(tmp_path: Path) -> None:
    from cloche_guest.engine import _edit

    (tmp_path / "quickjs.c").write_text("typedef struct JSFunctionDef {\n")
    (tmp_path / "names.c").touch()
    with pytest.raises(BuildFailed, match=r"quickjs\.c has 0 places like .* is the pin another version"):
        _edit(tmp_path / "quickjs.c", tmp_path / "names.c")


def test_the_command_prints_what_there_is() -> None:
    done = subprocess.run([sys.executable, "-m", "cloche_guest", "--json"], capture_output=True, text=True, check=True)

    facts = json.loads(done.stdout)
    assert facts["digest"] == ensure_guest().digest
    assert facts["bytes"] == len(ensure_guest().wasm)


# ---- modules ---------------------------------------------------------------------------------------------------------


def test_a_module_survives_being_read_and_written() -> None:
    guest = ensure_guest().wasm

    assert wasm.write_sections(wasm.read_sections(guest)) == guest


@pytest.mark.parametrize(
    "data", [b"", b"\0asm\2\0\0\0", b"\0asm\1\0\0\0\1", b"\0asm\1\0\0\0\1\5ab", b"\0asm\1\0\0\0\1\xff\xff"]
)
def test_what_is_no_module_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedModule):
        wasm.read_sections(data)


@given(st.integers(0, 2**32))
def test_unsigned_numbers_come_back(value: int) -> None:
    assert wasm.read_unsigned(b"\xff" + wasm.unsigned(value), 1) == (value, 1 + len(wasm.unsigned(value)))


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "00"), (63, "3f"), (64, "c000"), (-1, "7f"), (-65, "bf7f"), (624485, "e58e26")]
)
def test_signed_numbers_have_their_encoding(value: int, encoded: str) -> None:
    assert wasm.signed(value).hex() == encoded


def test_a_module_with_imports_is_not_baked() -> None:
    imports = wasm.Section(wasm.IMPORT, b"\1\1a\1b\3\x7f\0")

    with pytest.raises(MalformedModule, match="imports"):
        bake(wasm.write_sections([imports]), [Script("a.js", "() => 1")])


@pytest.mark.parametrize("data", [b"", bytes(28), bytes(27)])
def test_a_layout_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedModule):
        parse_layout(data)
