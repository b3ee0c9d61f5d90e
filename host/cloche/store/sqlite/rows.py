"""A run's index entry as SQLite keeps it, read from a file that may be damaged."""

from __future__ import annotations

import json
from types import NoneType
from typing import Any

from cloche.history.ids import RunId, RunKey, Seq, TenantId, TimeMs
from cloche.status import RunStatus
from cloche.store.runs import RunRow

ROW = "tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, owner, fence"
# By its number, so that the names are those of the row: SQLite would take them from the index, which may be damaged.
BY_KEY = "WHERE id = (SELECT id FROM runs WHERE tenant = ? AND run = ?)"
_OR_NOT = (str, NoneType)
_TYPES: tuple[type | tuple[type, ...], ...] = (
    str,
    str,
    str,
    str,
    str,
    (int, NoneType),
    int,
    int,
    int,
    bytes,
    _OR_NOT,
    _OR_NOT,
    int,
)
_STATUSES = frozenset(RunStatus)


def row_of(row: tuple[Any, ...]) -> RunRow:
    """A row of `ROW`. One that a damaged file gives otherwise than it was written is that of a blocked run."""
    tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, *owned = row
    if not all(isinstance(one, kind) for one, kind in zip(row, _TYPES, strict=True)) or status not in _STATUSES:
        return _damaged(row)
    key = RunKey(TenantId(tenant), RunId(run))
    stands, times = RunStatus(status), (wake_at, created_at, updated_at)
    return RunRow(key, workflow, code, stands, *times, head_seq, head_hash, problem, *owned)


def _damaged(row: tuple[Any, ...]) -> RunRow:
    """What can be said of it: its names, and that it is blocked."""
    tenant, run, workflow, code = map(str, row[:4])
    problem = {
        "reason": "damaged-store",
        "message": f"the entry of run {run} is not as it was written",
        "what_to_do": "keep a copy of the file, then run 'cloche verify' on it: its records may be whole",
    }
    key, never = RunKey(TenantId(tenant), RunId(run)), TimeMs(0)
    return RunRow(key, workflow, code, RunStatus.BLOCKED, None, never, never, Seq(0), b"", json.dumps(problem), None, 0)
