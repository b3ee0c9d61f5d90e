"""Logs for the tests of stores: records that chain, and the appends that write them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

from support.histories import at

from cloche.errors import SeqConflict
from cloche.history import DEFAULT_TENANT, CallId, Kind, Path, Record, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.history.records import genesis, make_record
from cloche.history.values import encode
from cloche.status import RunStatus
from cloche.store import Append, MemoryStore, NewRun, Outcome, RunRow, SqliteStore, Store
from cloche.store.memory import MemoryLeases

# The stores that need no server, each made in a folder of its own. All there are: `support.stores_of_all_kinds`.
MAKERS: dict[str, Callable[[FilePath], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "runs.db"),
}


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


async def committed(store: Store, *runs: str, tenant: str = "default") -> list[Log]:
    """Runs that have begun, in this order."""
    pairs = [begun(run, tenant) for run in runs]
    assert await store.commit([append for _, append in pairs]) == [None] * len(pairs)
    return [log for log, _ in pairs]


def names(rows: list[RunRow]) -> list[str]:
    return [row.key.run for row in rows]


def conflict_at(outcome: Outcome) -> tuple[str, int]:
    """The run of a conflict, and the record that its append expected."""
    assert isinstance(outcome, SeqConflict)
    return outcome.run_id, outcome.expected


class Closing(Protocol):
    async def close(self) -> None: ...


S = TypeVar("S", bound=Closing)


@asynccontextmanager
async def closed_after(store: S) -> AsyncIterator[S]:
    """The store, closed in the end."""
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def unsynced_file() -> Iterator[FilePath]:
    """A place for a store that is opened thousands of times, in memory where the system has such a place: no disk is synced.

    The folder is this process's own, whatever else is tested on the machine, and goes with all that is in it.
    """
    memory = FilePath("/dev/shm")
    with TemporaryDirectory(prefix="cloche-", dir=memory if memory.is_dir() else None) as folder:
        yield FilePath(folder) / "damaged.db"


def _waiting(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def call(self: Any, *args: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        answer = await method(self, *args, **options)
        await asyncio.sleep(0)  # it is written, and nobody knows
        return answer

    return call


def _all_waiting(kind: type[Any]) -> dict[str, Any]:
    methods = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_") and name != "connect"}
    return {name: _waiting(method) for name, method in methods.items() if inspect.iscoroutinefunction(method)}


WaitingLeases = type("WaitingLeases", (MemoryLeases,), _all_waiting(MemoryLeases))


class _WaitingStore(MemoryStore):
    def _use(self, connection: Any) -> None:
        super()._use(connection)
        self.leases = WaitingLeases(connection)


# A store that has to wait for every answer, as one behind a network.
WaitingStore: type[MemoryStore] = type("WaitingStore", (_WaitingStore,), _all_waiting(MemoryStore))
