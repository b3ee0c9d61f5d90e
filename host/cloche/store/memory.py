"""A store in memory: for tests, scripts and runs that need not outlive their process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cloche.errors import BrokenChain, NotFound, SeqConflict, StoreError
from cloche.history.ids import Path, RunKey, Seq, TimeMs
from cloche.history.records import Kind, Record, genesis, unpack_record
from cloche.store.protocol import OPEN, Append, Finding, InboxRow, RunRow

_RESULTS = (Kind.STEP_COMPLETED, Kind.STEP_FAILED, Kind.LEFT, Kind.STEP_BAILED)


class MemoryStore:
    """Implements `Store`. Durable means "in this object"."""

    def __init__(self) -> None:
        self._rows: dict[RunKey, RunRow] = {}
        self._records: dict[RunKey, list[Record]] = {}
        self._results: dict[tuple[RunKey, Path], Record] = {}
        self._blobs: dict[str, bytes] = {}
        self._inbox: dict[str, InboxRow] = {}
        self._posted = 0
        self._tombstones: dict[RunKey, TimeMs] = {}

    def commit(self, appends: Sequence[Append]) -> list[StoreError | None]:
        return [self._append(append) for append in appends]

    def _append(self, append: Append) -> StoreError | None:
        row = self._rows.get(append.key)
        if (row.head_seq if row else 0) != append.expect or (row is None) != (append.new is not None):
            return conflict(append)
        if row is None:
            assert append.new is not None
            if append.key in self._tombstones:
                return conflict(append)
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
            )
        last = append.records[-1]
        self._rows[append.key] = replace(
            row,
            status=append.status,
            wake_at=append.wake_at,
            updated_at=append.at,
            head_seq=last.seq,
            head_hash=last.hash,
        )
        self._records.setdefault(append.key, []).extend(append.records)
        for record in append.records:
            if record.kind in _RESULTS and record.path is not None:
                self._results[append.key, record.path] = record
        taken = set(append.taken)
        self._inbox = {token: item for token, item in self._inbox.items() if item.id not in taken}
        return None

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

    def open_runs(self) -> list[RunRow]:
        return [row for row in self._rows.values() if row.status in OPEN]

    def records(self, key: RunKey, after: Seq = Seq(0)) -> Iterator[Record]:  # noqa: B008
        yield from self._records.get(key, [])[after:]

    def result(self, key: RunKey, path: Path) -> Record | None:
        return self._results.get((key, path))

    def set_problem(self, key: RunKey, problem: str | None) -> None:
        row = self._rows.get(key)
        if row is None:
            raise no_such_run(key)
        self._rows[key] = replace(row, status="blocked" if problem else "running", problem=problem)

    def delete(self, key: RunKey, at: TimeMs) -> None:
        del self._rows[key]
        del self._records[key]
        self._results = {place: record for place, record in self._results.items() if place[0] != key}
        self._tombstones[key] = at

    def put_blob(self, digest: str, data: bytes) -> None:
        self._blobs.setdefault(digest, data)

    def blob(self, digest: str) -> bytes | None:
        return self._blobs.get(digest)

    def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs) -> None:
        if token not in self._inbox:
            self._posted += 1
            self._inbox[token] = InboxRow(self._posted, key, kind, body)

    def inbox(self) -> list[InboxRow]:
        return list(self._inbox.values())

    def discard(self, inbox_id: int) -> None:
        self._inbox = {token: item for token, item in self._inbox.items() if item.id != inbox_id}

    def version(self) -> int:
        return self._posted

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


def conflict(append: Append) -> SeqConflict:
    return SeqConflict(
        f"run {append.key.run} does not end at record {append.expect} any more: somebody else appended to it",
        run_id=append.key.run,
        expected=append.expect,
    )


def no_such_run(key: RunKey) -> NotFound:
    return NotFound(f"there is no run {key.run} in this store", kind="run", id=key.run)
