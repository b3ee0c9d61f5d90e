"""Heads: what a page about a run needs of each record, and no payload. A run of 100,000 records is a few megabytes of them.

A head is `[seq, kind, time, call, path, facts]`, ready for JSON: `kind` in small letters, `time` in ms since 1970, `path` of
the records that begin a call, enter or leave a block alone (others name the call), `facts` what the state of the run takes
from the body, None where that is nothing. `history.fold` folds them; so does the dashboard, in TypeScript.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from cloche.errors import ClocheError
from cloche.history.failures import Failure
from cloche.history.ids import RunKey, child_key
from cloche.history.messages import (
    LOG_LEVELS,
    CallStep,
    CancelRequested,
    ChildEnded,
    FailRun,
    HookFailed,
    Leave,
    OpenHook,
    SetDeadline,
    SetTags,
    SetTimer,
    StartChild,
    StepFailed,
    StepSuspended,
    TakePatch,
    WriteLog,
)
from cloche.history.notes import (
    AttemptFailed,
    AttemptQueued,
    AttemptStarted,
    LateResult,
    RunCreated,
    RunStopped,
    StepLogged,
    TagsSet,
    unpack_created,
)
from cloche.history.reading import Message, message_of
from cloche.history.records import Kind, Record

Head: TypeAlias = "tuple[int, str, int, int | None, str | None, dict[str, Any] | None]"
Facts: TypeAlias = "dict[str, Any] | None"

TEXT_CHARS_MAX = 300  # of an error's message or a line of the log
OPENS = (Kind.STEP_CALLED, Kind.TIMER_SET, Kind.HOOK_OPENED, Kind.CHILD_STARTED)
_PLACED = frozenset({*OPENS, Kind.ENTERED, Kind.LEFT})
# Kinds whose body says nothing that the state of a run needs: they are not read, which is most of the work.
_BARE = frozenset({
    Kind.RUN_STARTED, Kind.STEP_COMPLETED, Kind.STEP_BAILED, Kind.TIMER_FIRED, Kind.ENTERED, Kind.CALL_ABANDONED,
    Kind.RUN_COMPLETED, Kind.RUN_CANCELED, Kind.STEP_RESUMED, Kind.HOOK_RECEIVED, Kind.RUN_PAUSED, Kind.RUN_CONTINUED,
    Kind.STEP_WROTE, Kind.RUN_UPGRADED, Kind.RUN_CONTINUED_AS_NEW,
})  # fmt: skip


class Heads:
    """The heads of one run's records. `first` is its first one: it says which ids its children have."""

    def __init__(self, key: RunKey, first: Record | None = None) -> None:
        self._key = key
        self._derived = unpack_created(first).derived_ids if first is not None else False

    def of(self, record: Record) -> Head:
        """The head of a record. One that cannot be read has no facts: a page shows the rest."""
        if record.kind is Kind.RUN_CREATED:
            self._derived = unpack_created(record).derived_ids
        path = record.path if record.kind in _PLACED else None
        return record.seq, record.kind.name.lower(), record.time, record.call, path, self._facts(record)

    def _facts(self, record: Record) -> Facts:
        if record.kind in _BARE:
            return None
        try:
            message = message_of(record)
        except (ClocheError, LookupError, ValueError, TypeError):
            return None
        facts = {**_of_call(message, record), **_of_run(message)}
        if isinstance(message, StartChild):
            facts["run"] = child_key(self._key, message.child, derived_ids=self._derived).run
        return facts or None


def _of_call(message: Message, record: Record) -> dict[str, Any]:
    match message:
        case CallStep(name=name):
            return {"name": name} if name != record.path else {}
        case AttemptStarted(attempt=attempt, queued=queued):  # and those that were sent to a remote worker
            return _set(attempt=attempt if attempt != 1 else None, queued=queued)
        case AttemptFailed(attempt=attempt, failure=failure, retry_at=due, attempts_max=most):
            return {"attempt": attempt, "error": _error(failure), **_set(due=due, most=most)}
        case AttemptQueued(ms=ms):
            return {"queued": ms}
        case StepFailed(failure=failure) | HookFailed(failure=failure):
            return {"error": _error(failure)}
        case StepSuspended(labels=labels):
            return _set(labels=list(labels))
        case SetTimer(due=due):
            return {"due": due}
        case OpenHook(name=name, heartbeat_ms=ms):
            return {"name": name, **_set(heartbeat=ms)}
        case StartChild(workflow=workflow):
            return {"name": workflow}
        case ChildEnded(outcome=[1, failure]) | Leave(outcome=[1, failure]):
            return {"error": _error(Failure.from_wire(failure))}
        case LateResult(failure=Failure() as failure):
            return {"error": _error(failure)}
        case StepLogged(lines=lines, dropped=dropped):
            return {"lines": len(lines), **_set(dropped=dropped)}
    return {}


def _of_run(message: Message) -> dict[str, Any]:
    match message:
        case RunCreated() as note:
            origin = _set(parent=_run(note.parent), retry_of=_run(note.retry_of), forked_from=_run(note.forked_from))
            more = _set(continues=note.continues, tags=dict(note.tags), deadline=note.deadline)
            return {"workflow": note.workflow, "guest": note.guest, "engine": note.engine, **origin, **more}
        case FailRun(failure) | RunStopped(failure=failure):
            return {"error": _error(failure)}
        case CancelRequested(reason=reason):
            return {"text": _cut(reason)}
        case WriteLog(level=level, text=text):
            return {"level": LOG_LEVELS[level], "text": _cut(text)}
        case TagsSet(tags=tags) | SetTags(tags=tags):
            return {"tags": dict(tags)}
        case SetDeadline(time=time):
            return {"deadline": time}
        case TakePatch(id=name):
            return {"name": name}
    return {}


def _set(**facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value}


def _run(origin: Mapping[str, Any]) -> str | None:
    return str(origin["run"]) if "run" in origin else None


def _error(failure: Failure) -> dict[str, str]:
    return {"name": _cut(failure.name), "message": _cut(failure.message)}


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"
