"""The shape of the code that a run is pinned to: steps, branches and loops, for pages that draw its graph.

Code of the host's own is read here, in a thread. What a tenant has brought is read where `deploy` reads it: in a process of its
tenant, behind the same bounds. Either is kept by the digest of the code.
"""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.errors import CellLost, GuestUnavailable
from cloche.history import TenantId
from cloche.run.code import load_code
from cloche.sandbox.process.readers import Readers
from cloche.tenancy.beside import beside
from cloche.tenancy.cache import TenantCache
from cloche_codegen.shape_data import NOTHING, shape_data

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.operations.shown_code import ShownCode
    from cloche.store import Store

KEPT_BYTES_MAX = 32 << 20
_kept: TenantCache[str, dict[str, Any]] = TenantCache(KEPT_BYTES_MAX)


async def shape_of(store: Store, digest: str) -> dict[str, Any]:
    """As `shape_data`, of the code with this digest, with its `language`.

    Raises:
        HistoryError: the store has lost it.
    """
    found = _kept.get(digest)
    if found is None:
        code = await load_code(store, digest)
        found = await beside(TenantId(code.owner), partial(_read, code))
        _kept.put(digest, found, 4 * len(code.source) + 4 * len(code.graph), code.owner)
    return found


async def shape_of_shown(store: Store, shown: ShownCode) -> dict[str, Any]:
    """The same of code that is shown: of a workflow of this process, before any run has it, too."""
    if shown.digest is not None:
        return await shape_of(store, shown.digest)
    language, source = next(iter(shown.sources.items()))
    own = TenantId("")  # code of the host's own, as a run of it has it
    return {"language": language, **await beside(own, partial(shape_data, language, shown.graph, source.code))}


def _read(code: Code) -> dict[str, Any]:
    found = _of_tenant(code) if code.owner else shape_data(code.language, code.graph, code.source)
    return {"language": code.language, **found}


def _of_tenant(code: Code) -> dict[str, Any]:
    """A text that takes more than it may has no shape: its run is shown by its calls."""
    with closing(Readers(1, has_spare=False)) as readers:
        try:
            text = readers.shape(TenantId(code.owner), code.language, code.graph, code.source)
            found: dict[str, Any] = json.loads(text)
        except (CellLost, GuestUnavailable, ValueError, RecursionError):
            return NOTHING
    return found
