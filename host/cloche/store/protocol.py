"""What the runtime needs from a log. Small and synchronous: waiting and grouping are the runtime's business.

Every store passes the same conformance suite (`tests/host/store/test_conformance.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cloche.errors import StoreError
from cloche.history.ids import Path, RunKey, Seq, TenantId, TimeMs
from cloche.history.records import Record
from cloche.store.usage import Metered, TenantUsage

GRANTED = "granted"
START = "start"  # the kind of a request for a run that is not there yet
ENDED = ("success", "failed", "canceled")


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
    status: str
    wake_at: TimeMs | None  # when something is due, if it waits for nothing but time
    created_at: TimeMs
    updated_at: TimeMs
    head_seq: Seq
    head_hash: bytes
    problem: str | None = None  # why it is blocked, as JSON {reason, what_to_do}
    owner: str | None = None  # the worker that executes it; None: the next one may
    fence: int = 0  # how often the owner has changed

    @property
    def lease(self) -> Lease | None:
        return Lease(self.owner, self.fence) if self.owner is not None else None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker of the store. `beat` grows while it lives; `has_gone`: its process is known to have ended."""

    id: str
    beat: int
    has_gone: bool = False
    offers: str | None = None  # the workflows that it can start, as it has published them; None: it does not say


@dataclass(frozen=True, slots=True)
class NewRun:
    """`blobs` are what the run is pinned to, by digest: its code and its guest. What is missing goes in its commit."""

    workflow: str
    code: str
    blobs: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class NewCode:
    """Other code for a run: its digest, and the blobs that it needs, as in `NewRun`."""

    code: str
    blobs: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Version:
    """Code that a tenant has deployed: `id` is what it is started by, `digest` that of its bundle, a blob of the store.

    `deployed_at` is when it was first, in ms since 1970.
    """

    tenant: TenantId
    id: str
    workflow: str
    digest: str
    deployed_at: TimeMs


@dataclass(frozen=True, slots=True)
class Append:
    """Records (at least one) right behind `expect`, with what they make of the run's row. `new` is given with `expect` 0 only.

    `taken` are inbox rows that these records grant; they go in the same commit. `lease` must be the run's (None: nobody
    may own it); a new run belongs to its worker, with fence 1. `release`: from then on nobody owns it.
    """

    key: RunKey
    expect: Seq
    records: Sequence[Record]
    status: str
    wake_at: TimeMs | None
    at: TimeMs
    new: NewRun | None = None
    taken: Sequence[int] = field(default=())
    lease: Lease | None = None
    release: bool = False
    code: NewCode | None = None  # what the run goes on under from here
    metered: Metered | None = None


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A request from outside, waiting for the worker that owns the run; one to start a run (`START`) for any that can."""

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


@dataclass(frozen=True, slots=True)
class Collected:
    """How many parts of large bodies, and how many code bundles and guests, were deleted."""

    parts: int
    blobs: int


class Leases(Protocol):
    """Who executes which run. Every method is one transaction; raises as `Store`.

    A worker that others have buried gets no run any more: it joins again under another id.
    """

    def join(self, worker: str, offers: str | None = None) -> None:
        """Become one of the workers. The process holds something that is let go when it dies, where there is such a thing."""

    def publish(self, worker: str, offers: str) -> None:
        """Say which workflows the worker can start. Nothing happens if it was buried."""

    def beat(self, worker: str) -> bool:
        """Say that the worker lives. False: it was buried, and its runs belong to others. Safe to be called from any thread."""

    def workers(self) -> list[WorkerRow]:
        """All of them, also those that have died and were not buried yet."""

    def bury(self, worker: WorkerRow) -> bool:
        """Free the runs of a worker that is dead: if its beat is still the one in `worker`. False: it lives, or is buried."""

    def leave(self, worker: str) -> None:
        """Free the runs of this worker and forget it."""

    def claim(self, worker: str, key: RunKey) -> RunRow | None:
        """Own this run, if nobody else does; one that was blocked is running again. None: there is nothing to be had."""

    def due_tenants(self, now: TimeMs) -> list[TenantId]:
        """Whose runs can go on by now and are nobody's, in the order of their ids."""

    def claim_due(self, worker: str, now: TimeMs, shares: Mapping[TenantId, int]) -> list[RunRow]:
        """Own runs that can go on by now and that nobody owns: of each tenant up to its share.

        They come tenant by tenant in the order of `shares`, of each those that have waited longest first.
        """

    def next_due(self) -> TimeMs | None:
        """When the next run that nobody owns is due."""

    def release(self, key: RunKey, lease: Lease, status: str, wake_at: TimeMs | None) -> None:
        """Own the run no longer. Nothing happens if the lease was lost."""


class Store(Protocol):
    """The log. All methods but `close` may raise `StoreUnavailable`, `StoreFailed` and `DamagedStore`."""

    @property
    def leases(self) -> Leases: ...

    def commit(self, appends: Sequence[Append]) -> list[StoreError | None]:
        """Write all of `appends` in one durable transaction and return what became of each, in order.

        None: it is written and would survive the loss of this process and of the machine's power. `SeqConflict`
        or `LeaseLost`: this one was not written, the others were.

        Raises:
            StoreUnavailable: nothing at all was written.
            StoreFailed: it is not known what was written; nothing more can be done with this store.
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

    def records(self, key: RunKey, after: Seq = Seq(0)) -> Iterator[Record]:  # noqa: B008
        """The records of a run behind `after`, in order, each verified against the chain.

        Raises:
            BrokenChain: at the record that is not what was written.
        """

    def rows(self, key: RunKey, after: Seq = Seq(0)) -> Iterator[tuple[bytes, bytes]]:  # noqa: B008
        """The same as (record, hash), as they are stored: whoever takes them verifies the chain (`history.following`)."""

    def result(self, key: RunKey, path: Path) -> Record | None:
        """The last record that ended the call, map or nested workflow at `path`, by index."""

    def set_problem(self, key: RunKey, problem: str | None, lease: Lease | None = None) -> None:
        """Mark a run as blocked, for the reason given, or as free again. Afterwards nobody owns it.

        Raises:
            NotFound: there is no such run.
            LeaseLost: its lease is another one.
        """

    def delete(self, keys: Sequence[RunKey], at: TimeMs) -> list[RunKey]:
        """Delete runs with their records, in one commit with tombstones that keep their ids from being used again.

        Returns those that were deleted: runs that have ended, and that nobody owns. What only they needed stays until
        `collect`; what they have used stays in the sum of their tenant.
        """

    def collect(self, needs: Callable[[bytes], Sequence[str]]) -> Collected:
        """Delete parts, code and guests that no run and no version needs. `needs` gives what a code bundle needs, by digest.

        Raises:
            HistoryError: a bundle cannot be read; nothing was deleted.
        """

    def put_blob(self, digest: str, data: bytes) -> None:
        """Keep `data` under its digest; once is enough. It may be collected until a run needs it: see `NewRun.blobs`."""

    def blob(self, digest: str) -> bytes | None: ...

    def deploy(self, version: Version, blobs: Mapping[str, bytes]) -> Version:
        """Keep a version with all it needs, in one commit, and make it the one that its workflow starts with.

        One that is there already is the same version; it is given back as it was first deployed.
        """

    def version_of(self, tenant: TenantId, name: str) -> Version | None:
        """The version of that id, or the one of the workflow of that id that was deployed last."""

    def versions(self, tenant: TenantId, workflow: str | None = None) -> list[Version]:
        """What a tenant has deployed, the last first."""

    def withdraw(self, tenant: TenantId, id: str) -> bool:
        """Forget a version; whether it was there. Runs that began with it keep its code."""

    def queued(self, tenant: TenantId) -> int:
        """How many runs of a tenant were admitted and have not begun."""

    def usage(self, tenant: TenantId | None = None) -> list[TenantUsage]:
        """What tenants have used, in the order of their ids: those that have or had a run, or the one named."""

    def metered(self, key: RunKey) -> Metered | None:
        """What a run has used; None if there is no such run."""

    def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs, *, kept: bool = False) -> None:
        """Leave a wish for the owner of the run. The same token again is the same wish, until it is granted.

        `kept`: the answer stays, so that the same token is known for as long as the run is; a wish that was refused may
        be made again.
        """

    def inbox(self, worker: str | None = None) -> list[InboxRow]:
        """The requests that wait, oldest first; for `worker`: those it may accept, because nobody else owns the run.

        One to start a run may be accepted by every worker, until one of them has taken it.
        """

    def request(self, token: str) -> InboxRow | None:
        """The request that waits under this token."""

    def take(self, inbox_id: int, worker: str) -> bool:
        """Make this worker the one that answers a request to start a run, for as long as it lives.

        False: it was answered, another worker has taken it, or this one was buried.
        """

    def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        """Answer a request that no worker has taken. False: one has, or it was answered."""

    def answer(self, token: str) -> str | None:
        """What became of a kept wish: GRANTED, or why it was refused, as JSON. None while it waits, or if it is not known."""

    def waits(self, inbox_id: int) -> bool:
        """Whether a wish was not answered yet."""

    def settle(self, inbox_id: int, answer: str) -> None:
        """Answer a wish that no append grants: GRANTED if there is nothing to do for it, or why it is refused.

        One that was answered before keeps its answer.
        """

    def forget(self, token: str) -> None:
        """Drop the answer of a wish that was kept."""

    def version(self) -> int:
        """A number that changes when another handle has written, in this process or another one; never by own writes."""

    def audit(self, key: RunKey | None = None) -> Iterator[Finding]:
        """Check everything that is stored (or one run) against its hashes and say what is wrong."""

    def close(self) -> None: ...
