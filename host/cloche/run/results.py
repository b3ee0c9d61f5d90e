"""What a run looks like to people and programs: folded from its records, never stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic

from cloche.engines import Code, graph_outline, is_native, is_written
from cloche.errors import InvalidInput, RunFailed
from cloche.history import Failure, Kind, Record, RunMachine
from cloche.history.messages import (
    AbandonCall,
    CallStep,
    ChildEnded,
    CompleteRun,
    Enter,
    FailRun,
    HookFailed,
    HookReceived,
    Leave,
    OpenHook,
    SetDeadline,
    SetTags,
    SetTimer,
    StartChild,
    Started,
    StepBailed,
    StepCompleted,
    StepFailed,
    StepResumed,
    StepSuspended,
    TimerFired,
)
from cloche.history.notes import AttemptFailed, AttemptStarted, RunCreated, RunStopped, TagsSet
from cloche.history.reading import Message, message_of
from cloche.run import source_maps
from cloche.run.child_waits import ChildWait, child_waits, told
from cloche.run.selection import id_path
from cloche.run.tracebacks import Tracebacks, with_place
from cloche.status import FINAL, RunStatus
from cloche.steps.schemas import validated
from cloche.steps.sdk_values import ended
from cloche.store import RunRow, Store, read_through
from cloche.text import sentence_of
from cloche_codegen.variables import Out

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_TIMEOUT = "/timeout"  # the timer of a wait for an event stands under it


@dataclass(slots=True)
class StepResult:
    """One step, sleep, map or nested workflow of the top level, as it stands. Times are UTC."""

    status: RunStatus
    payload: Any = None
    output: Any = None
    error: Failure | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    suspend_payload: Any = None
    resume_payload: Any = None
    attempts: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunResult(Generic[Out]):
    """A run as it stands: `status` is success, failed, canceled, waiting, running, pending or blocked; continued only of a
    history that is not the run's newest.

    `blocked` says {reason, message, what_to_do}, `waiting_for` which child runs it waits for and how they stand. `steps` holds
    the top level by id; what happened inside nested workflows is in the log. `step_execution_path` lists steps and sleeps of
    the top level in the order in which they ended. `result` is None where there is none; `unwrap()` tells the two apart.
    """

    run_id: str
    workflow_id: str
    status: RunStatus
    input: Any = None
    result: Out = None  # type: ignore[assignment]  # most ask for it after they have seen that the run succeeded
    error: Failure | None = None
    blocked: dict[str, str] | None = None
    steps: dict[str, StepResult] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    suspended: list[list[str]] = field(default_factory=list)
    suspend_payload: dict[str, Any] = field(default_factory=dict)
    resume_labels: dict[str, Any] = field(default_factory=dict)
    step_execution_path: list[str] = field(default_factory=list)
    waiting_for: list[ChildWait] = field(default_factory=list)
    tags: dict[str, Any] = field(default_factory=dict)
    deadline: datetime | None = None

    def unwrap(self) -> Out:
        """The result of a run that succeeded.

        Raises:
            RunFailed: it has not; `error` is the failure, if there is one, and its cause.
        """
        if self.status == RunStatus.SUCCESS:
            return self.result
        if self.error is not None:
            where = f" in step '{self.error.step}'" if self.error.step else ""
            message = f"run {self.run_id} failed{where}: {self.error}"
        elif self.blocked is not None:
            message, to_do = sentence_of(self.blocked["message"]), sentence_of(self.blocked["what_to_do"])
            message = f"run {self.run_id} is blocked: {message} To do: {to_do}"
        else:
            message = f"run {self.run_id} is {self.status} and has no result{self._waits()}"
        raise RunFailed(message, run_id=self.run_id, status=self.status, error=self.error) from self.error

    def _waits(self) -> str:
        """What it waits for, and what to do about that, where it is known."""
        if self.waiting_for:
            return f": it waits for {told(self.waiting_for)}"
        if self.suspended:
            asked = ", ".join(" › ".join(path) for path in self.suspended)
            return f": it waits for data for {asked}. Give it with resume(…, resume_data=…), and ask again"
        if self.status == RunStatus.WAITING:
            return ": it waits for a time or an event; 'await run.result(final=True)' waits until it has ended"
        return ""

    def to_data(self) -> dict[str, Any]:
        """For JSON: field names as here, failures as mappings, times as text."""
        from dataclasses import asdict

        data: dict[str, Any] = asdict(self)
        return data


@dataclass(frozen=True, slots=True)
class Outline:
    """The top level of a stored graph. `sequence` are the ids of its single steps, maps, nested workflows and sleeps, whose
    order makes the execution path; `entries` the number of the node that a step, arm or body stands in, in their order.
    `is_flat`: of a native workflow, which has no other workflow within: its paths are names, whatever is in them. `code` is
    that which somebody wrote, in any language: failures have places in it.
    """

    sequence: frozenset[str] = frozenset()
    entries: Mapping[str, int] = field(default_factory=dict)
    is_flat: bool = False
    code: Code | None = None


def outline_of(code: Code) -> Outline:
    """Empty for code that has no nodes."""
    is_flat = is_native(code)
    nodes = graph_outline(code).nodes
    single = ("step", "workflow", "map", "sleep", "sleep_until")
    entries = {name: index for index, node in enumerate(nodes) for name in dict.fromkeys(node.names)}
    return Outline(
        frozenset(node.names[0] for node in nodes if node.type in single),
        entries,
        is_flat,
        code if is_written(code) else None,
    )


async def fold(store: Store, row: RunRow, outline: Outline) -> RunResult:
    """The result of a run from its records; `outline` is that of its code. Raises as `Log.records`."""
    out = RunResult(row.key.run, row.workflow, row.status)
    if row.problem is not None:
        out.blocked = json.loads(row.problem)
    folding = Folding(out, RunMachine(row.key), outline)

    def take(page: list[Record]) -> None:
        for record in page:
            folding.take(record)

    has_map = outline.code is not None and source_maps.is_in(outline.code.source)  # it may take a second to read
    await read_through(store, row.key, take, is_heavy=has_map)
    folding.finish()
    if row.status not in FINAL:
        out.waiting_for = await child_waits(store, folding.machine)
    return out


class Folding:
    """A result that grows record by record: `out` as it stands, and the open ends. `finish` completes it."""

    def __init__(self, out: RunResult, machine: RunMachine, outline: Outline) -> None:
        self.out = out
        self.machine = machine
        self.outline = outline
        self.failed: dict[str, None] = {}  # steps of the top level, in the order in which they failed last
        self.paths: dict[int, str] = {}  # call -> path
        self.entered: set[str] = set()
        self.tracebacks = Tracebacks()

    def take(self, record: Record) -> None:
        self.machine.absorb(record)
        at = datetime.fromtimestamp(record.time / 1000, UTC)
        match message := message_of(record):
            case Started(input=value, given=given):
                self.out.input, self.out.state = value, dict(given.get("state", {}))
            case CallStep() | SetTimer() | OpenHook() | StartChild() | Enter():
                self._begin(message, at)
            case StepSuspended(payload=payload, state=state):
                self.out.state.update(state or {})
                if (step := self._step(record)) is not None:
                    step.status, step.suspend_payload = RunStatus.SUSPENDED, payload
            case StepResumed(data=data):
                if (step := self._step(record)) is not None:
                    step.status, step.suspend_payload, step.resume_payload = RunStatus.RUNNING, None, data
            case AbandonCall():
                self._abandon(record, at)
            case AttemptStarted(attempt=attempt):
                if (step := self._step(record)) is not None:
                    step.attempts = attempt
            case AttemptFailed() as note:
                self.tracebacks.take(note)
            case StepCompleted() | StepFailed() | StepBailed() | TimerFired() | ChildEnded() | Leave():
                self._end(record, message, at)
            case HookReceived() | HookFailed():
                self._end(record, message, at)
            case RunCreated(tags=tags, deadline=time):
                self.out.tags, self.out.deadline = merged_tags({}, tags), _instant(time)
            case TagsSet(tags=tags) | SetTags(tags=tags):
                self.out.tags = merged_tags(self.out.tags, tags)
            case SetDeadline(time=time):
                self.out.deadline = _instant(time)
            case CompleteRun(value):
                self.out.result = value
            case FailRun(failure) if record.kind is Kind.RUN_FAILED:
                code = self.outline.code
                traceback = self.tracebacks.of_run(failure, code)
                self.out.error = replace(self._blamed(with_place(failure, code)), traceback=traceback)
            case RunStopped(failure=failure):
                self.out.error = failure

    def _begin(self, command: CallStep | SetTimer | OpenHook | StartChild | Enter, at: datetime) -> None:
        if not isinstance(command, Enter):
            self.paths[command.call] = command.path
        name, turn = self._top(command.path)
        if name is None:
            return
        if turn is not None and name in self.entered:
            self._note_item(name)
            return
        match command:
            case CallStep(arguments=arguments):
                step = StepResult(RunStatus.RUNNING, payload=arguments[0] if arguments else None, started_at=at)
            case StartChild(input=value) | Enter(value=value):
                step = StepResult(RunStatus.RUNNING, payload=value, started_at=at)
            case SetTimer(value=value) | OpenHook(value=value):
                step = StepResult(RunStatus.WAITING, payload=value, started_at=at)
        if isinstance(command, Enter):
            self.entered.add(command.path)
        if turn is not None:
            step.metadata["iteration_count"] = turn
        self.out.steps.pop(name, None)
        self.out.steps[name] = step

    def _note_item(self, name: str) -> None:
        """An item of a foreach begins: its list's result says how far it is."""
        step = self.out.steps[name]
        step.metadata.setdefault("completed_count", 0)
        step.metadata["total_count"] = len(step.payload) if isinstance(step.payload, list) else 0

    def _abandon(self, record: Record, at: datetime) -> None:
        """The workflow goes on without this call: a block has enough successes, a hook was closed, or an event did not come in
        time: only that is a failure."""
        step = self._step(record)
        if step is not None:
            is_late = step.status == RunStatus.WAITING and self._has_timed_out(self.paths.get(record.call or 0, ""))
            step.status = RunStatus.FAILED if is_late else RunStatus.CANCELED
            step.suspend_payload, step.ended_at = None, at

    def _has_timed_out(self, path: str) -> bool:
        """Whether what waits there for an event had a timer, which is over."""
        timers = [call for call, one in self.paths.items() if one == path + _TIMEOUT]
        return bool(timers) and timers[-1] not in self.machine.open

    def finish(self) -> None:
        """What follows from all records: what is suspended now, what a paused run has not begun."""
        self._finish_open()
        if self.outline.code is not None and self.outline.code.is_bundle:
            untag(self.out)

    def _finish_open(self) -> None:
        out = self.out
        if out.status in FINAL:  # a suspended arm of a failed block stays as it was; nothing waits for it
            return
        for one in self.machine.open.suspensions():
            ids = id_path(one.path)
            if ids not in out.suspended:
                out.suspended.append(ids)
            if one.payload is not None:
                out.suspend_payload.setdefault("/".join(ids), one.payload)
            for label in one.labels:
                out.resume_labels[label] = {"step": "/".join(ids), "path": one.path}
            outer = out.steps.get(ids[0])
            if (
                outer is not None and outer.status == RunStatus.RUNNING
            ):  # the foreach or nested workflow that it stands in
                outer.status, outer.suspend_payload = RunStatus.SUSPENDED, one.payload
        if out.status == RunStatus.PAUSED:
            begun = {name: step for name, step in out.steps.items() if step.attempts or step.ended_at is not None}
            out.steps = begun

    def _step(self, record: Record) -> StepResult | None:
        path = self.paths.get(record.call or 0, record.path or "")
        name, turn = self._top(path)
        if name is None or (turn is not None and name in self.entered):
            return None
        return self.out.steps.get(name)

    def _end(self, record: Record, message: Message, at: datetime) -> None:
        if isinstance(message, StepCompleted | StepBailed) and message.state is not None:
            self.out.state.update(message.state)
        step = self._step(record)
        name, turn = self._top(self.paths.get(record.call or 0, record.path or ""))
        if step is None:
            if turn is not None and name is not None and name in self.entered:
                self.out.steps[name].metadata["completed_count"] += 1
            return
        step.ended_at = at
        match message:
            case TimerFired():
                step.status, step.output = RunStatus.SUCCESS, step.payload
            case StepCompleted(value=value) | StepBailed(value=value) | HookReceived(value=value):
                step.status, step.output = RunStatus.SUCCESS, value
            case StepFailed(failure=failure) | HookFailed(failure=failure):
                step.status, step.error = RunStatus.FAILED, self.tracebacks.beside(failure)
            case Leave(outcome=[0, value]) | ChildEnded(outcome=[0, value]):
                step.status, step.output = RunStatus.SUCCESS, value
            case Leave(outcome=[_, failure]) | ChildEnded(outcome=[_, failure]):
                step.status, step.error = RunStatus.FAILED, Failure.from_wire(failure)
        if name is not None and step.status == RunStatus.FAILED:
            self.failed.pop(name, None)
            self.failed[name] = None
        if name in self.outline.sequence and name is not None and step.status == RunStatus.SUCCESS:
            if name in self.out.step_execution_path:
                self.out.step_execution_path.remove(name)
            self.out.step_execution_path.append(name)

    def _top(self, path: str) -> tuple[str | None, int | None]:
        if not self.outline.is_flat:
            return _top(path)
        waits = path.endswith(_TIMEOUT) and path.removesuffix(_TIMEOUT) in self.paths.values()
        return (None if waits else path), None

    def _blamed(self, failure: Failure) -> Failure:
        """The failure with the step that it comes from, where one of the top level failed with the same words.

        Of several it is one of the last node, for a failure before it did not end the run: there the first arm, as blocks fail
        with theirs. Where there are no nodes it is the one that failed last.
        """
        for name, step in self.out.steps.items():
            # An event that did not come: only the guest said so.
            if step.status == RunStatus.FAILED and step.error is None and _is_of_event(failure, name):
                step.error = failure
                self.failed[name] = None
        said = (failure.name, failure.message)
        errors = {name: self.out.steps[name].error for name in self.failed if name in self.out.steps}
        same = [name for name, error in errors.items() if error is not None and (error.name, error.message) == said]
        if not same:
            return failure
        entries = self.outline.entries
        last = max(entries.get(name, -1) for name in same)
        arms = [name for name in entries if name in same and entries[name] == last]
        return replace(failure, step=arms[0] if arms else same[-1])


def untag(out: RunResult) -> None:
    """Values that are as JavaScript has them become what Python has (`steps.sdk_values`)."""
    out.input, out.result, out.state = ended(out.input), ended(out.result), ended(out.state)
    out.suspend_payload, out.error = ended(out.suspend_payload), _untagged(out.error)
    for step in out.steps.values():
        step.payload, step.output = ended(step.payload), ended(step.output)
        step.suspend_payload, step.resume_payload = ended(step.suspend_payload), ended(step.resume_payload)
        step.error = _untagged(step.error)


def _untagged(failure: Failure | None) -> Failure | None:
    return None if failure is None else replace(failure, data=ended(failure.data), cause=_untagged(failure.cause))


def _instant(time: int | None) -> datetime | None:
    return None if time is None else datetime.fromtimestamp(time / 1000, UTC)


def merged_tags(tags: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The tags of a run after `set_tags`: None removes one."""
    return {name: value for name, value in {**tags, **more}.items() if value is not None}


def _is_of_event(failure: Failure, name: str) -> bool:
    return failure.name == "EventTimeout" and f'"{name}"' in failure.message


def _top(path: str) -> tuple[str | None, int | None]:
    """Node id and loop turn of a path of the top level; (None, None) for one inside a nested workflow."""
    if "/" in path or not path:
        return None, None
    name, bracket, turn = path.partition("[")
    return name, int(turn[:-1]) if bracket and turn[:-1].isdigit() else None


def revive(out: RunResult, result: TypeAdapter[Any] | None, steps: dict[str, TypeAdapter[Any]]) -> RunResult:
    """Values as their schemas' types, where they fit; a value that breaks its schema stays as it was recorded."""
    if result is not None and out.status == RunStatus.SUCCESS:
        out.result = _revived(result, out.result)
    for name, adapter in steps.items():
        step = out.steps.get(name)
        if step is not None and step.status == RunStatus.SUCCESS:
            step.output = _revived(adapter, step.output)
    return out


def _revived(adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return validated(adapter, value, "the value")
    except InvalidInput:
        return value
