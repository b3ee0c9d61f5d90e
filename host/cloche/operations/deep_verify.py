"""What hashes cannot tell: whether the code does what the log says, and whether a checkpoint is a state that replay passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from cloche.engines import CellSource
from cloche.errors import CheckpointRejected, ClocheError
from cloche.history import RunKey
from cloche.history.limits import Limits
from cloche.history.notes import unpack_created
from cloche.history.replay import script
from cloche.operations.replay import replay, row_of
from cloche.run.checkpoints import opened
from cloche.run.code import load_code, load_guest
from cloche.store import CheckpointFile, Checkpoints, Finding, SqliteStore, Store


def deep_findings(
    store: Store, engine: CellSource, checkpoints: Checkpoints, key: RunKey | None = None
) -> Iterator[Finding]:
    """Replay every run (or one) in full, under its own code and guest, and its checkpoint's state hash with it."""
    for row in [row_of(store, key)] if key else store.runs():
        try:
            report = replay(store, row.key, engine)
            if report.divergence is not None:
                yield Finding(row.key.run, report.divergence.seq, str(report.divergence))
            elif (saved := checkpoints.get(row.key)) is not None:
                yield from _checkpoint(store, engine, row.key, saved)
        except ClocheError as error:
            yield Finding(row.key.run, None, error.message)


def deep_findings_of(store: SqliteStore, engine: CellSource, key: RunKey | None = None) -> Iterator[Finding]:
    """As `deep_findings`, with the checkpoints that are kept beside the store's file."""
    with closing(CheckpointFile.beside(store.path)) as checkpoints:
        yield from deep_findings(store, engine, checkpoints, key)


def _checkpoint(store: Store, engine: CellSource, key: RunKey, saved: bytes) -> Iterator[Finding]:
    try:
        checkpoint = opened(key, saved)
    except CheckpointRejected as error:
        yield Finding(key.run, None, f"its checkpoint is not used: {error.message}")
        return
    records = list(store.records(key))
    code = load_code(store, row_of(store, key).code)
    limits = Limits.from_data(unpack_created(records[0]).limits)
    cell = engine.open(code, lambda: load_guest(store, code.guest), limits, key.tenant)
    cell.turn(script(records[: checkpoint.seq]).events)
    if cell.state_hash() != checkpoint.state_hash:
        yield Finding(
            key.run, checkpoint.seq, "its checkpoint holds another state than replay ends in; it can be deleted"
        )
