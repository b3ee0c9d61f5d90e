"""What workers, clients and operations need from a store, in facets.

A facet is a small Protocol about one thing, so code that needs one thing says which (`Membership` takes `Leases`). `Store` is
all of them: the methods of a facet stand on the store itself, only the leases are an object of their own (`store.leases`).
In each store here a facet is a class on a connection, and the store inherits all of them. A facet that is to become an
object too, as `store.inbox.post(…)`, is the same class held as an attribute; code that asks for the facet does not change.

Everything is `async`. A store in this process answers without waiting; one that has to wait, for a lock or for a network, lets
the event loop go on meanwhile. So between two calls anything may have happened, whatever the first one said. A connection
belongs to one event loop; `connect` gives another loop its own. Grouping is the worker's business.
Every store passes the same conformance suite (`tests/host/store/conformance/`). Times are in ms since 1970.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from cloche.errors import QueueFull, StoreError
from cloche.history.ids import CallId, Path, RunKey, Seq, TenantId, TimeMs
from cloche.history.records import Kind, Record
from cloche.status import RunStatus
from cloche.store.inbox import Inbox, Post
from cloche.store.listings import Listings
from cloche.store.operators import Operators
from cloche.store.permits import PermitAsk, Permits
from cloche.store.remote import RemoteTask, RemoteTasks
from cloche.store.runs import Lease, RunRow
from cloche.store.schedules import Schedules
from cloche.store.tokens import Tokens
from cloche.store.usage import Metered, Stored, TenantUsage
from cloche.store.webhooks import Webhooks

if TYPE_CHECKING:
    from cloche.store.checkpoints import Checkpoints

Outcome: TypeAlias = StoreError | QueueFull | None  # what became of an append; None: it is written

PAGE_RECORDS = 4096  # of a history that is read page by page
# What says how a step, an event's wait or a block ended. The index `records_results` of SQLite holds these.
RESULTS = (Kind.STEP_COMPLETED, Kind.STEP_FAILED, Kind.LEFT, Kind.STEP_BAILED)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker of the store. `heartbeat` grows while it lives; `is_dead`: its process is known to have ended."""

    id: str
    heartbeat: int
    is_dead: bool = False
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

    `deployed_at` is when it was first, in ms since 1970. `is_wide`: its runs keep the policy of registered workflows, for it
    was deployed before there was a strict one.
    """

    tenant: TenantId
    id: str
    workflow: str
    digest: str
    deployed_at: TimeMs
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    """Records (at least one) that follow `expect`, with what they make of the run's row. `new` is given with `expect` 0 only.

    `taken` are the requests in the inbox that these records accept; they go in the same commit. `awaited` are the names of
    events that the run waits for from now on and did not before, `unawaited` those that it waits for no more. Where `status`
    is final, the events that still wait for the run go too: nobody will ever wait for them. `lease` must be the
    run's (None: no worker may own it); a new run belongs to its worker, with fence 1. `release`: then no worker owns it.
    `queue_max` is given with a new run that waits to begin: how many of its tenant may wait, this one too.
    `posts` are left in the inbox for other runs; one whose token waits there already is the same one.
    """

    key: RunKey
    expect: Seq
    records: Sequence[Record]
    status: RunStatus
    wake_at: TimeMs | None
    at: TimeMs
    new: NewRun | None = None
    taken: Sequence[int] = field(default=())
    lease: Lease | None = None
    release: bool = False
    code: NewCode | None = None  # what the run continues with after these records
    metered: Metered | None = None
    awaited: Sequence[str] = field(default=())
    unawaited: Sequence[str] = field(default=())
    queue_max: int | None = None
    posts: Sequence[Post] = field(default=())
    marks: Mapping[str, str] = field(default_factory=dict)  # by which the run is found from now on, beside those it has
    sent: Sequence[RemoteTask] = field(
        default=()
    )  # attempts for remote workers, in the place of those of the same calls
    asks: Sequence[PermitAsk] = field(default=())  # permits that calls ask for, in the place of those they may have
    freed: Sequence[CallId] = field(default=())  # calls that have no use for permits any more
    detached: Sequence[CallId] = field(default=())  # calls that nobody waits for, whose attempt goes on in this worker
    returned: Sequence[CallId] = field(default=())  # calls of which no remote worker is to perform any attempt any more
    handed_to: RunKey | None = None  # the run that has from now on what permits this one has as a run: its next history

    @property
    def changes_permits(self) -> bool:
        """Whether it asks for permits, gives some back, or hands some on."""
        return bool(self.asks or self.freed or self.detached or self.handed_to)


@dataclass(frozen=True, slots=True)
class News:
    """`mark` goes into the next call of `Store.news`; `is_any`: another connection has written since the last one.

    `time` is the store's own clock, in ms since 1970; None if it has none but this machine's.
    """

    mark: int
    is_any: bool
    time: TimeMs | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something `audit` found wrong. `seq` is the record it points at, None for the run or the file as a whole."""

    run: str | None
    seq: int | None
    problem: str


def miscounted(tenant: str, run: str, counted: int, counted_bytes: int, waiting: int, waiting_bytes: int) -> Finding:
    """Where the events that wait are not as many as are counted, or not as large; an empty `run` is all of the tenant's."""
    whose = "the run" if run else f"tenant {tenant}"
    problem = (
        f"{waiting} events of {waiting_bytes} bytes wait for {whose}, and {counted} of {counted_bytes} are counted"
    )
    return Finding(run or None, None, problem)


@dataclass(frozen=True, slots=True)
class Collected:
    """How many parts of large bodies, and how many code bundles and guests, were deleted."""

    parts: int
    blobs: int


class Log(Protocol):
    """Runs and their records. Raises as `Store`."""

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        """Write all of `appends` durably and return what became of each, in order.

        None: it is written and would survive the loss of this process and of the machine's power. `SeqConflict`, `LeaseLost`
        or `QueueFull` (`Append.queue_max`, counted in the transaction that would have kept it): this one was not written, the
        others were. A run has one append under way at a time; appends of other runs may be under way in other calls.

        Raises:
            StoreUnavailable: all of it was written or nothing, and it is not known which: the answer may have been lost on
                its way. Look at the heads of the runs (`run`) before anything is written again.
            StoreFailed: it is not known what was written; nothing more can be done with this store.
        """

    async def run(self, key: RunKey) -> RunRow | None:
        """The index entry of a run; None if there is no such run."""

    async def runs(
        self,
        *,
        tenant: str | None = None,
        status: RunStatus | None = None,
        workflow: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRow]:
        """Runs, newest first. `after` is the run id that the page follows; with several tenants give `tenant` too."""

    async def records(self, key: RunKey, after: Seq = Seq(0), limit: int = PAGE_RECORDS) -> list[Record]:  # noqa: B008
        """A page of a run: the records that follow `after`, in order, each verified against the chain.

        Fewer than `limit`: there are no more. `store.pages` has all of them.

        Raises:
            BrokenChain: one of them is not what was written, or the run is shorter than its entry says.
        """

    async def rows(
        self,
        key: RunKey,
        after: Seq = Seq(0),  # noqa: B008
        limit: int = PAGE_RECORDS,
    ) -> list[tuple[bytes, bytes]]:
        """The same as (record, hash), as they are stored: the caller verifies the chain (`history.fast_replay`)."""

    async def result(self, key: RunKey, path: Path) -> Record | None:
        """The last record that ended the call, map or nested workflow at `path`, by index."""

    async def set_problem(self, key: RunKey, problem: str | None, lease: Lease | None = None) -> None:
        """Mark a run as blocked, for the reason given, or as free again. Afterwards no worker owns it.

        One that is blocked gives back the permits of its steps.

        Raises:
            NotFound: there is no such run.
            LeaseLost: its lease is another one.
        """

    async def descendants(self, key: RunKey, most: int, *, are_direct: bool = False) -> int:
        """How many runs were begun by this one, by those, and so on: by their ids. It counts to `most`.

        `are_direct`: by this one alone.
        """

    async def queued(self, tenant: TenantId) -> int:
        """How many runs of a tenant were admitted and have not begun."""


class Leases(Protocol):
    """Which worker executes which run. Every method is one transaction; raises as `Store`.

    A run that an operator holds back (`Operators.hold`) is never due, and cannot be claimed.

    A worker that others have evicted gets no run any more: it joins again under another id.
    """

    async def join(self, worker: str, offers: str | None = None) -> None:
        """Become one of the workers. The process holds something that is let go when it dies, where there is such a thing."""

    async def publish(self, worker: str, offers: str) -> None:
        """Say which workflows the worker can start. Nothing happens if it was evicted."""

    async def heartbeat(self, worker: str) -> bool:
        """Say that the worker lives. False: it was evicted, and its runs belong to others."""

    async def workers(self) -> list[WorkerRow]:
        """All of them, also those that have died and were not evicted yet."""

    async def evict(self, worker: WorkerRow) -> bool:
        """Free the runs of a dead worker and forget it. False: its heartbeat is another one by now, or others were first."""

    async def leave(self, worker: str) -> None:
        """Free the runs of this worker and forget it."""

    async def claim(self, worker: str, key: RunKey) -> RunRow | None:
        """Own this run, if no other worker does; one that was blocked is running again. None: it cannot be had, or is held."""

    async def due_tenants(self, now: TimeMs) -> list[TenantId]:
        """The tenants with runs that are due at `now` and that no worker owns, in the order of their ids."""

    async def claim_due(
        self, worker: str, now: TimeMs, shares: Mapping[TenantId, int], but: Collection[str] = ()
    ) -> list[RunRow]:
        """Own runs that are due at `now` and that no worker owns: of each tenant up to its share, and none of these workflows.

        They come tenant by tenant in the order of `shares`, of each those that have waited longest first.
        """

    async def owned(self, worker: str) -> list[RunRow]:
        """The runs of this worker that have not ended, by index: what a claim has given whose answer was lost is among them."""

    async def owned_by_others(self, worker: str, tenant: TenantId, most: int) -> int:
        """How many runs of a tenant other workers own, by index; it counts to `most`."""

    async def next_due(self) -> TimeMs | None:
        """When the next run that no worker owns is due."""

    async def release(self, key: RunKey, lease: Lease, status: RunStatus, wake_at: TimeMs | None) -> None:
        """Own the run no longer. Nothing happens if the lease was lost."""


class Blobs(Protocol):
    """Code bundles and guests, by the digest of their bytes. Raises as `Store`."""

    async def put_blob(self, digest: str, data: bytes) -> None:
        """Keep `data` under its digest; once is enough. It may be collected until a run needs it: see `NewRun.blobs`."""

    async def blob(self, digest: str) -> bytes | None:
        """What is kept under a digest, not verified; None if there is nothing."""


class Deployments(Protocol):
    """The code that tenants have deployed. Raises as `Store`."""

    async def deploy(self, version: Version, blobs: Mapping[str, bytes]) -> Version:
        """Keep a version with all it needs, in one commit, and make it the one that its workflow starts with.

        One that is there already is the same version; it is given back as it was first deployed.
        """

    async def version_of(self, tenant: TenantId, name: str) -> Version | None:
        """The version of that id, or the one of the workflow of that id that was deployed last."""

    async def versions(self, tenant: TenantId | None, workflow: str | None = None) -> list[Version]:
        """What a tenant has deployed (None: all of them), the last first."""

    async def withdraw(self, tenant: TenantId, id: str) -> bool:
        """Forget a version; whether it was there. Runs that began with it keep its code."""


class Metering(Protocol):
    """What runs have used, in the units of `Usage`. It is written by `Log.commit`. Raises as `Store`."""

    async def usage(self, tenant: TenantId | None = None) -> list[TenantUsage]:
        """What tenants have used, in the order of their ids: those that have or had a run, or the one named."""

    async def stored(self, tenant: TenantId) -> Stored:
        """What lies in the store of this tenant now, but for checkpoints. It goes through all its runs, beside the loop."""

    async def metered(self, key: RunKey) -> Metered | None:
        """What a run has used; None if there is no such run."""


class Maintenance(Protocol):
    """What an operator does with a store. Raises as `Store`."""

    async def delete(self, keys: Sequence[RunKey], at: TimeMs) -> list[RunKey]:
        """Delete runs with their records, in one commit with tombstones that keep their ids from being used again.

        Returns those that were deleted: runs that have ended, and that no worker owns. What only they needed stays until
        `collect`; what they have used stays in the sum of their tenant.
        """

    async def collect(self, needs: Callable[[bytes], Sequence[str]]) -> Collected:
        """Delete parts, code and guests that no run and no version needs. `needs` gives what a code bundle needs, by digest.

        Raises:
            HistoryError: a bundle cannot be read; nothing was deleted.
        """

    async def shrink(self, pages: int) -> int:
        """Give up to so many free pages back to the file system; how many were given. 0 where the store does that by itself, or
        cannot (a SQLite file of an older release: `VACUUM` it once)."""

    async def back_up(self, target: FilePath) -> int:
        """Write a copy of one moment, verified, to the new file `target`, while others write; its size in bytes.

        Raises:
            StoreUnavailable: there is such a file already, or it cannot be written.
            BrokenChain: what was copied does not verify; no copy is left.
            UsageError: a store of this kind is backed up by its own tools.
        """

    async def audit(self, key: RunKey | None = None) -> list[Finding]:
        """Check everything that is stored (or one run) against its hashes and say what is wrong."""


class Store(
    Log,
    Listings,
    Inbox,
    Blobs,
    Deployments,
    Metering,
    Operators,
    Maintenance,
    Tokens,
    Webhooks,
    Schedules,
    RemoteTasks,
    Permits,
    Protocol,
):
    """One connection to a store, with all facets.

    Raises:
        StoreUnavailable, StoreFailed, DamagedStore: from every method but `close`.
    """

    @property
    def leases(self) -> Leases: ...

    @property
    def checkpoints(self) -> Checkpoints:
        """Where the checkpoints of its runs are kept."""

    @property
    def url(self) -> str:
        """What `open_store` opens it by; without secrets."""

    @property
    def commits_at_once(self) -> int:
        """How many calls of `commit` are worth having under way at a time."""

    @property
    def appends_at_once(self) -> int:
        """How many appends are worth having in one call of `commit`."""

    @property
    def news_every_s(self) -> float:
        """How often it is worth asking for `news`."""

    @property
    def hint(self) -> asyncio.Event | None:
        """Set when another connection has left a request, as far as somebody says so; whoever waits for it clears it.

        Never the truth, which is `news`. None: nobody ever says so.
        """

    async def connect(self) -> Self:
        """Another connection to the same store, to be closed by itself: for another event loop, or another worker."""

    async def news(self, since: int | None) -> News:
        """Whether another connection has written since an earlier call, in this process or another one; never by own writes.

        `since` is the `mark` of that call; None: there was none.
        """

    async def close(self) -> None:
        """Let go of everything that the connection holds. Nothing else may be called afterwards."""
