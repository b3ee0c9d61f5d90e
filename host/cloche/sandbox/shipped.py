"""Guests that were compiled before they were installed: the package `cloche-compiled`, where it is there.

What it brings is native code, trusted as all installed code is: pip compares the hash of the wheel, and the wheel names the
digest of each artefact in its source, which is compared here before anything is loaded. An artefact is for one guest, one
wasmtime and one set of engine settings: its name holds them, so that whatever differs is compiled on the machine as ever.
"""

from __future__ import annotations

import hmac
import importlib
import logging
import sys
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import wasmtime

from cloche.sandbox.engine import GlassEngine, artefact_name, engine
from cloche.sandbox.wasmtime_calls import deserialized

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

TARGET = "x86_64-unknown-linux-gnu"  # any processor of the kind: nothing that only newer ones have
BYTES_MAX = 256 << 20  # of one artefact, unpacked
_PACKAGE = "cloche_compiled"
_LEVEL = 12  # 2 s; 19 takes 20, for 9 % less

log = logging.getLogger("cloche.sandbox")


def is_shipped(name: str) -> bool:
    """Whether the artefact of this name is installed."""
    return name in _digests()


def shipped(name: str) -> wasmtime.Module | None:
    """The module of the artefact of this name; None if it is not there, not what its package says, or not for this machine."""
    expected = _digests().get(name)
    if expected is None:
        return None
    file = _folder() / f"{name}.cwasm.zst"
    try:
        artefact = zstd.ZstdDecompressor().decompress(file.read_bytes(), max_length=BYTES_MAX)
        if hmac.compare_digest(_digest(artefact), expected):
            return deserialized(engine().wasm, artefact)
        log.warning("%s is not what its package says: reinstall cloche-compiled; the guest is compiled here", file)
    except (OSError, zstd.ZstdError, wasmtime.WasmtimeError) as error:
        log.warning("%s is not used, and the guest is compiled here: %s", file, error)
    return None


def made(digest: str, guest_wasm: bytes) -> tuple[str, str, bytes]:
    """What the package has of a guest: the artefact's name, its digest, and its bytes, packed. Takes up to a minute."""
    artefact = bytes(wasmtime.Module(GlassEngine(TARGET).wasm, guest_wasm).serialize())
    return artefact_name(digest), _digest(artefact), zstd.compress(artefact, _LEVEL)


def _digests() -> dict[str, str]:
    found: Any = importlib.import_module(f"{_PACKAGE}.artefacts") if find_spec(_PACKAGE) else None
    return {} if found is None else found.DIGESTS


def _folder() -> Path:
    return Path(importlib.import_module(_PACKAGE).__path__[0])


def _digest(artefact: bytes) -> str:
    return blake2b(artefact, digest_size=32).hexdigest()
