"""Long polls of remote workers: all of one process share one look at what waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloche.errors import ClocheError
from cloche.operations.remote_steps import TenantId

if TYPE_CHECKING:
    from cloche.client import Client
    from cloche.client.ports import Connection
    from cloche.operations.remote_steps import RemoteTask

AGAIN_S = 1.0  # until a store that did not answer is asked again
Kinds = frozenset[tuple[TenantId, str]]  # tenants and steps

log = logging.getLogger("cloche")


@dataclass(eq=False, slots=True)
class Poll:
    """One worker that waits: for which steps, of which tenant (None: of all), and for how many attempts at most."""

    steps: frozenset[str]
    tenant: TenantId | None
    most: int
    holder: str
    taken: asyncio.Future[list[RemoteTask]]

    def wants(self, waiting: Iterable[tuple[TenantId, str]]) -> bool:
        return any(step in self.steps and self.tenant in (None, tenant) for tenant, step in waiting)


class Polls:
    """Of one app. While anybody waits, one task looks: when an attempt was sent, and at once when somebody comes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[Poll, None] = {}  # in the order in which they came
        self._looker: asyncio.Task[None] | None = None
        self._come = asyncio.Event()
        self._known: Kinds | None = None  # what was left over after the last look

    async def take(
        self, steps: Iterable[str], most: int, holder: str, tenant: TenantId | None, wait_s: float
    ) -> list[RemoteTask]:
        """Up to `most` attempts, as soon as there is one; none if there is none in `wait_s`.

        Canceled, it takes nothing.
        """
        taken: asyncio.Future[list[RemoteTask]] = asyncio.get_running_loop().create_future()
        poll = Poll(frozenset(steps), tenant, most, holder, taken)
        self._waiting[poll] = None
        try:
            if self._known is None or poll.wants(self._known):
                self._come.set()
            if self._looker is None or self._looker.done():
                self._looker = asyncio.create_task(self._look_while_any_wait(), name="cloche-polls")
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(taken), wait_s)
            return taken.result() if taken.done() else []
        finally:
            self._waiting.pop(poll, None)

    async def _look_while_any_wait(self) -> None:
        self._known = None
        while self._waiting:
            connection = self._client.connection
            try:
                sent = await connection.sent()
                try:
                    self._come.clear()
                    await self._serve(connection)
                    await self._first(asyncio.ensure_future(_until(sent)), asyncio.ensure_future(self._come.wait()))
                finally:
                    sent.close()
            except ClocheError as error:
                log.warning("remote workers wait for the store: %s", error.message)
                await asyncio.sleep(AGAIN_S)
            except Exception:
                log.exception("a look at what remote workers wait for failed by a fault of cloche itself")
                await asyncio.sleep(AGAIN_S)

    async def _first(self, *tasks: asyncio.Task[object]) -> None:
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _serve(self, connection: Connection) -> None:
        """Give what waits to those who wait for it, the first who came first."""
        store = connection.store
        waiting = set(await store.remote_waiting())
        for poll in list(self._waiting):
            if not waiting:
                break
            if poll.taken.done() or poll not in self._waiting or not poll.wants(waiting):
                continue
            steps = sorted({step for _, step in waiting} & poll.steps)
            tasks = await store.take_remote(steps, poll.most, poll.holder, connection.world.now(), tenant=poll.tenant)
            if tasks:
                self._waiting.pop(poll, None)
                if not poll.taken.done():
                    poll.taken.set_result(tasks)
            if len(tasks) < poll.most:  # all of what it wants is taken
                waiting = {one for one in waiting if not Poll.wants(poll, [one])}
        self._known = frozenset(waiting)
        if any(poll.wants(waiting) and not poll.taken.done() for poll in self._waiting):  # who came meanwhile
            self._come.set()


async def _until(sent: object) -> None:
    await sent  # type: ignore[misc]
