"""What may follow what: every row of the tables is walked by the machine, and nothing else is."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import pytest
from support.histories import KEY, T0, abandon, at, cancel, done, failed, fired, result, step, timer, wire

from cloche.errors import HistoryError
from cloche.history import CallId, Failure, Kind, Path, RunMachine, Seq
from cloche.history.lifecycles import (
    CHILD,
    HOOK,
    RUN,
    STEP,
    TIMER,
    ChildPhase,
    HookPhase,
    Lifecycle,
    RunPhase,
    StepPhase,
    TimerPhase,
)
from cloche.history.messages import (
    ChildEnded,
    Enter,
    HookFailed,
    HookReceived,
    Leave,
    OpenHook,
    SetDeadline,
    SetTags,
    StartChild,
    Started,
    StepBailed,
    StepResumed,
    StepSuspended,
    TakePatch,
    Upgraded,
    WriteLog,
)
from cloche.history.records import ENDS, make_record
from cloche.history.values import encode

BODY: dict[Kind, bytes] = {
    Kind.RUN_CREATED: encode({}),
    Kind.RUN_STARTED: Started(at(0), bytes(16), None, {}).pack(),
    Kind.STEP_CALLED: wire(step(1)),
    Kind.ATTEMPT_STARTED: encode({"attempt": 1}),
    Kind.ATTEMPT_SENT: encode({"attempt": 1}),
    Kind.ATTEMPT_FAILED: encode({"attempt": 1, "retry_at": T0}),
    Kind.STEP_COMPLETED: done(1).pack(),
    Kind.STEP_FAILED: failed(1).pack(),
    Kind.STEP_SUSPENDED: StepSuspended(at(0), CallId(1), Path("add")).pack(),
    Kind.STEP_RESUMED: StepResumed(at(0), CallId(1), Path("add")).pack(),
    Kind.STEP_BAILED: StepBailed(at(0), CallId(1), None).pack(),
    Kind.TIMER_SET: wire(timer(1, at(5))),
    Kind.TIMER_FIRED: fired(1).pack(),
    Kind.HOOK_OPENED: wire(OpenHook(CallId(1), Path("hook"), "paid", None)),
    Kind.HOOK_RECEIVED: HookReceived(at(0), CallId(1), None).pack(),
    Kind.HOOK_FAILED: HookFailed(at(0), CallId(1), Failure("Silent", "no")).pack(),
    Kind.TAGGED: wire(SetTags({"a": 1})),
    Kind.DEADLINE_SET: wire(SetDeadline(at(9))),
    Kind.CHILD_STARTED: wire(StartChild(CallId(1), Path("child"), "w", None)),
    Kind.CHILD_ENDED: ChildEnded(at(0), CallId(1), [0, None]).pack(),
    Kind.CANCEL_DELIVERED: cancel().pack(),
    Kind.RUN_CANCELED_BY_CODE: encode([8, {"name": "Canceled", "message": ""}]),
    Kind.RUN_CONTINUED_AS_NEW: encode([14, None]),
    Kind.RUN_PAUSED: encode({}),
    Kind.RUN_CONTINUED: encode({}),
    Kind.LATE_RESULT: encode({"value": None}),
    Kind.STEP_WROTE: encode({"value": None}),
    Kind.PERMIT_ASKED: encode({"attempt": 1, "limits": [["gpu", 2, 0]]}),
    Kind.STEP_LOGGED: encode({"attempt": 1, "lines": [[2, "so far"]]}),
    Kind.ATTEMPT_QUEUED: encode({"ms": 20}),
    Kind.TAGS_SET: encode({"tags": {"plan": "pro"}}),
    Kind.ENTERED: wire(Enter(Path("W"), None)),
    Kind.LEFT: wire(Leave(Path("W"), [0, None])),
    Kind.LOG_LINE: wire(WriteLog(2, "hello")),
    Kind.CALL_ABANDONED: wire(abandon(1)),
    Kind.CANCEL_REQUESTED: cancel().pack(),
    Kind.RUN_COMPLETED: wire(result()),
    Kind.RUN_FAILED: encode([8, {"name": "E", "message": ""}]),
    Kind.RUN_CANCELED: encode({}),
    Kind.RUN_UPGRADED: Upgraded(at(0), "c0de", "9e57").pack(),
    Kind.PATCHED: wire(TakePatch("new-tax")),
    Kind.RUN_STOPPED: encode({"failure": {"name": "E", "message": ""}}),
}
CALLS: tuple[Lifecycle[Any], ...] = (STEP, TIMER, HOOK, CHILD)
OPENING = {Kind.STEP_CALLED, Kind.TIMER_SET, Kind.HOOK_OPENED, Kind.CHILD_STARTED}
OF_A_CALL = {kind for lifecycle in CALLS for row in lifecycle.values() for kind in row}
BEGINNING = (Kind.RUN_CREATED, Kind.RUN_STARTED)
# What brings the run to a state in which a record of this kind may come: a call of the fitting sort, an attempt under way.
BEFORE = {
    Kind.ATTEMPT_STARTED: (Kind.STEP_CALLED,),
    Kind.ATTEMPT_SENT: (Kind.STEP_CALLED,),
    Kind.PERMIT_ASKED: (Kind.STEP_CALLED,),
    Kind.ATTEMPT_FAILED: (Kind.STEP_CALLED, Kind.ATTEMPT_STARTED),
    Kind.STEP_COMPLETED: (Kind.STEP_CALLED, Kind.ATTEMPT_STARTED),
    Kind.STEP_FAILED: (Kind.STEP_CALLED, Kind.ATTEMPT_STARTED),
    Kind.STEP_SUSPENDED: (Kind.STEP_CALLED, Kind.ATTEMPT_STARTED),
    Kind.STEP_RESUMED: (Kind.STEP_CALLED, Kind.ATTEMPT_STARTED, Kind.STEP_SUSPENDED),
    Kind.STEP_BAILED: (Kind.STEP_CALLED, Kind.ATTEMPT_STARTED),
    Kind.TIMER_FIRED: (Kind.TIMER_SET,),
    Kind.HOOK_RECEIVED: (Kind.HOOK_OPENED,),
    Kind.HOOK_FAILED: (Kind.HOOK_OPENED,),
    Kind.CHILD_ENDED: (Kind.CHILD_STARTED,),
    Kind.CALL_ABANDONED: (Kind.STEP_CALLED,),
}


def walk(kinds: Sequence[Kind]) -> RunMachine:
    machine = RunMachine(KEY)
    for number, kind in enumerate(kinds, 1):
        call = CallId(1) if kind in OF_A_CALL else None
        path = Path("nap" if kind is Kind.TIMER_SET else "add") if call else None
        machine.absorb(make_record(machine.head_hash, Seq(number), kind, at(0), call, path, BODY[kind]))
    return machine


def way_to(lifecycle: Lifecycle[Any], phase: StrEnum) -> list[Kind]:
    """The shortest row of kinds from the beginning of a table to `phase`."""
    first = next(iter(lifecycle))
    ways: dict[StrEnum, list[Kind]] = {first: []}
    queue = deque([first])
    while queue:
        here = queue.popleft()
        for kind, there in lifecycle[here].items():
            if there not in ways:
                ways[there] = [*ways[here], kind]
                queue.append(there)
    return ways[phase]


def rows(lifecycle: Lifecycle[Any]) -> list[tuple[StrEnum, Kind, StrEnum]]:
    return [(phase, kind, then) for phase, row in lifecycle.items() for kind, then in row.items()]


def gaps(lifecycle: Lifecycle[Any], kinds: set[Kind]) -> list[tuple[StrEnum, Kind]]:
    return [(phase, kind) for phase, row in lifecycle.items() for kind in sorted(kinds - row.keys())]


def run_history(phase: StrEnum, kind: Kind) -> list[Kind]:
    """A run in `phase` in which only the run's own table can stand against a record of `kind`."""
    way = way_to(RUN, phase)
    if phase in (RunPhase.RUNNING, RunPhase.CLEANING_UP, RunPhase.CANCELING):
        way[len(BEGINNING) : len(BEGINNING)] = BEFORE.get(kind, ())
    return way


@pytest.mark.parametrize(("phase", "kind", "then"), rows(RUN), ids=str)
def test_each_row_of_a_run_is_walked(phase: RunPhase, kind: Kind, then: RunPhase) -> None:
    before = run_history(phase, kind)
    assert (walk(before).phase, walk([*before, kind]).phase) == (phase, then)


@pytest.mark.parametrize(("phase", "kind"), gaps(RUN, set(Kind)), ids=str)
def test_nothing_else_can_follow_in_a_run(phase: RunPhase, kind: Kind) -> None:
    before = run_history(phase, kind)
    with pytest.raises(HistoryError) as raised:
        walk([*before, kind])
    name = kind.name.lower().replace("_", " ")
    assert raised.value.message == f"run r1 is {phase}: '{name}' cannot follow"


@pytest.mark.parametrize(
    ("lifecycle", "phase", "kind", "then"),
    [(lifecycle, *row) for lifecycle in CALLS for row in rows(lifecycle)],
    ids=lambda value: "table" if isinstance(value, dict) else str(value),
)
def test_each_row_of_a_call_is_walked(lifecycle: Lifecycle[Any], phase: StrEnum, kind: Kind, then: StrEnum) -> None:
    machine = walk([*BEGINNING, *way_to(lifecycle, phase), kind])
    call = machine.open.get(CallId(1))
    assert (call.phase if call else "done") == then


@pytest.mark.parametrize(
    ("lifecycle", "phase", "kind"),
    [(t, *gap) for t in CALLS for gap in gaps(t, OF_A_CALL - OPENING)],
    ids=lambda value: "table" if isinstance(value, dict) else str(value),
)
def test_nothing_else_can_follow_in_a_call(lifecycle: Lifecycle[Any], phase: StrEnum, kind: Kind) -> None:
    history = [*BEGINNING, *way_to(lifecycle, phase), kind]
    with pytest.raises(HistoryError) as raised:
        walk(history)
    what = "call 1 is not open"
    if phase not in ("absent", "done"):
        path = "nap" if lifecycle is TIMER else "add"
        what = f"call 1 ({path}) is {phase}: '{kind.name.lower().replace('_', ' ')}' cannot follow"
    assert raised.value.message == f"run r1, record {len(history)}: {what}"


def test_every_phase_can_be_reached_and_only_ends_lead_nowhere() -> None:
    for lifecycle, phases in (
        (RUN, RunPhase),
        (STEP, StepPhase),
        (TIMER, TimerPhase),
        (HOOK, HookPhase),
        (CHILD, ChildPhase),
    ):
        assert set(lifecycle) == set(phases)
        assert [phase for phase in phases if not way_to(lifecycle, phase)] == [phases["ABSENT"]]
    ends = {phase for phase, row in RUN.items() if set(row) <= {Kind.LATE_RESULT}}
    assert ends == {then for _, kind, then in rows(RUN) if kind in ENDS}
    done = [phase for table in CALLS for phase, row in table.items() if not row]
    assert done == [StepPhase.DONE, TimerPhase.DONE, HookPhase.DONE, ChildPhase.DONE]
