"""What an attempt sees of its run, and what its run is told of how the attempt ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from cloche.engines import exceptions_of
from cloche.errors import RedispatchedTooOften, RunConflict, UnknownOutcome, UsageError
from cloche.history import CallId, Failure, TimeMs
from cloche.history.effects import StartStep
from cloche.history.ids import STARTED_BY_STEP, child_id, derived_key, new_run_key
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import Input
from cloche.history.messages import CancelRequested, StepBailed, StepCompleted, StepFailed, StepSuspended
from cloche.history.notes import AttemptFailed, StepWrote, TagsSet
from cloche.run import lookups
from cloche.run.child_ids import given_twice, was_begun_by
from cloche.run.inputs import Deferred
from cloche.run.ports import ChildStart
from cloche.steps.attempt import Bailed, Completed, Outcome, Suspended
from cloche.steps.context import (
    AbortSignal,
    Chunks,
    StateChange,
    StepContext,
    Writer,
    fitting,
    frozen,
    merged,
    state_adapter,
    typed_state,
)
from cloche.steps.failing import failure_of, next_delay_ms, traceback_of
from cloche.steps.node import abort_everywhere
from cloche.steps.output import logger_of
from cloche.steps.schemas import validated
from cloche.text import shown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from cloche.history import RunKey
    from cloche.run.inputs import Incoming
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices
    from cloche.store import Store
    from cloche_codegen import Step

log = logging.getLogger("cloche.run")


class Sink(Protocol):
    """Where inputs go."""

    def add(self, one: Incoming, request: int | None = None) -> None: ...


class Outcomes:
    """Between the attempts of one run and the run itself."""

    def __init__(self, run: LiveRun, inputs: Sink, services: RunServices) -> None:
        self._run = run
        self._inputs = inputs
        self._services = services

    def tell(self, start: StartStep, outcome: Outcome) -> None:
        """The run is told of an attempt that ended as its step wanted.

        Raises:
            LimitExceeded: what it ended with is larger than the run's policy allows; the run was not told.
        """
        now, call = self._services.world.now(), start.call
        match outcome:
            case Suspended(payload, labels, changes):
                self._run.limits.check_labels(labels)
                kept = changes if self._run.code.abi > 1 else []
                self._tell_end(StepSuspended(now, call, start.path, payload, labels), kept)
            case Completed(value, changes):
                self._tell_end(StepCompleted(now, call, value), changes)
            case Bailed(value, changes):
                self._tell_end(StepBailed(now, call, value), changes)

    def tell_failed(
        self,
        step: Step,
        start: StartStep,
        error: BaseException,
        *,
        is_final: bool = False,
        retry_after_ms: int = 0,
    ) -> None:
        """The run is told of an attempt that failed, and of its step's failure if no other attempt follows.

        `is_final`: none does. `retry_after_ms`: it does not begin before that.
        """
        now = self._services.world.now()
        policy = self._services.registry.retry_policy(step, self._run.code, start.path)
        try:
            delay = (
                None if is_final else next_delay_ms(policy, error, start.attempt, f"{self._run.key.run}:{start.call}")
            )
        except TypeError as odd:
            error, delay = odd, None
        failure, traceback = failure_of(error), traceback_of(error)
        retry_at = None if delay is None else TimeMs(now + max(delay, retry_after_ms))
        retries = policy.retries if start.attempt <= policy.retries else policy.retries_if_asked
        most = 0 if delay is None else 1 + retries  # none follows: how many there might have been says nothing
        self._inputs.add(AttemptFailed(now, start.call, start.attempt, failure, retry_at, traceback, most))
        is_wanted = start.call in self._run.machine.open  # else what comes is late, and recorded as that
        is_last = delay is None or self._run.machine.phase is RunPhase.CANCELING or not is_wanted
        if is_last:
            self._inputs.add(StepFailed(now, start.call, failure.told_to(exceptions_of(self._run.code))))
        self._log(start, traceback, is_final=is_last)

    def contexts(
        self, step: Step, start: StartStep, signal: AbortSignal
    ) -> Callable[[Any, list[StateChange]], StepContext]:
        """What makes the context of an attempt, of its input and of the list that its state changes go to."""

        def make(data: Any, changes: list[StateChange]) -> StepContext:
            run = self._run
            started = run.started
            assert started is not None
            adapter = step.resume_adapter() if start.is_resumed and start.resume_data is not None else None
            resumed = validated(adapter, start.resume_data, "resume data") if adapter else start.resume_data
            services = _StepServices(run, self._inputs, self._services, start)
            schema = self._state_schema(step)
            return StepContext(
                input_data=data,
                run_id=run.key.run,
                workflow_id=run.code.workflow,
                step_id=step.id,
                tenant=run.key.tenant,
                path=start.path,
                attempt=start.attempt,
                idempotency_key=idempotency_key(run, start.call),
                state=frozen(run.machine.state) if schema is None else typed_state(schema, run.machine.state),
                request_context=frozen(started.given.get("context")),
                resume_data=resumed,
                suspend_data=fitting(step.suspend_adapter() if run.code.typed else None, start.suspend_data),
                abort_signal=signal,
                writer=Writer(services.write),
                log=logger_of(step.id),
                _step=step,
                _init_data=self._init_data_of(start),
                _services=services,
                _changes=changes,
                _state_schema=schema,
            )

        return make

    # ---- inside ----

    def _state_schema(self, step: Step) -> TypeAdapter[Any] | None:
        """What the step's view of the state is held to; nothing in a run that began before there were types."""
        code = self._run.code
        if not code.typed:
            return None
        return state_adapter(step) or state_adapter(self._services.registry.workflow_of(code))

    def _init_data_of(self, start: StartStep) -> Callable[[], Any]:
        """What gives the input of the workflow that a call stands in. In a nested one it is read when it is asked for."""
        started, log, key = self._run.started, self._services.log, self._run.key
        assert started is not None
        scope = lookups.scope_of(start.path)
        entered = self._run.machine.places.seq_of(scope)
        registry, code = self._services.registry, self._run.code
        if entered is None:
            return lambda: fitting(registry.input_schema(code, ""), started.input)
        return lambda: fitting(
            registry.input_schema(code, start.path),
            log.ask_now(lambda store: lookups.input_at(store, key, scope, entered)),
        )

    def _log(self, start: StartStep, traceback: str, *, is_final: bool) -> None:
        """For whoever runs this process: the traceback, at level INFO where the step is tried again."""
        level, then = (logging.WARNING, "failed") if is_final else (logging.INFO, "failed and is tried again")
        if log.isEnabledFor(level):
            text = shown(traceback, lines=True)
            log.log(
                level,
                "attempt %s of step '%s' of run %s %s\n%s",
                start.attempt,
                shown(start.path),
                self._run.key,
                then,
                text,
            )

    def _tell_end(self, end: StepCompleted | StepBailed | StepSuspended, changes: list[StateChange]) -> None:
        if not changes:
            self._tell(end)
        elif any(callable(change) for change in changes):
            self._inputs.add(Deferred(end.call, end, changes, exceptions_of(self._run.code)))
        else:
            self._tell(replace(end, state=merged({}, changes)))

    def _tell(self, event: StepCompleted | StepBailed | StepSuspended) -> None:
        self._run.limits.check_inbound(event)
        self._inputs.add(event)


@dataclass(frozen=True, slots=True)
class _StepServices:
    """`Services` for one attempt; may be called from a step's own thread."""

    run: LiveRun
    inputs: Sink
    services: RunServices
    start: StartStep

    def result_schema(self, name: str) -> TypeAdapter[Any] | None:
        return self.services.registry.result_schema(self.run.code, name)

    def result_now(self, path: str) -> Any:
        return self.services.log.ask_now(lambda store: self._result(store, path))

    async def result_of(self, path: str) -> Any:
        return await self._result(self.services.store, path)

    async def _result(self, store: Store, path: str) -> Any:
        return await lookups.result_of(store, self.run.key, self.run.code, lookups.scope_of(self.start.path), path)

    def abort_run(self, reason: str) -> None:
        self._tell(CancelRequested(self.services.world.now(), reason))

    def write(self, value: Any) -> None:
        self.run.limits.check_written(value)
        self._tell(StepWrote(self.services.world.now(), self.start.call, value))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._tell(TagsSet(self.services.world.now(), tags))

    async def start_child(self, workflow: Any, input_data: Any, run_id: str | None, id: str | None) -> Any:
        """A step is the host's: a workflow of the host is meant before one of the tenant."""
        run, call = self.run, self.start.call
        key = await self._key_of_child(run_id, id)
        is_registered = isinstance(workflow, str) and self.services.registry.workflow(workflow) is not None
        start = ChildStart(key, workflow, input_data, "" if is_registered else None, run.key, call)
        return await self.services.child_runs.start_child(start, run.limits)

    async def _key_of_child(self, run_id: str | None, id: str | None) -> RunKey:
        """
        Raises:
            UsageError: the id is none, or there are two.
            RunConflict: another call has begun a child of this id.
        """
        run, call = self.run, self.start.call
        if id is not None:
            if run_id is not None:
                raise UsageError(
                    "start_child takes id=, a name under this run, or run_id=, the whole id of the new run: not both"
                )
            key, store = derived_key(run.key, STARTED_BY_STEP, child_id(id)), self.services.store
            if await store.run(key) is not None and not await was_begun_by(store, key, run.key, call):
                raise RunConflict(given_twice(key, id), run_id=key.run)
            return key
        if run_id is not None or not run.limits.derived_ids:
            return new_run_key(run_id or f"{run.key.run}:{self.start.path}", run.key.tenant)
        return derived_key(run.key, STARTED_BY_STEP, call)

    async def start_named(self, workflow: str, args: list[Any], run_id: str) -> Any:
        run = self.run
        key = new_run_key(run_id, run.key.tenant)
        start = ChildStart(key, workflow, args, run.code.owner, run.key, self.start.call)
        return await self.services.child_runs.start_child(start, run.limits)

    def now_ms(self) -> int:
        return self.services.world.now()

    def started_ms(self) -> int:
        assert self.run.started is not None
        return self.run.started.time

    async def chunks_of(self, stream: str, after: int, run_id: str | None) -> Chunks:
        store, own = self.services.store, self.run.key
        if run_id is None or run_id == own.run:
            return await lookups.chunks_of(store, own, stream, after)
        return await lookups.chunks_of_other(store, new_run_key(run_id, own.tenant), stream, after)

    async def wake(self, run_id: str, paths: Collection[str]) -> int:
        key = new_run_key(run_id, self.run.key.tenant)
        count = await lookups.wake(self.services.store, key, paths, self.services.world.now())
        self.services.supervisor.look_for_requests()
        return count

    def abort_signal(self, name: str, reason: Any) -> None:
        abort_everywhere(self.run.key.run, name, reason)
        event = lookups.aborted(self.run.machine, name, reason, self.services.world.now())
        if event is not None:
            self.run.limits.check_inbound(event)
            self._tell(event)

    async def other_run(self, id: str) -> Any:
        return await self.services.child_runs.handle(new_run_key(id, self.run.key.tenant))

    async def waits_for(self, token: str) -> str | None:
        others = [
            one for one in await self.services.store.waiting_for(self.run.key.tenant, token) if one != self.run.key
        ]
        return others[0].run if others else None

    def _tell(self, one: Input) -> None:
        self.services.tasks.on_loop(lambda: self.inputs.add(one))


def idempotency_key(run: LiveRun, call: CallId) -> str:
    """The same for every attempt of a call, and for no other call of any run."""
    return f"{run.limits.keys.of_call(call).token}:{call}"


def unknown_outcome(path: str, why: str = "the process ended while it ran") -> Failure:
    """Of a step that is to run at most once, and whose end nobody will hear of."""
    return Failure.of(
        UnknownOutcome,
        f"step '{path}' is to run at most once, and {why}: whether it did its work is not known. Look where it works, "
        "then go on with a fork of the run at this step, or after it",
    )


def left_behind(path: str, seconds: int) -> Failure:
    """Of a step that goes on in a run that was canceled."""
    return Failure(
        "Canceled", f"the run was canceled, and step '{path}' did not end within {seconds} s: it is left behind"
    )


def redispatched_too_often(start: StartStep, redispatches_max: int) -> Failure:
    """Of a step with which a process ended again and again."""
    return Failure.of(
        RedispatchedTooOften,
        f"step '{start.path}' was begun {redispatches_max + 1} times, and each time its process ended before it did: it may be "
        "what ends it (memory, a native crash). Run it alone and mend it, then go on with a fork of the run at this step",
    )
