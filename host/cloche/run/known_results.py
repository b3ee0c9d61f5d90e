"""Results of long runs that have ended, kept: their records are not read and folded again for whoever asks again."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from cloche.history import RunKey
from cloche.run.code import known_code
from cloche.run.results import RunResult, fold, outline_of
from cloche.status import FINAL
from cloche.store.pages import FIRST_PAGE_RECORDS
from cloche.tenancy.beside import beside
from cloche.tenancy.cache import TenantCache

if TYPE_CHECKING:
    from cloche.store import RunRow, Store

KEPT_BYTES_MAX = 32 << 20

# The hash of a run's last record says all records before it; its code by digest has the places that failures name.
_Known: TypeAlias = tuple[RunKey, bytes, str, str]
_kept: TenantCache[_Known, bytes] = TenantCache(KEPT_BYTES_MAX)


async def known_result(store: Store, row: RunRow) -> RunResult:
    """As `fold`, each time an object of its own; of a long run that has ended, what was folded of these very records before.

    Kept as bytes, which are bounded, and are as long to read as the result is large. Raises as `Log.records`.
    """
    is_kept = row.status in FINAL and row.head_seq > FIRST_PAGE_RECORDS
    known = (row.key, row.head_hash, row.status, row.code)
    if is_kept and (packed := _kept.get(known)) is not None:
        found: RunResult = await beside(row.key.tenant, partial(pickle.loads, packed))
        return found
    result = await fold(store, row, outline_of(await known_code(store, row.code)))
    if is_kept:
        packed = await beside(row.key.tenant, partial(pickle.dumps, result))
        _kept.put(known, packed, len(packed), row.key.tenant)
    return result
