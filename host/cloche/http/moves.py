"""What says that any run of the store has moved: all streams of one process share it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cloche.errors import ClocheError

if TYPE_CHECKING:
    from cloche.client import Client

AGAIN_S = 1.0  # until a store that did not answer is asked again

log = logging.getLogger("cloche")


class Moves:
    """Of one app. While anybody follows, one task waits for the store; nobody asks it anything while nothing moves."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._followers = 0
        self._task: asyncio.Task[None] | None = None
        self._next: asyncio.Future[None] | None = None
        self._ready = asyncio.Event()

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """While it is open, `next` may be asked for."""
        self._followers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._wait_for_moves(), name="cloche-moves")
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers and self._task is not None:
                self._task.cancel()
                self._task = None
                self._ready.clear()

    async def next(self) -> asyncio.Future[None]:
        """What resolves when a run has moved since this call, or may have. It is shared: it is not to be canceled."""
        await self._ready.wait()
        assert self._next is not None
        return self._next

    async def _wait_for_moves(self) -> None:
        while True:
            try:
                await self._wait()
            except ClocheError as error:
                log.warning("whether runs have moved is not known, and they are looked at: %s", error.message)
                self._announce(asyncio.get_running_loop())
            await asyncio.sleep(AGAIN_S)

    async def _wait(self) -> None:
        loop, connection = asyncio.get_running_loop(), self._client.connection
        listening: Any = await connection.anything()
        try:
            self._announce(loop)
            while True:
                await listening
                listening.close()
                listening = await connection.anything()  # before anybody looks: what moves from here on is heard of
                self._announce(loop)
        finally:
            listening.close()

    def _announce(self, loop: asyncio.AbstractEventLoop) -> None:
        before, self._next = self._next, loop.create_future()
        self._ready.set()
        if before is not None and not before.done():
            before.set_result(None)
