"""What the runtime needs from a log. Small and synchronous: waiting and grouping are the runtime's business.

Every store passes the same conformance suite (`tests/host/store/test_conformance.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cloche.errors import StoreError
from cloche.history.ids import Path, RunKey, Seq, TimeMs
from cloche.history.records import Record

OPEN = ("pending", "running", "waiting")


@dataclass(frozen=True, slots=True)
class RunRow:
    """The index entry of a run: derived from its records, and what listings read. Times in ms since 1970."""

    key: RunKey
    workflow: str
    code: str  # digest of its code bundle, a blob
    status: str
    wake_at: TimeMs | None  # when something is due, if it waits for nothing but time
    created_at: TimeMs
    updated_at: TimeMs
    head_seq: Seq
    head_hash: bytes
    problem: str | None = None  # why it is blocked, as JSON {reason, what_to_do}


@dataclass(frozen=True, slots=True)
class NewRun:
    workflow: str
    code: str


@dataclass(frozen=True, slots=True)
class Append:
    """Records (at least one) right behind `expect`, with what they make of the run's row. `new` is given with `expect` 0 only.

    `taken` are inbox rows that these records answer; they go in the same commit.
    """

    key: RunKey
    expect: Seq
    records: Sequence[Record]
    status: str
    wake_at: TimeMs | None
    at: TimeMs
    new: NewRun | None = None
    taken: Sequence[int] = field(default=())


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A wish of an outsider, waiting for the process that owns the run."""

    id: int
    key: RunKey
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something `audit` found wrong. `seq` is the record it points at, None for the run or the file as a whole."""

    run: str | None
    seq: int | None
    problem: str


class Store(Protocol):
    """The log. All methods but `close` may raise `StoreUnavailable` and `DamagedStore`."""

    def commit(self, appends: Sequence[Append]) -> list[StoreError | None]:
        """Write all of `appends` in one durable transaction and return what became of each, in order.

        None: it is written and would survive the loss of this process and of the machine's power. `SeqConflict`: this
        one was not written, the others were.

        Raises:
            StoreUnavailable: nothing at all was written.
        """

    def run(self, key: RunKey) -> RunRow | None: ...

    def runs(
        self,
        *,
        tenant: str | None = None,
        status: str | None = None,
        workflow: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRow]:
        """Runs, newest first. `after` is the run id to go on behind; with several tenants give `tenant` too."""

    def open_runs(self) -> list[RunRow]:
        """Every run that has not ended and is not blocked, oldest first."""

    def records(self, key: RunKey, after: Seq = Seq(0)) -> Iterator[Record]:  # noqa: B008
        """The records of a run behind `after`, in order, each verified against the chain.

        Raises:
            BrokenChain: at the record that is not what was written.
        """

    def result(self, key: RunKey, path: Path) -> Record | None:
        """The last record that ended the call, map or nested workflow at `path`, by index."""

    def set_problem(self, key: RunKey, problem: str | None) -> None:
        """Mark a run as blocked, for the reason given, or as free again.

        Raises:
            NotFound: there is no such run.
        """

    def delete(self, key: RunKey, at: TimeMs) -> None:
        """Delete a run with its records, in the same commit as a tombstone that keeps its id from being used again."""

    def put_blob(self, digest: str, data: bytes) -> None:
        """Keep `data` under its digest; once is enough."""

    def blob(self, digest: str) -> bytes | None: ...

    def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs) -> None:
        """Leave a wish for the owner of the run; the same token again is the same wish, until it is granted."""

    def inbox(self) -> list[InboxRow]:
        """All wishes, oldest first."""

    def discard(self, inbox_id: int) -> None:
        """Forget a wish that nobody can grant any more."""

    def version(self) -> int:
        """A number that changes when another process has written."""

    def audit(self, key: RunKey | None = None) -> Iterator[Finding]:
        """Check everything that is stored (or one run) against its hashes and say what is wrong."""

    def close(self) -> None: ...
