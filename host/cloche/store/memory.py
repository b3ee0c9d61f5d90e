"""A store in memory: for tests, scripts and runs that need not outlive their process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, cast

from cloche.errors import BrokenChain, LeaseLost, NotFound, SeqConflict, StoreError
from cloche.history.ids import Path, RunKey, Seq, TenantId, TimeMs
from cloche.history.records import Kind, Record, genesis, unpack_record
from cloche.store.protocol import (
    ENDED,
    GRANTED,
    START,
    Append,
    Collected,
    Finding,
    InboxRow,
    Lease,
    RunRow,
    Store,
    Version,
    WorkerRow,
)
from cloche.store.usage import NOTHING, Metered, TenantUsage

_RESULTS = (Kind.STEP_COMPLETED, Kind.STEP_FAILED, Kind.LEFT, Kind.STEP_BAILED)
_HANDLE: ContextVar[int] = ContextVar("_HANDLE", default=0)  # the number of the handle that is being used; 0: the store


class MemoryStore:
    """Implements `Store`. Durable means "in this object". It is a handle of itself; `connect` gives others."""

    def __init__(self) -> None:
        self._rows: dict[RunKey, RunRow] = {}
        self._records: dict[RunKey, list[Record]] = {}
        self._results: dict[tuple[RunKey, Path], Record] = {}
        self._blobs: dict[str, bytes] = {}
        self._inbox: dict[str, InboxRow] = {}
        self._kept: dict[str, RunKey] = {}  # tokens whose answers stay
        self._takers: dict[int, str] = {}  # of requests to start a run
        self._answers: dict[str, str] = {}
        self._posted = 0
        self._writes: Counter[int] = Counter()  # by handle
        self._handles = 0
        self.leases = MemoryLeases(self._rows, self._count_write)
        self._tombstones: dict[RunKey, TimeMs] = {}
        self._metered: dict[RunKey, Metered] = {}  # what deleted runs have used stays
        self._versions: dict[tuple[TenantId, str], Version] = {}  # in the order of their last deploy

    def connect(self) -> Store:
        """Another handle on the same store, as a file has one in each process: its `version` leaves out its own writes."""
        self._handles += 1
        return cast(Store, _Handle(self, self._handles))

    def commit(self, appends: Sequence[Append]) -> list[StoreError | None]:
        self._count_write()
        return [self._append(append) for append in appends]

    def _append(self, append: Append) -> StoreError | None:
        row = self._rows.get(append.key)
        if (row.head_seq if row else 0) != append.expect or (row is None) != (append.new is not None):
            return refusal(append, row)
        if row is not None and row.lease != append.lease:
            return refusal(append, row)
        if row is None:
            assert append.new is not None
            if append.key in self._tombstones:
                return refusal(append, row)
            new = append.new
            row = RunRow(
                append.key,
                new.workflow,
                new.code,
                append.status,
                None,
                append.at,
                append.at,
                Seq(0),
                genesis(append.key),
                fence=append.lease.fence if append.lease else 0,
            )
            for digest, data in new.blobs.items():
                self.put_blob(digest, data)
            if append.lease is not None and self.leases.knows(append.lease.worker):
                row = replace(row, owner=append.lease.worker)
        for digest, data in (append.code.blobs if append.code is not None else {}).items():
            self.put_blob(digest, data)
        self._meter(append)
        last = append.records[-1]
        self._rows[append.key] = replace(
            row,
            status=append.status,
            wake_at=append.wake_at,
            updated_at=append.at,
            head_seq=last.seq,
            head_hash=last.hash,
            owner=None if append.release else row.owner,
            code=append.code.code if append.code is not None else row.code,
        )
        self._records.setdefault(append.key, []).extend(append.records)
        for record in append.records:
            if record.kind in _RESULTS and record.path is not None:
                self._results[append.key, record.path] = record
        for inbox_id in append.taken:
            self.settle(inbox_id, GRANTED)
        return None

    def _meter(self, append: Append) -> None:
        more = append.metered or Metered(NOTHING, None)
        before = Metered(NOTHING, more.meter) if append.new is not None else self._metered[append.key]
        meter = more.meter if before.meter == more.meter and append.code is None else None
        self._metered[append.key] = Metered(before.usage + more.usage, meter)

    def run(self, key: RunKey) -> RunRow | None:
        return self._rows.get(key)

    def runs(
        self,
        *,
        tenant: str | None = None,
        status: str | None = None,
        workflow: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRow]:
        rows = [
            row
            for row in self._behind(after, tenant)
            if tenant in (None, row.key.tenant) and status in (None, row.status) and workflow in (None, row.workflow)
        ]
        return rows[:limit]

    def _behind(self, after: str | None, tenant: str | None) -> list[RunRow]:
        """Newest first; behind the oldest run called `after`, which need not pass any other filter."""
        rows = list(reversed(self._rows.values()))
        if after is None:
            return rows
        places = [at for at, row in enumerate(rows) if row.key.run == after and tenant in (None, row.key.tenant)]
        return rows[places[-1] + 1 :] if places else []

    def records(self, key: RunKey, after: Seq = Seq(0)) -> Iterator[Record]:  # noqa: B008
        yield from self._records.get(key, [])[after:]

    def rows(self, key: RunKey, after: Seq = Seq(0)) -> Iterator[tuple[bytes, bytes]]:  # noqa: B008
        return ((record.packed, record.hash) for record in self.records(key, after))

    def result(self, key: RunKey, path: Path) -> Record | None:
        return self._results.get((key, path))

    def set_problem(self, key: RunKey, problem: str | None, lease: Lease | None = None) -> None:
        row = self._rows.get(key)
        if row is None:
            raise no_such_run(key)
        if row.lease != lease:
            raise lease_lost(key)
        self._count_write()
        self._rows[key] = replace(row, status="blocked" if problem else "running", problem=problem, owner=None)

    def delete(self, keys: Sequence[RunKey], at: TimeMs) -> list[RunKey]:
        found = [key for key in keys if (row := self._rows.get(key)) and row.status in ENDED and row.owner is None]
        gone = set(found)
        for key in found:
            del self._rows[key]
            del self._records[key]
            self._tombstones[key] = at
        self._results = {place: record for place, record in self._results.items() if place[0] not in gone}
        self._inbox = {token: item for token, item in self._inbox.items() if item.key not in gone}
        for token in [token for token, key in self._kept.items() if key in gone]:
            del self._kept[token]
            self._answers.pop(token, None)
        return found

    def collect(self, needs: Callable[[bytes], Sequence[str]]) -> Collected:
        used = {row.code for row in self._rows.values()} | {one.digest for one in self._versions.values()}
        used.update(digest for code in list(used) if code in self._blobs for digest in needs(self._blobs[code]))
        unused = [digest for digest in self._blobs if digest not in used]
        for digest in unused:
            del self._blobs[digest]
        return Collected(0, len(unused))  # parts are those of its records, and go with them

    def deploy(self, version: Version, blobs: Mapping[str, bytes]) -> Version:
        for digest, data in blobs.items():
            self.put_blob(digest, data)
        place = (version.tenant, version.id)
        self._versions[place] = found = self._versions.pop(place, version)
        return found

    def version_of(self, tenant: TenantId, name: str) -> Version | None:
        found = self._versions.get((tenant, name))
        return found or next(iter(self.versions(tenant, name)), None)

    def versions(self, tenant: TenantId, workflow: str | None = None) -> list[Version]:
        ours = [one for one in reversed(self._versions.values()) if one.tenant == tenant]
        return [one for one in ours if workflow in (None, one.workflow)]

    def withdraw(self, tenant: TenantId, id: str) -> bool:
        return self._versions.pop((tenant, id), None) is not None

    def queued(self, tenant: TenantId) -> int:
        return sum(key.tenant == tenant and row.status == "pending" for key, row in self._rows.items())

    def usage(self, tenant: TenantId | None = None) -> list[TenantUsage]:
        sums: dict[TenantId, TenantUsage] = {}
        for key, metered in self._metered.items():
            if tenant in (None, key.tenant):
                before = sums.get(key.tenant, TenantUsage(key.tenant, 0, NOTHING))
                sums[key.tenant] = TenantUsage(key.tenant, before.runs + 1, before.usage + metered.usage)
        return [one for _, one in sorted(sums.items())]

    def metered(self, key: RunKey) -> Metered | None:
        return self._metered[key] if key in self._rows else None

    def put_blob(self, digest: str, data: bytes) -> None:
        self._blobs.setdefault(digest, data)

    def blob(self, digest: str) -> bytes | None:
        return self._blobs.get(digest)

    def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs, *, kept: bool = False) -> None:
        if token in self._inbox or self._answers.get(token) == GRANTED:
            return
        self._answers.pop(token, None)
        self._posted += 1
        self._count_write()
        self._inbox[token] = InboxRow(self._posted, key, kind, body)
        if kept:
            self._kept[token] = key

    def inbox(self, worker: str | None = None) -> list[InboxRow]:
        items = list(self._inbox.values())
        if worker is None:
            return items
        return [item for item in items if self._may_accept(item, worker)]

    def _may_accept(self, item: InboxRow, worker: str) -> bool:
        if item.kind == START:
            return not self._is_taken(item.id, worker)
        row = self._rows.get(item.key)
        return row is not None and row.owner in (None, worker)

    def _is_taken(self, inbox_id: int, worker: str | None = None) -> bool:
        """Whether a worker that lives has taken the request, another one than `worker`."""
        taker = self._takers.get(inbox_id)
        return taker not in (None, worker) and self.leases.knows(str(taker))

    def request(self, token: str) -> InboxRow | None:
        return self._inbox.get(token)

    def take(self, inbox_id: int, worker: str) -> bool:
        if not self.waits(inbox_id) or self._is_taken(inbox_id, worker) or not self.leases.knows(worker):
            return False
        self._takers[inbox_id] = worker
        return True

    def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        if not self.waits(inbox_id) or self._is_taken(inbox_id):
            return False
        self.settle(inbox_id, answer)
        return True

    def answer(self, token: str) -> str | None:
        return self._answers.get(token)

    def forget(self, token: str) -> None:
        self._answers.pop(token, None)

    def waits(self, inbox_id: int) -> bool:
        return any(item.id == inbox_id for item in self._inbox.values())

    def settle(self, inbox_id: int, answer: str) -> None:
        self._count_write()
        self._takers.pop(inbox_id, None)
        for token in [token for token, item in self._inbox.items() if item.id == inbox_id]:
            del self._inbox[token]
            if token in self._kept:
                self._answers[token] = answer

    def version(self) -> int:
        return self._writes.total() - self._writes[_HANDLE.get()]

    def _count_write(self) -> None:
        self._writes[_HANDLE.get()] += 1

    def audit(self, key: RunKey | None = None) -> Iterator[Finding]:
        for run, records in self._records.items():
            if key not in (None, run):
                continue
            previous = genesis(run)
            for number, record in enumerate(records, 1):
                try:
                    parts = record.payload.parts if record.payload else {}
                    unpack_record(record.packed, record.hash, previous=previous, expected=Seq(number), find=parts.get)
                except BrokenChain as error:
                    yield Finding(run.run, number, error.message)
                previous = record.hash

    def close(self) -> None:
        pass


class _Handle:
    """Passes everything on to a store (or its leases), under the number of this handle."""

    def __init__(self, target: Any, number: int) -> None:
        self._target = target
        self._number = number
        if isinstance(target, MemoryStore):
            self.leases = _Handle(target.leases, number)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            before = _HANDLE.set(self._number)
            try:
                return found(*args, **options)
            finally:
                _HANDLE.reset(before)

        return call


class MemoryLeases:
    """Implements `Leases`. A worker whose process has died is one that `vanish` was called for."""

    def __init__(self, rows: dict[RunKey, RunRow], wrote: Callable[[], None]) -> None:
        self._rows = rows
        self._wrote = wrote
        self._workers: dict[str, WorkerRow] = {}
        self._lock = threading.RLock()  # a beat comes from another thread: it must not bring back who has left

    def knows(self, worker: str) -> bool:
        return worker in self._workers

    def vanish(self, worker: str) -> None:
        """What the end of its process is to a worker."""
        with self._lock:
            if (row := self._workers.get(worker)) is not None:
                self._workers[worker] = replace(row, has_gone=True)
                self._wrote()

    def join(self, worker: str, offers: str | None = None) -> None:
        with self._lock:
            self._workers[worker] = WorkerRow(worker, 0, offers=offers)

    def publish(self, worker: str, offers: str) -> None:
        with self._lock:
            if (row := self._workers.get(worker)) is not None:
                self._workers[worker] = replace(row, offers=offers)

    def beat(self, worker: str) -> bool:
        with self._lock:
            row = self._workers.get(worker)
            if row is not None:
                self._workers[worker] = replace(row, beat=row.beat + 1)
            return row is not None

    def workers(self) -> list[WorkerRow]:
        with self._lock:
            return list(self._workers.values())

    def bury(self, worker: WorkerRow) -> bool:
        with self._lock:
            known = self._workers.get(worker.id)
            if known is None or known.beat != worker.beat:
                return False
            self.leave(worker.id)
            return True

    def leave(self, worker: str) -> None:
        with self._lock:
            self._workers.pop(worker, None)
        for key, row in self._rows.items():
            if row.owner == worker:
                self._rows[key] = replace(row, owner=None, fence=row.fence + 1)
        self._wrote()

    def claim(self, worker: str, key: RunKey) -> RunRow | None:
        row = self._rows.get(key)
        if row is None or row.owner not in (None, worker) or worker not in self._workers:
            return None
        status = "running" if row.status == "blocked" else row.status
        self._rows[key] = claimed = replace(row, owner=worker, fence=row.fence + 1, status=status, problem=None)
        return claimed

    def due_tenants(self, now: TimeMs) -> list[TenantId]:
        return sorted({row.key.tenant for row in self._free() if (row.wake_at or 0) <= now})

    def claim_due(self, worker: str, now: TimeMs, shares: Mapping[TenantId, int]) -> list[RunRow]:
        taken: list[RunRow | None] = []
        for tenant, share in shares.items():
            due = [row for row in self._free() if row.key.tenant == tenant and (row.wake_at or 0) <= now]
            due.sort(key=lambda row: row.wake_at or 0)
            taken += [self.claim(worker, row.key) for row in due[:share]]
        return [row for row in taken if row is not None]

    def next_due(self) -> TimeMs | None:
        return min((row.wake_at for row in self._free() if row.wake_at is not None), default=None)

    def release(self, key: RunKey, lease: Lease, status: str, wake_at: TimeMs | None) -> None:
        row = self._rows.get(key)
        if row is not None and row.lease == lease:
            self._rows[key] = replace(row, owner=None, status=status, wake_at=wake_at)
            self._wrote()

    def _free(self) -> list[RunRow]:
        return [
            row
            for row in self._rows.values()
            if row.owner is None
            and (row.status in ("running", "pending") or (row.status == "waiting" and row.wake_at is not None))
        ]


def refusal(append: Append, row: RunRow | None) -> StoreError:
    """Why an append was not written, by the row as it is."""
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
