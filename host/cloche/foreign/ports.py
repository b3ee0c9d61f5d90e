"""What a run that is conducted elsewhere needs of the engine that keeps its history, and the loop that is the same for all.

An engine is a `Ports`: futures for attempts, times, messages and children, and which of them end first. Its own history is the
log: where it makes a run again it gives the futures the same values in the same order, so the cell is led the same way.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from cloche.engines import exceptions_of
from cloche.errors import Divergence, LimitExceeded
from cloche.foreign.attempts import Request
from cloche.foreign.conductor import Call, CallEvent, Conductor, News, Outcome, unpacked
from cloche.history import CallId, Failure, Path, TimeMs
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

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.run.results import RunResult
    from cloche_codegen import Workflow

F = TypeVar("F")
LOGGING_LEVELS = (5, 10, 20, 30, 40)  # of `logging`, for the levels of a workflow's lines


class CancelAsked(Exception):
    """Somebody asked the engine to cancel the run: raised by `Ports.first`, once for each time."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


class Ports(Protocol[F]):
    """An engine, for one run. A future `F` is whatever it has; a value is JSON."""

    run_id: str
    identity: str  # of the run, also among others that had its id before

    def attempt(self, request: Request) -> F:
        """What `attempts.attempted` makes of a request, somewhere; again if the process that makes it ends.

        Raises:
            LimitExceeded: the request is too large for the engine.
        """

    def sleep_until(self, due: int) -> F:
        """Ends at `due`, in ms since 1970; its value is not looked at."""

    def message(self, names: tuple[str, ...]) -> F:
        """The next message from outside under one of the names: {"at": ms, "payload": …}. One that came before waits."""

    def child(self, asked: StartChild) -> F:
        """A run of another workflow: {"at": ms, "outcome": [0, value] or [1, failure]}.

        Raises:
            LimitExceeded: its input is too large for the engine.
        """

    async def first(self, futures: list[F]) -> list[F]:
        """Wait until some have ended; those, in the order in which they did.

        Raises:
            CancelAsked: the run is to be canceled.
        """

    async def value(self, future: F) -> Any:
        """The value of a future that has ended."""

    def forget(self, future: F) -> None:
        """Nobody waits for it any more: a child is canceled, an attempt may be."""

    def log(self, level: int, text: str) -> None:
        """A line that the workflow logs; once a run, not once a life of it, where the engine can tell."""


@runtime_checkable
class ExecutionEngine(Protocol):
    """An engine that keeps whole runs, as `create_workflow(execution_engine=…)` takes it."""

    async def run(
        self, workflow: Workflow, input: Any, *, run_id: str, state: Mapping[str, Any], context: Mapping[str, Any]
    ) -> RunResult:
        """Start a run and wait until it has ended or, where the engine can tell, is suspended.

        Raises:
            Divergence, RunFailed: the engine ended the run itself; its code has not said how.
        """

    async def resume(self, workflow: Workflow, run_id: str, name: str, payload: Any) -> RunResult:
        """Resume a step with a message under `resume_name`, and wait as `run` does. Raises as that."""

    async def send(self, workflow: str, run_id: str, name: str, payload: Any) -> None:
        """Send a message to a run, under `event_name` or `resume_name`."""

    async def cancel(self, workflow: str, run_id: str) -> None:
        """Ask the engine to cancel a run."""


def event_name(name: str) -> str:
    """The message that `wait_for_event(name)` waits for."""
    return f"event/{name}"


def resume_names(path: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The messages that resume a suspended step."""
    return (f"resume/{path}", *(f"label/{label}" for label in labels))


def resume_name(step: str | None, label: str | None, foreach_index: int | None = None) -> str:
    """The message with which an owner resumes: by the step's path (its id, on the top level), or by a label."""
    if label is not None:
        return f"label/{label}"
    return f"resume/{step}" if foreach_index is None else f"resume/{step}[{foreach_index}]"


async def conduct(run: Conductor, ports: Ports[F], is_long: Callable[[], bool] = lambda: False) -> Outcome | None:
    """Lead a run that has begun to its end.

    None once the history `is_long` and no attempt or child is under way: `run.freeze()` is all of the run then, and the engine
    can go on with it under an empty history, or with the same conductor. `is_long` must say the same in every life of the run.

    Raises:
        Divergence: the engine's history is not one of this code.
    """
    return await _Conducting(run, ports, is_long).to_the_end()


@dataclass(slots=True)
class _Slot(Generic[F]):
    """What an open call waits for: an attempt, its backoff, a timer, a hook, a resumption or a child."""

    kind: str
    future: F


class _Conducting(Generic[F]):
    def __init__(self, run: Conductor, ports: Ports[F], is_long: Callable[[], bool]) -> None:
        self._run = run
        self._ports = ports
        self._is_long = is_long
        self._slots: dict[CallId, _Slot[F]] = {}
        self._held: list[CallId] = []  # calls that begin in the next history
        self._asks_results: set[str] = set()  # ids of steps that have asked for results of others

    async def to_the_end(self) -> Outcome | None:
        run, ports = self._run, self._ports
        while True:
            self._catch_up()
            if run.outcome is not None:
                return run.outcome
            if self._may_rest():
                self._forget(list(self._slots))
                run.news.opened = list(run.open)
                return None
            if not self._slots:
                run.stop(Failure("Deadlock", "the workflow waits for something that nothing outside will ever answer"))
                continue
            by_future = {id(slot.future): call for call, slot in self._slots.items()}
            try:
                ended = await ports.first([slot.future for slot in self._slots.values()])
            except CancelAsked as asked:
                run.cancel(asked.at, asked.reason)
                continue
            for future in ended:
                call = by_future[id(future)]
                if call in self._slots and self._slots[call].future is future:
                    await self._ended(call, future)

    # ---- beginning ----

    def _catch_up(self) -> None:
        """Forget what was given up, begin what was asked for, log what was said."""
        run = self._run
        self._begin_held()
        while run.news:
            news, run.news = run.news, News()
            for level, text, _ in news.logs:
                self._ports.log(level, text)
            self._forget([call.number for call in news.closed])
            for number in news.opened:
                if number in run.open:
                    self._begin(run.open[number])

    def _begin(self, call: Call) -> None:
        ports = self._ports
        try:
            match call.asked:
                case CallStep() if call.is_suspended:
                    names = resume_names(call.path, tuple(call.suspend_info().get("labels", ())))
                    self._slot(call, "resume", ports.message(names))
                case CallStep() if call.due:
                    self._slot(call, "backoff", ports.sleep_until(call.due))
                case CallStep() | StartChild() if self._drains:
                    self._held.append(call.number)
                case CallStep(name=name):
                    self._slot(call, "attempt", ports.attempt(self._request(call, name)))
                case SetTimer(due=due):
                    self._slot(call, "timer", ports.sleep_until(due))
                case OpenHook(name=name):
                    self._slot(call, "hook", ports.message((event_name(name),)))
                case StartChild():
                    self._slot(call, "child", ports.child(call.asked))
        except LimitExceeded as error:
            self._deliver(call, _failed(call, self._run.now, Failure.from_exception(error)))

    def _slot(self, call: Call, kind: str, future: F) -> None:
        self._slots[call.number] = _Slot(kind, future)

    def _request(self, call: Call, name: str) -> Request:
        results = dict(self._run.results) if name in self._asks_results else None
        return request_of(self._run, call, self._ports.run_id, self._ports.identity, results)

    # ---- ending ----

    async def _ended(self, number: CallId, future: F) -> None:
        value = await self._ports.value(future)
        kind, call = self._slots.pop(number).kind, self._run.open.get(number)
        if call is None:  # what ended just before it has given it up
            return
        at = self._run.now
        match kind, call.asked:
            case "backoff", _:
                call.due = 0
                self._begin(call)
            case "attempt", _:
                self._attempt_ended(call, value)
            case "resume", asked:
                self._deliver(call, StepResumed(value["at"], number, Path(asked.path), value["payload"]))
                self._begin(call)
            case "timer", SetTimer(due=due):
                self._deliver(call, TimerFired(TimeMs(max(due, at)), number))
            case "hook", _:
                self._deliver(call, HookReceived(value["at"], number, plain(value["payload"])))
            case "child", _:
                self._deliver(
                    call, ChildEnded(value["at"], number, plain_outcome(value["outcome"], self._run.hosted.code))
                )

    def _attempt_ended(self, call: Call, value: dict[str, Any]) -> None:
        run, asked = self._run, call.asked
        assert isinstance(asked, CallStep)
        check_place(run, value["path"], call)
        if "needs" in value:
            self._asks_results.add(asked.name)
            self._begin(call)
        elif "again" in value:
            call.attempt, call.due = call.attempt + 1, value["again"]
            self._begin(call)
        else:
            event = event_of(run, call, value)
            if "abort" in value:
                run.cancel(event.time, value["abort"], by=event)
            self._deliver(call, event)
            if call.is_suspended and call.number in run.open:
                self._begin(call)

    def _deliver(self, call: Call, event: CallEvent) -> None:
        self._run.deliver(call.path, event)

    # ---- between two histories ----

    @property
    def _drains(self) -> bool:
        """The history is long enough: nothing more begins until what is under way has ended. A child may take for ever."""
        return self._is_long() and not any(slot.kind == "child" for slot in self._slots.values())

    def _may_rest(self) -> bool:
        return self._drains and not any(slot.kind == "attempt" for slot in self._slots.values())

    def _begin_held(self) -> None:
        if self._held and not self._drains:
            held, self._held = self._held, []
            for number in held:
                if number in self._run.open:
                    self._begin(self._run.open[number])

    def _forget(self, calls: list[CallId]) -> None:
        for call in calls:
            slot = self._slots.pop(call, None)
            if slot is not None:
                self._ports.forget(slot.future)


def request_of(run: Conductor, call: Call, run_id: str, identity: str, results: dict[str, Any] | None) -> Request:
    """What the next attempt of a step's call needs to know."""
    started, asked = run.started, call.asked
    assert started is not None
    assert isinstance(asked, CallStep)
    return Request(
        run_id,
        identity,
        asked.call,
        asked.path,
        asked.name,
        [asked.arguments, asked.keywords],
        call.attempt,
        dict(run.state),
        run.state_version,
        started.given.get("context", {}),
        started.input,
        call.suspend_info().get("payload"),
        call.resumed is not None,
        call.resume_data(),
        results,
    )


def event_of(run: Conductor, call: Call, value: dict[str, Any]) -> CallEvent:
    """The event of a value that `attempted` made; a change of state that is out of date fails the step."""
    if value.get("base", run.state_version) != run.state_version:
        message = (
            f"step '{call.path}' changed the state by a function, and another step changed it meanwhile: on this engine "
            "such steps must not run beside each other. Use set_state, or run them one after the other"
        )
        return StepFailed(run.now, call.number, Failure("StateConflict", message))
    return unpacked(base64.b64decode(value["event"]))


def check_place(run: Conductor, path: str, call: Call) -> None:
    """That the engine's history has at `call` what was asked for there.

    Raises:
        Divergence: it has another call.
    """
    if path != call.path:
        raise Divergence(
            f"the engine's history of this run has '{path}' here, but workflow '{run.hosted.id}' asked for '{call.path}'. "
            "Its code changed while the run was open: finish it with the version it began with, or start a new one",
            report=None,
        )


def plain_outcome(outcome: list[Any], code: Code) -> list[Any]:
    """What came of a child as `code` may be told, in the order of keys that crosses: an engine may have sorted them."""
    has_failed, value = outcome
    return [1, Failure.from_wire(value).told_to(exceptions_of(code)).to_wire(1)] if has_failed else [0, plain(value)]


def _failed(call: Call, now: TimeMs, failure: Failure) -> CallEvent:
    if isinstance(call.asked, StartChild):
        return ChildEnded.failed(now, call.number, failure)
    return StepFailed(now, call.number, failure)
