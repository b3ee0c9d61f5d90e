"""Every store: the inbox as a model says it, whatever is done in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.histories import at
from support.stores import Log, key
from support.stores_of_all_kinds import STORES, Maker

from cloche.errors import InboxFull, NotSuspended
from cloche.history import Kind, RunKey
from cloche.store import GRANTED, InboxBounds, InboxMark, Lease

T = TypeVar("T")
RUNS = ("r1", "r2")
NAMES = ("go", "more")
WORKERS = ("one", "two")
BOUNDS = InboxBounds(3, 12, 4, 14)
seldom = st.sampled_from([False, False, False, True])
runs, names, workers = st.sampled_from(RUNS), st.sampled_from(NAMES), st.sampled_from(WORKERS)


@dataclass
class Posted:
    """A request as the model keeps it, in the order of posting."""

    token: str
    run: str
    name: str | None
    body: bytes
    kept: bool
    at: int


@dataclass
class Model:
    """What an inbox is: requests that wait, answers that stay, and what runs wait for."""

    waiting: list[Posted] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    awaited: dict[str, set[str]] = field(default_factory=lambda: {run: set() for run in RUNS})
    owners: dict[str, str | None] = field(default_factory=lambda: dict.fromkeys(RUNS))
    blocked: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def events(self, run: str | None = None) -> list[Posted]:
        return [one for one in self.waiting if one.name is not None and run in (None, one.run)]

    def has_room(self, run: str, size: int) -> bool:
        of_run, of_all = self.events(run), self.events()
        return (
            len(of_run) < BOUNDS.waiting_events
            and sum(len(one.body) for one in of_run) + size <= BOUNDS.waiting_event_bytes
            and len(of_all) < BOUNDS.tenant_waiting_events
            and sum(len(one.body) for one in of_all) + size <= BOUNDS.tenant_waiting_event_bytes
        )

    def settle(self, one: Posted, answer: str) -> None:
        self.waiting.remove(one)
        if one.kept:
            self.answers[one.token] = answer

    def may(self, worker: str, run: str) -> bool:
        return self.owners[run] in (None, worker)

    def wanted(self, worker: str) -> set[tuple[str, str]]:
        return {
            (one.run, one.name)
            for one in self.events()
            if one.name in self.awaited[one.run] and self.may(worker, one.run) and one.run not in self.blocked
        }


class InboxMachine(RuleBasedStateMachine):
    """A store and the model of its inbox, side by side."""

    make: Maker

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.held = ExitStack()
        folder = self.held.enter_context(TemporaryDirectory(prefix="cloche-"))
        self.store = self.held.enter_context(type(self).make(FilePath(folder), self.loop.run_until_complete))
        self.model = Model()
        self.logs = {run: Log(key(run)) for run in RUNS}
        self.leases: dict[str, Lease | None] = dict.fromkeys(RUNS)
        self.marks: dict[str, tuple[InboxMark, int] | None] = dict.fromkeys(WORKERS)
        self.departures = self.tokens = self.clock = 0
        self.do(self.begun())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def begun(self) -> None:
        for worker in WORKERS:
            await self.store.leases.join(worker)
        for log in self.logs.values():
            assert await self.store.commit([log.begin()]) == [None]

    def teardown(self) -> None:
        self.do(self.store.close())
        self.loop.close()
        self.held.close()

    # ---- what happens ----

    @rule(
        run=runs,
        name=st.none() | names,
        size=st.integers(0, 6),
        kept=st.booleans(),
        again=st.booleans(),
        time=st.integers(0, 9),
    )
    def post(self, run: str, name: str | None, size: int, kept: bool, again: bool, time: int) -> None:
        model, known = self.model, [*(one.token for one in self.model.waiting), *self.model.answers]
        token = known[0] if again and known else f"t{self.tokens}"
        self.tokens += 1
        before = next((one for one in model.waiting if one.token == token), None)
        posting = self.store.post(
            key(run), "event" if name else "resume", b"x" * size, token, at(time), kept=kept, name=name, bounds=BOUNDS
        )
        if before is not None or model.answers.get(token) == GRANTED:
            self.do(posting)
            return
        if name is not None and run in model.ended:
            with pytest.raises(NotSuspended):
                self.do(posting)
            return
        if name is not None and not model.has_room(run, size):
            with pytest.raises(InboxFull):
                self.do(posting)
            return
        self.do(posting)
        model.answers.pop(token, None)
        last = max((one.at for one in model.events(run)), default=0)
        model.waiting.append(Posted(token, run, name, b"x" * size, kept, max(int(at(time)), last)))

    @rule(run=runs, awaited=st.sets(names), data=st.data())
    def commit(self, run: str, awaited: set[str], data: st.DataObject) -> None:
        """Records that open and close hooks, and accept one of the run's requests."""
        model = self.model
        if run in model.ended or run in model.blocked:
            return
        mine = [one for one in model.waiting if one.run == run]
        taken = data.draw(st.none() | st.sampled_from(mine)) if mine else None
        rows = {self.place(one): one for one in [taken] if one is not None}
        before = model.awaited[run]
        append = replace(
            self.logs[run].step(),
            lease=self.leases[run],
            taken=list(rows),
            awaited=sorted(awaited - before),
            unawaited=sorted(before - awaited),
        )
        assert self.do(self.store.commit([append])) == [None]
        model.awaited[run] = set(awaited)
        if taken is not None:
            model.settle(taken, GRANTED)

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.model.waiting))
        self.do(self.store.resolve(self.place(one), "no"))
        self.model.settle(one, "no")

    @rule(run=runs, really=seldom)
    def end(self, run: str, really: bool) -> None:
        model = self.model
        if not really or run in model.ended or run in model.blocked:
            return
        append = replace(self.logs[run].append(Kind.RUN_COMPLETED, status="success"), lease=self.leases[run])
        assert self.do(self.store.commit([append])) == [None]
        model.ended.add(run)
        model.awaited[run] = set()
        for one in model.events(run):
            model.settle(one, "ended")

    @rule(run=runs, worker=workers)
    def claim(self, run: str, worker: str) -> None:
        row = self.do(self.store.leases.claim(worker, key(run)))
        assert (row is not None) == self.model.may(worker, run)
        if row is not None:
            self.leases[run], self.model.owners[run] = row.lease, worker
            self.model.blocked.discard(run)

    @rule(run=runs, really=seldom)
    def block(self, run: str, really: bool) -> None:
        if really and run not in self.model.ended:
            self.do(self.store.set_problem(key(run), "{}", self.leases[run]))
            self.model.blocked.add(run)
            self.leases[run] = self.model.owners[run] = None

    @rule(worker=workers)
    def leave(self, worker: str) -> None:
        """And come back: under the same name here, so that what it had is anybody's for a moment."""
        self.do(self.store.leases.leave(worker))
        self.do(self.store.leases.join(worker))
        self.departures += 1
        for run, owner in self.model.owners.items():
            if owner == worker:
                self.leases[run] = self.model.owners[run] = None

    @rule(worker=workers)
    def look(self, worker: str) -> None:
        """What is new is all that was posted since the mark, of what is wanted now; after a departure it is everything."""
        known = self.marks[worker]
        found = self.do(self.store.new_requests(worker, known[0] if known else None))
        events = {(of.run, name) for of, name in found.events}
        requests = [row.id for row in found.requests]
        wanted = self.model.wanted(worker)
        others = [one for one in self.model.waiting if one.name is None and self.model.may(worker, one.run)]
        if known is None or known[1] != self.departures:
            assert (events, requests) == (wanted, [self.place(one) for one in others])
        else:
            new = [one for one in self.model.waiting if self.place(one) > known[0].row]
            assert events >= {(one.run, one.name) for one in new} & wanted
            assert events <= wanted
            assert set(requests) >= {self.place(one) for one in others if one in new}
        self.marks[worker] = (found.mark, self.departures)

    # ---- what holds ----

    def place(self, one: Posted) -> int:
        found = self.do(self.store.request(one.token))
        assert found is not None
        return found.id

    @invariant()
    def the_inbox_is_as_the_model(self) -> None:
        async def seen(run: RunKey) -> tuple[Any, ...]:
            store = self.store
            rows = await store.requests(run)
            first = await store.first_events(run, NAMES)
            others = await store.requests(run, events=False)
            return (
                [(row.name, row.body, row.posted_at) for row in rows if row.name],
                [row.body for row in others],
                [(one.name, one.posted_at, await store.body(one.id)) for one in first],
                await store.has_events(run),
            )

        for run in RUNS:
            events = self.model.events(run)
            first = {one.name: one for one in reversed(events)}
            assert self.do(seen(key(run))) == (
                [(one.name, one.body, one.at) for one in events],
                [one.body for one in self.model.waiting if one.run == run and one.name is None],
                [(one.name, one.at, one.body) for one in events if first[one.name] is one],
                bool(events),
            )
        for token, answer in self.model.answers.items():
            found = self.do(self.store.answer(token)) or ""
            assert "not-suspended" in found if answer == "ended" else found == answer


@pytest.mark.parametrize("kind", STORES)
def test_the_inbox_is_as_its_model(kind: str) -> None:
    machine = type("Machine", (InboxMachine,), {"make": staticmethod(STORES[kind])})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
