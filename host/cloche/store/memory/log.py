"""Runs and their records, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from cloche.history.ids import BY_SCHEDULES, Path, RunKey, Seq, TenantId
from cloche.history.records import Record, genesis
from cloche.status import OVER, RunStatus
from cloche.store.inbox import GRANTED
from cloche.store.memory.data import Facet
from cloche.store.memory.webhooks import note_stop
from cloche.store.protocol import PAGE_RECORDS, RESULTS, Append, NewRun, Outcome
from cloche.store.refusals import lease_lost, no_such_run, queue_full, refusal
from cloche.store.runs import Lease, RunRow
from cloche.store.usage import NOTHING, Metered
from cloche.text import ID_SEPARATOR


class MemoryLog(Facet):
    """Implements `Log`."""

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        self._connection.count_write()
        return [self._append(append) for append in appends]

    def _append(self, append: Append) -> Outcome:
        row = self._data.rows.get(append.key)
        if (row.head_seq if row else 0) != append.expect or (row is None) != (append.new is not None):
            return refusal(append, row)
        if row is not None and row.lease != append.lease:
            return refusal(append, row)
        before = row.status if row is not None else None
        if append.new is not None:
            if append.key in self._data.tombstones:
                return refusal(append, row)
            if append.queue_max is not None and (waiting := self._queued(append.key.tenant)) >= append.queue_max:
                return queue_full(append.key.tenant, waiting, append.queue_max)
            row = self._created(append, append.new)
            self._data.last_number += 1
            self._data.numbers[append.key] = self._data.last_number
        assert row is not None
        self._meter(append)
        self._data.rows[append.key] = advanced = self._advanced(row, append)
        note_stop(self._data, before, advanced)
        self._data.records.setdefault(append.key, []).extend(append.records)
        for record in append.records:
            if record.kind in RESULTS and record.path is not None:
                self._data.results[append.key, record.path] = record
        for inbox_id in append.taken:
            self._data.inbox.resolve(inbox_id, GRANTED)
        for post in append.posts:
            self._data.inbox.post(post, append.at)
        self._data.remote.follow(append)
        if append.changes_permits:
            self._data.permits.follow(append)
        if append.marks:
            self._data.marks.setdefault(append.key, {}).update(append.marks)
        self._data.inbox.follow_hooks(append.key, append.awaited, append.unawaited)
        if append.status in OVER:
            self._data.inbox.end_events(append.key)
        return None

    def _created(self, append: Append, new: NewRun) -> RunRow:
        """The row of a new run, before its first records. An evicted worker owns nothing, or no worker would free it."""
        self._data.keep(new.blobs)
        lease = append.lease
        return RunRow(
            append.key,
            new.workflow,
            new.code,
            append.status,
            None,
            append.at,
            append.at,
            Seq(0),
            genesis(append.key),
            owner=lease.worker if lease is not None and lease.worker in self._data.workers else None,
            fence=lease.fence if lease is not None else 0,
        )

    def _advanced(self, row: RunRow, append: Append) -> RunRow:
        if append.code is not None:
            self._data.keep(append.code.blobs)
        last = append.records[-1]
        return replace(
            row,
            status=append.status,
            wake_at=append.wake_at,
            updated_at=append.at,
            head_seq=last.seq,
            head_hash=last.hash,
            owner=None if append.release else row.owner,
            code=append.code.code if append.code is not None else row.code,
        )

    def _meter(self, append: Append) -> None:
        more = append.metered or Metered(NOTHING, None)
        before = Metered(NOTHING, more.meter) if append.new is not None else self._data.metered[append.key]
        meter = more.meter if before.meter == more.meter and append.code is None else None
        self._data.metered[append.key] = Metered(before.usage + more.usage, meter)

    async def set_problem(self, key: RunKey, problem: str | None, lease: Lease | None = None) -> None:
        row = self._data.rows.get(key)
        if row is None:
            raise no_such_run(key)
        if row.lease != lease:
            raise lease_lost(key)
        self._connection.count_write()
        self._data.rows[key] = replace(
            row, status=RunStatus.BLOCKED if problem else RunStatus.RUNNING, problem=problem, owner=None
        )
        if problem:
            self._data.permits.free_all_of_run(key)

    async def run(self, key: RunKey) -> RunRow | None:
        return self._data.rows.get(key)

    async def runs(
        self,
        *,
        tenant: str | None = None,
        status: RunStatus | None = None,
        workflow: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRow]:
        rows = [
            row
            for row in self._listed(after, tenant)
            if tenant in (None, row.key.tenant) and status in (None, row.status) and workflow in (None, row.workflow)
        ]
        return rows[:limit]

    def _listed(self, after: str | None, tenant: str | None) -> list[RunRow]:
        """Newest first; what follows the oldest run called `after`, which need not pass any other filter."""
        rows = list(reversed(self._data.rows.values()))
        if after is None:
            return rows
        places = [at for at, row in enumerate(rows) if row.key.run == after and tenant in (None, row.key.tenant)]
        return rows[places[-1] + 1 :] if places else []

    async def records(self, key: RunKey, after: Seq = Seq(0), limit: int = PAGE_RECORDS) -> list[Record]:  # noqa: B008
        return self._data.records.get(key, [])[after : after + limit]

    async def rows(
        self,
        key: RunKey,
        after: Seq = Seq(0),  # noqa: B008
        limit: int = PAGE_RECORDS,
    ) -> list[tuple[bytes, bytes]]:
        return [(record.packed, record.hash) for record in await self.records(key, after, limit)]

    async def result(self, key: RunKey, path: Path) -> Record | None:
        return self._data.results.get((key, path))

    async def descendants(self, key: RunKey, most: int, *, are_direct: bool = False) -> int:
        below = key.run + ID_SEPARATOR
        found = (
            one
            for one in self._data.rows
            if one.tenant == key.tenant
            and one.run.startswith(below)
            and one.run[len(below)] not in BY_SCHEDULES
            and not (are_direct and ID_SEPARATOR in one.run[len(below) :])
        )
        return sum(1 for _ in islice(found, most))

    async def queued(self, tenant: TenantId) -> int:
        return self._queued(tenant)

    def _queued(self, tenant: TenantId) -> int:
        return sum(key.tenant == tenant and row.status == RunStatus.PENDING for key, row in self._data.rows.items())
