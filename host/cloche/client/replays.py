"""Replays of one app, kept: a run that nobody has added to since is not fed to a cell again."""

from __future__ import annotations

from typing import TypeAlias

from cloche.engines import CellSource, Code
from cloche.history import RunKey
from cloche.operations import replay
from cloche.operations.replay import ReplayReport
from cloche.store import Metered, Store, blob_digest
from cloche.tenancy.cache import TenantCache

KEPT_BYTES_MAX = 4 << 20
_REPORT_BYTES = 1_000  # without what diverged

# The run and the hash of its last record, which says all records before it; the code it is fed to, by digest, and what counts
# its fuel; what it was billed for.
_Known: TypeAlias = tuple[RunKey, bytes, str | None, str | None, Metered | None]


class Replays:
    """By the hash of a run's last record, and the digest of the code that it is fed to."""

    def __init__(self) -> None:
        self._kept: TenantCache[_Known, ReplayReport] = TenantCache(KEPT_BYTES_MAX)

    async def replay(self, store: Store, key: RunKey, engine: CellSource, code: Code | None = None) -> ReplayReport:
        """As `operations.replay.replay`, or what that gave of these very records before; `seconds` is then that of then."""
        row = await replay.row_of(store, key)
        digest = blob_digest(code.pack()) if code is not None else None
        known: _Known = (key, row.head_hash, digest, engine.meter, await store.metered(key))
        report = self._kept.get(known)
        if report is None:
            report = await replay.replay(store, key, engine, code)
            self._kept.put(known, report, _REPORT_BYTES + len(repr(report.divergence)), key.tenant)
        return report
