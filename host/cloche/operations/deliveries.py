"""Sending webhooks: what is due in a store, each at least once, from any number of processes.

A delivery is a row that the commit has left by which its run stopped. Whoever sends takes it for a while; when it is answered
it goes, else it is due again later, and when its process dies too. A receiver knows it by its id, which stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Self

from cloche.errors import ClocheError
from cloche.history.ids import TimeMs
from cloche.operations.reach import Answer, Reach, Unreachable, post
from cloche.operations.signatures import signed
from cloche.operations.webhooks import body_of, delivery_id
from cloche.store import Delivery, Store, WebhookRow

__all__ = ["BACKOFF_S", "Deliveries", "Reach"]

log = logging.getLogger("cloche.webhooks")
# After each attempt that failed; after the last one it is given up. The schedule that Standard Webhooks recommends.
BACKOFF_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
TIMEOUT_S = 15.0
TAKEN_S = 60.0  # nobody else takes it meanwhile: longer than an attempt may last
LOOK_S = 1.0  # between two looks at whether something is due: one statement, by index
AT_ONCE = 16
GONE = 410  # the receiver wants no more


class Deliveries:
    """An async context in which the webhooks of a store are sent. Several processes may do so for one store.

    Args:
        now: the time, in ms since 1970.
        reach: which hosts they are sent to.
        backoff_s: how long to wait after each attempt that failed.
        taken_s: for how long one that was taken is nobody else's.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], TimeMs],
        reach: Reach | None = None,
        *,
        backoff_s: Sequence[float] = BACKOFF_S,
        taken_s: float = TAKEN_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._store = store
        self._now = now
        self._reach = reach or Reach()
        self._backoff_s = backoff_s
        self._taken_s = taken_s
        self._look_s = look_s
        self._sending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *error: object) -> None:
        """What was begun is cut off, and due again when its time is over."""
        tasks = [self._loop, *self._sending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                taken = await self._take()
            except ClocheError as error:
                log.warning("what is to be delivered is looked for again: %s", error.message)
                taken = []
            for one in taken:
                task = asyncio.create_task(self._send(one))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
            if len(self._sending) >= AT_ONCE:
                await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            elif not taken:
                await asyncio.sleep(self._look_s)

    async def _take(self) -> list[Delivery]:
        now = self._now()
        return await self._store.claim_deliveries(now, _after(now, self._taken_s), AT_ONCE - len(self._sending))

    async def _send(self, one: Delivery) -> None:
        try:
            webhook = await self._store.webhook(one.tenant, one.webhook)
            if webhook is None:
                await self._store.end_delivery(one.id)
                return
            try:
                answer = await self._attempt(webhook, one)
                problem = f"it was answered with {answer.status}"
            except Unreachable as error:
                answer, problem = Answer(0), str(error)
            if 200 <= answer.status < 300:
                await self._store.end_delivery(one.id)
            else:
                await self._failed(one, answer, problem)
        except ClocheError as error:  # it is due again when its time is over
            log.warning("a webhook of tenant %s is sent again: %s", one.tenant, error.message)
        except Exception:
            log.exception("a webhook of tenant %s is sent again, after a fault of cloche itself", one.tenant)

    async def _attempt(self, webhook: WebhookRow, one: Delivery) -> Answer:
        body = body_of(one)
        headers = {"Content-Type": "application/json", "User-Agent": "cloche"}
        headers |= signed(webhook.secret, delivery_id(one), self._now() // 1000, body)
        return await post(self._reach, webhook.url, headers, body, min(TIMEOUT_S, self._taken_s / 2))

    async def _failed(self, one: Delivery, answer: Answer, problem: str) -> None:
        is_last = answer.status == GONE or one.attempts > len(self._backoff_s)
        wait_s = 0.0 if is_last else max(self._backoff_s[one.attempts - 1], answer.retry_after_s)
        log.info("webhook %s of tenant %s, attempt %d: %s", one.webhook, one.tenant, one.attempts, problem)
        due = None if is_last else _after(self._now(), wait_s)
        await self._store.postpone_delivery(one.id, due, problem)


def _after(now: TimeMs, seconds: float) -> TimeMs:
    return TimeMs(now + int(seconds * 1000))
