"""Group commit: everything that runs append in one pass of the event loop becomes one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from cloche.errors import DamagedStore, StoreError
from cloche.store import Append, Store

if TYPE_CHECKING:
    from cloche.run.observing import Observing
    from cloche.tenancy.loop_turns import LoopTurns
    from cloche.worker.store_thread import StoreThread

T = TypeVar("T")


class Committer:
    """Appends to a store, many runs at a time. Implements `Log` of `run.ports`.

    A store in this process commits where it is asked to, on the event loop: a hop to a thread costs more (118-307 µs
    measured) than it gives to a single run. It blocks the loop for one fsync; runs that become ready meanwhile share the next
    one. A store that waits has as many commits under way as it says; what comes meanwhile shares the next one too.

    `is_alone`: whether no other run is driven, so that there is nobody to wait for. `thread` answers those who cannot await.
    `on_sent` is called when attempts were left for remote workers.
    """

    def __init__(
        self,
        store: Store,
        is_alone: Callable[[], bool] = lambda: False,
        thread: StoreThread | None = None,
        turns: LoopTurns | None = None,
        on_sent: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._thread = thread
        self._is_alone = is_alone
        self._turns = turns
        self._on_sent = on_sent
        self._waiting: list[tuple[Append, asyncio.Future[None]]] = []
        self._under_way = 0
        self._is_planned = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def append(self, append: Append) -> None:
        """Returns when `append` is durable.

        Raises:
            SeqConflict, LeaseLost: it was refused.
            StoreUnavailable: it was written or not, and it is not known which.
            StoreFailed: it is not known what was written.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((append, done))
        if not self._under_way and self._is_alone():
            await self._flush()
        else:
            self._flush_soon()
        await done

    def ask_now(self, question: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What the store answers, for code that cannot await. From any thread, which waits for it."""
        assert self._thread is not None
        return self._thread.ask(question)

    async def close(self) -> None:
        """Nothing is answered by `ask_now` any more."""
        if self._thread is not None:
            await self._thread.close()

    # ---- inside ----

    def _flush_soon(self) -> None:
        """When all have appended that are ready now, or when a commit that is under way has ended."""
        if not self._is_planned and self._under_way < self._store.commits_at_once:
            self._is_planned = True
            task = asyncio.create_task(self._flush())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _flush(self) -> None:
        self._is_planned = False
        most = self._store.appends_at_once
        waiting, self._waiting = self._waiting[:most], self._waiting[most:]
        if not waiting:
            return
        self._under_way += 1
        if self._waiting:
            self._flush_soon()
        try:
            await self._commit(waiting)
        finally:
            self._under_way -= 1
            if self._waiting:
                self._flush_soon()

    async def _commit(self, waiting: list[tuple[Append, asyncio.Future[None]]]) -> None:
        try:
            outcomes = await self._committed([append for append, _ in waiting])
        except Exception as error:
            if isinstance(error, DamagedStore) and len(waiting) > 1:  # where one run lies: the others do not pay for it
                for one in waiting:
                    await self._commit([one])
                return
            for _, done in waiting:
                if not done.done():
                    done.set_exception(_own(error))
            return
        if any(append.sent for append, _ in waiting):
            self._on_sent()
        for (_, done), outcome in zip(waiting, outcomes, strict=True):
            if done.done():
                continue
            if outcome is None:
                done.set_result(None)
            else:
                done.set_exception(outcome)

    async def _committed(self, appends: list[Append]) -> Sequence[Exception | None]:
        """What the store takes of the loop is charged to the tenants of all of them."""
        if self._turns is None:
            return await self._store.commit(appends)
        return await self._turns.counted_for([append.key.tenant for append in appends], self._store.commit(appends))


class ObservedLog:
    """A committer, and who is told how long each append took. Implements `Log` of `run.ports`."""

    def __init__(self, committer: Committer, observer: Observing, monotonic: Callable[[], float]) -> None:
        self._committer = committer
        self._observer = observer
        self._monotonic = monotonic
        self.ask_now, self.close = committer.ask_now, committer.close

    async def append(self, append: Append) -> None:
        """As `Committer.append`."""
        began = self._monotonic()
        await self._committer.append(append)
        self._observer.appended(append, self._monotonic() - began)


def _own(error: Exception) -> Exception:
    """Each waiter gets an exception of its own: a shared one would collect the tracebacks of all."""
    if isinstance(error, StoreError):
        return type(error)(error.message, **error.facts)
    return error
