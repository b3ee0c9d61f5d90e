"""Logs for the tests of stores: records that chain, and the appends that write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from support.histories import at

from cloche.history import DEFAULT_TENANT, CallId, Kind, Path, Record, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.history.records import genesis, make_record
from cloche.history.values import encode
from cloche.status import RunStatus
from cloche.store import Append, NewRun


def key(run: str = "r1", tenant: str = DEFAULT_TENANT) -> RunKey:
    return RunKey(TenantId(tenant), RunId(run))


@dataclass
class Log:
    """The writer of one run: it makes the next records and remembers where the run ends."""

    key: RunKey
    records: list[Record] = field(default_factory=list)

    @property
    def head(self) -> Seq:
        return Seq(len(self.records))

    def next(self, *kinds: Kind, path: str | None = None, body: bytes = b"\xf6") -> list[Record]:
        """Records behind the end; a call's number is its record's."""
        for kind in kinds:
            previous = self.records[-1].hash if self.records else genesis(self.key)
            seq = Seq(self.head + 1)
            call = CallId(seq) if path is not None else None
            self.records.append(make_record(previous, seq, kind, at(seq), call, Path(path) if path else None, body))
        return self.records[-len(kinds) :]

    def append(
        self,
        *kinds: Kind,
        path: str | None = None,
        body: bytes = b"\xf6",
        status: str = "running",
        wake_at: int | None = None,
        new: NewRun | None = None,
        taken: Sequence[int] = (),
    ) -> Append:
        expect = self.head
        records = self.next(*kinds, path=path, body=body)
        due = None if wake_at is None else TimeMs(wake_at)
        return Append(self.key, expect, records, RunStatus(status), due, records[-1].time, new, taken)

    def begin(self, workflow: str = "orders", status: str = "running") -> Append:
        return self.append(Kind.RUN_CREATED, Kind.RUN_STARTED, status=status, new=NewRun(workflow, "c0de"))

    def step(self, path: str = "add", value: object = None) -> Append:
        """What a sequential step writes in one commit."""
        start = self.head
        self.next(Kind.ATTEMPT_STARTED)
        self.next(Kind.STEP_COMPLETED, path=path, body=encode([1, at(0), 1, value]))
        append = self.append(Kind.STEP_CALLED, path=f"{path}/next")
        return Append(self.key, start, self.records[start:], RunStatus.RUNNING, None, append.at)


def begun(run: str = "r1", tenant: str = DEFAULT_TENANT) -> tuple[Log, Append]:
    log = Log(key(run, tenant))
    return log, log.begin()
