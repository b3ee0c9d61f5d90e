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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cloche_guest.abi import GuestMissing
from cloche_guest.build import Sources, build
from cloche_guest.build_compiler import CompilerSources, build_compiler
from cloche_guest.build_python import PythonSources, build_python
from cloche_guest.tools import Built, Progress
from cloche_guest.wasm import bytes_at, constant_of

Language = Literal["javascript", "python"]
_PACKAGE = Path(__file__).resolve().parent
BUILT = _PACKAGE / "built"
SOURCES = Sources(_PACKAGE.parent / "js")
PYTHON_SOURCES = PythonSources(_PACKAGE.parent / "python")
COMPILER_SOURCES = CompilerSources(_PACKAGE.parent / "js" / "compiler")


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
    """The guest for `language`; in a checkout whose sources it does not match it is built first (25 s, Python's 60 s).

    `progress` is given a line for each part of a build.

    Raises:
        GuestMissing: a release without this guest, and no sources: install another wheel, or work from a checkout.
        BuildFailed: the build needs a compiler, a download or a mended source; the message says which.
    """
    sources = SOURCES if language == "javascript" else PYTHON_SOURCES
    if not sources.pin.exists():
        return _guest(language, _shipped(language))
    file = BUILT / f"{language}-{sources.key()[:16]}.wasm"
    if not file.exists():
        with _one_build():
            if not file.exists():  # another process may have built it while this one waited
                built = _build(language, progress or _silent)
                _write(file.with_suffix(".licences.txt"), built.licences.encode())
                _write(file, built.wasm)
                _prune(language, file)
    return _guest(language, file)


def ensure_compiler(progress: Progress | None = None) -> Path:
    """The compiler of "use workflow" code: a JavaScript module for the JavaScript guest. In a checkout it is built first.

    Raises:
        GuestMissing: a release without it, and no sources.
        BuildFailed: its parsers cannot be downloaded from npm, or are not those that are pinned.
    """
    if not COMPILER_SOURCES.pin.exists():
        if files := sorted(BUILT.glob("compiler-*.js")):
            return files[0]
        raise GuestMissing("this installation has no compiler of TypeScript: install a release of cloche, or build it")
    file = BUILT / f"compiler-{COMPILER_SOURCES.key()[:16]}.js"
    if not file.exists():
        with _one_build():
            if not file.exists():
                built = build_compiler(COMPILER_SOURCES, PYTHON_SOURCES, _cache_directory(), progress or _silent)
                _write(file.with_suffix(".licences.txt"), built.licences.encode())
                _write(file, built.source.encode())
                _prune("compiler", file)
    return file


def derive_python(
    packages: Sequence[Path], file: Path, progress: Progress | None = None, imports: Sequence[str] = ()
) -> Guest:
    """Write a Python guest with these pure-Python packages inside to `file`. Needs a checkout.

    A package is its folder with what lies in it, a module its `.py`; a folder `NAME-VERSION.dist-info` is what
    `importlib.metadata` then finds. Modules named in `imports` are imported here, once, and by no cell.

    Its licences are those of the Python guest and of the packages.

    Raises:
        BuildFailed: a folder is no package, or the build failed.
    """
    _write(file, build_python(PYTHON_SOURCES, _cache_directory(), progress or _silent, packages, imports).wasm)
    return _guest("python", file)


def abi_of(wasm: bytes) -> int:
    """The version of the boundary that a guest speaks, from its layout; nothing is run. About 50 ms for the Python guest.

    Raises:
        MalformedModule: it is no guest that was baked here.
    """
    return int.from_bytes(bytes_at(wasm, constant_of(wasm, "layout"), 4), "little")


def find_guest(language: Language) -> Guest | None:
    """The guest for `language` if it is here and need not be built."""
    sources = SOURCES if language == "javascript" else PYTHON_SOURCES
    if sources.pin.exists():
        file = BUILT / f"{language}-{sources.key()[:16]}.wasm"
        return _guest(language, file) if file.exists() else None
    try:
        return _guest(language, _shipped(language))
    except GuestMissing:
        return None


def _build(language: Language, progress: Progress) -> Built:
    if language == "javascript":
        return build(SOURCES, _cache_directory(), progress)
    return build_python(PYTHON_SOURCES, _cache_directory(), progress)


def _shipped(language: Language) -> Path:
    """Beside this module, or in the wheel that brings the Python guest alone."""
    folders = [BUILT]
    if found := find_spec(f"cloche_{language}"):
        folders += [Path(folder) for folder in found.submodule_search_locations or ()]
    for folder in folders:
        if files := sorted(folder.glob(f"{language}-*.wasm")):
            return files[0]
    extra = "cloche[python]" if language == "python" else "a release of cloche"
    raise GuestMissing(f"this installation has no {language} guest: install {extra}, or build in a checkout")


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


def _prune(what: str, newest: Path) -> None:
    for file in BUILT.glob(f"{what}-*.*"):
        if not file.name.startswith(newest.stem):
            file.unlink(missing_ok=True)


def _silent(_: str) -> None:
    pass
