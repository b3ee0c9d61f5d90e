"""The index entry of a run, and the right to append to it."""

from __future__ import annotations

from dataclasses import dataclass

from cloche.history.ids import RunKey, Seq, TimeMs
from cloche.status import RunStatus
from cloche.text import shown


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to append to a run. `fence` grows with every change of owner, so an old lease is no lease."""

    worker: str
    fence: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """The index entry of a run: derived from its records, and what listings read. Times in ms since 1970."""

    key: RunKey
    workflow: str
    code: str  # digest of its code bundle, a blob
    status: RunStatus
    wake_at: TimeMs | None  # when something is due, if it waits for nothing but time
    created_at: TimeMs
    updated_at: TimeMs
    head_seq: Seq
    head_hash: bytes
    problem: str | None = None  # why it is blocked, as JSON {reason, what_to_do}
    owner: str | None = None  # the worker that executes it; None: the next one may
    fence: int = 0  # how often the owner has changed

    @property
    def id(self) -> str:
        """The id of the run, for people: that of a child reads `order-17 › 3`. `get` and the rest take it as it is."""
        return shown(self.key.run)

    @property
    def lease(self) -> Lease | None:
        return Lease(self.owner, self.fence) if self.owner is not None else None
