"""Notes as they are stored: mappings with these keys, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.histories import KEY, at

from cloche.errors import HistoryError
from cloche.history import CallId, Failure, Kind, Seq
from cloche.history.notes import (
    NOTE_TYPES,
    AnyNote,
    AttemptFailed,
    AttemptQueued,
    AttemptSent,
    AttemptStarted,
    LateResult,
    PermitAsked,
    RunCanceled,
    RunContinued,
    RunCreated,
    RunPaused,
    RunStopped,
    StepLogged,
    StepWrote,
    TagsSet,
    unpack_created,
    unpack_note,
)
from cloche.history.records import Record, genesis, make_record
from cloche.history.values import encode

CALL = CallId(3)
FAILURE = Failure("E", "no", {"code": 1})
IN_WIRE = {"data": {"code": 1}, "name": "E", "message": "no"}
LIMITS = {"fuel_per_event": 5, "of_tomorrow": 6}
NOTES: list[tuple[AnyNote, dict[str, Any]]] = [
    (RunCreated(at(1)), {}),
    (
        RunCreated(at(1), "w", "9e", "sandbox", LIMITS),
        {"workflow": "w", "guest": "9e", "engine": "sandbox", "limits": LIMITS},
    ),
    (
        RunCreated(
            at(1), policy={"timers": 2}, depth=1, per_step=True, queued=b"q", forked_from={"run": "r", "at": "a"}
        ),
        {
            "policy": {"timers": 2},
            "depth": 1,
            "per_step": True,
            "queued": b"q",
            "forked_from": {"run": "r", "at": "a"},
        },
    ),
    (
        RunCreated(at(1), tags={"plan": "pro"}, retry_of={"run": "r1", "first": "r1", "keys": [[3, "r1"]]}),
        {"tags": {"plan": "pro"}, "retry_of": {"run": "r1", "first": "r1", "keys": [[3, "r1"]]}},
    ),
    (TagsSet(at(1), {"plan": "pro"}), {"tags": {"plan": "pro"}}),
    (AttemptStarted(at(1), CALL, 2), {"attempt": 2}),
    (AttemptSent(at(1), CALL, 2, 1), {"attempt": 2, "redispatched": 1}),
    (AttemptStarted(at(1), CALL, 1, 4, True), {"attempt": 1, "redispatched": 4, "at_most_once": True}),
    (
        AttemptFailed(at(1), CALL, 1, FAILURE, None, "t"),
        {"attempt": 1, "failure": IN_WIRE, "retry_at": None, "traceback": "t"},
    ),
    (
        AttemptFailed(at(1), CALL, 1, FAILURE, at(9), "t"),
        {"attempt": 1, "failure": IN_WIRE, "retry_at": at(9), "traceback": "t"},
    ),
    (AttemptStarted(at(1), CALL, 1, queued=30), {"attempt": 1, "queued": 30}),
    (
        AttemptFailed(at(1), CALL, 1, FAILURE, at(9), "t", 3),
        {"attempt": 1, "failure": IN_WIRE, "retry_at": at(9), "traceback": "t", "attempts_max": 3},
    ),
    (StepWrote(at(1), CALL, None), {"value": None}),
    (StepLogged(at(1), CALL, 1, [(2, "so far")]), {"attempt": 1, "lines": [[2, "so far"]]}),
    (StepLogged(at(1), CALL, 1, [], 7), {"attempt": 1, "lines": [], "dropped": 7}),
    (AttemptQueued(at(1), CALL, 20), {"ms": 20}),
    (PermitAsked(at(1), CALL, 1, [["gpu", 2, 0]]), {"attempt": 1, "limits": [["gpu", 2, 0]]}),
    (
        PermitAsked(at(1), CALL, 2, [["gpu", 2, 0]], 1, {"a": 1}),
        {"attempt": 2, "limits": [["gpu", 2, 0]], "redispatched": 1, "filled": {"a": 1}},
    ),
    (LateResult(at(1), CALL), {"value": None}),
    (LateResult(at(1), CALL, failure=FAILURE), {"failure": IN_WIRE}),
    (RunPaused(at(1)), {}),
    (RunContinued(at(1), False), {"per_step": False}),
    (RunCanceled(at(1)), {}),
    (RunStopped(at(1), FAILURE), {"failure": IN_WIRE}),
    (RunStopped(at(1), FAILURE, "fuel"), {"failure": IN_WIRE, "fault": "fuel"}),
]


def recorded(note: AnyNote | Kind, body: bytes) -> Record:
    kind = note if isinstance(note, Kind) else note.kind
    call = None if isinstance(note, Kind) else getattr(note, "call", None)
    return make_record(genesis(KEY), Seq(1), kind, at(1), call, None, body)


@pytest.mark.parametrize(("note", "content"), NOTES, ids=lambda one: type(one).__name__)
def test_a_note_is_stored_under_these_keys(note: AnyNote, content: dict[str, Any]) -> None:
    assert note.pack() == encode(content)
    assert unpack_note(recorded(note, note.pack())) == note


def test_every_kind_of_note_is_among_them() -> None:
    assert {type(note) for note, _ in NOTES} == set(NOTE_TYPES.values())


def test_keys_of_another_version_survive() -> None:
    body = encode({"attempt": 1, "of_tomorrow": True})
    note = unpack_note(recorded(AttemptStarted(at(1), CALL, 1), body))
    assert (note, note.pack()) == (AttemptStarted(at(1), CALL, 1), body)
    assert replace(note, time=at(2)).pack() == encode({"attempt": 1})


def test_notes_of_old_versions_are_read() -> None:
    failed = unpack_note(recorded(AttemptFailed(at(1), CALL, 1, FAILURE, None, ""), encode({"attempt": 1})))
    assert isinstance(failed, AttemptFailed)
    assert (failed.retry_at, failed.traceback) == (None, "")
    assert unpack_note(recorded(Kind.RUN_CONTINUED, encode({}))) == RunContinued(at(1), False)


@pytest.mark.parametrize("record", [None, recorded(Kind.RUN_PAUSED, encode({})), recorded(Kind.RUN_CREATED, encode(7))])
def test_a_run_without_a_record_of_its_creation_is_refused(record: Record | None) -> None:
    with pytest.raises(HistoryError, match="creation"):
        unpack_created(record)
