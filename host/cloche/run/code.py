"""What a run is pinned to: made from a workflow, and read back from the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.engines import CellSource, Code, bundle_of, pinned_guest
from cloche.errors import HistoryError
from cloche.store import Store, blob_digest

if TYPE_CHECKING:
    from cloche_codegen import Workflow


def code_of(workflow: Workflow, engine: CellSource) -> Code:
    """What a run of `workflow` that begins now is pinned to."""
    return bundle_of(workflow, *pinned_guest(engine, workflow.language))


def load_code(store: Store, digest: str) -> Code:
    """The code a run is pinned to.

    Raises:
        HistoryError: the store has lost it.
    """
    packed = store.blob(digest)
    if packed is None or blob_digest(packed) != digest:
        raise HistoryError(f"the code {digest[:12]} of this run is not in the store, or is damaged", digest=digest)
    return Code.unpack(packed)


def load_guest(store: Store, digest: str) -> bytes:
    """The guest a run is pinned to; as `load_code`."""
    wasm = store.blob(digest)
    if wasm is None or blob_digest(wasm) != digest:
        raise HistoryError(f"the guest {digest[:12]} of this run is not in the store, or is damaged", digest=digest)
    return wasm
