"""A thread with an event loop and a connection to the store of its own.

It answers code that cannot await, in a step's thread or on the event loop itself, and sends heartbeats while that loop stands
still. A connection belongs to one loop, so neither can use the worker's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from cloche.errors import StoreUnavailable

if TYPE_CHECKING:
    from cloche.store import Store

T = TypeVar("T")


class StoreThread:
    """Begun when it is first asked. A daemon: a process that ends does not wait for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Store]] | None = None
        self._is_closed = False

    def ask(self, question: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What the store answers; the calling thread waits.

        Raises:
            StoreUnavailable: the worker was closed.
            StoreError: as the store.
        """
        with self._lock:
            if self._is_closed:
                raise StoreUnavailable("the worker was closed: its store answers no more")
            if self._begun is None:
                self._begun = Future()
                self._thread = threading.Thread(target=self._run, args=[self._begun], name="cloche-store", daemon=True)
                self._thread.start()
        try:
            loop, _, store = self._begun.result()
        except BaseException:
            with self._lock:
                self._begun = None  # the next one tries again
            raise
        return asyncio.run_coroutine_threadsafe(question(store), loop).result()

    async def close(self) -> None:
        """Nothing is answered any more."""
        with self._lock:
            self._is_closed = True
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._end)

    def _end(self) -> None:
        assert self._thread is not None
        if self._begun is not None and self._begun.exception() is None:
            loop, ended, _ = self._begun.result()
            loop.call_soon_threadsafe(ended.set)
        self._thread.join()

    def _run(self, begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Store]]) -> None:
        asyncio.run(self._live(begun))

    async def _live(self, begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Store]]) -> None:
        ended = asyncio.Event()
        try:
            store = await self._store.connect()
        except BaseException as error:
            begun.set_exception(error)
            return
        begun.set_result((asyncio.get_running_loop(), ended, store))
        await ended.wait()
        await store.close()
