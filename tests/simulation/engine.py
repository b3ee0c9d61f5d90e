"""One simulation: two workers on one store, what happens to them, and the promises that must hold after each action."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from cloche import Client, Cloche, Workflow
from cloche.engines import Code
from cloche.errors import ClocheError, HistoryError
from cloche.history import DEFAULT_TENANT, CallId, Kind, RunId, RunKey
from cloche.history.ids import CHILD, derived_key, parent_of, run_key
from cloche.history.messages import HookReceived, unpack_event
from cloche.operations import replay
from cloche.run.attempts import REDISPATCHES_MAX
from cloche.status import FINAL
from cloche.store import RunRow
from cloche.tenancy import Policy
from cloche.testing import StandStill, TestApp, VirtualTime
from cloche.testing.clock import VirtualWorld
from simulation.disk import Broken, Connection, Disk, Way
from simulation.flows import ANSWER, ENGINE, Flow, Steps, deploy, flows, undone
from simulation.scenario import WORKERS, Action, Scenario

LEASE_TTL_S = 4.0
LONGEST_S = 4_000.0  # of virtual time, for what is left to do when nothing goes wrong any more
ROUND_S = 20.0
PAUSE_S_MAX = 1.0  # between two looks of a worker at the store: well below a lease


@dataclass(slots=True)
class Outcome:
    crashes: int = 0
    actions: int = 0
    records: int = 0


@dataclass(slots=True)
class Worker:
    """A process: its way to the store, its app, and who calls it. It may be down."""

    connection: Connection
    app: TestApp
    callers: set[asyncio.Task[None]]

    def forget_its_heartbeat(self) -> None:
        """It stood still for longer than a lease lasts."""
        self.app._running.membership._renewed -= LEASE_TTL_S

    def check(self) -> None:
        """Each run has one driver here and takes one place, and the worker has one name."""
        running = self.app._running
        drivers, admission = running.drivers, running.admission
        driven, (counted, promised) = admission.driven.total(), drivers.places.counted
        if driven != len(counted) + promised or not counted <= set(drivers.keys()):
            raise Broken(f"a worker drives {len(counted)} runs ({len(drivers)} drivers), which take {driven} places")
        if any(count < 0 for count in admission.claimed.values()):
            raise Broken(f"a worker has given back more places than it had taken: {admission.claimed}")

    def check_lease(self, run: str) -> None:
        """A step begins: the worker does not know that others have the run."""
        running = self.app._running
        driver = running.drivers.get(RunKey(DEFAULT_TENANT, RunId(run)))  # a child too: its id is no number
        if driver is None or (driver.lease is not None and driver.lease.worker != running.name):
            raise Broken(
                f"{run}: a step began by the lease {driver and driver.lease}, and the worker is {running.name}"
            )


def simulate(scenario: Scenario) -> Outcome:
    """Live through a scenario.

    Raises:
        Broken: a promise was not kept; the message says which.
    """
    time = VirtualTime(VirtualWorld(), pause_s_max=PAUSE_S_MAX)
    with _silence():
        try:
            return time.run(Simulation(scenario, time).live())
        except StandStill as error:
            raise Broken(f"everything stands still: {error}") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What is planted here is worth a log line in life, and here it happens thousands of times."""
    loggers = [logging.getLogger(name) for name in ("cloche", "cloche.run", "asyncio")]
    before = [one.disabled for one in loggers]
    for one in loggers:
        one.disabled = True
    try:
        yield
    finally:
        for one, was in zip(loggers, before, strict=True):
            one.disabled = was


class Simulation:
    def __init__(self, scenario: Scenario, time: VirtualTime) -> None:
        self._scenario = scenario
        self._time = time
        self._chance = random.Random(scenario.seed)
        goes_back = any(one.kind == "set clock" and one.seconds < 0 for one in scenario.actions)
        way = Way(random.Random(f"{scenario.seed} way") if scenario.waits else None)
        self._disk = Disk(has_clock=not goes_back, queue_max=scenario.places or None, way=way)
        # Each process has steps of its own, so that it is known where one begins.
        self._flows: list[list[Flow]] = [
            flows(Steps(scenario.seed, partial(self._begins, number))) for number in range(WORKERS)
        ]
        self._workers: list[Worker | None] = [None] * WORKERS
        self._restarts: set[asyncio.Task[None]] = set()
        self._started: set[int] = set()  # runs whose start was acknowledged
        self._canceled: set[int] = set()  # runs that somebody asked to be canceled
        self._told: set[tuple[int, int]] = set()  # events that were acknowledged
        self._fault: Broken | None = None
        self._clock_s = self._latest_s = 0.0  # how far ahead the wall clock is, and was
        self._outcome = Outcome()
        places = scenario.places
        policy = Policy(concurrent_runs=places, queued_runs=places) if places else Policy()
        self._bounds: dict[str, Any] = {"policies": {DEFAULT_TENANT: policy}}
        # In every third scenario the other worker stays alone: nobody else writes, so nothing but itself can wake it.
        self._one_is_lost = scenario.seed % 3 == 2

    # ---- its course ----

    async def live(self) -> Outcome:
        try:
            for run in range(len(self._scenario.flows)):
                if isinstance(code := self._flow(run).workflow, Code):
                    await deploy(self._disk.store, code)
            for number in range(WORKERS):
                await self._boot(number)
            for action in self._scenario.actions:
                for _ in range(action.turns):
                    await asyncio.sleep(0)
                if action.wait_s:
                    await asyncio.sleep(action.wait_s)
                await self._do(action)
                self._outcome.actions += 1
                await self._check()
            await self._settle()
            await self._prove_ends()
            self._outcome.records = sum(map(len, self._disk.book.records.values()))
            return self._outcome
        finally:
            for number in range(WORKERS):
                await self._crash(number, restarts=False)
            for task in self._restarts:
                task.cancel()
            await asyncio.gather(*self._restarts, return_exceptions=True)

    async def _do(self, action: Action) -> None:
        worker = self._workers[action.worker]
        if action.kind == "set clock":
            self._set_clock(action.seconds)
        elif action.kind == "outside":
            async with Client(await self._disk.store.connect(), world=self._time.world) as client:
                with contextlib.suppress(ClocheError):
                    await (self._tell if action.kept else self._leave_data)(client, action.run)
        if worker is None:
            return
        connection = worker.connection
        match action.kind:
            case "start":
                self._call(worker, self._start, action.run)
            case "resume":
                for other in self._workers:  # all of them at once, or two callers of each
                    for ask in (self._resume,) if action.kept else (self._resume_here, self._resume_here):
                        if other is not None:
                            self._call(other, ask, action.run)
            case "event":
                for other in self._workers:
                    if other is not None:
                        self._call(other, self._tell, action.run)
            case "cancel":
                self._canceled.add(action.run)
                self._call(worker, self._cancel, action.run)
            case "crash":
                connection.die()
            case "crash at commit":
                connection.dies_in = (action.number, action.kept)
            case "refuse":
                connection.refuses = action.number
            case "lose answers" if action.kept:
                connection.loses_any = action.number
            case "lose answers":
                connection.loses_answers = action.number
            case "stall" if action.kept:
                connection.stalls_now = worker.forget_its_heartbeat
            case "stall":
                connection.stalls = 1
            case "cut off":
                connection.is_cut = True
                asyncio.get_running_loop().call_later(3 * action.number, setattr, connection, "is_cut", False)
            case "wait":
                await asyncio.sleep(abs(action.seconds) if abs(action.seconds) < 100 else 0)

    def _set_clock(self, by_s: float) -> None:
        self._clock_s += by_s
        self._latest_s = max(self._latest_s, self._clock_s)
        self._time.set_clock(by_s)

    async def _settle(self) -> None:
        """Nothing goes wrong any more, and those outside do what is asked of them: every run must end."""
        for worker in self._workers:
            if worker is not None:
                connection = worker.connection
                connection.dies_in = None
                connection.refuses = connection.loses_answers = connection.stalls = 0
                connection.stalls_now = None
                connection.is_cut = False
        await asyncio.gather(*self._restarts)
        self._set_clock(self._latest_s - self._clock_s)  # what was planned when it was ahead would take as long
        deadline = asyncio.get_running_loop().time() + LONGEST_S
        while True:
            worker = self._workers[0]
            assert worker is not None
            for run in range(len(self._scenario.flows)):
                if run not in self._started:
                    self._call(worker, self._start, run)
                self._call(worker, self._resume, run)
                self._call(worker, self._tell, run)
            await asyncio.sleep(ROUND_S)
            await self._check()
            rows = await self._disk.store.runs()
            if self._started >= set(range(len(self._scenario.flows))) and all(row.status in FINAL for row in rows):
                self._check_what_is_left()
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Broken(
                    f"these runs do not end: {[await _standing(self._disk, row) for row in rows if row.status not in FINAL]}"
                )

    # ---- workers ----

    async def _boot(self, number: int) -> None:
        connection = await Connection.to(self._disk, self._chance, lambda: self._died(number))
        app = TestApp(
            *(flow.workflow for flow in self._flows[number] if isinstance(flow.workflow, Workflow)),
            on=connection.as_store,
            engine=ENGINE,
            world=self._time.world,
            lease_ttl_s=LEASE_TTL_S,
            **self._bounds,
        )
        await app.__aenter__()
        self._workers[number] = Worker(connection, app, set())

    def _died(self, number: int) -> None:
        self._outcome.crashes += 1
        task = asyncio.ensure_future(self._crash(number, restarts=True))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _crash(self, number: int, *, restarts: bool) -> None:
        worker, self._workers[number] = self._workers[number], None
        if worker is None:
            return
        worker.connection.is_dead = True
        for caller in worker.callers:
            caller.cancel()
        await asyncio.gather(*worker.callers, return_exceptions=True)
        name = worker.app._running.membership.worker
        await worker.app.vanish()
        if restarts:
            if self._chance.random() < 0.8:  # else the machine is lost: only its silence tells
                self._disk.store.leases.vanish(name)
            if self._one_is_lost and number == 1:
                return
            if self._chance.random() < 0.5:
                await asyncio.sleep(self._chance.choice((0.05, 1.0)))
            await self._boot(number)

    def _call(self, worker: Worker, ask: Callable[[Cloche, int], Awaitable[None]], run: int) -> None:
        """Somebody asks a worker for something, and may never get an answer."""

        async def called() -> None:
            try:
                await ask(worker.app, run)
            except ClocheError:
                return  # not acknowledged
            except Exception as error:
                self._fault = self._fault or Broken(f"{_name(run)}: {ask.__name__} ended with {error!r}")

        task = asyncio.ensure_future(called())
        worker.callers.add(task)
        task.add_done_callback(worker.callers.discard)

    # ---- those outside ----

    def _begins(self, number: int, run: str, path: str) -> None:
        """A step begins: that must have been decided, durably, and not be done yet."""
        if not self._disk.book.called(run, path) and self._fault is None:
            self._fault = Broken(f"{run}: step '{path}' began, and the log does not ask for it")
        worker = self._workers[number]
        try:
            if worker is not None:  # else it ends just now
                worker.check_lease(run)
        except Broken as broken:
            self._fault = self._fault or broken

    async def _start(self, app: Cloche, run: int) -> None:
        await app.start(self._flow(run).id, {"v": run}, run_id=_name(run))
        self._started.add(run)

    async def _resume(self, app: Cloche, run: int) -> None:
        row = await self._disk.store.run(self._asking(run))
        if row is not None and row.status == "suspended":
            await app.resume(row.key.run, resume_data=ANSWER, idempotency_key="answer")

    async def _resume_here(self, app: Cloche, run: int) -> None:
        """Whatever state it is in: the worker has to look."""
        await app.resume(_name(run), resume_data=ANSWER)

    async def _leave_data(self, client: Client, run: int) -> None:
        await client.request_resume(self._asking(run).run, resume_data=ANSWER, idempotency_key="answer")

    async def _tell(self, app: Client | Cloche, run: int) -> None:
        """Send the next event, when the one before it was acknowledged: whether the run waits for it or not."""
        number = sum(told == run for told, _ in self._told)
        events = self._flow(run).events
        if _key(run) in self._disk.book.records and number < len(events):
            await app.send_event(_name(run), "go", events[number], idempotency_key=str(number))
            self._told.add((run, number))

    async def _cancel(self, app: Cloche, run: int) -> None:
        await app.cancel(_name(run))
        row = await self._disk.store.run(_key(run))
        recorded = any(record.kind is Kind.CANCEL_REQUESTED for record in self._disk.book.records[_key(run)])
        waits = any(
            request.key == _key(run) and request.kind == "cancel" for request in await self._disk.store.requests()
        )
        if row is not None and row.status not in FINAL and not recorded and not waits:
            self._fault = self._fault or Broken(f"{_name(run)}: its cancellation was acknowledged, and is lost")

    # ---- promises ----

    async def _check(self) -> None:
        fault = self._fault or self._disk.fault
        if fault is not None:
            raise fault
        await self._disk.book.compare(self._disk.store)
        self._check_permits()
        for worker in self._workers:
            if worker is not None:
                worker.check()
                names = {row.id for row in await self._disk.store.leases.workers()}.intersection(
                    worker.connection.names
                )
                if len(names) > 1:
                    raise Broken(f"one worker has the names {sorted(names)}")
        for run in self._started:
            if _key(run) not in self._disk.book.records:
                raise Broken(f"{_name(run)} was started, and is not there")
        for run, number in self._told:
            await self._check_event(run, number)

    def _check_permits(self) -> None:
        """No limit has given more than it has."""
        given = self._disk.store._data.permits
        for name, permits in given.held.items():
            if len(permits) > 1:
                raise Broken(f"limit {name!r} has 1 permit, and gave {len(permits)}")
            if not permits <= given.permits.keys():
                raise Broken(f"limit {name!r} has given a permit that nobody has")
        for name, uses in given.uses.items():
            times = [at for at, _ in uses]
            if any(later - sooner < 3_000 for sooner, later in zip(times, times[2:], strict=False)):
                raise Broken(f"limit {name!r} takes 2 in 3 s: {times}")

    def _check_what_is_left(self) -> None:
        """All runs have ended: what is still given is that of attempts that go on."""
        for row in self._disk.store._data.permits.permits.values():
            if row.holder is None:
                raise Broken(f"{row.key.run} has ended, and has a permit, or waits for one, for call {row.call}")

    async def _check_event(self, run: int, number: int) -> None:
        """An event that was taken is in the log, once and in its place, or waits, or its run has ended."""
        records = self._disk.book.records[_key(run)]
        came = [unpack_event(record.body) for record in records if record.kind is Kind.HOOK_RECEIVED]
        values = [event.value for event in came if isinstance(event, HookReceived)]
        if values != list(self._flow(run).events[: len(values)]):
            raise Broken(f"{_name(run)}: its events came as {values}")
        row = await self._disk.store.run(_key(run))
        waits = len([one for one in await self._disk.store.requests(_key(run)) if one.kind == "event"])
        if len(came) + waits <= number and (row is None or row.status not in FINAL):
            raise Broken(f"{_name(run)}: event {number} was acknowledged, and is lost")

    async def _prove_ends(self) -> None:
        for row in await self._disk.store.runs():
            if parent_of(row.key) is not None:
                await self._prove_replay(row)
                continue
            run = int(row.key.run.removeprefix("run-"))
            expected = self._flow(run).result(run)
            result = await replay.result_of(self._disk.store, row.key)
            allowed = {"failed" if expected is None else "success"} | ({"canceled"} if run in self._canceled else set())
            if self._flow(run).may_be_late and result.error is not None and result.error.name == "EventTimeout":
                continue
            if result.error is not None and result.error.name == "RedispatchedTooOften":
                if self._outcome.crashes <= REDISPATCHES_MAX:
                    raise Broken(f"{row.key.run}: {result.error.message}, after {self._outcome.crashes} crashes")
            elif row.status not in allowed:
                raise Broken(f"{row.key.run} ended as {row.status}: {result.error}")
            if row.status == "success" and result.result != expected:
                raise Broken(f"{row.key.run} gave {result.result}, and should give {expected}")
            found = undone(self._disk.book.records[row.key])
            if row.status == "failed" and found != self._flow(run).undone:
                raise Broken(f"{row.key.run} has undone {found}, and should have undone {self._flow(run).undone}")
            await self._prove_replay(row)
        for finding in await self._disk.store.audit():
            raise Broken(f"{finding.run}, record {finding.seq}: {finding.problem}")

    async def _prove_replay(self, row: RunRow) -> None:
        try:
            replayed = await replay.replay(self._disk.store, row.key, ENGINE)
        except (HistoryError, ClocheError) as error:
            raise Broken(f"{row.key.run} cannot be replayed: {error}") from error
        if replayed.divergence is not None:
            raise Broken(f"{row.key.run} replays differently: {replayed.divergence}")

    def _asking(self, run: int) -> RunKey:
        """Which run has the step that asks: the flow's own, or its child."""
        flow = self._flow(run)
        return derived_key(_key(run), CHILD, flow.child or CallId(1)) if flow.is_parent else _key(run)

    def _flow(self, run: int) -> Flow:
        return self._flows[0][self._scenario.flows[run]]


def _name(run: int) -> str:
    return f"run-{run}"


def _key(run: int) -> RunKey:
    return run_key(_name(run), DEFAULT_TENANT)


async def _standing(disk: Disk, row: RunRow) -> str:
    requests = [request.kind for request in await disk.store.requests() if request.key == row.key]
    return f"{row.key.run} is {row.status}, owner {row.owner}, due {row.wake_at}, record {row.head_seq}, requests {requests}"
