"""Pushing attempts of remote steps: each is sent to the receiver that its tenant has for the step, by any number of processes.

An attempt is a row of the store. Whoever pushes takes it, as a remote worker does; while the request is open he sends its
heartbeats. The answer is its end (200), or that the end comes later under the attempt's token (202). What no receiver has
accepted is given back to the store, and pushed again later, under the same id; where the process that pushes dies, the attempt
falls silent, as with any worker. One that is at most once is not pushed again after a request that may have arrived.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, Protocol, Self

from cloche.errors import ClocheError, InvalidInput, StoreUnavailable
from cloche.history import TimeMs
from cloche.operations import remote_steps
from cloche.operations.forms import instant, to_json
from cloche.operations.reach import Answer, Reach, Unreachable, post
from cloche.operations.remote_answers import answered, told_of
from cloche.operations.remote_steps import AttemptTokens
from cloche.operations.signatures import signed
from cloche.operations.webhooks import STEPS, steps_of
from cloche.store import AttemptName, RemoteTask, Store, WebhookRow

__all__ = ["Pushes", "attempt_id"]

log = logging.getLogger("cloche.remote")
BACKOFF_S = (1, 2, 5, 10, 30, 60, 120, 300)  # until an attempt is pushed again; the last one again and again
ANSWER_S = 30.0  # a receiver that works for longer answers 202
ANSWER_BYTES_MAX = 1 << 20  # as of a request that says an end
RETRY_AFTER_S_MAX = 3_600
AT_ONCE, AT_ONCE_EACH = 128, 16  # requests that are open: of this process, and to one receiver
LOOK_S = 1.0  # between two looks at whether something is due; an attempt that is sent is seen at once
DRAIN_S = 10.0
BEATS = 3  # heartbeats in the time after which a worker is taken for dead
REFUSED = frozenset({503, *range(400, 500)})  # whoever answers so has not begun


class Hint(Awaitable[Any], Protocol):
    """Awaited, it lasts until an attempt may have been sent."""

    def close(self) -> None: ...


class Pushes:
    """An async context in which attempts are pushed. Several processes may do so for one store: each attempt has one sender.

    Args:
        now: the time, in ms since 1970.
        sent: gives what lasts until an attempt may have been sent.
        posted: is called after a request was left for a run.
        reach: which hosts are reached.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], TimeMs],
        sent: Callable[[], Awaitable[Hint]],
        posted: Callable[[], Awaitable[None]],
        reach: Reach | None = None,
        *,
        backoff_s: Sequence[float] = BACKOFF_S,
        answer_s: float = ANSWER_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._store = store
        self._now = now
        self._sent = sent
        self._posted = posted
        self._reach = reach or Reach()
        self._backoff_s = backoff_s
        self._answer_s = answer_s
        self._look_s = look_s
        self._open: dict[asyncio.Task[None], str] = {}  # with the receiver
        self._ended = asyncio.Event()  # a request has: there may be room again

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._run(), name="cloche-pushes")
        return self

    async def __aexit__(self, *error: object) -> None:
        """Requests that are open are waited for, a while; what was cut off is pushed again by whoever comes next."""
        self._loop.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=DRAIN_S)
        tasks = [self._loop, *self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- what is due ----

    async def _run(self) -> None:
        while True:
            try:
                await self._look_and_wait()
            except ClocheError as error:
                log.warning("what is to be pushed is looked for again: %s", error.message)
                await asyncio.sleep(self._look_s)
            except Exception:
                log.exception("what is to be pushed is looked for again, after a fault of cloche itself")
                await asyncio.sleep(self._look_s)

    async def _look_and_wait(self) -> None:
        receivers = await self._store.webhooks(form=STEPS)
        if not receivers:
            await asyncio.sleep(self._look_s)
            return
        from cloche.operations import http_answers  # noqa: F401  # refuses here what cannot be pushed, and not in the middle

        hint = await self._sent()
        try:
            self._ended.clear()
            await self._begin(receivers)
            await _first([hint, self._ended.wait()], self._look_s)
        finally:
            hint.close()

    async def _begin(self, receivers: Sequence[WebhookRow]) -> None:
        """Take what waits for these receivers, as much of it as there is room for."""
        waiting = await self._store.remote_waiting()
        counts = Counter(self._open.values())
        for webhook in receivers if waiting else ():
            handled = steps_of(webhook)
            steps = [step for tenant, step in waiting if tenant == webhook.tenant and step in handled]
            name = f"{webhook.tenant}\x00{webhook.name}"
            room = min(AT_ONCE - len(self._open), AT_ONCE_EACH - counts[name])
            if not steps or room <= 0:
                continue
            holder, now = f"receiver {webhook.name}", self._now()
            tasks = await self._store.take_remote(steps, room, holder, now, tenant=webhook.tenant, pushed=True)
            for one in tasks:
                task = asyncio.create_task(self._push(webhook, one), name="cloche-push")
                self._open[task] = name
                task.add_done_callback(self._has_ended)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        del self._open[task]
        self._ended.set()

    # ---- one of them ----

    async def _push(self, webhook: WebhookRow, task: RemoteTask) -> None:
        try:
            answer = await self._while_wanted(task, asyncio.create_task(self._post(webhook, task)))
            if answer is not None:
                await self._follow(webhook, task, answer)
        except Unreachable as error:
            await self._not_accepted(webhook, task, str(error), is_begun=error.is_sent)
        except asyncio.CancelledError:  # this process ends
            await self._not_accepted(webhook, task, "the process that pushed it has ended", is_begun=True)
            raise
        except ClocheError as error:
            log.warning("what came of a push of %s is not known: %s", task.path, error.message)
        except Exception:
            log.exception("what came of a push of %s is not known, after a fault of cloche itself", task.path)

    async def _post(self, webhook: WebhookRow, task: RemoteTask) -> Answer:
        given = remote_steps.given(task, await AttemptTokens.of(self._store))
        told = {"type": "step.attempt", "timestamp": instant(self._now()), "data": given}
        body = to_json(told).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "cloche"}
        headers |= {"Accept-Encoding": "identity"}
        headers |= signed(webhook.secret, attempt_id(task.name), self._now() // 1000, body)
        return await post(self._reach, webhook.url, headers, body, self._answer_s, answer_bytes_max=ANSWER_BYTES_MAX)

    async def _while_wanted(self, task: RemoteTask, sending: asyncio.Task[Answer]) -> Answer | None:
        """The answer. While the request is open its connection is the receiver's heartbeat; None: nobody wants it any more."""
        try:
            while not sending.done():
                await asyncio.wait({sending}, timeout=max(task.silence_ms / 1000 / BEATS, 0.05))
                if not sending.done() and not await self._beat(task):
                    return None
            return sending.result()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _beat(self, task: RemoteTask) -> bool:
        try:
            return await self._store.beat_remote(task.name)
        except ClocheError as error:
            log.warning("a heartbeat of %s was not written: %s", task.path, error.message)
            return True

    async def _follow(self, webhook: WebhookRow, task: RemoteTask, answer: Answer) -> None:
        if answer.status == 202:  # it says the end later, and sends heartbeats until then
            await self._beat(task)
        elif answer.status == 200:
            await self._end(task, _told(webhook, answer))
        else:
            problem = f"it was answered with {answer.status}"
            is_begun = answer.status not in REFUSED
            await self._not_accepted(webhook, task, problem, is_begun=is_begun, after_s=answer.retry_after_s)

    async def _end(self, task: RemoteTask, told: dict[str, Any]) -> None:
        while True:
            try:
                await remote_steps.say(self._store, task.name, self._now(), **told)
                await self._posted()
                return
            except StoreUnavailable as error:  # the receiver has said it once: it is kept until the store takes it
                log.warning("what came of %s is said again: %s", task.path, error.message)
                await asyncio.sleep(self._look_s)
            except InvalidInput as error:
                told = _failed(error.message)

    async def _not_accepted(
        self, webhook: WebhookRow, task: RemoteTask, problem: str, *, is_begun: bool, after_s: float = 0
    ) -> None:
        """`is_begun`: the receiver may have begun it; what is at most once is not given to anybody then."""
        log.info("attempt %s of %s, for receiver %s: %s", task.seq, task.path, webhook.name, problem)
        if is_begun and remote_steps.is_at_most_once(task):
            await remote_steps.fell_silent(self._store, task.name, self._now())
            await self._posted()
            return
        tries = task.given_back.tries if task.given_back is not None else 0
        wait_s = self._backoff_s[min(tries, len(self._backoff_s) - 1)]
        due = TimeMs(self._now() + round(1000 * max(wait_s, min(after_s, RETRY_AFTER_S_MAX))))
        await self._store.give_back_remote(task.name, due, problem[:500])


def attempt_id(name: AttemptName) -> str:
    """What the receiver knows an attempt by: the same each time that it is pushed, and another for every other one."""
    parts = "\x00".join((name.key.tenant, name.key.run, str(name.call), str(name.seq)))
    return f"att_{blake2b(parts.encode(), digest_size=16).hexdigest()}"


def _told(webhook: WebhookRow, answer: Answer) -> dict[str, Any]:
    if answer.body is None:
        return _failed(f"receiver {webhook.name} answered with more than {ANSWER_BYTES_MAX:,} bytes")
    try:
        return told_of(answered(answer.body))
    except InvalidInput as error:
        return _failed(f"receiver {webhook.name} answered with 200, but {error.message}")


def _failed(message: str) -> dict[str, Any]:
    return {"what": "failed", "failure": {"name": "InvalidAnswer", "message": message[:8_192]}}


async def _first(waits: Sequence[Any], seconds: float) -> None:
    tasks = [asyncio.ensure_future(_until(one)) for one in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _until(one: Any) -> None:
    await one
