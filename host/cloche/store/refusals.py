"""Why a store refuses, in the words that every store uses."""

from __future__ import annotations

from cloche.errors import LeaseLost, NotFound, SeqConflict, StoreError
from cloche.history.ids import RunKey
from cloche.store.protocol import Append, RunRow


def refusal(append: Append, row: RunRow | None) -> StoreError:
    """Why an append was not written, given the row as it is now: `LeaseLost` or `SeqConflict`."""
    if row is not None and append.new is None and row.lease != append.lease:
        return lease_lost(append.key)
    return SeqConflict(
        f"run {append.key} does not end at record {append.expect} any more: somebody else appended to it",
        run_id=append.key.run,
        expected=append.expect,
    )


def lease_lost(key: RunKey) -> LeaseLost:
    return LeaseLost(f"run {key} belongs to another worker now, which goes on with it", run_id=key.run)


def no_such_run(key: RunKey) -> NotFound:
    return NotFound(f"there is no run {key} in this store", kind="run", id=key.run)
