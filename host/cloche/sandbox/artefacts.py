"""Compiled guests, kept per user: an artefact is native code, so nothing is loaded that this user did not write, or install.

The directory is private (0700), each file carries a MAC under a key in it, and its name holds everything it depends on:
guest digest, wasmtime version, engine settings. A file that does not verify is thrown away and made anew. Processes
that race compile twice at worst: files appear whole, by rename.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import stat
import tempfile
import time
from contextlib import suppress
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path

import wasmtime

from cloche.sandbox.engine import artefact_name, engine
from cloche.sandbox.shipped import is_shipped, shipped
from cloche.sandbox.wasmtime_calls import copied, deserialized, serialized

_MAC_BYTES = 32
UNUSED_S_MAX = 30 * 86_400

log = logging.getLogger("cloche.sandbox")


def cache_directory() -> Path:
    """`CLOCHE_CACHE`, or `cloche` in the user's cache directory (XDG_CACHE_HOME, else ~/.cache)."""
    if named := os.environ.get("CLOCHE_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloche"


@cache
def secret() -> bytes:
    """32 bytes that only this user's processes on this machine know; only this process, where nothing can be kept."""
    try:
        return _key(_private(cache_directory()))
    except OSError:
        return secrets.token_bytes(32)


def compiled(digest: str, guest_wasm: bytes) -> wasmtime.Module:
    """The module of a guest: from the cache in a few milliseconds, else compiled in one to seven seconds and kept.

    Raises:
        WasmtimeError: the wasm is not a module that this engine takes.
    """
    try:
        directory = private_directory()
        key = _key(directory)
    except OSError:  # no home, read-only disk: cloche works, and compiles in each process
        return _compile(digest, guest_wasm)
    file = directory / f"{artefact_name(digest)}.cwasm"
    if module := _load(file, key):
        return module
    module = _compile(digest, guest_wasm)
    with serialized(module) as artefact, suppress(OSError):  # a full or read-only disk: the next process compiles again
        _write(file, _mac(key, file.name, artefact), artefact)
        _prune(directory)
    return module


def is_compiled(digest: str) -> bool:
    """Whether the cache or `cloche-compiled` has this guest's module for this engine, so that `compiled` takes milliseconds."""
    name = artefact_name(digest)
    return (cache_directory() / f"{name}.cwasm").exists() or is_shipped(name)


@lru_cache(2)
def artefact(digest: str, guest_wasm: bytes) -> bytes:
    """The compiled guest as bytes, for another process of this engine: what `wasmtime` deserializes there."""
    with serialized(compiled(digest, guest_wasm)) as view:
        return copied(view)


def loaded(_: str, artefact: bytes) -> wasmtime.Module:
    """The module of an artefact that the host has handed to this process. It is native code: none from elsewhere is loaded."""
    return deserialized(engine().wasm, artefact)


def _compile(digest: str, guest_wasm: bytes) -> wasmtime.Module:
    if module := shipped(artefact_name(digest)):
        return module
    log.info("compiling guest %s (%d MB), once on this machine …", digest[:12], len(guest_wasm) >> 20)
    begun = time.monotonic()
    module = wasmtime.Module(engine().wasm, guest_wasm)
    log.info("guest %s is compiled: %.1f s", digest[:12], time.monotonic() - begun)
    return module


def private_directory() -> Path:
    """The cache directory.

    Raises:
        OSError: there is none that is this user's alone.
    """
    return _private(cache_directory())


def _private(directory: Path) -> Path:
    """The directory, made if need be. One that others may write to, or that is not ours, is not used."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = directory.stat()
    if info.st_uid != os.getuid() or stat.S_IMODE(info.st_mode) & 0o022:
        raise PermissionError(f"{directory} is not this user's alone")
    return directory


def _key(directory: Path) -> bytes:
    file = directory / "key"
    if not file.exists():
        _write(file, secrets.token_bytes(32), replace=False)
    key = file.read_bytes()
    if len(key) != 32:
        raise PermissionError(f"{file} is not a key")
    return key


def _load(file: Path, key: bytes) -> wasmtime.Module | None:
    try:
        data = file.read_bytes()
    except OSError:
        return None
    try:
        if hmac.compare_digest(data[:_MAC_BYTES], _mac(key, file.name, memoryview(data)[_MAC_BYTES:])):
            module = deserialized(engine().wasm, data, _MAC_BYTES)
            with suppress(OSError):
                file.touch()  # it is in use: see `_prune`
            return module
    except wasmtime.WasmtimeError:
        pass
    log.warning("%s is not what this user's cloche wrote there, and was thrown away; it is compiled anew", file)
    with suppress(OSError):
        file.unlink()
    return None


def _prune(directory: Path) -> None:
    """Forget artefacts that no process has loaded for a month: of old guests, old wasmtimes."""
    for file in directory.glob("*.cwasm"):
        with suppress(OSError):  # another process may have been faster
            if time.time() - file.stat().st_mtime > UNUSED_S_MAX:
                file.unlink()


def _mac(key: bytes, name: str, artefact: memoryview) -> bytes:
    mac = blake2b(name.encode() + b"\0", key=key, digest_size=_MAC_BYTES)
    mac.update(artefact)  # 50 MB, which are not copied for it: whoever copies has the interpreter to itself
    return mac.digest()


def _write(file: Path, *parts: bytes | memoryview, replace: bool = True) -> None:
    """`parts` as a whole file or not at all; without `replace` the first of two racing writers wins."""
    handle, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            for part in parts:
                out.write(part)
        if replace:
            os.replace(name, file)
        else:
            os.link(name, file)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink(missing_ok=True)
