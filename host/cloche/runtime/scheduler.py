"""The runs of one process on one store: which are driven, which are parked until a time, which are set aside.

One scheduler executes on a store at a time (the store's lock). Others leave wishes in the inbox, which is looked at when
the store says that somebody wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cloche.engines import Cell, CellSource, Code
from cloche.errors import ClocheError, HistoryError, MissingStep, NotFound, StoreError, UsageError
from cloche.history import Kind, Note, Path, RunKey, TimeMs
from cloche.history.ids import TenantId
from cloche.history.messages import CancelRequested, Started
from cloche.history.retry import DELAY_MS_MAX, RetryPolicy
from cloche.history.values import decode
from cloche.runtime.clock import Timers, World
from cloche.runtime.commits import Committer
from cloche.runtime.driver import PARK_AFTER_MS, RunDriver
from cloche.store import InboxRow, NewRun, Store, blob_digest

if TYPE_CHECKING:
    from cloche.runtime.workflows import Workflow
    from cloche_codegen import Graph, Step

INBOX_INTERVAL_S = 0.1
STORE_RETRY_MS = 1_000
STEP_THREADS = 32

log = logging.getLogger("cloche")


class Scheduler:
    """Owns the drivers. Made inside a running event loop."""

    def __init__(self, store: Store, world: World, engine: CellSource) -> None:
        self.store = store
        self.world = world
        self.engine = engine
        self.timers = Timers(world)
        self.closed = False
        self._store_lock = threading.Lock()  # steps in threads look up results while the loop commits
        self.committer = Committer(store, self._store_lock)
        self.step_pool = ThreadPoolExecutor(STEP_THREADS, "cloche-step")
        self.turn_pool = ThreadPoolExecutor(os.cpu_count() or 2, "cloche-turn")
        self._drivers: dict[RunKey, RunDriver] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: dict[RunKey, list[asyncio.Future[None]]] = {}
        self._troubles: dict[RunKey, ClocheError] = {}
        self._codes: dict[str, Code] = {}
        self._policies: dict[tuple[str, str], RetryPolicy] = {}
        self._steps: dict[str, Step] = {}
        self._workflows: dict[str, Workflow] = {}
        self._inbox_seen = -1
        self._watcher: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    # ---- what may run ----

    def register(self, workflows: Iterable[Workflow], steps: Iterable[Step]) -> None:
        """Workflows with their steps, and further steps by id.

        Raises:
            UsageError: two different steps or workflows have one id.
        """
        for workflow in workflows:
            self._add(self._workflows, workflow.id, workflow, "workflows")
            steps = [*steps, *workflow.steps.values()]
        for step in steps:
            self._add(self._steps, step.id, step, "steps")

    def _add(self, table: dict[str, Any], id: str, thing: Any, what: str) -> None:
        known = table.setdefault(id, thing)
        if known is not thing and getattr(known, "execute", known) is not getattr(thing, "execute", thing):
            raise UsageError(f"two {what} have the id '{id}': give one of them another with clone_step or id=")

    def workflow(self, id: str) -> Workflow | None:
        return self._workflows.get(id)

    def step(self, id: str) -> Step | None:
        return self._steps.get(id)

    def retry_policy(self, step: Step, code: Code) -> RetryPolicy:
        """How often and after what wait the step is tried again in runs of `code`."""
        known = self._policies.get((code.graph, step.id))
        if known is None:
            graph = graph_of(code)
            known = self._policies[code.graph, step.id] = policy_of(graph, step)
        return known

    def validates(self, workflow: str) -> bool:
        owner = self._workflows.get(workflow)
        return owner.validate_inputs if owner is not None else True

    # ---- runs ----

    async def start(self, key: RunKey, code: Code, created: Note, started: Started) -> None:
        """Begin a run; returns when its first turn is durable."""
        new = NewRun(code.workflow, self._keep(code))
        driver = RunDriver(self, key, code, dict(created.content["limits"]))
        self._drivers[key] = driver
        # A task of its own: a caller who gives up leaves a whole run, or none.
        await asyncio.shield(self._spawn(self._begin(driver, created, started, new)))

    async def _begin(self, driver: RunDriver, created: Note, started: Started, new: NewRun) -> None:
        try:
            await driver.begin(created, started, new)
        except BaseException:
            self.finished(driver)
            raise
        self._spawn(driver.drive())

    def recover(self) -> None:
        """Go on with every unfinished run, at once or when its time comes. One that was blocked is given another chance."""
        for row in [*self.store.open_runs(), *self.store.runs(status="blocked")]:
            if row.status == "pending":
                continue
            if row.status == "waiting" and row.wake_at is not None and row.wake_at - self.world.now() > PARK_AFTER_MS:
                self.park(row.key, row.wake_at)
            else:
                self.wake(row.key)
        self._look_into_inbox()
        self._watcher = asyncio.create_task(self._watch_inbox(), name="cloche-inbox")

    def wake(self, key: RunKey) -> RunDriver | None:
        """The driver of an unfinished run, rebuilt if it had none. None for a run that has ended."""
        if key in self._drivers:
            return self._drivers[key]
        row = self.store.run(key)
        if row is None:
            raise NotFound(f"there is no run {key.run} in this store", kind="run", id=key.run)
        if row.status not in ("running", "waiting", "blocked"):
            return None
        try:
            first = next(iter(self.store.records(key)))
            driver = RunDriver(self, key, self._code(row.code), dict(first.content()["limits"]))
        except (ClocheError, StopIteration) as error:
            self.block(key, error if isinstance(error, ClocheError) else HistoryError(f"run {key.run} has no records"))
            return None
        if row.status == "blocked":
            self.store.set_problem(key, None)
        self._drivers[key] = driver
        self._spawn(driver.recover())
        return driver

    def park(self, key: RunKey, due: TimeMs) -> None:
        """Look at the run again when it is due; until then it costs an entry in a heap."""
        self.timers.at(due, lambda: self._wake_if_open(key))

    def _wake_if_open(self, key: RunKey) -> None:
        try:
            self.wake(key)
        except StoreError as error:
            self.trouble(key, error)
            self.park(key, TimeMs(self.world.now() + STORE_RETRY_MS))

    def block(self, key: RunKey, error: ClocheError) -> None:
        """Set a run aside, by name and with a reason; the others go on."""
        log.error("run %s is blocked: %s", key.run, error.message)
        self._troubles[key] = error
        if not isinstance(error, StoreError):
            problem = {"reason": error.code, "message": error.message, "what_to_do": what_to_do(error)}
            with contextlib.suppress(StoreError):
                self.store.set_problem(key, json.dumps(problem))
        self.announce(key)

    def trouble(self, key: RunKey, error: ClocheError | None) -> None:
        """Something outside keeps the run from going on for now; None: not any more."""
        if error is not None:
            self._troubles[key] = error
            self.announce(key)
        else:
            self._troubles.pop(key, None)

    def finished(self, driver: RunDriver) -> None:
        if self._drivers.get(driver.key) is driver:
            del self._drivers[driver.key]
        self.announce(driver.key)

    def cancel(self, key: RunKey, reason: str) -> None:
        """Ask for the end of a run.

        Raises:
            NotFound: there is no such run.
        """
        driver = self.wake(key)
        if driver is not None:
            driver.tell(CancelRequested(self.world.now(), reason))

    def result(self, key: RunKey, path: str) -> Any:
        """The output recorded last at `path` of a run; None if it has not succeeded."""
        with self._store_lock:
            record = self.store.result(key, Path(path))
        if record is None:
            return None
        content = record.content()
        if record.kind is Kind.STEP_COMPLETED:
            return content[3]
        if record.kind is Kind.LEFT and content[2][0] == 0:
            return content[2][1]
        return None

    # ---- waiting ----

    def announce(self, key: RunKey) -> None:
        for listener in self._listeners.pop(key, ()):
            if not listener.done():
                listener.set_result(None)

    def changed(self, key: RunKey) -> asyncio.Future[None]:
        """Resolves when the run's log has grown or the run was set aside."""
        listener: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners.setdefault(key, []).append(listener)
        return listener

    def problem(self, key: RunKey) -> ClocheError | None:
        return self._troubles.get(key)

    def drives_one(self) -> bool:
        return len(self._drivers) == 1

    def is_driven(self, key: RunKey) -> bool:
        return key in self._drivers

    def on_loop(self, deed: Callable[[], None]) -> None:
        """Do it on the loop's thread: at once, or soon if this is another one (a step's)."""
        if threading.get_ident() == self._thread:
            deed()
        else:
            self._loop.call_soon_threadsafe(deed)

    # ---- code and cells ----

    def open_cell(self, code: Code, limits: dict[str, Any]) -> Cell:
        return self.engine.open(code, lambda: self._guest(code.guest), limits)

    def _keep(self, code: Code) -> str:
        """Put the code and its guest into the store, once; the run is pinned to their digests."""
        packed = code.pack()
        digest = blob_digest(packed)
        if digest not in self._codes:
            guest_digest, wasm = self.engine.guest()
            self.store.put_blob(guest_digest, wasm)
            self.store.put_blob(digest, packed)
            self._codes[digest] = code
        return digest

    def _code(self, digest: str) -> Code:
        if digest not in self._codes:
            self._codes[digest] = load_code(self.store, digest)
        return self._codes[digest]

    def _guest(self, digest: str) -> bytes:
        return load_guest(self.store, digest)

    # ---- inbox ----

    async def _watch_inbox(self) -> None:
        while True:
            await asyncio.sleep(INBOX_INTERVAL_S)
            try:
                if self.store.version() != self._inbox_seen:
                    self._look_into_inbox()
            except StoreError as error:
                log.warning("the inbox could not be read: %s", error.message)

    def _look_into_inbox(self) -> None:
        self._inbox_seen = self.store.version()
        for row in self.store.inbox():
            self._take(row)

    def _take(self, row: InboxRow) -> None:
        driver = self.wake(row.key) if self.store.run(row.key) else None
        if driver is None:
            self.store.discard(row.id)  # the run has ended meanwhile
        elif row.kind == "cancel":
            driver.tell(CancelRequested(self.world.now(), decode(row.body)), row.id)

    # ---- the end ----

    async def close(self, drain_timeout_s: float) -> None:
        """Start nothing more, let running steps end (so long), record them, and let go."""
        self.timers.close()
        if self._watcher is not None:
            self._watcher.cancel()
        drivers = list(self._drivers.values())
        await asyncio.gather(*(driver.drain(drain_timeout_s) for driver in drivers))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.step_pool.shutdown(wait=False, cancel_futures=True)
        self.turn_pool.shutdown(wait=False, cancel_futures=True)
        self.closed = True
        for key in list(self._listeners):
            self.announce(key)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def policy_of(graph: Graph | None, step: Step) -> RetryPolicy:
    """The retries of a step as the pinned graph has them: the step's own configuration, else its workflow's.

    `retries` of the step overrides the number of attempts. A step that the graph does not know is asked itself.
    """
    spec = graph.steps.get(step.id) if graph is not None else None
    config = (spec or step).retry_config or (graph.retry_config if graph is not None else None)
    retries = (spec or step).retries
    if config is None:
        return RetryPolicy(retries or 0)
    return RetryPolicy(
        config.attempts if retries is None else retries,
        int(config.delay_s * 1000),
        config.factor,
        DELAY_MS_MAX if config.delay_s_max is None else int(config.delay_s_max * 1000),
        config.jitter,
    )


def load_code(store: Store, digest: str) -> Code:
    """The code a run is pinned to.

    Raises:
        HistoryError: the store has lost it.
    """
    packed = store.blob(digest)
    if packed is None or blob_digest(packed) != digest:
        raise HistoryError(f"the code {digest[:12]} of this run is not in the store, or is damaged", digest=digest)
    return Code.unpack(packed)


def graph_of(code: Code) -> Graph | None:
    """The graph that a run's code was made from; None for hand-written code."""
    from cloche_codegen import Graph

    return Graph.from_json(code.graph) if code.graph else None


def load_guest(store: Store, digest: str) -> bytes:
    """The guest a run is pinned to; as `load_code`."""
    wasm = store.blob(digest)
    if wasm is None or blob_digest(wasm) != digest:
        raise HistoryError(f"the guest {digest[:12]} of this run is not in the store, or is damaged", digest=digest)
    return wasm


def what_to_do(error: ClocheError) -> str:
    """One sentence for the person who finds a blocked run."""
    match error:
        case MissingStep():
            return "start a worker that has this step; the run goes on by itself"
        case HistoryError():
            return "run 'cloche verify' and 'cloche replay' on it; its history is kept as it is"
        case _:
            return "see the message; the run is tried again when the store is opened next"


def run_key(run: str, tenant: str) -> RunKey:
    from cloche.history.ids import RunId, is_valid_id

    for what, text in (("run id", run), ("tenant", tenant)):
        if not is_valid_id(text):
            raise UsageError(f"{what} {text!r} is not 1 to 200 bytes of text without control characters")
    return RunKey(TenantId(tenant), RunId(run))
