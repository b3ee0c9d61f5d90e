"""The tasks of one worker, on its event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class WorkerTasks:
    """Implements `Tasks` of `run.ports`. Made inside a running event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def on_loop(self, action: Callable[[], None]) -> None:
        """Call it on the loop's thread: at once, or soon if this is another one (a step's)."""
        if threading.get_ident() == self._thread:
            action()
        else:
            self._loop.call_soon_threadsafe(action)

    async def end(self, wait_s: float) -> None:
        """Let what goes on end for so long, then cancel it."""
        if self._tasks and wait_s:
            await asyncio.wait(self._tasks, timeout=wait_s)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
