"""One attempt of a step for a foreign engine: a request as bytes, and how it ended as JSON that the engine keeps.

    {"path": …, "event": base64 of the packed event}     how the step ended, or that it is suspended
    {"path": …, "again": ms since 1970, "why": text}     it failed, and another attempt is due then
    {"path": …, "needs": "results"}                      it asked for results of other steps: send them along

`base` is the version of the state that a function of `update_state` was applied to, `abort` the reason for which the step
cancels its run.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from cloche.engines import exceptions_of
from cloche.errors import UsageError
from cloche.history import DEFAULT_TENANT, CallId, TimeMs
from cloche.history.bounds import exceeded
from cloche.history.ids import Path
from cloche.history.messages import StepBailed, StepCompleted, StepFailed, StepSuspended
from cloche.history.values import decode, encode
from cloche.steps.attempt import Bailed, Completed, Outcome, Suspended, attempt
from cloche.steps.binding import Arguments
from cloche.steps.context import (
    AbortSignal,
    StateChange,
    StepContext,
    Writer,
    fitting,
    frozen,
    merged,
    state_adapter,
    typed_state,
)
from cloche.steps.elsewhere import NoStore
from cloche.steps.failing import failure_of, next_delay_ms
from cloche.steps.registry import step_named
from cloche.steps.schemas import validated

if TYPE_CHECKING:
    from cloche.foreign.hosted import Hosted
    from cloche_codegen import Step

log = logging.getLogger("cloche.foreign")


@dataclass(frozen=True, slots=True)
class Request:
    """What an attempt needs to know. `results` are None until the step has asked for them."""

    run_id: str
    identity: str  # of the run, also among others that had its id before
    call: CallId
    path: str
    name: str
    asked: list[Any]  # the arguments of the call, and those by keyword
    attempt: int  # from 1
    state: dict[str, Any]
    state_version: int
    context: dict[str, Any]
    input: Any  # the run's
    suspend_data: Any = None
    is_resumed: bool = False
    resume_data: Any = None
    results: dict[str, Any] | None = None

    def pack(self) -> str:
        return base64.b64encode(encode(list(astuple(self)))).decode()

    @classmethod
    def unpack(cls, text: str) -> Request:
        return cls(*decode(base64.b64decode(text)))


@dataclass(frozen=True, slots=True)
class Sink:
    """Where `ctx.writer` writes, and the logger of `ctx.log`: the engine's own."""

    write: Callable[[str, Any], None]  # the step's path and the value
    log: logging.Logger = log


async def attempted(hosted: Hosted, request: Request, sink: Sink, bytes_max: int) -> dict[str, Any]:
    """Make an attempt; how it ended, in at most about `bytes_max` bytes.

    Raises:
        MissingStep: this process does not have the step.
        BaseException: the process is ending, or the engine stopped the attempt.
    """
    step = hosted.step(request.name, request.path)
    services = _Services(hosted, request, sink)
    made: dict[str, Any] = {"path": request.path}
    try:
        context = partial(_context, hosted, request, step, services, sink)
        asked = Arguments(*request.asked)
        outcome = await attempt(hosted.runner, step, DEFAULT_TENANT, asked, context, hosted.checks())
        made |= _ended(request, outcome, bytes_max)
    except _NeedsResults:
        return made | {"needs": "results"}
    except Exception as error:
        made |= _failed(hosted, request, step, error, bytes_max)
    return made | ({"abort": services.abort_reason} if services.abort_reason else {})


class _NeedsResults(BaseException):
    """Raised in a step that asks for what was not sent along. No `Exception`: an author's `except` must not eat it."""


class _Services(NoStore):
    """What a context asks for: `cloche.steps.context.Services`."""

    def __init__(self, hosted: Hosted, request: Request, sink: Sink) -> None:
        self._hosted = hosted
        self._request = request
        self._sink = sink
        self.abort_reason = ""

    def result_schema(self, name: str) -> Any:
        step = self._hosted.steps.get(step_named(name))
        return None if step is None else step.output_adapter()

    def result_now(self, path: str) -> Any:
        if self._request.results is None:
            raise _NeedsResults
        return self._request.results.get(path)

    async def result_of(self, path: str) -> Any:
        return self.result_now(path)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        raise UsageError("set_tags needs a store of cloche's own: give the run its tags on the engine that keeps it")

    def abort_run(self, reason: str) -> None:
        self.abort_reason = reason

    def write(self, value: Any) -> None:
        self._sink.write(self._request.path, value)

    async def start_child(self, workflow: Any, input_data: Any, run_id: str | None, id: str | None) -> NoReturn:
        raise UsageError(
            "ctx.start_child starts a run of cloche's own, which a foreign engine does not keep: start the child from the "
            "workflow, or with the engine's client"
        )


def _context(
    hosted: Hosted,
    request: Request,
    step: Step,
    services: _Services,
    sink: Sink,
    data: Any,
    changes: list[StateChange],
) -> StepContext:
    adapter = step.resume_adapter() if request.is_resumed and request.resume_data is not None else None
    resumed = validated(adapter, request.resume_data, "resume data") if adapter else request.resume_data
    schema = state_adapter(step) or state_adapter(hosted.workflow)
    return StepContext(
        input_data=data,
        run_id=request.run_id,
        workflow_id=hosted.id,
        step_id=step.id,
        tenant="default",
        path=request.path,
        attempt=request.attempt,
        idempotency_key=f"{request.identity}:{request.call}",
        state=frozen(request.state) if schema is None else typed_state(schema, request.state),
        request_context=frozen(request.context),
        resume_data=resumed,
        suspend_data=fitting(step.suspend_adapter(), request.suspend_data),
        abort_signal=AbortSignal(),
        writer=Writer(services.write),
        log=sink.log,
        _step=step,
        _init_data=lambda: fitting(hosted.workflow.input_adapter(), request.input),
        _services=services,
        _changes=changes,
        _state_schema=schema,
    )


def _ended(request: Request, outcome: Outcome, bytes_max: int) -> dict[str, Any]:
    now, call = _now(), request.call
    made: dict[str, Any] = {}
    event: StepCompleted | StepBailed | StepSuspended
    match outcome:
        case Suspended(payload, labels, _):
            event = StepSuspended(now, call, Path(request.path), payload, labels)
        case Completed(value, changes) | Bailed(value, changes):
            kind = StepCompleted if isinstance(outcome, Completed) else StepBailed
            event = kind(now, call, value, _merged(request.state, changes))
            if any(callable(change) for change in changes):
                made["base"] = request.state_version
    check_size(f"what step '{request.path}' ends with", len(event.pack()), bytes_max)
    return made | {"event": _text(event.pack())}


def _merged(state: Mapping[str, Any], changes: list[StateChange]) -> dict[str, Any] | None:
    return merged(state, changes) if changes else None


def _failed(hosted: Hosted, request: Request, step: Step, error: Exception, bytes_max: int) -> dict[str, Any]:
    try:
        delay = next_delay_ms(
            hosted.retries(step, request.path), error, request.attempt, f"{request.identity}:{request.call}"
        )
    except TypeError as odd:
        error, delay = odd, None
    now = _now()
    if delay is not None:
        return {"again": now + delay, "why": str(failure_of(error))[:1_000]}
    return {
        "event": _text(
            StepFailed(now, request.call, failure_of(error, bytes_max).told_to(exceptions_of(hosted.code))).pack()
        )
    }


def check_size(what: str, size: int, bytes_max: int) -> None:
    """That something fits through the engine.

    Raises:
        LimitExceeded: it does not.
    """
    if size > bytes_max:
        raise exceeded("payload_bytes", bytes_max, size, what)


def _text(packed: bytes) -> str:
    return base64.b64encode(packed).decode()


def _now() -> TimeMs:
    return TimeMs(int(time.time() * 1000))
