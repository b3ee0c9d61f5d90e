"""`StepWorker`: performs `@step` functions for runs of a server elsewhere. It knows the server's address, and no store.

It asks for as many attempts as it has room for, sends heartbeats while it performs them, and says what came of each, until the
server has answered: the server takes an end once.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Self

from cloche.client.remote.transport import Transport, values
from cloche.errors import StoreUnavailable, UsageError
from cloche.remote.performing import AGAIN_S, AGAIN_S_MAX, Performer
from cloche.steps.context import AbortSignal
from cloche_codegen import Step

WAIT_S = 20.0  # of one poll
AT_ONCE_S = 0.005

log = logging.getLogger("cloche.remote")


class StepWorker:
    """An async context; inside of it, `run` performs steps until `stop` is called.

    Args:
        url: of the server, as `Client` takes it.
        steps: those that it performs: what `@step` and `create_step` make, sync or async.
        token: one of the role `worker`, or an operator's; None for a server that lets in everybody.
        concurrency: attempts at a time.
        name: for people; without, a name of chance.
    """

    def __init__(
        self,
        url: str,
        steps: Iterable[Step],
        *,
        token: str | None = None,
        concurrency: int = 10,
        name: str | None = None,
    ) -> None:
        if concurrency < 1:
            raise UsageError(f"a step worker performs at least one attempt at a time, not {concurrency}")
        self.name = name or f"worker-{uuid.uuid4().hex[:8]}"
        self._transport = Transport(url, token)
        self._performer = Performer(steps, self._transport)
        self._concurrency = concurrency
        self._attempts: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._attempts:
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        await self._performer.close()

    def stop(self) -> None:
        """Take nothing more: `run` returns when what is under way has ended, and the server knows of it."""
        self._stopping.set()

    async def run(self) -> None:
        """Perform steps until `stop` is called.

        Raises:
            AccessRefused: the token does not let in.
        """
        wait_s = AGAIN_S
        while not self._stopping.is_set():
            if len(self._attempts) >= self._concurrency:
                await self._first(*self._attempts)
                continue
            polling = asyncio.ensure_future(self._poll(self._concurrency - len(self._attempts)))
            try:
                await self._first(polling)
                found = polling.result() if polling.done() else []
                wait_s = AGAIN_S
            except StoreUnavailable as error:
                log.warning("the server is asked again in %g s: %s", wait_s, error.message)
                await self._pause(wait_s)
                wait_s, found = min(2 * wait_s, AGAIN_S_MAX), []
            finally:
                polling.cancel()
            begun = [self._begin(given) for given in found]
            if begun:  # what ends at once is said before more is asked for: its run waits for it
                await asyncio.wait(begun, timeout=AT_ONCE_S)
        if self._attempts:
            await asyncio.wait(self._attempts)

    def _begin(self, given: Mapping[str, Any]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._perform(given), name=f"step '{given['path']}' of {given['run_id']}")
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)
        return task

    async def _first(self, *tasks: asyncio.Future[Any]) -> None:
        """Until one of these has ended, or the worker is to stop."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _pause(self, seconds: float) -> None:
        await self._first(asyncio.ensure_future(asyncio.sleep(seconds)))

    async def _poll(self, most: int) -> list[dict[str, Any]]:
        body = {"steps": sorted(self._performer.steps), "most": min(most, 100), "wait_s": WAIT_S, "worker": self.name}
        found: dict[str, Any] = values(await self._transport.ask("POST", "/steps/poll", body))
        attempts: list[dict[str, Any]] = found["attempts"]
        return attempts

    async def _perform(self, given: Mapping[str, Any]) -> None:
        performer, signal = self._performer, AbortSignal()
        if given["at_most_once"] and not await performer.beat(given, signal):
            return  # nobody waits for it any more, or nobody knows
        beating = asyncio.create_task(performer.beat_on(given, signal))
        try:
            what, body = await performer.outcome(given, signal)
        finally:
            beating.cancel()
        await performer.say(given, what, body)
