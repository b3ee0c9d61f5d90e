"""cloche's workflows on Inngest: the cell decides, Inngest's memoised steps are the log.

    engine = InngestExecutionEngine(client).add(workflow)
    inngest.fast_api.serve(app, client, engine.functions)

The event `cloche/ID.start` starts a run of workflow ID; its data are {"input": …}, and if wanted `state`, `context` and
`run_id`. The event `cloche/message` reaches a run: {"run": its id, "to": "event/NAME" or "resume/STEP" or "label/LABEL",
"payload": …}, or "cancel". Inngest keeps no event for a run that does not wait for it yet.

Every request of Inngest carries all memos and the order in which they came. A fresh cell is led through them, in one crossing
where it can be, or the cell that answered the last request through those that are new. What it then waits for is reported back
as steps of Inngest.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import inngest

from cloche.engines import CellSource, is_native
from cloche.errors import ClocheError, UsageError
from cloche.foreign.attempts import Request, Sink, attempted
from cloche.foreign.conductor import Call, Conductor, OutOfTurn
from cloche.foreign.hosted import Hosted, Hosting
from cloche.foreign.kept import BYTES_MAX, Kept, KeptConductors
from cloche.foreign.memos import Memos, ended_with, hashed, is_attempt, is_simple
from cloche.foreign.ports import (
    LOGGING_LEVELS,
    check_place,
    event_name,
    event_of,
    plain_outcome,
    request_of,
    resume_names,
)
from cloche.foreign.refusals import INNGEST, INNGEST_RETRIES_MAX
from cloche.foreign.report import from_text
from cloche.foreign.runs import REPORT, begun, child_outcome, end_of, ended_by_engine, failure_in
from cloche.history import Failure, Path, TimeMs
from cloche.history.messages import (
    CallStep,
    ChildEnded,
    HookReceived,
    OpenHook,
    SetTimer,
    StartChild,
    StepFailed,
    StepResumed,
    TimerFired,
)
from cloche.history.values import plain
from cloche.run.results import RunResult
from cloche_codegen import Step, Workflow

MESSAGE = "cloche/message"
CANCEL = "cancel"  # the message that cancels a run
CANCEL_STEP = "/cancel"  # in which native code waits for it: no path begins with a slash
CANCEL_CONDITION = f"async.data.run == event.data.run_id && async.data.to == '{CANCEL}'"
FOREVER = timedelta(days=365)  # Inngest's longest wait
EVENT_BYTES_MAX = 2_900_000  # the output of a step has at most 4 MB; base64 is in it
POLL_S = 0.2


log = logging.getLogger("cloche.foreign.inngest")


class InngestExecutionEngine:
    """Workflows as functions of Inngest, which `functions` has for `inngest.fast_api.serve` and its like."""

    def __init__(
        self,
        client: inngest.Inngest,
        workflows: Iterable[Workflow] = (),
        *,
        steps: Iterable[Step] = (),
        cells: CellSource | None = None,
        kept_bytes_max: int = BYTES_MAX,
    ) -> None:
        """`kept_bytes_max`: what the cells of runs may take that wait for their next request. With 0 none is kept.

        Raises:
            RefusedByEngine: Inngest cannot say something in a workflow.
        """
        self.hosting = Hosting(INNGEST, steps, cells)
        self.kept = KeptConductors(kept_bytes_max)
        self.functions: list[inngest.Function[Any]] = []
        self._events: dict[str, str] = {}  # run -> Inngest's id of the event that started it
        self._client = client
        for one in workflows:
            self.add(one)

    def add(self, workflow: Workflow) -> InngestExecutionEngine:
        """Conduct this one and its children too. Raises as the constructor."""
        self.functions += [_function_of(self._client, hosted, self.kept) for hosted in self.hosting.add(workflow)]
        return self

    async def run(
        self, workflow: Workflow, input: Any, *, run_id: str, state: Mapping[str, Any], context: Mapping[str, Any]
    ) -> RunResult:
        """Start a run and wait for its end, for Inngest does not tell that a run is suspended: it is asked every 200 ms.

        Raises:
            Divergence, RunFailed: Inngest ended the run itself.
        """
        data = {"input": input, "state": dict(state), "context": dict(context), "run_id": run_id, "report": True}
        event = inngest.Event(name=start_event(workflow.id), data=data, id=run_id)
        [self._events[run_id]] = await self._client.send(event)
        return await self._end(workflow, run_id)

    async def resume(self, workflow: Workflow, run_id: str, name: str, payload: Any) -> RunResult:
        """Resume a run that this object has started, and wait for its end. Raises as `run`.

        Raises:
            UsageError: it was started elsewhere.
        """
        if run_id not in self._events:
            raise UsageError(
                f"run '{run_id}' was not started here, and Inngest finds its end by what started it: use send_resume"
            )
        await self.send(workflow.id, run_id, name, payload)
        return await self._end(workflow, run_id)

    async def _end(self, workflow: Workflow, run_id: str) -> RunResult:
        headers = {"Authorization": f"Bearer {self._client.signing_key}"} if self._client.signing_key else {}
        async with httpx.AsyncClient(base_url=self._client.api_origin, headers=headers) as http:
            while True:
                answer = await http.get(f"/v1/events/{self._events[run_id]}/runs")
                for run in answer.raise_for_status().json()["data"]:
                    if run["status"] == "Completed":
                        return from_text(run["output"][REPORT], workflow)
                    if run["status"] in ("Failed", "Cancelled"):
                        status = "failed" if run["status"] == "Failed" else "canceled"
                        raise ended_by_engine(INNGEST, run_id, _failure_of(run), status)
                await asyncio.sleep(POLL_S)

    async def send(self, workflow: str, run_id: str, name: str, payload: Any) -> None:
        """Send a message to a run that waits for it, under one of the names of `ports`."""
        await self._client.send(inngest.Event(name=MESSAGE, data={"run": run_id, "to": name, "payload": payload}))

    async def cancel(self, workflow: str, run_id: str) -> None:
        """Cancel a run; native code that waits for something but steps may clean up."""
        await self.send(workflow, run_id, CANCEL, None)


def start_event(workflow: str) -> str:
    """The name of the event that starts a run of a workflow."""
    return f"cloche/{workflow}.start"


def _failure_of(run: Mapping[str, Any]) -> Failure:
    """What the code of a run that Inngest ended has raised."""
    output = run.get("output")
    message = output.get("message", output) if isinstance(output, dict) else output
    return failure_in(str(message), run["status"])


def _function_of(client: inngest.Inngest, hosted: Hosted, kept: KeptConductors) -> inngest.Function[Any]:
    @client.create_function(
        fn_id=hosted.id,
        trigger=inngest.TriggerEvent(event=start_event(hosted.id)),
        retries=min(hosted.retries_max(), INNGEST_RETRIES_MAX),
        cancel=[] if is_native(hosted.code) else [inngest.Cancel(event=MESSAGE, if_exp=CANCEL_CONDITION)],
    )
    async def function(ctx: inngest.Context) -> Any:
        try:
            answering = Answering(ctx, hosted, kept)
            answering.lead()
            if answering.run.outcome is None:
                try:
                    await answering.ask()
                finally:
                    answering.keep()
        except ClocheError as error:  # a divergence, an input that does not fit: trying again would not help
            raise inngest.NonRetriableError(str(Failure.from_exception(error))) from error
        return _ended(answering.run, ctx)

    return function


def _ended(run: Conductor, ctx: inngest.Context) -> Any:
    end = end_of(run)
    if ctx.event.data.get("is_child"):
        return {"outcome": child_outcome(end)}
    match end:
        case {"value": value}:
            return value
        case {"failure": failure}:
            raise inngest.NonRetriableError(str(Failure.from_wire(failure)))
    raise inngest.NonRetriableError(f"Canceled: {end['canceled']}")


class Answering:
    """One request of Inngest: a run that is led through its memos, and then asks for what it waits for."""

    def __init__(self, ctx: inngest.Context, hosted: Hosted, kept: KeptConductors) -> None:
        self._ctx = ctx
        self._hosted = hosted
        self._kept = kept
        self._memos = Memos(ctx)
        self._data: Mapping[str, Any] = ctx.event.data
        self._run_id = str(self._data.get("run_id") or ctx.run_id)
        self._resumed: dict[int, int] = {}  # call -> how often it was resumed

    def _begun(self) -> Conductor:
        self._resumed = {}
        return begun(
            self._hosted,
            run_id=self._run_id,
            identity=self._ctx.run_id,
            now=self._ctx.event.ts or 0,
            input=self._data.get("input"),
            options=self._data,
        )

    # ---- what has happened ----

    def lead(self) -> None:
        """Lead the run through all memos: in as few crossings as can be, or one by one where that does not go.

        Raises:
            Divergence: they are not of this code.
        """
        self._entries = self._memos.entries()
        kept = self._kept.take(self._ctx.run_id, self._beginning(), self._entries)
        at = seen = 0
        if kept is not None:
            self.run, self._resumed, at, seen = kept.run, kept.resumed, len(kept.history), kept.run.events
        else:
            self.run = self._begun()
        try:
            self._lead(self._entries[at:], together=self.run.report is None)
        except OutOfTurn:
            self.run = self._begun()
            self._lead(self._entries, together=False)
        self._log(seen or self.run.events - 1)  # a fresh cell says again what was said before
        self._memos.forget()

    def _log(self, seen: int) -> None:
        """Log what the workflow said after so many events."""
        if self._memos.target is None:
            for level, text, event in self.run.news.logs:
                if event > seen:
                    log.log(LOGGING_LEVELS[level], "run %s: %s", self._run_id, text)

    def keep(self) -> None:
        """Have the conductor at hand when the run's next request comes."""
        self._kept.put(self._ctx.run_id, Kept(self.run, self._beginning(), self._entries, self._resumed))

    def _beginning(self) -> tuple[Any, int | None]:
        return self._data, self._ctx.event.ts

    def _lead(self, entries: list[tuple[str, Any]], *, together: bool) -> None:
        run, batch = self.run, list[tuple[str, bytes]]()
        for key, value in entries:
            if together and is_simple(value):
                batch.append((value["path"], base64.b64decode(value["event"])))
                continue
            run.deliver_all(batch)
            batch = []
            if key == hashed(CANCEL_STEP) and value is not None:
                run.cancel(value["ts"], "canceled by a message")
                continue
            call = self._open_call(key, value)
            if call is not None and run.outcome is None:
                self._take(call, key, value)
        run.deliver_all(batch)

    def _open_call(self, key: str, value: Any) -> Call | None:
        """Whose memo it is; None if nobody waits for it any more."""
        if is_attempt(value):
            event = ended_with(value)
            call = self.run.open.get(event.call)
            if call is None:
                self.run.deliver(value["path"], event)  # which says whether it was given up, or is of other code
            return call
        return next((call for call in self.run.open.values() if self._key(call) == key), None)

    def _take(self, call: Call, key: str, value: Any) -> None:
        run, asked, failure = self.run, call.asked, self._memos.error(key)
        at, number = run.now, call.number
        if failure is not None and isinstance(asked, CallStep):
            run.deliver(call.path, StepFailed(at, number, failure))
        elif is_attempt(value):
            check_place(run, value["path"], call)
            call.attempt = value["attempt"]
            event = event_of(run, call, value)
            if "abort" in value:
                run.cancel(event.time, value["abort"], by=event)
            run.deliver(call.path, event)
        elif isinstance(asked, SetTimer):
            run.deliver(call.path, TimerFired(TimeMs(max(asked.due, at)), number))
        elif isinstance(asked, StartChild):
            outcome = value["outcome"] if failure is None else [1, failure.to_wire()]
            run.deliver(call.path, ChildEnded(at, number, plain_outcome(outcome, run.hosted.code)))
        elif value is None:
            run.stop(
                Failure("WaitedTooLong", f"'{call.path}' waited for {FOREVER.days} days, which is Inngest's limit")
            )
        elif isinstance(asked, OpenHook):
            run.deliver(call.path, HookReceived(value["ts"], number, plain(value["data"].get("payload"))))
        else:
            self._resumed[number] = self._resumed.get(number, 0) + 1
            run.deliver(call.path, StepResumed(value["ts"], number, Path(call.path), value["data"].get("payload")))

    # ---- what it waits for ----

    async def ask(self) -> None:
        """Report what is open as steps of Inngest, and run the one that this request is for.

        Never returns but by the SDK's own interrupts: whatever is open is new to Inngest.
        """
        calls = list(self.run.open.values())
        if not calls:
            raise inngest.NonRetriableError(
                "Deadlock: the workflow waits for something that nothing outside will answer"
            )
        if self._memos.target is not None:
            calls = [call for call in calls if self._key(call) == self._memos.target]
            if not calls:
                await self._pass_over()
        steps = [self._step(call) for call in calls]
        if self._waits_for_others(calls):
            steps.append(lambda: self._message(CANCEL_STEP, (CANCEL,)))
        if len(steps) == 1:  # Inngest may run it in this very request
            await steps[0]()
        else:
            await self._ctx.group.parallel(tuple(steps))

    def _waits_for_others(self, calls: list[Call]) -> bool:
        """Native code that does not run a step now is told of a cancellation: it has something to clean up, perhaps."""
        is_idle = all(call.is_suspended or not isinstance(call.asked, CallStep) for call in calls)
        return is_idle and self._memos.target is None and is_native(self._hosted.code) and not self.run.is_canceling

    async def _pass_over(self) -> None:
        """The step was planned and then given up: it ends without being performed, and nobody looks at its memo.

        Raises:
            RetryAfterError: no step of this run had that id.
        """

        async def nothing() -> dict[str, Any]:
            return {"given_up": True}

        for call in self.run.news.closed:
            if self._key(call) == self._memos.target:
                await self._ctx.step.run(self._id(call), nothing)
        raise inngest.RetryAfterError("Inngest asks for a step that this run does not have", 1_000, quiet=True)

    def _id(self, call: Call) -> str:
        rounds = self._resumed.get(call.number, 0)
        if call.is_suspended:
            return f"{call.path}~resume{rounds + 1}"
        return call.path if rounds == 0 else f"{call.path}~{rounds + 1}"

    def _key(self, call: Call) -> str:
        return hashed(self._id(call))

    def _step(self, call: Call) -> Callable[[], Awaitable[Any]]:
        id, step = self._id(call), self._ctx.step
        match call.asked:
            case CallStep() if call.is_suspended:
                names = resume_names(call.path, tuple(call.suspend_info().get("labels", ())))
                return lambda: self._message(id, names)
            case CallStep():
                return lambda: step.run(id, lambda: self._attempt(call))
            case SetTimer(due=due):
                return lambda: step.sleep_until(id, datetime.fromtimestamp(due / 1000, UTC))
            case OpenHook(name=name):
                return lambda: self._message(id, (event_name(name),))
            case StartChild(workflow=name, input=input):
                data = {"input": input, "is_child": True}
                return lambda: step.invoke_by_id(id, function_id=name, data=data)

    def _message(self, id: str, names: tuple[str, ...]) -> Awaitable[Any]:
        to = " || ".join(f"async.data.to == {_quoted(name)}" for name in names)
        condition = f"async.data.run == {_quoted(self._run_id)} && ({to})"
        return self._ctx.step.wait_for_event(id, event=MESSAGE, if_exp=condition, timeout=FOREVER)

    async def _attempt(self, call: Call) -> dict[str, Any]:
        """One attempt of a step, in this request.

        Raises:
            RetryAfterError: it failed, and Inngest is to try again.
        """
        call.attempt = self._ctx.attempt + 1
        request: Request = request_of(self.run, call, self._run_id, self._ctx.run_id, dict(self.run.results))
        sink = Sink(lambda path, value: self._ctx.logger.info("step '%s' wrote %s", path, value))
        value = await attempted(self._hosted, request, sink, EVENT_BYTES_MAX)
        if "again" in value:
            delay = max(0.0, value["again"] / 1000 - datetime.now(UTC).timestamp())
            raise inngest.RetryAfterError(value["why"], timedelta(seconds=delay), quiet=True)
        return value | {"attempt": call.attempt}


def _quoted(text: str) -> str:
    """A text as Inngest's expressions have it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
