"""A record in one short line, for lists of many: what it says, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloche.errors import ClocheError
from cloche.history import Kind
from cloche.history.messages import (
    CallStep,
    CancelRequested,
    ChildEnded,
    CompleteRun,
    ContinueRun,
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
    StepWrote,
    TagsSet,
)
from cloche.history.reading import Message, message_of
from cloche.operations.forms import instant, to_json
from cloche.steps.sdk_values import ended

if TYPE_CHECKING:
    from cloche.history import Failure, Record

CHARS_MAX = 160
_BODY_BYTES_MAX = 4096  # a larger body is not read for its first words


def summary_of(record: Record) -> str:
    """At most `CHARS_MAX` characters. A large body is told by its size alone."""
    size = record.payload.size if record.payload is not None else len(record.inline)
    if size > _BODY_BYTES_MAX and record.kind is not Kind.ATTEMPT_FAILED:
        return f"{size:,} bytes"
    try:
        found = _said(message_of(record))
    except (ClocheError, LookupError, ValueError, TypeError):
        return ""
    return found if len(found) <= CHARS_MAX else found[: CHARS_MAX - 1] + "…"


def _told(value: Any) -> str:
    """A text says nothing of how values are tagged: what looks like a value of JavaScript's is told as one."""
    return to_json(ended(value))


def _said(message: Message) -> str:
    match message:
        case CallStep(arguments=[value], keywords={}):
            return _told(value)
        case CallStep(arguments=arguments, keywords=keywords):
            return _told([*arguments, keywords] if keywords else arguments)
        case Started(input=value) | StartChild(input=value) | ContinueRun(input=value):
            return _told(value)
        case StepCompleted(value=value) | StepBailed(value=value) | HookReceived(value=value) | Enter(value=value):
            return _told(value)
        case CompleteRun(value=value) | StepWrote(value=value) | LateResult(value=value, failure=None):
            return _told(value)
        case StepSuspended(payload=value) | StepResumed(data=value):
            return _told(value)
        case Leave(outcome=[0, value]) | ChildEnded(outcome=[0, value]):
            return _told(value)
        case Leave(outcome=[_, failure]) | ChildEnded(outcome=[_, failure]):
            return _wire_failure(failure)
        case StepFailed(failure=one) | HookFailed(failure=one) | AttemptFailed(failure=one) | RunStopped(failure=one):
            return _failure(one)
        case FailRun(failure):
            return _failure(failure)
        case LateResult(failure=one) if one is not None:
            return _failure(one)
    return _of_notes(message)


def _of_notes(message: Message) -> str:
    match message:
        case AttemptStarted(attempt=attempt, redispatched=again):
            return f"attempt {attempt}" + (f", begun again {again} times" if again else "")
        case AttemptQueued(ms=ms):
            return f"{ms} ms for a thread"
        case SetTimer(due=due):
            return instant(due)
        case OpenHook(name=name):
            return name
        case StepLogged(lines=lines):
            return " ⏎ ".join(text for _, text in lines)
        case WriteLog(text=text):
            return text
        case RunCreated(workflow=workflow, guest=guest):
            return f"workflow {workflow}, guest {guest[:8]}"
        case CancelRequested(reason=reason):
            return reason
        case TagsSet(tags=tags) | SetTags(tags=tags):
            return ", ".join(f"{name}={value}" for name, value in tags.items())
        case SetDeadline(time=time):
            return "none" if time is None else instant(time)
        case TakePatch(id=name):
            return name
    return ""


def _failure(failure: Failure) -> str:
    return f"{failure.name}: {failure.message}"


def _wire_failure(failure: Any) -> str:
    return f"{failure.get('name', '')}: {failure.get('message', '')}" if isinstance(failure, Mapping) else ""
