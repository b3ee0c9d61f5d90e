"""Rows of the server as the protocol has them."""

from __future__ import annotations

from typing import Any

from cloche.history.ids import RunId, RunKey, Seq, TenantId, TimeMs
from cloche.status import RunStatus
from cloche.store.runs import RunRow


def row_of(row: Any) -> RunRow:
    """A row of `ROW`, which may have more columns after it."""
    (
        tenant,
        run,
        workflow,
        code,
        status,
        wake_at,
        created_at,
        updated_at,
        head_seq,
        head_hash,
        problem,
        owner,
        fence,
        *_,
    ) = row
    return RunRow(
        RunKey(TenantId(tenant), RunId(run)),
        workflow,
        code,
        RunStatus(status),
        None if wake_at is None else TimeMs(wake_at),
        TimeMs(created_at),
        TimeMs(updated_at),
        Seq(head_seq),
        head_hash,
        problem,
        owner,
        fence,
    )
