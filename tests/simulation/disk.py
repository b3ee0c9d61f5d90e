"""The store of a simulation: what is durable, the connections of its workers, and a book of what was acknowledged.

A `Connection` is what a worker sees. It can die before or after a commit, be cut off, refuse, lose an answer, and write a
group in another order. The book is kept apart from the store and trusts nothing of it.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, cast

from cloche.errors import StoreUnavailable
from cloche.history import Kind, Record, RunKey
from cloche.history.messages import SetTimer
from cloche.history.output import unpack_command
from cloche.history.records import genesis, unpack_record
from cloche.status import RunStatus
from cloche.store import Append, InboxRow, MemoryStore, Outcome, Store, all_records

PASSES = (0, 0, 1, 1, 2, 3, 8)  # of the loop, on the way to the disk
# What a worker asks for that changes something. The answers to other questions are not worth losing: they are asked again.
CHANGES = ("join", "claim", "claim_due", "release", "evict", "set_problem", "post", "take", "resolve", "forget")
ENDS = (Kind.STEP_COMPLETED, Kind.STEP_FAILED, Kind.STEP_BAILED)


class Broken(AssertionError):
    """A promise was not kept."""


class Book:
    """All records that were acknowledged, run by run, checked as they come."""

    def __init__(self) -> None:
        self.records: dict[RunKey, list[Record]] = defaultdict(list)
        self.ended: Counter[tuple[RunKey, int]] = Counter()

    def enter(self, append: Append) -> None:
        """The store says that `append` is durable."""
        known = self.records[append.key]
        for record in append.records:
            previous = known[-1].hash if known else genesis(append.key)
            if record.seq != len(known) + 1:
                raise Broken(f"{append.key.run}: record {record.seq} was taken behind record {len(known)}")
            unpack_record(record.packed, record.hash, previous=previous, expected=record.seq)
            known.append(record)
            if record.kind in ENDS and record.call is not None:
                self.ended[append.key, record.call] += 1
                if self.ended[append.key, record.call] > 1:
                    raise Broken(f"{append.key.run}: the step called by record {record.call} ended twice")

    def check_deadlines(self, append: Append, waiting: Sequence[InboxRow]) -> None:
        """No deadline fires for a wait whose event was there before it."""
        for fired in append.records:
            if fired.kind is not Kind.TIMER_FIRED:
                continue
            timer = next(unpack_command(one.body) for one in self.records[append.key] if one.call == fired.call)
            assert isinstance(timer, SetTimer)
            early = [row.posted_at for row in waiting if row.name == "go" and row.posted_at < timer.due]
            if early and timer.path.endswith("/timeout"):
                raise Broken(f"{append.key.run}: its deadline {timer.due} won against an event of {early[0]}")

    async def compare(self, store: MemoryStore) -> None:
        """What the store has is what was acknowledged: nothing less, and nothing more."""
        rows = {row.key: row for row in await store.runs()}
        if rows.keys() != self.records.keys():
            raise Broken(f"the store has runs {list(rows)}, acknowledged were {list(self.records)}")
        for key, known in self.records.items():
            row = rows[key]
            if (row.head_seq, row.head_hash) != (len(known), known[-1].hash):
                raise Broken(f"{key.run}: acknowledged up to record {len(known)}, the store ends at {row.head_seq}")
            if [record.hash for record in await all_records(store, key)] != [record.hash for record in known]:
                raise Broken(f"{key.run}: the store has other records than were acknowledged")

    def called(self, run: str, path: str) -> bool:
        """Whether it is durable that the step is to run, and that it has not ended."""
        for key, known in self.records.items():
            if key.run == run:
                calls = {record.call for record in known if record.kind is Kind.STEP_CALLED and record.path == path}
                return any(not self.ended[key, call] for call in calls if call is not None)
        return False


class Disk:
    """What outlives every worker."""

    def __init__(self, *, has_clock: bool = True, queue_max: int | None = None, way: Way | None = None) -> None:
        self.store = MemoryStore()
        self.way = way or Way()
        self._queue_max = queue_max
        self.book = Book()
        self._has_clock = has_clock  # one that is never set back: times of different records can be compared
        self.fault: Broken | None = None  # the first promise that was not kept inside a commit

    async def commit(self, handle: Store, appends: Sequence[Append], chance: random.Random) -> list[Outcome]:
        """One transaction of a handle on the store, its appends in any order: they are of different runs."""
        order = list(range(len(appends)))
        chance.shuffle(order)
        rows = [await self.store.run(append.key) for append in appends]
        events = {append.key: await self.store.requests(append.key) for append in appends}
        outcomes: list[Outcome] = [None] * len(appends)
        for place, outcome in zip(order, await handle.commit([appends[place] for place in order]), strict=True):
            outcomes[place] = outcome
        try:
            for append, row, outcome in zip(appends, rows, outcomes, strict=True):
                if outcome is not None:
                    continue
                if row is not None and row.lease != append.lease:
                    raise Broken(f"{append.key.run} was written to by {append.lease}, and belongs to {row.lease}")
                if self._has_clock:
                    self.book.check_deadlines(append, events[append.key])
                self.book.enter(append)
            await self._check_queue()
        except AssertionError as broken:
            self.fault = self.fault or Broken(str(broken))
        except Exception as broken:
            self.fault = self.fault or Broken(f"a record that was taken is broken: {broken}")
        return outcomes

    async def _check_queue(self) -> None:
        """No more runs wait to begin than may."""
        waiting = len([row for row in await self.store.runs() if row.status == RunStatus.PENDING])
        if self._queue_max is not None and waiting > self._queue_max:
            raise Broken(f"{waiting} runs wait to begin, and {self._queue_max} may")


class Way:
    """To the disk and back: the loop makes some passes meanwhile, which `chance` gives. None: the disk answers at once."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance

    async def take(self) -> None:
        for _ in range(self._chance.choice(PASSES) if self._chance is not None else 0):
            await asyncio.sleep(0)


class Connection:
    """A worker's way to the disk; has all methods of `Store`."""

    @classmethod
    async def to(cls, disk: Disk, chance: random.Random, died: Callable[[], None]) -> Connection:
        return cls(disk, await disk.store.connect(), chance, died)

    def __init__(self, disk: Disk, handle: MemoryStore, chance: random.Random, died: Callable[[], None]) -> None:
        self.is_dead = self.is_cut = False
        self.dies_in: tuple[int, bool] | None = None  # after so many commits, and whether the last is kept
        self.refuses = self.loses_answers = self.stalls = 0
        self.loses_any = 0  # answers to whatever changes something
        self.stalls_now: Callable[[], None] | None = (
            None  # it stands still before what it asks next; then this is called
        )
        self.names: list[str] = []  # by which it has joined
        self._disk = disk
        self._chance = chance
        self._died = died
        self._handle = handle
        self.leases = _Gate(self, self._handle.leases)

    @property
    def as_store(self) -> Store:
        return cast(Store, self)

    def check(self) -> None:
        if self.is_dead or self.is_cut:
            raise StoreUnavailable("there is no way to the store")

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        await self._disk.way.take()
        self.check()
        if self.refuses:
            self.refuses -= 1
            raise StoreUnavailable("the disk is full")
        if self.stalls:
            self.stalls -= 1
            await self._evicted()
        if self._is_last():
            assert self.dies_in is not None
            if self.dies_in[1]:
                await self._disk.commit(self._handle, appends, self._chance)
            self.die()
            raise StoreUnavailable("the power went out")
        outcomes = await self._disk.commit(self._handle, appends, self._chance)
        if any(append.release for append in appends):  # time goes on while a run comes to rest
            await asyncio.sleep(0.002)
        await self._disk.way.take()
        self.check()
        if self.loses_answers:
            self.loses_answers -= 1
            raise StoreUnavailable("the answer was lost")
        return outcomes

    async def _evicted(self) -> None:
        """Others have evicted this worker, while its process stood still."""
        for worker in await self._disk.store.leases.workers():
            if worker.id in self.names:
                await self._disk.store.leases.evict(worker)

    def die(self) -> None:
        self.is_dead = True
        self._died()

    async def connect(self) -> Connection:
        """Its worker has this one alone."""
        return self

    async def close(self) -> None:
        pass

    def _is_last(self) -> bool:
        if self.dies_in is None:
            return False
        self.dies_in = (self.dies_in[0] - 1, self.dies_in[1])
        return self.dies_in[0] < 0

    def __getattr__(self, name: str) -> Any:
        return self._gated(getattr(self._handle, name))

    def _gated(self, method: Any) -> Any:
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **options: Any) -> Any:
            await self._disk.way.take()
            self.check()
            if self.stalls_now is not None:
                stalled, self.stalls_now = self.stalls_now, None
                await self._evicted()
                stalled()
            answer = await method(*args, **options)
            await self._disk.way.take()
            self.check()
            if self.loses_any and method.__name__ in CHANGES:
                self.loses_any -= 1
                raise StoreUnavailable("the answer was lost")
            if method.__name__ == "join":
                self.names.append(args[0])
            return answer

        return call


class _Gate:
    """The leases behind a connection."""

    def __init__(self, connection: Connection, leases: Any) -> None:
        self._connection = connection
        self._leases = leases

    def __getattr__(self, name: str) -> Any:
        return self._connection._gated(getattr(self._leases, name))
