"""What one run needs of the worker that executes it. A worker hands these out; nothing here knows a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cloche.history import CallId, RunKey, Seq, TenantId
from cloche.history.ids import Child
from cloche.run.clock import Timers, World
from cloche.run.lanes import Lanes
from cloche.run.limits import RunLimits

if TYPE_CHECKING:
    from cloche.engines import Cell, Code
    from cloche.errors import ClocheError
    from cloche.history import RunMachine
    from cloche.history.check import Validator
    from cloche.history.limits import Limits
    from cloche.run.observing import Observing
    from cloche.status import RunStatus
    from cloche.steps.registry import Registry
    from cloche.steps.runner import Runner
    from cloche.store import Append, Checkpoints, Lease, RunRow, Store

T = TypeVar("T")
Attempt = tuple[RunKey, CallId | None]


class CellOwner(Protocol):
    """Whoever has a cell that it can let go of."""

    key: RunKey

    def evict_cell(self) -> bool:
        """Let go of the cell; False while it is at work."""


class Cells(Protocol):
    """Where cells come from, and how many are kept."""

    @property
    def meter(self) -> str | None:
        """What counts fuel; None where nothing is counted."""

    @property
    def validator(self) -> Validator | None:
        """What checks large outputs faster than `history.check`."""

    @property
    def checkpoint_every(self) -> int:
        """Events of a run after which its cell is saved."""

    async def open(self, tenant: TenantId, code: Code, limits: Limits) -> Cell: ...

    async def thaw(self, tenant: TenantId, code: Code, limits: Limits, frozen: bytes) -> Cell | None: ...

    def keep(self, owner: CellOwner, size: int) -> None:
        """`owner` has a cell of `size` bytes now; others may have to let go of theirs."""

    def used(self, key: RunKey, size: int) -> None:
        """The cell of this run had a turn, and takes `size` bytes now."""

    def save(self, key: RunKey, seq: Seq, pack: Callable[[], bytes | None]) -> None:
        """Pack a checkpoint and write it, beside the loop; it is lost if the process ends before."""


class Log(Protocol):
    """The log of all runs."""

    async def append(self, append: Append) -> None:
        """Returns when `append` is durable; raises as `Store.commit` and with the append's own refusal."""

    def ask_now(self, question: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What the store answers, for code that cannot await: in any thread, also on the event loop's."""

    async def close(self) -> None:
        """Nothing is answered by `ask_now` any more."""


class Tasks(Protocol):
    """What goes on beside the caller, for as long as the worker lives."""

    def __len__(self) -> int:
        """How many go on."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...

    async def end(self, wait_s: float) -> None:
        """Let what goes on end for so long, then cancel it."""

    def on_loop(self, action: Callable[[], None]) -> None:
        """Call it on the loop's thread: at once, or soon if this is another one (a step's)."""


class Ownership(Protocol):
    """Whose runs these are."""

    @property
    def worker(self) -> str: ...

    @property
    def takes_runs(self) -> bool:
        """Whether it may have more: its clock may be wrong."""

    async def is_safe(self) -> bool:
        """Whether no other worker can have taken the runs of this one."""

    async def claim(self, key: RunKey) -> RunRow | None:
        """Own the run, if nobody else does."""

    def expect(self, due: int | None) -> None:
        """A run that nobody owns any more is due then."""

    def queued(self, tenant: TenantId) -> None:
        """A run of this tenant waits to begin."""


class DrivenRun(Protocol):
    """A run that is driven, as its worker sees it."""

    key: RunKey

    @property
    def live(self) -> CellOwner:
        """Who has its cell."""

    lease: Lease | None
    turns: int

    @property
    def code(self) -> Code: ...

    @property
    def machine(self) -> RunMachine: ...


class Supervisor(Protocol):
    """Is told how a run stands, and keeps the table of those that are driven."""

    def is_driver(self, run: DrivenRun) -> bool:
        """Whether it is this object that drives its run here."""

    async def block(self, key: RunKey, error: ClocheError, lease: Lease | None, ends_in_s: int | None = None) -> None:
        """The run cannot go on: the reason is kept, and it is nobody's. `ends_in_s`: it was told to end, and ends then."""

    def report(self, key: RunKey, error: ClocheError | None) -> None:
        """Something outside keeps the run from going on for now; None: not any more."""

    async def release(self, run: DrivenRun) -> None:
        """It does nothing more: the next worker may take it."""

    def finished(self, run: DrivenRun, *, keeps_cell: bool = False) -> None:
        """It is driven no more."""

    def stopped_moving(self, run: DrivenRun) -> None:
        """It has come to a stop: tell those who wait for that."""

    def announce(self, key: RunKey) -> None:
        """Its log has grown."""

    def hooks_opened(self, key: RunKey, names: Sequence[str]) -> None:
        """It begins to wait for events of these names, which may be here already."""

    def ended_undriven(self, key: RunKey, code: Code | None, status: RunStatus = ...) -> None:
        """A run has ended that nobody drives, and has left requests for its parent and its children."""

    def child_ended(self, parent: RunKey, child: Child) -> None:
        """This child of the run has ended, and has left a request for it."""

    def look_for_requests(self) -> None:
        """Requests may be there that a store tells nobody of here: this worker has left them itself."""

    def permits_wait(self) -> None:
        """A step waits for a permit: time may free one."""

    def timer_due(self, key: RunKey) -> None:
        """A timer of it is due, and it waits for something from outside too."""


class Listening(Awaitable[None], Protocol):
    """Awaited, it lasts until what is listened for has happened. Closed by who asked for it, awaited or not."""

    def close(self) -> None:
        """Listen no more: nothing is kept of it."""


@dataclass(frozen=True, slots=True)
class ChildStart:
    """A run that another one begins: `key` is its own.

    `owner` says where its workflow's name is looked up: whose the calling code is (a tenant, or "" for the host); None where
    both are meant, the tenant's first. `is_wanted` is asked while it waits for room in the queue of its tenant.
    """

    key: RunKey
    workflow: Any
    input: Any
    owner: str | None
    parent: RunKey
    call: CallId
    is_wanted: Callable[[], bool] = lambda: True


class ChildRuns(Protocol):
    """Starting, watching and canceling other runs."""

    async def start_child(self, start: ChildStart, limits: RunLimits) -> Any:
        """Begin it, or find it; `limits` are its parent's.

        Raises:
            QueueFull: it found no room in the queue, and is not wanted any more.
        """

    async def handle(self, key: RunKey) -> Any:
        """What a step is given of another run.

        Raises:
            NotFound: there is no such run.
        """

    async def has_workflow(self, tenant: TenantId, id: str, owner: str | None) -> bool:
        """Whether a run of this workflow can be started here, where code of `owner` names it."""

    async def cancel_unwanted(self, key: RunKey) -> None:
        """Cancel a child that nobody wants any more, whoever executes it; what its parent has left for it is accepted so.

        Raises:
            NotFound: there is no such run.
            HistoryError, DamagedStore: it is blocked, and its records cannot be read.
            HeldBack: it is canceled when an operator lets it go on.
        """

    async def forget_unwanted(self, key: RunKey) -> None:
        """Drop what its parent has left for it, where it has not begun, or has ended."""

    def stopped(self, key: RunKey) -> Listening:
        """Resolves when that run has stopped, or somebody else wrote."""


class Quarantine(Protocol):
    """Steps that ran each time when a process ended begin one by one."""

    def __bool__(self) -> bool: ...

    def begin(self, attempt: Attempt, action: Callable[[], bool]) -> None: ...

    def over(self, attempt: Attempt) -> None: ...

    def leave(self, key: RunKey) -> None: ...


@dataclass(frozen=True, slots=True)
class RunServices:
    """All that a worker gives to each of its runs."""

    store: Store
    checkpoints: Checkpoints
    world: World
    timers: Timers
    lanes: Lanes
    registry: Registry
    cells: Cells
    log: Log
    ownership: Ownership
    supervisor: Supervisor
    child_runs: ChildRuns
    quarantine: Quarantine
    runner: Runner
    tasks: Tasks
    observer: Observing | None = None  # None: nobody watches
