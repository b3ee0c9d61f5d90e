"""How long finished runs are kept: deleting old ones, and what only they needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from cloche.engines import Code
from cloche.errors import HistoryError
from cloche.history import RunKey, TimeMs
from cloche.operations.acts import Act, write_act
from cloche.status import FINAL, RunStatus
from cloche.store import Collected, RunRow, Store
from cloche.store.histories import newest

RUNS_A_COMMIT = 200  # others wait for the store as long as one takes: some 10 ms
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class PruneReport:
    """Which runs were deleted, or would be; how many parts of large bodies, code bundles and guests went with them."""

    runs: list[str]
    parts: int = 0
    blobs: int = 0
    dry_run: bool = False


async def prunable(
    store: Store, before: TimeMs, *, tenant: str | None, status: RunStatus | None = None, workflow: str | None = None
) -> list[RunKey]:
    """The runs that have ended and whose last record is older than `before`, oldest first.

    A history that has gone on as another one stays until the run has ended: the run is found by the first.
    """
    found: list[RunKey] = []
    for one in FINAL if status is None else (status,):
        old = [row.key async for row in _rows(store, tenant, one, workflow) if row.updated_at < before]
        found += [key for key in old if one != RunStatus.CONTINUED or await _is_over(store, key)]
    return found[::-1]


async def _is_over(store: Store, key: RunKey) -> bool:
    last = await store.run(await newest(store, key))
    return last is not None and last.status in FINAL


async def _rows(store: Store, tenant: str | None, status: RunStatus, workflow: str | None) -> AsyncIterator[RunRow]:
    after = None
    while True:
        rows = await store.runs(tenant=tenant, status=status, workflow=workflow, limit=_PAGE, after=after)
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return
        after = rows[-1].key.run


async def delete(store: Store, keys: Sequence[RunKey], now: TimeMs, by: str = "") -> AsyncIterator[list[RunKey]]:
    """Delete runs, some at a time; gives those that were deleted after each commit. `by`: who does it, for the audit log."""
    for tenant, count in sorted(Counter(key.tenant for key in keys).items()):
        await write_act(store, Act.PRUNED, by, now, tenant, runs=count)
    for start in range(0, len(keys), RUNS_A_COMMIT):
        yield await store.delete(keys[start : start + RUNS_A_COMMIT], now)


async def collect(store: Store, now: TimeMs, by: str = "") -> Collected:
    """Delete parts, code and guests that no run needs any more. Their space in the file is used again.

    Raises:
        HistoryError: the code of a run is damaged; nothing was deleted.
    """
    await write_act(store, Act.COLLECTED, by, now)
    return await store.collect(_guest_of)


def _guest_of(packed: bytes) -> list[str]:
    try:
        return [Code.unpack(packed).guest]
    except Exception as error:
        raise HistoryError(
            "the code of a run is damaged, so nobody can say what it needs: see 'cloche verify'"
        ) from error
