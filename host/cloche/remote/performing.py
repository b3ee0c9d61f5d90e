"""Performing one attempt of a remote step with an `@step` function, and saying what came of it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

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
from cloche.steps.sdk_values import from_json
from cloche.steps.threads import StepThreads
from cloche_codegen import Step

AGAIN_S, AGAIN_S_MAX = 0.2, 5.0  # until a server that did not answer is asked again
BEATS = 3  # heartbeats in the time after which a worker is taken for dead

log = logging.getLogger("cloche.remote")


class Performer:
    """Performs the attempts of some steps. Without a server (`transport` None) nothing but their ends can be said."""

    def __init__(self, steps: Iterable[Step], transport: Transport | None) -> None:
        """
        Raises:
            UsageError: there is no step.
        """
        self.steps = {step.id: step for step in steps}
        if not self.steps:
            raise UsageError("whoever performs steps has at least one: [resize]")
        self.transport = transport
        self._runner = LocalRunner(StepThreads())

    async def close(self) -> None:
        """Let go of threads and connections."""
        self._runner.close()
        if self.transport is not None:
            await self.transport.close()

    async def outcome(self, given: Mapping[str, Any], signal: AbortSignal) -> tuple[str, dict[str, Any]]:
        """What came of it: the endpoint that it is told, and its body."""
        step, tenant = self.steps[given["step"]], TenantId(given["tenant"])
        asked, checks = Arguments([given["input"]]), Checks(outputs=True)
        if (call := given.get("call")) is not None:  # of "use workflow" code: all its arguments, and what it captured
            beside = {name: from_json(call[name]) for name in ("this", "closure") if name in call}
            asked, checks = Arguments(from_json(call["args"]), beside), Checks(outputs=True, calls="call", tagged=True)
        context = self._contexts(step, given, signal)
        try:
            return _told(await attempt(self._runner, step, tenant, asked, context, checks))
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
        await self.say(given, "progress", {"value": value, "key": uuid.uuid4().hex})

    async def beat_on(self, given: Mapping[str, Any], signal: AbortSignal) -> None:
        while True:
            await asyncio.sleep(given["heartbeat_s"] / BEATS)
            await self.beat(given, signal)

    async def beat(self, given: Mapping[str, Any], signal: AbortSignal) -> bool:
        """Whether the attempt is wanted, as far as the server says; if not, its step is told to abort."""
        try:
            answer = values(await self._asked().ask("POST", _place(given, "heartbeat"), {}))
        except ClocheError as error:
            log.warning("a heartbeat of step '%s' did not arrive: %s", given["path"], error.message)
            return False
        if answer["is_canceled"]:
            signal._set()
        return not answer["is_canceled"]

    async def say(self, given: Mapping[str, Any], what: str, body: Mapping[str, Any]) -> None:
        """Until the server has answered. What it refuses is a failure of the step; if it refuses that, nobody waits for it."""
        wait_s = AGAIN_S
        while True:
            try:
                await self._asked().ask("POST", _place(given, what), body)
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
                    await self.say(given, "fail", _raised(error))
                return

    def _asked(self) -> Transport:
        if self.transport is None:
            raise UsageError("a receiver that was given no server cannot tell it anything: StepReceiver(…, url=…)")
        return self.transport


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
