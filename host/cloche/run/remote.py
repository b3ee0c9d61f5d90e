"""Attempts of one run that are performed elsewhere: what is left for a remote worker, and what such a worker has said.

An attempt is sent by the record that says so: the store gets what its worker is given in the same commit. So nothing of it is
under way in this process, and the run may be let go. What a worker says is a request in the inbox; whoever owns the run then
makes of it what an attempt of its own would have made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from cloche.errors import MissingStep
from cloche.history import Batch, CallId, Failure, Seq, TimeMs
from cloche.history.calls import OpenCall
from cloche.history.effects import StartStep
from cloche.history.lifecycles import StepPhase
from cloche.history.messages import StepFailed
from cloche.history.notes import AttemptSent, LateResult, StepWrote
from cloche.history.values import decode, encode, encode_plain, plain
from cloche.run.inputs import Deferred
from cloche.run.lookups import aborted
from cloche.run.outcomes import Outcomes, idempotency_key, redispatched_too_often, unknown_outcome
from cloche.steps.attempt import Bailed, Completed, Suspended
from cloche.steps.node import abort_everywhere
from cloche.steps.runner import crossing
from cloche.steps.schemas import as_plain, validated
from cloche.steps.sdk_values import natural, to_json
from cloche.store import RemoteTask
from cloche_codegen import RemoteStep

if TYPE_CHECKING:
    from cloche.history.machine import Input
    from cloche.run.inputs import Incoming, Inputs
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices
    from cloche_codegen import Step

RESTS_AFTER_MS = 1_000  # a run that waits for remote steps alone is let go so long after the last was sent
REDISPATCHES_MAX = 5  # how often an attempt is given to another worker because one has fallen silent

What = Literal["completed", "bailed", "suspended", "failed", "wrote", "aborted", "silent", "timeout"]
ENDS: tuple[What, ...] = ("completed", "bailed", "suspended", "failed")


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of an attempt: by its worker, or by whoever has seen that it is silent, or too slow.

    `value` is the output, what is written, what it suspends with, or `name` and `reason` of a signal that it aborts; `state`
    are keys that it gives to the run's state. `failure` is a wire form; `is_final`: no attempt follows, `retry_after_ms`: the
    next not before that. `is_begun`: a worker that is silent was heard of after it had taken the attempt. `tagged`: values are
    as JavaScript has them (`sdk_values`).
    """

    call: CallId
    seq: Seq
    what: What
    value: Any = None
    state: dict[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    failure: dict[str, Any] = field(default_factory=dict)
    is_final: bool = False
    retry_after_ms: int = 0
    is_begun: bool = True
    tagged: bool = False

    def pack(self) -> bytes:
        """The body of a request."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "tagged"}
        return encode({**fields, "labels": list(self.labels), **({"tagged": True} if self.tagged else {})})

    @classmethod
    def unpack(cls, body: bytes) -> Told:
        found = decode(body)
        assert found["what"] in get_args(What)
        return cls(**{**found, "labels": tuple(found["labels"])})


def is_remote(step: Step) -> bool:
    """Whether the attempts of a step are performed elsewhere."""
    return isinstance(step, RemoteStep) and step.is_remote


class RemoteCalls:
    """Of one run. `remember` is called with the attempt that something was said of."""

    def __init__(
        self, run: LiveRun, inputs: Inputs, services: RunServices, remember: Callable[[StartStep], object]
    ) -> None:
        self._run = run
        self._inputs = inputs
        self._services = services
        self._remember = remember
        self.trouble: MissingStep | None = None  # what was said cannot be used here, and blocks the run

    def checked_input(self, step: Step, start: StartStep) -> Any:
        """What the attempt is given, as the step's schema has it: plain.

        Raises:
            InvalidInput: it does not fit.
            TypeError: the step takes one value, and was called with others.
        """
        checks = self._services.registry.checks(self._run.code)
        if checks.tagged:  # the whole call goes beside it, as it was made
            start = replace(start, arguments=natural(start.given[:1]), filled=None, keywords={})
        if len(start.given) > 1 or start.keywords.keys() - {"data"}:
            raise TypeError(f"remote step '{step.id}' takes one value, its input")
        data = start.given[0] if start.given else start.keywords.get("data")
        adapter = step.input_adapter()
        if adapter is None or not checks.inputs:
            return data
        return as_plain(adapter, validated(adapter, data, f"the input of step '{step.id}'"), "input")

    def misfit(self, step: Step, start: StartStep) -> Exception | None:
        """What keeps the attempt from being sent: it fails with that."""
        try:
            self.checked_input(step, start)
        except Exception as error:  # also what an author's validator raises
            return error
        return None

    def is_ready(self, step: Step, start: StartStep) -> bool:
        """Whether the attempt may be sent in the commit that is being made."""
        limits, call = self._run.limits, self._run.machine.open.get(start.call)
        named = self._services.registry.named(start.name)
        if call is None or call.phase is not StepPhase.CALLED or limits.refusal(start, named) is not None:
            return False
        return self.misfit(step, start) is None and not limits.start_wait_s(start)

    def is_away(self, start: StartStep) -> bool:
        """Whether the attempt was sent by its record: nothing is left to do for it."""
        call = self._run.machine.open.get(start.call)
        return start.is_recorded and call is not None and call.phase is StepPhase.AWAY

    def tasks(self, batch: Batch) -> list[RemoteTask]:
        """What a batch sends: it goes in the commit of that."""
        away = self._run.machine.open.away  # one may have ended in the same batch
        return [self._task(call, batch.records[-1].time) for call in batch.sent if call in away]

    def _task(self, call: CallId, at: TimeMs) -> RemoteTask:
        run, open_call = self._run, self._run.machine.open[call]
        start = run.machine.open.start_of(call)
        step = self._services.registry.step(start.name)
        assert isinstance(step, RemoteStep)
        assert run.started is not None
        given = {
            "step": step.id,
            "input": self.checked_input(step, start),
            "run_id": run.key.run,
            "workflow_id": run.code.workflow,
            "tenant": run.key.tenant,
            "path": start.path,
            "attempt": start.attempt,
            "redispatched": open_call.redispatched,
            "idempotency_key": idempotency_key(run, call),
            "state": plain(dict(run.machine.state), "state"),
            "request_context": run.started.given.get("context") or {},
            "is_resumed": start.is_resumed,
            "resume_data": start.resume_data,
            "suspend_data": start.suspend_data,
            "at_most_once": bool(step.at_most_once),
            "timeout_s": step.timeout_s,
            "heartbeat_s": step.heartbeat_s,
            **self._whole_call(start),
        }
        return RemoteTask(
            run.key,
            call,
            open_call.sent,
            step.id,
            start.path,
            at,
            round(step.heartbeat_s * 1000),
            None if step.timeout_s is None else round(step.timeout_s * 1000),
            body=encode_plain(given),
        )

    def _whole_call(self, start: StartStep) -> dict[str, Any]:
        """What code that knows values as JavaScript has them has called the step with: `args`, `this` and `closure`."""
        if not self._services.registry.checks(self._run.code).tagged:
            return {}
        assert self._run.started is not None
        beside = {name: to_json(one) for name, one in start.keywords.items()}
        return {"call": {"args": to_json(list(start.given)), **beside, "startedAt": self._run.started.time}}

    # ---- what comes back ----

    def told(self, told: Told, request: int) -> Input | None:
        """Give the run what was said, in the place of `request`: the input that accepts it. None: it says nothing new.

        Raises:
            MissingStep: this process does not have the step.
        """
        now, call = self._services.world.now(), self._run.machine.open.get(told.call)
        if call is None or not self._is_current(call, told):
            late = self._late(told, now)
            if late is not None:
                self._inputs.add(late, request)
            return late
        start = replace(self._run.machine.open.start_of(told.call), redispatched=call.redispatched)
        step = self._services.registry.step(start.name)
        if step is None:
            self.trouble = MissingStep(
                f"run {self._run.key} needs remote step '{start.name}', which this process does not have: open the store "
                "with the workflows or steps that it needs",
                run_id=self._run.key.run,
                step=start.name,
            )
            raise self.trouble
        if told.tagged and not self._services.registry.checks(self._run.code).tagged:
            told = replace(told, value=natural(told.value), failure=natural(told.failure))
        self._remember(start)
        answering = _Answering(self._inputs, request)
        self._tell(step, start, call, told, answering)
        first = answering.first
        assert not isinstance(first, Deferred)  # a worker gives keys of the state, and no functions
        return first

    def _is_current(self, call: OpenCall, told: Told) -> bool:
        if any(
            getattr(one, "call", None) == told.call and not isinstance(one, StepWrote) for one in self._inputs.waiting
        ):
            return False  # its end is on its way into the log
        return call.phase is StepPhase.AWAY and call.sent == told.seq

    def _late(self, told: Told, now: TimeMs) -> LateResult | None:
        if told.what == "failed":
            return LateResult(now, told.call, failure=Failure.from_wire(told.failure))
        return LateResult(now, told.call, value=told.value) if told.what in ("completed", "bailed") else None

    def _tell(self, step: Step, start: StartStep, call: OpenCall, told: Told, answering: _Answering) -> None:
        now = self._services.world.now()
        outcomes = Outcomes(self._run, answering, self._services)
        changes = [plain(told.state, "state")] if told.state else []
        try:
            match told.what:
                case "wrote":
                    self._run.limits.check_written(told.value)
                    answering.add(StepWrote(now, start.call, told.value))
                case "aborted":
                    abort_everywhere(self._run.key.run, told.value["name"], told.value["reason"])
                    event = aborted(self._run.machine, told.value["name"], told.value["reason"], now)
                    if event is not None:
                        self._run.limits.check_inbound(event)
                        answering.add(event)
                case "silent":
                    answering.add(self._silent(step, start, call, is_begun=told.is_begun))
                case "timeout":
                    raise TimeoutError(f"step '{step.id}' took longer than {step.timeout_s:g} s")
                case "failed":
                    outcomes.tell_failed(
                        step, start, failure_told(told), is_final=told.is_final, retry_after_ms=told.retry_after_ms
                    )
                case "suspended":
                    outcomes.tell(start, Suspended(told.value, told.labels, list(changes)))
                case "bailed":
                    outcomes.tell(start, Bailed(told.value, list(changes)))
                case "completed":
                    checks = self._services.registry.checks(self._run.code)
                    value = crossing(step, told.value) if checks.outputs else told.value
                    outcomes.tell(start, Completed(value, list(changes)))
        except Exception as error:  # what it gave is no result of this step: the attempt has failed
            if answering.first is None and told.what not in ("wrote", "aborted"):
                outcomes.tell_failed(step, start, error)

    def _silent(self, step: Step, start: StartStep, call: OpenCall, *, is_begun: bool) -> Input:
        """Nobody heard of the worker for too long. An attempt that nobody had begun is not held to have done anything."""
        now, at_most_once = self._services.world.now(), bool(step.at_most_once)
        if at_most_once and is_begun:
            return StepFailed(now, start.call, unknown_outcome(start.path, "its worker fell silent while it ran"))
        if call.redispatched >= REDISPATCHES_MAX:
            return StepFailed(now, start.call, redispatched_too_often(start, REDISPATCHES_MAX))
        return AttemptSent(now, start.call, start.attempt, call.redispatched + 1, at_most_once, call.filled)


class AwaySteps:
    """When a run is let go that waits for remote steps alone: a little after the last was sent, so that a worker that answers
    in a moment costs no lease."""

    def __init__(self, services: RunServices, run: LiveRun, inputs: Inputs) -> None:
        self._services = services
        self._run = run
        self._inputs = inputs
        self._known: frozenset[CallId] = frozenset()
        self._since = TimeMs(0)  # when one of them was first seen

    def can_be_left(self) -> bool:
        """Whether none was sent just now."""
        away, now = self._run.machine.open.away, self._services.world.now()
        if not self._known.issuperset(away):
            self._since = now
        self._known = frozenset(away)
        return not away or now - self._since >= RESTS_AFTER_MS

    def plan_to_leave(self) -> None:
        """Wake the run when it can be let go."""
        if not self.can_be_left():
            self._services.timers.at(TimeMs(self._since + RESTS_AFTER_MS), self._inputs.wake)


class _Answering:
    """Inputs that accept a request: with the first that is added."""

    def __init__(self, inputs: Inputs, request: int) -> None:
        self.first: Incoming | None = None
        self._inputs = inputs
        self._request = request

    def add(self, one: Incoming, request: int | None = None) -> None:
        if self.first is None:
            self.first, request = one, self._request
        self._inputs.add(one, request)


def failure_told(told: Told) -> Failure:
    """What the worker said that its step raised, as an exception: its class has the names that retries ask for."""
    failure = Failure.from_wire(told.failure)
    kind: type[Failure] = Failure
    for name in reversed(dict.fromkeys([failure.name, *(base.rpartition(".")[2] for base in failure.bases)])):
        kind = type(name, (kind,), {})
    return kind(
        failure.name, failure.message, failure.data, failure.cause, None, failure.bases, failure.notes, failure.members
    )
