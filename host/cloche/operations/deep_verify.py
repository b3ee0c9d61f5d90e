"""What hashes cannot tell: whether the code does what the log says, and whether a checkpoint is a state that replay passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from cloche.engines import CellSource
from cloche.errors import CheckpointRejected, ClocheError
from cloche.history import RunKey
from cloche.history.limits import Limits
from cloche.history.notes import unpack_created
from cloche.history.replay import script
from cloche.operations.replay import replay, row_of
from cloche.run.checkpoints import opened
from cloche.run.code import guest_of, load_code
from cloche.store import Finding, Store, all_records
from cloche.tenancy.beside import beside


async def deep_findings(store: Store, engine: CellSource, key: RunKey | None = None) -> AsyncIterator[Finding]:
    """Replay every run (or one) in full, under its own code and guest, and its checkpoint's state hash with it."""
    for row in [await row_of(store, key)] if key else await store.runs():
        try:
            report = await replay(store, row.key, engine)
            if report.divergence is not None:
                yield Finding(row.key.run, report.divergence.seq, str(report.divergence))
            elif (saved := await store.checkpoints.get(row.key)) is not None:
                async for finding in _checkpoint(store, engine, row.key, saved):
                    yield finding
        except ClocheError as error:
            yield Finding(row.key.run, None, error.message)


async def _checkpoint(store: Store, engine: CellSource, key: RunKey, saved: bytes) -> AsyncIterator[Finding]:
    try:
        checkpoint = opened(key, saved)
    except CheckpointRejected as error:
        yield Finding(key.run, None, f"its checkpoint is not used: {error.message}")
        return
    records = await all_records(store, key)
    code = await load_code(store, (await row_of(store, key)).code)
    limits = Limits.from_data(unpack_created(records[0]).limits)
    open_cell = partial(engine.open, code, await guest_of(store, engine, code), limits, key.tenant)

    def state_hash() -> str:
        cell = open_cell()
        cell.turn(script(records[: checkpoint.seq]).events)
        return cell.state_hash()

    if await beside(key.tenant, state_hash) != checkpoint.state_hash:
        yield Finding(
            key.run, checkpoint.seq, "its checkpoint holds another state than replay ends in; it can be deleted"
        )
