"""Notes: what the host records of its own. They are never delivered, and stand in the log as mappings of plain values.

A field that has a default is left out of the mapping where it has that value. A note that was read from a record packs to the
bytes it was read from, so that keys of other versions survive where a note is copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, get_args

from cloche.errors import HistoryError
from cloche.history.failures import Failure
from cloche.history.ids import CallId, TimeMs
from cloche.history.records import Kind, Record
from cloche.history.values import decode, encode_plain, plain


@dataclass(frozen=True, slots=True)
class Note:
    """Base of all notes."""

    kind: ClassVar[Kind]
    _packed: bytes = field(default=b"", init=False, repr=False, compare=False)
    time: TimeMs

    def pack(self) -> bytes:
        """The exact bytes that are stored."""
        if not self._packed:
            # As deep as a message: what a value may nest counts below the mapping.
            object.__setattr__(self, "_packed", encode_plain(plain(self._content(), depth=-1)))
        return self._packed

    def _content(self) -> dict[str, Any]:
        return {}

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        """The note that `_content` gave. Keys that this version does not know are passed over."""
        return cls(time)


@dataclass(frozen=True, slots=True)
class _Pinned(Note):
    """What a run is pinned to.

    `limits` (of its cell) and `policy` (what else differs from the defaults) stand as they were recorded, by any version:
    `tenancy.Policy.of` reads both.
    """

    workflow: str = ""
    guest: str = ""
    engine: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunCreated(_Pinned):
    """A run, what it is pinned to, and where it comes from.

    `queued` is the packed start that it waits for until its tenant has room, `brought` what comes with it where the run goes on
    from another: an event packed, a note as `[kind, time, call, packed]`. `depth` is how many runs stand above this one.
    """

    kind: ClassVar[Kind] = Kind.RUN_CREATED
    depth: int = 0
    per_step: bool = False
    queued: bytes = b""
    forked_from: Mapping[str, str] = field(default_factory=dict)  # run, at
    derived_ids: bool = (
        False  # whether its children have ids that no caller can give; runs of older releases do not say
    )
    parent: Mapping[str, Any] = field(default_factory=dict)  # run, call: of a run with an id that follows from them
    request: bytes = b""  # the digest of the request that it was started with; runs of older releases have none
    tags: Mapping[str, str] = field(default_factory=dict)
    # run: which one this goes on from; first: where that began; keys: [number, run] in the order of the numbers, whose
    # idempotency keys the calls up to a number have.
    retry_of: Mapping[str, Any] = field(default_factory=dict)
    continues: str = ""  # the run whose next history this is
    deadline: TimeMs | None = None  # by when it must have ended, said by whoever started it
    permits: Sequence[Sequence[Any]] = ()  # limits of its workflow, as in `PermitAsked`: it begins when it has them
    brought: Sequence[Any] = ()

    def _content(self) -> dict[str, Any]:
        content = {name: getattr(self, name) for name in _OF_CREATION}
        return {name: value for name, value in content.items() if value}

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        return cls(time, **{name: content[name] for name in _OF_CREATION if name in content})


_OF_CREATION = (
    "workflow",
    "guest",
    "engine",
    "limits",
    "policy",
    "depth",
    "per_step",
    "queued",
    "forked_from",
    "derived_ids",
    "parent",
    "request",
    "tags",
    "retry_of",
    "continues",
    "deadline",
    "permits",
    "brought",
)


@dataclass(frozen=True, slots=True)
class AttemptStarted(Note):
    """An attempt of a step begins. `redispatched` counts those before it that ended with their process.

    `filled` is the input as the step's schema filled it, where that draws something (`default_factory`): every attempt of the
    call is given that, and each of these notes has it. `queued`: how many ms it waited for its turn after it could begin.
    """

    kind: ClassVar[Kind] = Kind.ATTEMPT_STARTED
    call: CallId
    attempt: int  # from 1
    redispatched: int = 0
    at_most_once: bool = False
    filled: Any = None
    queued: int = 0

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"attempt": self.attempt}
        if self.redispatched:
            content["redispatched"] = self.redispatched
        if self.at_most_once:
            content["at_most_once"] = True
        if self.filled is not None:
            content["filled"] = self.filled
        if self.queued:
            content["queued"] = self.queued
        return content

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        redispatched, at_most_once = content.get("redispatched", 0), content.get("at_most_once", False)
        asked = content["attempt"], redispatched, at_most_once, content.get("filled"), content.get("queued", 0)
        return cls(time, _call(call), *asked)


@dataclass(frozen=True, slots=True)
class AttemptSent(AttemptStarted):
    """An attempt is performed elsewhere: in this commit it was left for a remote worker. `redispatched` counts those before it
    whose worker fell silent.
    """

    kind: ClassVar[Kind] = Kind.ATTEMPT_SENT

    def begun(self) -> AttemptStarted:
        """The same as an attempt of the process itself: in another run, for which nothing was sent."""
        return AttemptStarted(self.time, self.call, self.attempt, self.redispatched, self.at_most_once, self.filled)


@dataclass(frozen=True, slots=True)
class PermitAsked(Note):
    """An attempt of a step waits for permits of `limits`, each as [name, most, ms]: see `store.permits.Limit`.

    They are asked for in the commit of this note. `filled` and `redispatched` are as in `AttemptStarted`.
    """

    kind: ClassVar[Kind] = Kind.PERMIT_ASKED
    call: CallId
    attempt: int  # from 1
    limits: Sequence[Sequence[Any]]
    redispatched: int = 0
    filled: Any = None

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"attempt": self.attempt, "limits": [list(limit) for limit in self.limits]}
        if self.redispatched:
            content["redispatched"] = self.redispatched
        if self.filled is not None:
            content["filled"] = self.filled
        return content

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        limits = [list(limit) for limit in content["limits"]]
        return cls(time, _call(call), content["attempt"], limits, content.get("redispatched", 0), content.get("filled"))


@dataclass(frozen=True, slots=True)
class AttemptFailed(Note):
    """An attempt failed. `retry_at` is when the next one is due; None: there is none. `attempts_max` is how many there are at
    most; 0: not known. `traceback` never crosses the glass."""

    kind: ClassVar[Kind] = Kind.ATTEMPT_FAILED
    call: CallId
    attempt: int
    failure: Failure
    retry_at: TimeMs | None
    traceback: str
    attempts_max: int = 0

    def _content(self) -> dict[str, Any]:
        content = {
            "attempt": self.attempt,
            "failure": self.failure.to_wire(),
            "retry_at": self.retry_at,
            "traceback": self.traceback,
        }
        return {**content, "attempts_max": self.attempts_max} if self.attempts_max else content

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        failure, traceback = Failure.from_wire(content.get("failure", {})), content.get("traceback", "")
        most = content.get("attempts_max", 0)
        return cls(time, _call(call), content["attempt"], failure, content.get("retry_at"), traceback, most)


@dataclass(frozen=True, slots=True)
class StepWrote(Note):
    """Output of a step while it runs."""

    kind: ClassVar[Kind] = Kind.STEP_WROTE
    call: CallId
    value: Any

    def _content(self) -> dict[str, Any]:
        return {"value": self.value}

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        return cls(time, _call(call), content["value"])


@dataclass(frozen=True, slots=True)
class StepLogged(Note):
    """What a step printed and logged since the note before, in its order: each line as [level, text].

    `level` is a place in `messages.LOG_LEVELS`. `dropped`: how many more lines there were than are kept.
    """

    kind: ClassVar[Kind] = Kind.STEP_LOGGED
    call: CallId
    attempt: int
    lines: Sequence[tuple[int, str]]
    dropped: int = 0

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"attempt": self.attempt, "lines": [list(line) for line in self.lines]}
        if self.dropped:
            content["dropped"] = self.dropped
        return content

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        lines = [(level, text) for level, text in content["lines"]]
        return cls(time, _call(call), content["attempt"], lines, content.get("dropped", 0))


@dataclass(frozen=True, slots=True)
class AttemptQueued(Note):
    """The attempt whose beginning was recorded waited `ms` for a thread of this process before it did anything."""

    kind: ClassVar[Kind] = Kind.ATTEMPT_QUEUED
    call: CallId
    ms: int

    def _content(self) -> dict[str, Any]:
        return {"ms": self.ms}

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        return cls(time, _call(call), content["ms"])


@dataclass(frozen=True, slots=True)
class LateResult(Note):
    """The end of a step that nobody waited for any more: its value, or its failure."""

    kind: ClassVar[Kind] = Kind.LATE_RESULT
    call: CallId
    value: Any = None
    failure: Failure | None = None

    def _content(self) -> dict[str, Any]:
        return {"value": self.value} if self.failure is None else {"failure": self.failure.to_wire()}

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        failure = content.get("failure")
        return cls(time, _call(call), content.get("value"), Failure.from_wire(failure) if failure else None)


@dataclass(frozen=True, slots=True)
class TagsSet(Note):
    """Names and values by which the run is found, beside those that it has."""

    kind: ClassVar[Kind] = Kind.TAGS_SET
    tags: Mapping[str, str]

    def _content(self) -> dict[str, Any]:
        return {"tags": dict(self.tags)}

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        return cls(time, content["tags"])


@dataclass(frozen=True, slots=True)
class RunPaused(Note):
    """The entry of the graph that was asked for is done."""

    kind: ClassVar[Kind] = Kind.RUN_PAUSED


@dataclass(frozen=True, slots=True)
class RunContinued(Note):
    """A paused run goes on: by one more entry of its graph (`per_step`), or to its end."""

    kind: ClassVar[Kind] = Kind.RUN_CONTINUED
    per_step: bool

    def _content(self) -> dict[str, Any]:
        return {"per_step": self.per_step}

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        return cls(time, content.get("per_step", False))


@dataclass(frozen=True, slots=True)
class RunCanceled(Note):
    """The run has ended because it was canceled, before it began or when all that was under way had ended."""

    kind: ClassVar[Kind] = Kind.RUN_CANCELED


@dataclass(frozen=True, slots=True)
class RunStopped(Note):
    """The host ended the run. `fault` is the code of the guest's fault; None: nothing could have moved the run any more."""

    kind: ClassVar[Kind] = Kind.RUN_STOPPED
    failure: Failure
    fault: str | None = None

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"failure": self.failure.to_wire()}
        if self.fault is not None:
            content["fault"] = self.fault
        return content

    @classmethod
    def _read(cls, time: TimeMs, call: CallId | None, content: Mapping[str, Any]) -> Self:
        return cls(time, Failure.from_wire(content["failure"]), content.get("fault"))


AnyNote = (
    RunCreated
    | AttemptStarted
    | AttemptSent
    | PermitAsked
    | AttemptFailed
    | StepWrote
    | StepLogged
    | AttemptQueued
    | LateResult
    | RunPaused
    | RunContinued
    | RunCanceled
    | RunStopped
    | TagsSet
)
NOTE_TYPES: dict[Kind, type[AnyNote]] = {note.kind: note for note in get_args(AnyNote)}


def unpack_note(record: Record) -> AnyNote:
    """The note in a record; it packs to the same bytes.

    Raises:
        KeyError: the record holds no note, or one without a key that it needs.
    """
    return note_of(record.kind, record.time, record.call, record.body)


def note_of(kind: Kind, time: TimeMs, call: CallId | None, packed: bytes) -> AnyNote:
    """The note that `pack` gave, with what stands in the head of its record; raises as `unpack_note`."""
    note = NOTE_TYPES[kind]._read(time, call, decode(packed))
    object.__setattr__(note, "_packed", packed)
    return note


def unpack_created(record: Record | None) -> RunCreated:
    """What a run is pinned to, from its first record.

    Raises:
        HistoryError: there is no such record, or it cannot be read.
    """
    if record is None or record.kind is not Kind.RUN_CREATED:
        raise HistoryError("the run has no record of its creation")
    try:
        note = unpack_note(record)
    except (TypeError, ValueError) as error:
        raise HistoryError("the record of the run's creation cannot be read") from error
    assert isinstance(note, RunCreated)
    return note


def _call(call: CallId | None) -> CallId:
    if call is None:
        raise ValueError("a note of a call that names none")
    return call
