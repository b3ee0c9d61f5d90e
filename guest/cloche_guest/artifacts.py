"""Built guests: found where a release ships them, built from a checkout when their sources have changed.

`cloche_guest/built/` holds one file for each guest, `<language>-<content key>.wasm`, and beside it the licences of what it
contains. In a checkout the key must be that of
the sources beside this package; without sources (an installed release) the one file there is the guest. Files appear
whole, by rename, and one build runs at a time.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from cloche_guest.abi import GuestMissing
from cloche_guest.build import Progress, Sources, build

Language = Literal["javascript"]
_PACKAGE = Path(__file__).resolve().parent
BUILT = _PACKAGE / "built"
SOURCES = Sources(_PACKAGE.parent / "js")


@dataclass(frozen=True)
class Guest:
    """A built guest: `digest` is the BLAKE2b-256 of its wasm in hex, the name that runs pin."""

    language: Language
    digest: str
    path: Path

    @cached_property
    def wasm(self) -> bytes:
        return self.path.read_bytes()


def ensure_guest(language: Language = "javascript", progress: Progress | None = None) -> Guest:
    """The guest for `language`; built first (25 s) if this is a checkout whose sources it does not match.

    `progress` is given a line for each part of a build.

    Raises:
        GuestMissing: a release without guests, and no sources: install another wheel, or work from a checkout.
        BuildFailed: the build needs a compiler, a download or a mended source; the message says which.
    """
    if not SOURCES.pin.exists():
        return _shipped(language)
    file = BUILT / f"{language}-{SOURCES.key()[:16]}.wasm"
    if not file.exists():
        with _one_build():
            if not file.exists():  # another process may have built it while this one waited
                built = build(SOURCES, _cache_directory(), progress or _silent)
                _write(file.with_suffix(".licences.txt"), built.licences.encode())
                _write(file, built.wasm)
                _prune(language, file)
    return _guest(language, file)


def _shipped(language: Language) -> Guest:
    files = sorted(BUILT.glob(f"{language}-*.wasm"))
    if not files:
        raise GuestMissing(f"this installation has no {language} guest: install a release, or build in a checkout")
    return _guest(language, files[0])


def _guest(language: Language, file: Path) -> Guest:
    return Guest(language, blake2b(file.read_bytes(), digest_size=32).hexdigest(), file)


def _cache_directory() -> Path:
    """`CLOCHE_CACHE`, or `cloche` in the user's cache directory (XDG_CACHE_HOME, else ~/.cache)."""
    if named := os.environ.get("CLOCHE_CACHE"):
        return Path(named) / "guest"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloche" / "guest"


@contextmanager
def _one_build() -> Iterator[None]:
    BUILT.mkdir(exist_ok=True)
    with open(BUILT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(file: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
    with os.fdopen(handle, "wb") as out:
        out.write(data)
    os.chmod(name, 0o644)
    os.replace(name, file)


def _prune(language: Language, newest: Path) -> None:
    for file in BUILT.glob(f"{language}-*.*"):
        if not file.name.startswith(newest.stem):
            file.unlink(missing_ok=True)


def _silent(_: str) -> None:
    pass
