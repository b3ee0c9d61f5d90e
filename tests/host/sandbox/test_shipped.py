"""The package `cloche-compiled`: guests as native code, loaded only where all is as it was when they were made."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloche_guest
from cloche.sandbox import artefacts, engine, is_compiled, shipped


@pytest.fixture(scope="module")
def made() -> tuple[str, str, bytes]:
    guest = cloche_guest.ensure_guest("javascript")
    return shipped.made(guest.digest, guest.wasm)


@pytest.fixture
def package(made: tuple[str, str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As it is installed, and a user who has run nothing yet."""
    name, digest, packed = made
    folder = tmp_path / "site" / "cloche_compiled"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "artefacts.py").write_text(f"DIGESTS = {{{name!r}: {digest!r}}}\n")
    (folder / f"{name}.cwasm.zst").write_bytes(packed)
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setenv("CLOCHE_CACHE", str(tmp_path / "cache"))
    yield folder
    for module in ("cloche_compiled", "cloche_compiled.artefacts"):
        sys.modules.pop(module, None)


def test_a_guest_that_was_shipped_is_not_compiled(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    guest = cloche_guest.ensure_guest("javascript")
    assert is_compiled(guest.digest)
    with caplog.at_level(logging.INFO, "cloche.sandbox"):
        module = artefacts.compiled(guest.digest, guest.wasm)
    assert caplog.messages == []
    assert {export.name for export in module.exports} >= {"memory", "turn"}


@pytest.mark.parametrize("where", [10, -10])
def test_one_that_is_not_what_the_package_says_is_compiled(
    package: Path, where: int, caplog: pytest.LogCaptureFixture
) -> None:
    [file] = package.glob("*.zst")
    packed = bytearray(file.read_bytes())
    packed[where] ^= 1
    file.write_bytes(packed)
    guest = cloche_guest.ensure_guest("javascript")
    with caplog.at_level(logging.INFO, "cloche.sandbox"):
        artefacts.compiled(guest.digest, guest.wasm)
    assert caplog.messages[0].startswith(f"{file} is not ")
    assert caplog.messages[1].startswith("compiling guest ")


def test_native_code_that_is_not_its_own_is_never_loaded(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, and packed well: but not what the source of the package says."""
    (package / "artefacts.py").write_text(f"DIGESTS = {{{next(package.glob('*.zst')).name[:40]!r}: {'0' * 64!r}}}\n")
    guest = cloche_guest.ensure_guest("javascript")
    loaded: list[bytes] = []
    monkeypatch.setattr("wasmtime.Module.deserialize", lambda _, artefact: loaded.append(artefact))
    assert shipped.shipped(engine.artefact_name(guest.digest)) is None
    assert loaded == []


def test_whatever_differs_is_compiled(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = cloche_guest.ensure_guest("javascript")
    assert not is_compiled("another guest")
    for part, other in (("version", lambda _: "50.0.2"), ("_SETTINGS", "fuel,stack=7")):
        with monkeypatch.context() as changed:
            changed.setattr(engine, part, other)
            assert not is_compiled(guest.digest)
    assert is_compiled(guest.digest)


def test_without_the_package_nothing_is_asked_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCHE_CACHE", str(tmp_path / "cache"))
    guest = cloche_guest.ensure_guest("javascript")
    assert not is_compiled(guest.digest)
    assert shipped.shipped(engine.artefact_name(guest.digest)) is None
