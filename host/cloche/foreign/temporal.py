"""cloche's workflows on Temporal: the cell decides, Temporal's history is the log.

    engine = TemporalExecutionEngine([workflow])
    Worker(client, task_queue="q", **engine.worker)
    await client.execute_workflow("math", {"x": 5}, id=…, task_queue="q")

One dynamic workflow class conducts all of them. Steps are activities. Nothing of an author's workflow runs outside of its
cell, so it is deterministic by construction, and Temporal's own sandbox is not needed. A run whose history grows long goes on
as a new one, from its frozen cell.

A second argument of a workflow is a mapping of options: `state` and `context` that the run begins with, and `report`: its
result then is all of a `RunResult` instead of the value. Signals: `event` with a name and a payload, `resume` with `step` or
`label`, `foreach_index` and `data`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError
from temporalio.common import RawValue, RetryPolicy, WorkflowIDConflictPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, ChildWorkflowError, TimeoutError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner

from cloche.engines import CellSource
from cloche.errors import ClocheError, Divergence, UnknownOutcome, UsageError
from cloche.foreign.attempts import Request, Sink, attempted, check_size
from cloche.foreign.conductor import Conductor
from cloche.foreign.hosted import Hosted, Hosting
from cloche.foreign.ports import LOGGING_LEVELS, CancelAsked, conduct, event_name, resume_name
from cloche.foreign.refusals import TEMPORAL
from cloche.foreign.report import from_text
from cloche.foreign.runs import REPORT, begun, end_of, ended_by_engine, frozen_text, report_of, thawed
from cloche.history import Failure, TimeMs
from cloche.history.messages import StartChild, StepFailed
from cloche.run.results import RunResult
from cloche.status import RunStatus
from cloche_codegen import Step, Workflow

log = logging.getLogger("cloche.foreign.temporal")

STEP = "cloche.step"
TEXT_BYTES_MAX = 1_900_000  # Temporal refuses a payload above 2 MB; base64 and JSON are in it
HISTORY_EVENTS_MAX = (
    2_500  # then a run goes on in a new history; Temporal warns at 10,240 events and ends a run at 51,200
)
POLL_S = 0.2  # how often a run is asked whether it is suspended
HEARTBEAT_S = 10.0  # a worker that has been silent for so long in a step is taken to be dead


@dataclass(frozen=True, slots=True)
class Options:
    """How the steps of an engine are performed. `local` makes them local activities: fast, for steps of seconds at most."""

    local: bool = False
    step_timeout: timedelta = timedelta(hours=24)
    history_events_max: int = HISTORY_EVENTS_MAX


class TemporalExecutionEngine:
    """Workflows for workers of Temporal. `client` and `task_queue` are for `create_workflow(execution_engine=…)` alone."""

    def __init__(
        self,
        workflows: Iterable[Workflow] = (),
        *,
        steps: Iterable[Step] = (),
        client: Client | None = None,
        task_queue: str | None = None,
        options: Options | None = None,
        cells: CellSource | None = None,
    ) -> None:
        """Raises RefusedByEngine: Temporal cannot say something in a workflow."""
        self.hosting = Hosting(TEMPORAL, steps, cells)
        self.options = options or Options()
        self._client = client
        self._task_queue = task_queue
        for one in workflows:
            self.add(one)

    def add(self, workflow: Workflow) -> TemporalExecutionEngine:
        """Conduct this one and its children too. Raises as the constructor."""
        self.hosting.add(workflow)
        return self

    @property
    def worker(self) -> dict[str, Any]:
        """What a `temporalio.worker.Worker` is given, besides its client and queue."""
        return {
            "workflows": [_class_of(self)],
            "activities": [_step_of(self)],
            "workflow_runner": UnsandboxedWorkflowRunner(),
            # a divergence that Temporal sees itself ends the run with an error, instead of its task being tried for ever
            "workflow_failure_exception_types": [workflow.NondeterminismError],
        }

    async def run(
        self, workflow: Workflow, input: Any, *, run_id: str, state: Mapping[str, Any], context: Mapping[str, Any]
    ) -> RunResult:
        """Start a run and wait until it has ended or is suspended; one that has this id is waited for.

        Raises:
            UsageError: the engine has no client, or no queue.
            Divergence, RunFailed: Temporal ended the run itself.
        """
        if self._client is None or self._task_queue is None:
            raise UsageError("to start runs, TemporalExecutionEngine needs client= and task_queue=")
        options = {"state": dict(state), "context": dict(context), "report": True}
        handle = await self._client.start_workflow(
            workflow.id,
            args=[input, options],
            id=run_id,
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        return await _stop(handle, workflow)

    async def resume(self, workflow: Workflow, run_id: str, name: str, payload: Any) -> RunResult:
        """Resume a run with a message, and wait as `run` does. Raises as that."""
        await self.send(workflow.id, run_id, name, payload)
        return await _stop(self._handle(run_id), workflow)

    async def send(self, workflow: str, run_id: str, name: str, payload: Any) -> None:
        """Send a message to a run, under one of the names of `ports`."""
        await self._handle(run_id).signal("message", args=[name, payload])

    async def cancel(self, workflow: str, run_id: str) -> None:
        await self._handle(run_id).cancel()

    def _handle(self, run_id: str) -> Any:
        if self._client is None:
            raise UsageError("to reach runs, TemporalExecutionEngine needs client=")
        return self._client.get_workflow_handle(run_id)


async def _stop(handle: WorkflowHandle[Any, Any], workflow: Workflow) -> RunResult:
    """The next stop of a run that makes a report: its end, or that it is suspended. A query sees all that came before it."""
    end = asyncio.ensure_future(handle.result())
    try:
        while True:
            if not (await asyncio.wait([end], timeout=POLL_S))[0]:
                with suppress(RPCError, WorkflowQueryFailedError):  # no worker is there, or it is between two histories
                    report = await handle.query("report")
                    if report and (result := from_text(report[REPORT], workflow)).status == RunStatus.SUSPENDED:
                        return result
                continue
            return from_text(end.result()[REPORT], workflow)
    except WorkflowFailureError as error:
        failure, status = _end_by_temporal(error.cause)
        raise ended_by_engine(TEMPORAL, handle.id, failure, status) from error
    finally:
        end.cancel()


def _end_by_temporal(cause: BaseException | None) -> tuple[Failure, str]:
    if isinstance(cause, CancelledError):
        return Failure("Canceled", "the run was canceled"), "canceled"
    if isinstance(cause, ApplicationError) and cause.type == workflow.NondeterminismError.__name__:
        return Failure(Divergence.__name__, cause.message), "failed"
    return Failure.from_wire(_child_failure(cause)), "failed"


@dataclass(slots=True)
class Inbox:
    """What has come from outside and nobody has taken: by the names of `ports`."""

    waiting: dict[str, list[Any]] = field(default_factory=dict)

    def put(self, name: str, payload: Any) -> None:
        self.waiting.setdefault(name, []).append({"at": _now(), "payload": payload})

    async def take(self, names: tuple[str, ...]) -> Any:
        await workflow.wait_condition(lambda: any(self.waiting.get(name) for name in names))
        name = next(name for name in names if self.waiting.get(name))
        return self.waiting[name].pop(0)


class TemporalPorts:
    """`Ports` over the futures of a Temporal workflow."""

    def __init__(self, engine: TemporalExecutionEngine, hosted: Hosted, inbox: Inbox) -> None:
        info = workflow.info()
        self.run_id = info.workflow_id
        self.identity = f"{info.workflow_id}:{info.first_execution_run_id}"
        self._options = engine.options
        self._hosted = hosted
        self._inbox = inbox
        self._requests: dict[asyncio.Future[Any], Request] = {}
        self._done: list[asyncio.Future[Any]] = []

    def attempt(self, request: Request) -> asyncio.Future[Any]:
        packed, step = request.pack(), self._hosted.steps.get(request.name)
        check_size(f"what step '{request.path}' is given", len(packed), TEXT_BYTES_MAX)
        once = step is not None and step.at_most_once
        options: dict[str, Any] = {
            "args": [self._hosted.id, packed],
            "start_to_close_timeout": self._options.step_timeout,
            "retry_policy": RetryPolicy(maximum_attempts=1 if once else 0),
        }
        future: asyncio.Future[Any]
        if self._options.local and not once:
            future = workflow.start_local_activity(STEP, **options)
        else:
            beat = timedelta(seconds=HEARTBEAT_S)
            future = workflow.start_activity(STEP, **options, heartbeat_timeout=beat, summary=request.path)
        self._requests[future] = request
        return self._tracked(future)

    def sleep_until(self, due: int) -> asyncio.Future[Any]:
        return self._task(workflow.sleep(max(0.0, (due - _now()) / 1000)))

    def message(self, names: tuple[str, ...]) -> asyncio.Future[Any]:
        return self._task(self._inbox.take(names))

    def child(self, asked: StartChild) -> asyncio.Future[Any]:
        check_size(f"the input of child '{asked.path}'", len(json.dumps(asked.input)), TEXT_BYTES_MAX)
        return self._task(self._whole(asked))

    async def first(self, futures: list[asyncio.Future[Any]]) -> list[asyncio.Future[Any]]:
        wanted = set(futures)
        while True:
            try:
                await workflow.wait_condition(lambda: bool(self._done))
            except asyncio.CancelledError:
                raise CancelAsked(_now(), "canceled by a client of Temporal") from None
            done, self._done = self._done, []
            if found := [future for future in done if future in wanted]:
                return found

    async def value(self, future: asyncio.Future[Any]) -> Any:
        request = self._requests.pop(future, None)
        try:
            return await future
        except ActivityError as error:
            assert request is not None
            failure = StepFailed(TimeMs(_now()), request.call, _failure_of(error, request))
            return {"path": request.path, "event": base64.b64encode(failure.pack()).decode()}

    def forget(self, future: asyncio.Future[Any]) -> None:
        self._requests.pop(future, None)
        future.cancel()

    def log(self, level: int, text: str) -> None:
        workflow.logger.log(LOGGING_LEVELS[level], "%s", text)

    async def _whole(self, asked: StartChild) -> Any:
        id = f"{self.run_id}:{asked.path}"
        try:
            value = await workflow.execute_child_workflow(
                asked.workflow, asked.input, id=id, parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL
            )
            outcome = [0, value]
        except ChildWorkflowError as error:
            outcome = [1, _child_failure(error.cause)]
        return {"at": _now(), "outcome": outcome}

    def _task(self, whole: Any) -> asyncio.Future[Any]:
        return self._tracked(asyncio.ensure_future(whole))

    def _tracked(self, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            self._done.append(future)


class Conducted:
    """All workflows of an engine: so one that is added later needs no other worker. Each engine has a class of its own."""

    engine: ClassVar[TemporalExecutionEngine]

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._run: Conductor | None = None

    @workflow.signal
    async def event(self, name: str, payload: Any) -> None:
        self._inbox.put(event_name(name), payload)

    @workflow.signal
    async def resume(self, options: dict[str, Any]) -> None:
        name = resume_name(options.get("step"), options.get("label"), options.get("foreach_index"))
        self._inbox.put(name, options.get("data"))

    @workflow.signal
    async def message(self, name: str, payload: Any) -> None:
        self._inbox.put(name, payload)

    @workflow.query
    def report(self) -> dict[str, str]:
        return report_of(self._run) if self._run is not None and self._run.report is not None else {}

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> Any:
        given = [workflow.payload_converter().from_payload(arg.payload) for arg in args]
        input, options, *_ = [*given, None, None]
        return await self._conduct(input, options or {})

    async def _conduct(self, input: Any, options: dict[str, Any]) -> Any:
        try:
            hosted = self.engine.hosting[workflow.info().workflow_type]
            self._inbox.waiting |= options.get("inbox", {})
            run = self._run = _begun(hosted, input, options)
            await _lead(self.engine, run, TemporalPorts(self.engine, hosted, self._inbox), self._inbox)
            return _ended(run)
        except ClocheError as error:  # a divergence, an input that does not fit: trying again would not help
            raise _application_error(Failure.from_exception(error)) from error


def _class_of(engine: TemporalExecutionEngine) -> type:
    own = type("Conducted", (Conducted,), {"engine": engine, "run": Conducted.run})
    return workflow.defn(dynamic=True, sandboxed=False)(own)


def _begun(hosted: Hosted, input: Any, options: Mapping[str, Any]) -> Conductor:
    if "frozen" in options:
        return thawed(hosted, options["frozen"])
    info = workflow.info()
    identity, now = f"{info.workflow_id}:{info.first_execution_run_id}", int(info.start_time.timestamp() * 1000)
    return begun(hosted, run_id=info.workflow_id, identity=identity, now=now, input=input, options=options)


async def _lead(engine: TemporalExecutionEngine, run: Conductor, ports: TemporalPorts, inbox: Inbox) -> None:
    """To the end of the run, or of this history: then Temporal's own exception goes on with the next one."""
    can_freeze = True

    def is_long() -> bool:
        length = (
            workflow.info().get_current_history_length()
        )  # as of the task's begin: local activities come within one
        return can_freeze and max(length, run.events) >= engine.options.history_events_max

    while await conduct(run, ports, is_long) is None:
        text = frozen_text(run)
        if text is not None and len(text) <= TEXT_BYTES_MAX:
            workflow.continue_as_new(args=[None, {"frozen": text, "inbox": inbox.waiting}])
        can_freeze = False
        workflow.logger.warning("the run goes on in a long history: its cell does not fit through Temporal")


def _ended(run: Conductor) -> Any:
    match end_of(run):
        case {"value": value}:
            check_size("the run's result", len(json.dumps(value)), TEXT_BYTES_MAX)
            return value
        case {"failure": failure}:
            raise _application_error(Failure.from_wire(failure))
        case {"canceled": reason}:
            if workflow.cancellation_reason() is not None:
                raise asyncio.CancelledError
            raise _application_error(Failure("Canceled", reason))


def _step_of(engine: TemporalExecutionEngine) -> Any:
    """The activity that performs all steps."""

    @activity.defn(name=STEP)
    async def step(workflow_id: str, packed: str) -> dict[str, Any]:
        beating = asyncio.ensure_future(_beat())
        sink = Sink(lambda path, value: activity.logger.info("step '%s' wrote %s", path, value), log)
        try:
            return await attempted(
                engine.hosting[workflow_id], Request.unpack(packed), sink, TEXT_BYTES_MAX * 3 // 4 - 1024
            )
        finally:
            beating.cancel()

    return step


async def _beat() -> None:
    """Tell Temporal that this worker is alive, so that it need not wait for the step's timeout to give the step to another."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S / 3)


def _application_error(failure: Failure) -> ApplicationError:
    return ApplicationError(str(failure), failure.to_wire(), type=failure.name, non_retryable=True)


def _child_failure(cause: BaseException | None) -> dict[str, Any]:
    """The failure of a child as it was: it travels in the details of the error."""
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return dict(cause.details[0])
    if isinstance(cause, CancelledError):
        return Failure("Canceled", "the child run was canceled").to_wire()
    return Failure(type(cause).__name__, str(cause)).to_wire()


def _failure_of(error: ActivityError, request: Request) -> Failure:
    """Of an attempt that Temporal itself has ended."""
    if isinstance(error.cause, TimeoutError):
        message = (
            f"step '{request.path}' did not end in time or its worker was lost: whether it did its work is not known"
        )
        return Failure.of(UnknownOutcome, message)
    return Failure(type(error.cause).__name__, str(error.cause))


def _now() -> int:
    return int(workflow.now().timestamp() * 1000)
