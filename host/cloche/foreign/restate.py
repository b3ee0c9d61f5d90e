"""cloche's workflows on Restate: the cell decides, Restate's journal is the log.

    engine = RestateExecutionEngine([workflow])
    app = restate.app(engine.services)

A workflow is a Restate workflow of its id, and a run's id is its key. Handlers:

    run      {"input": …, "state": {…}, "context": {…}}   starts a run and gives its result; all but `input` may be left out
    event    {"name": …, "payload": …}                    for `wait_for_event`
    resume   {"step" or "label": …, "foreach_index": …, "data": …}
    cancel                                                 as Restate's own cancellation: native code cleans up; gives false
                                                           if the run has not begun

Steps are actions in the journal, in the process of the handler. A run whose journal grows long goes on in further invocations
(`piece`), from its frozen cell.

Entries are named by the numbers of calls, not by their paths: so a run of changed code ends with the conductor's `Divergence`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

import restate
from restate.client_types import HttpError
from restate.exceptions import SdkInternalException, TerminalError

from cloche.engines import CellSource
from cloche.errors import ClocheError, Divergence, UsageError
from cloche.foreign.attempts import Request, Sink, attempted, check_size
from cloche.foreign.conductor import Conductor
from cloche.foreign.hosted import Hosted, Hosting
from cloche.foreign.ports import LOGGING_LEVELS, CancelAsked, conduct, event_name, resume_name
from cloche.foreign.refusals import RESTATE
from cloche.foreign.report import from_text
from cloche.foreign.restate_errors import Ending
from cloche.foreign.runs import (
    REPORT,
    begun,
    child_outcome,
    end_of,
    ended_by_engine,
    failure_in,
    frozen_text,
    report_of,
    thawed,
)
from cloche.history import Failure
from cloche.history.messages import StartChild
from cloche.run.results import RunResult
from cloche.status import RunStatus
from cloche_codegen import Step, Workflow

EVENTS_MAX = 2_000  # of a run in one journal: a suspended one is led through them all when it goes on
EVENT_BYTES_MAX = 6_000_000  # a message of Restate's ingress has at most 10 MB; base64 and JSON are in it
CANCELED = 409  # the status with which Restate cancels
OTHER_CODE = 570  # and that with which it ends a run whose journal is of other code
CANCEL_TRIES = 100
LOOK, LOOK_FOR_BEGINNING = timedelta(seconds=2), timedelta(milliseconds=50)

log = logging.getLogger("cloche.foreign.restate")
Context: TypeAlias = "restate.WorkflowContext | restate.WorkflowSharedContext"


class RestateExecutionEngine:
    """Workflows as services of Restate. `ingress` is for `create_workflow(execution_engine=…)` alone."""

    def __init__(
        self,
        workflows: Iterable[Workflow] = (),
        *,
        steps: Iterable[Step] = (),
        ingress: str | None = None,
        events_max: int = EVENTS_MAX,
        cells: CellSource | None = None,
    ) -> None:
        """Raises RefusedByEngine: Restate cannot say something in a workflow."""
        self.hosting = Hosting(RESTATE, steps, cells)
        self.services: list[restate.Workflow] = []
        self.events_max = events_max
        self._ingress = ingress
        for one in workflows:
            self.add(one)

    def add(self, workflow: Workflow) -> RestateExecutionEngine:
        """Conduct this one and its children too. Raises as the constructor."""
        self.services += [_service_of(self, hosted) for hosted in self.hosting.add(workflow)]
        return self

    async def run(
        self, workflow: Workflow, input: Any, *, run_id: str, state: Mapping[str, Any], context: Mapping[str, Any]
    ) -> RunResult:
        """Start a run and wait until it has ended or is suspended.

        Raises:
            UsageError: the engine has no ingress.
            Divergence, RunFailed: Restate ended the run itself, or does not know the workflow.
        """
        given = {"input": input, "state": dict(state), "context": dict(context), "report": True}
        await self._call(workflow.id, run_id, "run", given, send=True)
        return await self._stop(workflow, run_id, 0)

    async def resume(self, workflow: Workflow, run_id: str, name: str, payload: Any) -> RunResult:
        """Resume a run with a message, and wait as `run` does. Raises as that."""
        stops = await self._call(workflow.id, run_id, "message", {"name": name, "payload": payload})
        return await self._stop(workflow, run_id, stops)

    async def send(self, workflow: str, run_id: str, name: str, payload: Any) -> None:
        """Send a message to a run, under one of the names of `ports`."""
        await self._call(workflow, run_id, "message", {"name": name, "payload": payload})

    async def cancel(self, workflow: str, run_id: str) -> None:
        """Cancel a run; native code may clean up.

        Raises:
            UsageError: the engine has no ingress.
            RunFailed: the run did not begin within five seconds.
        """
        for _ in range(CANCEL_TRIES):  # what was started just now begins at once
            if await self._call(workflow, run_id, "cancel", None):
                return
            await asyncio.sleep(LOOK_FOR_BEGINNING.total_seconds())
        raise ended_by_engine(RESTATE, run_id, Failure("NotBegun", "there is no run to cancel"), "pending")

    async def _stop(self, workflow: Workflow, run_id: str, after: int) -> RunResult:
        """The first stop of a run after so many. Asked for again and again: a client of the ingress waits for five seconds."""
        while (found := await self._call(workflow.id, run_id, "look", {"after": after})) is None:
            pass
        return from_text(found[REPORT], workflow)

    async def _call(self, service: str, key: str, handler: str, given: Any, *, send: bool = False) -> Any:
        if self._ingress is None:
            raise UsageError("to reach runs, RestateExecutionEngine needs ingress=, the address of Restate's ingress")
        headers = {"content-type": "application/json"}
        content = json.dumps(given).encode() if given is not None else b""
        async with restate.create_client(self._ingress, headers if content else {}) as client:
            try:
                if send:
                    return await client.generic_send(service, handler, content, key=key)
                answer = await client.generic_call(service, handler, content, key=key)
            except HttpError as error:
                raise ended_by_engine(RESTATE, key, _failure_of(error)) from error
        return json.loads(answer) if answer else None


def _failure_of(error: HttpError) -> Failure:
    try:
        message = str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{error} {error.body or ''}"
    if error.status_code == OTHER_CODE:
        return Failure(Divergence.__name__, message)
    return failure_in(message, HttpError.__name__)


@dataclass(slots=True, eq=False)
class Waiting:
    """A message under one of several names; `value` when it has come."""

    names: tuple[str, ...]
    value: Any = None


@dataclass(slots=True, eq=False)
class Child:
    future: Any


class RestatePorts:
    """`Ports` over the durable futures of an invocation. Messages are promises, numbered for each name: `taken` have come."""

    def __init__(self, ctx: Context, hosted: Hosted, run: Conductor, taken: dict[str, int], stops: int) -> None:
        self.run_id = self.identity = ctx.key()
        self.taken = taken
        self.stops = stops  # how often the run has come to a stop: told to who waits for it
        self._run = run
        self._told_at = -1  # the number of events at the last stop
        self._ctx = ctx
        self._hosted = hosted
        self._promises: dict[str, Any] = {}  # the next message of each name that was asked for
        self._unwanted: list[Child] = []

    def attempt(self, request: Request) -> Any:
        async def act() -> dict[str, Any]:
            sink = Sink(lambda path, value: log.info("step '%s' of run %s wrote %s", path, self.run_id, value), log)
            return await attempted(self._hosted, request, sink, EVENT_BYTES_MAX)

        return self._ctx.run_typed(f"call {request.call}, attempt {request.attempt}", act)

    def sleep_until(self, due: int) -> Any:
        # Restate keeps when it ends as this first life of the run has it
        return self._ctx.sleep(timedelta(milliseconds=max(0, due - _now())))

    def message(self, names: tuple[str, ...]) -> Any:
        for name in names:
            self._promise(name)
        return Waiting(names)

    def child(self, asked: StartChild) -> Any:
        given = json.dumps({"input": asked.input, "is_child": True}).encode()
        check_size(f"the input of child '{asked.path}'", len(given), EVENT_BYTES_MAX)
        return Child(self._ctx.generic_call(asked.workflow, "run", given, key=f"{self.run_id}:{asked.path}"))

    async def first(self, futures: list[Any]) -> list[Any]:
        await self.cancel_unwanted()
        await self._tell()
        owners: dict[Any, Any] = {}
        for future in futures:
            for durable in self._durables(future):
                owners.setdefault(durable, future)
        try:
            ended, _ = await restate.wait_completed(*owners)
        except TerminalError as error:
            if error.status_code != CANCELED:
                raise
            raise CancelAsked(
                int(await self._ctx.run_typed("canceled", _now)), "canceled by a client of Restate"
            ) from None
        return [owners[durable] for durable in ended if await self._is_taken(owners[durable], durable)]

    async def value(self, future: Any) -> Any:
        match future:
            case Waiting(value=value):
                return value
            case Child(future=durable):
                try:
                    return json.loads(await durable)
                except TerminalError as error:
                    failure = Failure("Canceled" if error.status_code == CANCELED else "ChildFailed", error.message)
                    return {"at": int(await self._ctx.run_typed("ended", _now)), "outcome": [1, failure.to_wire()]}
        return await future

    def forget(self, future: Any) -> None:
        if isinstance(future, Child):
            self._unwanted.append(future)

    def log(self, level: int, text: str) -> None:
        log.log(LOGGING_LEVELS[level], "run %s: %s", self.run_id, text)

    async def cancel_unwanted(self) -> None:
        """Children that nobody waits for: a call that may wait, so it is not made where they are forgotten."""
        unwanted, self._unwanted = self._unwanted, []
        for child in unwanted:
            await child.future.cancel_invocation()

    async def _tell(self) -> None:
        """That the run is suspended now, once a stop."""
        run = self._run
        if run.report is not None and run.report.status == RunStatus.SUSPENDED and run.events != self._told_at:
            self._told_at, number = run.events, self.stops
            self.stops += 1
            stop: Any = self._ctx.promise(_stop(number))
            await stop.resolve(report_of(run))

    def _durables(self, future: Any) -> list[Any]:
        match future:
            case Waiting(names=names):
                return [self._promise(name) for name in names]
            case Child(future=durable):
                return [durable]
        return [future]

    def _promise(self, name: str) -> Any:
        if name not in self._promises:
            self._promises[name] = self._ctx.promise(_numbered(name, self.taken.get(name, 0))).value()
        return self._promises[name]

    async def _is_taken(self, future: Any, durable: Any) -> bool:
        """Give a message to who waits for it; one that has its message already leaves this one for the next."""
        if not isinstance(future, Waiting):
            return True
        if future.value is not None:
            return False
        name = next(name for name in future.names if self._promises.get(name) is durable)
        future.value = await durable
        self.taken[name] = self.taken.get(name, 0) + 1
        del self._promises[name]
        return True


def _service_of(engine: RestateExecutionEngine, hosted: Hosted) -> restate.Workflow:
    service = restate.Workflow(hosted.id)

    @service.main()
    async def run(ctx: restate.WorkflowContext, given: dict[str, Any]) -> Any:
        ctx.set("invocation", ctx.request().id)
        end = await _whole_run(engine, hosted, ctx, given)
        if given.get("is_child"):
            return {"at": int(await ctx.run_typed("ended", _now)), "outcome": child_outcome(end)}
        match end:
            case {"value": value}:
                return value
            case {"failure": failure}:
                raise TerminalError(str(Failure.from_wire(failure)), 500)
        raise TerminalError(f"Canceled: {end['canceled']}", CANCELED)

    @service.handler(ingress_private=True)
    async def piece(ctx: restate.WorkflowSharedContext, given: dict[str, Any]) -> Any:
        return await _piece(engine, hosted, ctx, given)

    _add_messages(service)
    return service


def _add_messages(service: restate.Workflow) -> None:
    """The handlers that reach a run from outside."""

    @service.handler()
    async def event(ctx: restate.WorkflowSharedContext, given: dict[str, Any]) -> None:
        await _put(ctx, event_name(given["name"]), given.get("payload"))

    @service.handler()
    async def resume(ctx: restate.WorkflowSharedContext, given: dict[str, Any]) -> None:
        name = resume_name(given.get("step"), given.get("label"), given.get("foreach_index"))
        await _put(ctx, name, given.get("data"))

    @service.handler()
    async def cancel(ctx: restate.WorkflowSharedContext) -> bool:
        """Whether there is a run to cancel."""
        invocation = await ctx.get("invocation", type_hint=str)
        if invocation is not None:
            ctx.cancel_invocation(invocation)
        return invocation is not None

    @service.handler()
    async def message(ctx: restate.WorkflowSharedContext, given: dict[str, Any]) -> int:
        """Gives how often the run had come to a stop before."""
        stops = 0
        while await _peeked(ctx, _stop(stops)) is not None:
            stops += 1
        await _put(ctx, given["name"], given.get("payload"))
        return stops

    @service.handler()
    async def look(ctx: restate.WorkflowSharedContext, given: dict[str, Any]) -> Any:
        """The report of the first stop after so many, or of the run's end; None if there is none in two seconds."""
        invocation = await ctx.get("invocation", type_hint=str)
        stop: Any = ctx.promise(_stop(given["after"])).value()
        waits = [stop, ctx.sleep(LOOK if invocation is not None else LOOK_FOR_BEGINNING)]
        if invocation is not None:
            waits.insert(0, ctx.attach_invocation(invocation))
        ended, _ = await restate.wait_completed(*waits)
        return await ended[0]


async def _whole_run(
    engine: RestateExecutionEngine, hosted: Hosted, ctx: restate.WorkflowContext, given: dict[str, Any]
) -> dict[str, Any]:
    """How a run ended: its first piece here, the others each in an invocation of its own."""
    now = int(await ctx.run_typed("begin", _now))
    part = await _piece(engine, hosted, ctx, given | {"now": now})
    while "frozen" in part:
        call = ctx.generic_call(hosted.id, "piece", json.dumps(part).encode(), key=ctx.key())
        with suppress(TerminalError):  # Restate cancels the piece too, which then says how the run ends
            await restate.wait_completed(call)
        part = json.loads(await call)
    return part


async def _piece(engine: RestateExecutionEngine, hosted: Hosted, ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    """Lead a run to its end, as `end_of` has it, or until its journal is long: {"frozen", "taken", "stops"}."""
    internal: Any = ctx  # the SDK's own context: what is used of it here is in no public part
    internal.send = ends = Ending(internal.send)
    try:
        run = _run_of(hosted, ctx, given)
        ports = RestatePorts(ctx, hosted, run, dict(given.get("taken", {})), given.get("stops", 0))
        can_freeze = True
        while await conduct(run, ports, partial(_is_long, run, engine.events_max if can_freeze else None)) is None:
            text = frozen_text(run)
            if text is not None and len(text) <= EVENT_BYTES_MAX:
                return {"frozen": text, "taken": ports.taken, "stops": ports.stops}
            can_freeze = False
        await ports.cancel_unwanted()
        return end_of(run)
    except Divergence as error:  # no handler may end while its journal goes on; its error can
        ends.always = True
        internal.vm.notify_error(str(Failure.from_exception(error)), "")
        raise SdkInternalException from error
    except ClocheError as error:  # an input that does not fit: trying again would not help
        return {"failure": Failure.from_exception(error).to_wire()}


def _run_of(hosted: Hosted, ctx: Context, given: dict[str, Any]) -> Conductor:
    if "frozen" in given:
        return thawed(hosted, given["frozen"])
    key = ctx.key()
    return begun(hosted, run_id=key, identity=key, now=given["now"], input=given.get("input"), options=given)


def _is_long(run: Conductor, events_max: int | None) -> bool:
    return events_max is not None and run.events >= events_max


async def _put(ctx: restate.WorkflowSharedContext, name: str, payload: Any) -> None:
    """Resolve the first promise of this name that nobody has resolved."""
    value = {"at": int(await ctx.run_typed("at", _now)), "payload": payload}
    number = 0
    while True:
        promise: Any = ctx.promise(_numbered(name, number))
        number += 1
        if await promise.peek() is not None:
            continue
        try:
            await promise.resolve(value)
            return
        except TerminalError:  # somebody else was faster
            continue


async def _peeked(ctx: restate.WorkflowSharedContext, name: str) -> Any:
    """What a promise was kept with; None if it was not yet."""
    promise: Any = ctx.promise(name)
    return await promise.peek()


def _stop(number: int) -> str:
    """The promise that is kept when a run has come to so many stops before."""
    return f"stopped#{number}"


def _numbered(name: str, number: int) -> str:
    return f"{name}#{number}"


def _now() -> int:
    return int(time.time() * 1000)
