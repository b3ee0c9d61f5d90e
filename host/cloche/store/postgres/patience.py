"""How long a statement may take: one timer for all that are under way, for one of its own costs as much as half a statement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")

LOOKS = 4  # in the time that a statement may take: it is given up that much later at most


class Patience:
    """Of one process with its server, `seconds` for each statement. Used on one event loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: dict[asyncio.Task[object], float] = {}  # those that wait
        self._given_up: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, answer: Awaitable[T]) -> T:
        """What is answered. A task waits for one at a time.

        Raises:
            TimeoutError: the answer did not come; `answer` was canceled, as `asyncio.timeout` does it.
        """
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        self._since[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.seconds / LOOKS, self._look, loop)
        canceled_before = task.cancelling()
        try:
            return await answer
        except asyncio.CancelledError as error:
            if task in self._given_up and task.uncancel() <= canceled_before:
                raise TimeoutError(f"there was no answer within {self.seconds:g} s") from error
            raise
        finally:
            del self._since[task]
            self._given_up.discard(task)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        late = loop.time() - self.seconds
        for task, since in self._since.items():
            if since <= late and task not in self._given_up:
                self._given_up.add(task)
                task.cancel()
        self._timer = loop.call_later(self.seconds / LOOKS, self._look, loop) if self._since else None
