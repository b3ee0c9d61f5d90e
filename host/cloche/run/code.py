"""What a run is pinned to: made from a workflow, and read back from the store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from cloche.engines import CellSource, Code, bundle_of, pinned_guest
from cloche.errors import GuestUnavailable, HistoryError
from cloche.store import Store, blob_digest
from cloche.tenancy.cache import TenantCache

if TYPE_CHECKING:
    from cloche_codegen import Workflow


KNOWN_BYTES_MAX = 64 << 20
_known: TenantCache[str, Code] = TenantCache(KNOWN_BYTES_MAX)  # by digest, which says all that is in it


def code_of(workflow: Workflow, engine: CellSource) -> Code:
    """What a run of `workflow` that begins now is pinned to."""
    return bundle_of(workflow, *pinned_guest(engine, workflow.language))


async def load_code(store: Store, digest: str) -> Code:
    """The code a run is pinned to.

    Raises:
        HistoryError: the store has lost it.
    """
    packed = await store.blob(digest)
    if packed is None or blob_digest(packed) != digest:
        raise HistoryError(f"the code {digest[:12]} of this run is not in the store, or is damaged", digest=digest)
    return Code.unpack(packed)


async def known_code(store: Store, digest: str) -> Code:
    """As `load_code`, without asking the store for what was read before, of whichever store: many runs share their code."""
    code = _known.get(digest)
    if code is None:
        code = await load_code(store, digest)
        _known.put(digest, code, len(code.source) + len(code.graph), code.owner)
    return code


async def load_guest(store: Store, digest: str) -> bytes:
    """The guest a run is pinned to; as `load_code`."""
    return _checked(await store.blob(digest), digest)


async def guest_of(store: Store, engine: CellSource, code: Code) -> Callable[[], bytes]:
    """What gives an engine the guest of `code`, in any thread: it is read from the store now, unless the engine has it.

    Raises (what comes back):
        HistoryError: the store has lost it.
    """
    with suppress(GuestUnavailable):
        digest, wasm = engine.guest(code.language)
        if digest == code.guest:
            return lambda: wasm
    stored = await store.blob(code.guest)
    return lambda: _checked(stored, code.guest)


def _checked(wasm: bytes | None, digest: str) -> bytes:
    if wasm is None or blob_digest(wasm) != digest:
        raise HistoryError(f"the guest {digest[:12]} of this run is not in the store, or is damaged", digest=digest)
    return wasm
