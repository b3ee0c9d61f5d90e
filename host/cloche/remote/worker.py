"""`StepWorker`: performs `@step` functions for runs of a server elsewhere. It knows the server's address, and no store.

It asks for as many attempts as it has room for, sends heartbeats while it performs them, and says what came of each, until the
server has answered: the server takes an end once.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self

from cloche.client.remote.transport import Transport, segment, values
from cloche.errors import ClocheError, FatalError, InvalidInput, RetryableError, StoreUnavailable, UsageError
from cloche.history import Failure, TenantId
from cloche.history.retry import asked_delay_ms
from cloche.remote.services import WorkerServices
from cloche.steps.attempt import Bailed, Completed, Outcome, Suspended, attempt
from cloche.steps.binding import Arguments, Checks
from cloche.steps.context import AbortSignal, StateChange, StepContext, Writer, merged
from cloche.steps.failing import failure_of
from cloche.steps.runner import LocalRunner
from cloche.steps.threads import StepThreads
from cloche_codegen import Step

WAIT_S = 20.0  # of one poll
AGAIN_S, AGAIN_S_MAX = 0.2, 5.0  # until a server that did not answer is asked again
BEATS = 3  # heartbeats in the time after which a worker is taken for dead

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
        self._steps = {step.id: step for step in steps}
        if not self._steps:
            raise UsageError("a step worker has at least one step: StepWorker(url, [resize])")
        if concurrency < 1:
            raise UsageError(f"a step worker performs at least one attempt at a time, not {concurrency}")
        self.name = name or f"worker-{uuid.uuid4().hex[:8]}"
        self._transport = Transport(url, token)
        self._runner = LocalRunner(StepThreads())
        self._concurrency = concurrency
        self._attempts: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._attempts:
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        self._runner.close()
        await self._transport.close()

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
            for given in found:
                task = asyncio.create_task(self._perform(given), name=f"step '{given['path']}' of {given['run_id']}")
                self._attempts.add(task)
                task.add_done_callback(self._attempts.discard)
        if self._attempts:
            await asyncio.wait(self._attempts)

    async def _first(self, *tasks: asyncio.Future[Any]) -> None:
        """Until one of these has ended, or the worker is to stop."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _pause(self, seconds: float) -> None:
        await self._first(asyncio.ensure_future(asyncio.sleep(seconds)))

    async def _poll(self, most: int) -> list[dict[str, Any]]:
        body = {"steps": sorted(self._steps), "most": min(most, 100), "wait_s": WAIT_S, "worker": self.name}
        found: dict[str, Any] = values(await self._transport.ask("POST", "/steps/poll", body))
        attempts: list[dict[str, Any]] = found["attempts"]
        return attempts

    # ---- one attempt ----

    async def _perform(self, given: Mapping[str, Any]) -> None:
        signal = AbortSignal()
        if given["at_most_once"] and not await self._beat(given, signal):
            return  # nobody waits for it any more, or nobody knows
        beating = asyncio.create_task(self._beat_on(given, signal))
        try:
            what, body = await self._outcome(given, signal)
        finally:
            beating.cancel()
        await self._say(given, what, body)

    async def _outcome(self, given: Mapping[str, Any], signal: AbortSignal) -> tuple[str, dict[str, Any]]:
        """What came of it: the endpoint that it is told, and its body."""
        step, tenant = self._steps[given["step"]], TenantId(given["tenant"])
        asked = Arguments([given["input"]])
        context = self._contexts(step, given, signal)
        try:
            return _told(await attempt(self._runner, step, tenant, asked, context, Checks(outputs=True)))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # whatever an author's code raises is a failure of its step
            if isinstance(error, KeyboardInterrupt | GeneratorExit):
                raise
            log.warning("attempt %s of step '%s' failed", given["attempt"], step.id, exc_info=error)
            return "fail", _raised(error)

    def _contexts(
        self, step: Step, given: Mapping[str, Any], signal: AbortSignal
    ) -> Callable[[Any, list[StateChange]], StepContext]:
        loop = asyncio.get_running_loop()

        def write(value: Any) -> None:
            asyncio.run_coroutine_threadsafe(self._write(given, value), loop)

        def make(data: Any, changes: list[StateChange]) -> StepContext:
            return StepContext(
                input_data=data,
                run_id=given["run_id"],
                workflow_id=given["workflow_id"],
                step_id=step.id,
                tenant=given["tenant"],
                path=given["path"],
                attempt=given["attempt"],
                idempotency_key=given["idempotency_key"],
                state=MappingProxyType(dict(given["state"])),
                request_context=MappingProxyType(dict(given["request_context"])),
                resume_data=given["resume_data"],
                suspend_data=given["suspend_data"],
                abort_signal=signal,
                writer=Writer(write),
                log=log.getChild(step.id),
                _step=step,
                _init_data=lambda: None,
                _services=WorkerServices(),
                _changes=changes,
            )

        return make

    async def _write(self, given: Mapping[str, Any], value: Any) -> None:
        await self._say(given, "progress", {"value": value, "key": uuid.uuid4().hex})

    async def _beat_on(self, given: Mapping[str, Any], signal: AbortSignal) -> None:
        while True:
            await asyncio.sleep(given["heartbeat_s"] / BEATS)
            await self._beat(given, signal)

    async def _beat(self, given: Mapping[str, Any], signal: AbortSignal) -> bool:
        """Whether the attempt is wanted, as far as the server says; if not, its step is told to abort."""
        try:
            answer = values(await self._transport.ask("POST", _place(given, "heartbeat"), {}))
        except ClocheError as error:
            log.warning("a heartbeat of step '%s' did not arrive: %s", given["path"], error.message)
            return False
        if answer["is_canceled"]:
            signal._set()
        return not answer["is_canceled"]

    async def _say(self, given: Mapping[str, Any], what: str, body: Mapping[str, Any]) -> None:
        """Until the server has answered. What it refuses is a failure of the step; if it refuses that, nobody waits for it."""
        wait_s = AGAIN_S
        while True:
            try:
                await self._transport.ask("POST", _place(given, what), body)
                return
            except StoreUnavailable as error:
                log.warning(
                    "the server is told again in %g s what came of %s: %s", wait_s, given["path"], error.message
                )
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, AGAIN_S_MAX)
            except ClocheError as error:
                log.warning("what came of step '%s' was refused: %s", given["path"], error.message)
                if what in ("complete", "suspend"):
                    await self._say(given, "fail", _raised(error))
                return


def _place(given: Mapping[str, Any], what: str) -> str:
    return f"/steps/{segment(given['token'])}/{what}"


def _told(outcome: Outcome) -> tuple[str, dict[str, Any]]:
    match outcome:
        case Completed(value, changes):
            return "complete", {"output": value, "state": merged({}, changes)}
        case Bailed(value, changes):
            return "complete", {"output": value, "bail": True, "state": merged({}, changes)}
        case Suspended(payload, labels, changes):
            return "suspend", {"payload": payload, "labels": list(labels), "state": merged({}, changes)}


def _raised(error: BaseException) -> dict[str, Any]:
    failure: Failure = failure_of(error)
    told = {
        "name": failure.name,
        "message": failure.message[:8_192],
        "data": failure.data,
        "bases": list(failure.bases),
    }
    after_ms = asked_delay_ms(error) if isinstance(error, RetryableError) else None
    is_retryable = not isinstance(error, FatalError | InvalidInput)
    return {"error": told, "is_retryable": is_retryable, "retry_after_s": (after_ms or 0) / 1000}
