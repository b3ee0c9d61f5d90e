"""One run as a state machine: what is recorded, which effects follow, and when."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import (
    KEY,
    Answers,
    abandon,
    advance,
    at,
    attempt,
    attempt_failed,
    begun,
    cancel,
    done,
    failed,
    fired,
    lived,
    machine_after,
    rebuilt,
    result,
    state_of,
    step,
    timer,
    told,
    turn,
    written,
)

from cloche.errors import FuelExhausted, HistoryError, MalformedOutput
from cloche.history import CallId, Failure, Kind, Path, RunMachine, TimeMs
from cloche.history.effects import Effect, StartStep, StartTimer, StopCall
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import Input
from cloche.history.messages import Command, Enter, FailRun, Leave, WriteLog

ONE_STEP: Answers = {
    "start": [step(1, "add", 2, 3)],
    "done 1": [result(5)],
    "failed 1": [FailRun(Failure("Error", "no"))],
}
TWO_STEPS: Answers = {"start": [step(1, "add", 1)], "done 1": [step(2, "double", 4)], "done 2": [result(8)]}
TWO_AT_ONCE: Answers = {"start": [step(1, "a"), step(2, "b")]}
NAP: Answers = {"start": [timer(1, at(500))], "fired 1": [result()]}
A_STEP_OR_A_NAP: Answers = {
    "start": [step(1), timer(2, at(500))],
    "done 1": [abandon(2), result(1)],
    "fired 2": [abandon(1), result(2)],
}


def start(
    call: int, name: str = "add", *arguments: object, attempt: int = 1, not_before: int | None = None
) -> StartStep:
    due = TimeMs(0) if not_before is None else at(not_before)
    return StartStep(CallId(call), Path(name), name, list(arguments), attempt, due)


# ---- going on ------------------------------------------------------------------------------------------------------------


def test_a_run_is_its_inputs_and_their_commands_in_order() -> None:
    log = lived([*begun(), attempt(1), done(1, 4, ms=20), attempt(2), done(2, 8, ms=30)], TWO_STEPS)
    assert told(log) == [
        "run created",
        "run started",
        "step called 1",
        "attempt started 1",
        "step completed 1",
        "step called 2",
        "attempt started 2",
        "step completed 2",
        "run completed",
    ]


def test_a_run_that_asks_for_nothing_is_one_batch() -> None:
    machine = RunMachine(KEY)
    batch = advance(machine, begun(), {"start": [result(1)]})
    assert (batch.expect, told(batch.records)) == (0, ["run created", "run started", "run completed"])
    assert (machine.phase, machine.ended, batch.effects) == (RunPhase.SUCCESS, True, [])


def test_a_sequential_step_costs_one_batch() -> None:
    machine, log = machine_after(begun(), answers=TWO_STEPS)
    batch = advance(machine, [attempt(1), done(1, 4)], TWO_STEPS)
    assert (batch.expect, told(batch.records)) == (
        log[-1].seq,
        ["attempt started 1", "step completed 1", "step called 2"],
    )
    assert machine.committed(batch) == [start(2, "double", 4)]


def test_records_carry_the_time_of_their_event() -> None:
    _, log = machine_after(begun(), [attempt(1, ms=5), done(1, ms=20)], answers=ONE_STEP)
    assert [record.time - at(0) for record in log] == [0, 0, 0, 5, 20, 20]


def test_a_record_holds_the_bytes_that_crossed() -> None:
    answer = done(1, {"sum": 5})
    _, log = machine_after(begun(7), [attempt(1), answer], answers=ONE_STEP)
    called, completed = (next(r for r in log if r.kind is kind) for kind in (Kind.STEP_CALLED, Kind.STEP_COMPLETED))
    assert (called.body, completed.body) == (written(ONE_STEP["start"])[:-1], answer.pack())
    assert (called.path, completed.path, completed.call) == ("add", "add", 1)


def test_values_only_the_guest_knows_are_recorded_with_their_path() -> None:
    answers: Answers = {
        "start": [
            Enter(Path("W"), 1),
            WriteLog(2, "hello"),
            Leave(Path("W"), [0, 2]),
            Leave(Path("m"), [0, 3]),
            result(),
        ]
    }
    log = lived(begun(), answers)
    assert [(r.kind, r.path) for r in log[2:]] == [
        (Kind.ENTERED, "W"),
        (Kind.LOG_LINE, None),
        (Kind.LEFT, "W"),
        (Kind.LEFT, "m"),
        (Kind.RUN_COMPLETED, None),
    ]


def test_results_that_arrive_together_are_one_batch_and_each_has_its_own_answer() -> None:
    answers: Answers = {**TWO_AT_ONCE, "done 2": [step(3, "c")], "done 1": [result()]}
    log = lived([*begun(), attempt(1), attempt(2), done(2), done(1)], answers)
    assert told(log)[4:] == [
        "attempt started 1",
        "attempt started 2",
        "step completed 2",
        "step called 3",
        "step completed 1",
        "run completed",
    ]


def test_a_failed_step_is_the_workflows_to_answer() -> None:
    log = lived([*begun(), attempt(1), attempt_failed(1), failed(1)], ONE_STEP)
    assert told(log)[3:] == ["attempt started 1", "attempt failed 1", "step failed 1", "run failed"]


def test_a_step_may_be_refused_before_any_attempt() -> None:
    log = lived([*begun(), failed(1, "input does not fit")], ONE_STEP)
    assert told(log)[3:] == ["step failed 1", "run failed"]


def test_effects_are_dispatched_only_while_the_run_goes_on() -> None:
    machine, _ = machine_after(answers={})
    batch = advance(machine, begun(), {"start": [step(1), result()]})
    assert (batch.effects, machine.committed(batch)) == ([start(1)], [])


def test_a_step_called_and_abandoned_in_one_turn_is_never_begun() -> None:
    machine = RunMachine(KEY)
    batch = advance(machine, begun(), {"start": [step(1), step(2, "b"), abandon(1)]})
    assert machine.committed(batch) == [start(2, "b"), StopCall(CallId(1))]
    assert [type(w) for w in rebuilt(batch.records).pending()] == [StartStep]


# ---- the end -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "phase"),
    [
        ({"start": [result(1)]}, RunPhase.SUCCESS),
        ({"start": [FailRun(Failure("Error", "no"))]}, RunPhase.FAILED),
        ({"start": []}, RunPhase.FAILED),
    ],
    ids=["success", "failure", "deadlock"],
)
def test_a_run_that_ended_takes_nothing(answers: Answers, phase: RunPhase) -> None:
    machine, log = machine_after(begun(), answers=answers)
    late: list[Input] = [attempt(1), done(1), fired(2), cancel()]
    before = state_of(machine)
    assert (machine.phase, machine.deliver(late), advance(machine, late).records) == (phase, [], [])
    assert (state_of(machine), state_of(rebuilt(log))) == (before, before)


def test_what_comes_after_the_end_in_the_same_batch_is_not_part_of_the_run() -> None:
    answers: Answers = {**TWO_AT_ONCE, "done 1": [result("first")], "done 2": [result("second")]}
    log = lived([*begun(), attempt(1), attempt(2), done(1), done(2), cancel()], answers)
    assert told(log)[-2:] == ["step completed 1", "run completed"]


def test_an_ended_run_has_nothing_open() -> None:
    machine, log = machine_after(begun(), answers={"start": [step(1), timer(2, at(9)), result()]})
    assert (machine.open, machine.pending(), machine.wake_at) == ({}, [], None)
    assert state_of(rebuilt(log)) == state_of(machine)


def test_nothing_follows_the_end_in_a_turn() -> None:
    with pytest.raises(MalformedOutput) as raised:
        advance(RunMachine(KEY), begun(), {"start": [result(), step(1)]})
    assert raised.value.message == (
        "the guest asked for what cannot follow: run r1 is success: 'step called' cannot follow"
    )


def test_a_run_that_can_never_move_again_is_a_named_failure() -> None:
    log = lived([*begun(), attempt(1), done(1)], {"start": [step(1)], "done 1": []})
    assert (told(log)[-1], log[-1].content()) == (
        "run stopped",
        {
            "failure": {
                "name": "Deadlock",
                "message": "the workflow waits for something that nothing outside will ever answer: no step, timer, hook or "
                "child is open, and it has neither returned nor raised",
            }
        },
    )


def test_a_run_with_anything_open_is_no_deadlock() -> None:
    for command in (step(1), timer(1, at(5))):
        machine, _ = machine_after(begun(), answers={"start": [command]})
        assert machine.phase is RunPhase.RUNNING


def test_abandoning_the_last_open_call_without_going_on_is_a_deadlock() -> None:
    answers: Answers = {"start": [step(1), step(2)], "done 1": [abandon(2)]}
    assert told(lived([*begun(), attempt(1), done(1)], answers))[-2:] == ["call abandoned 2", "run stopped"]


def test_a_fault_of_the_guest_ends_the_run_at_the_event_that_did_it() -> None:
    machine, log = machine_after(begun(), answers=ONE_STEP)
    fault = FuelExhausted("too long")
    batch = machine.stop([attempt(1), done(1)], Failure.from_exception(fault), fault.code, at(9))
    assert told(batch.records) == ["attempt started 1", "step completed 1", "run stopped"]
    assert batch.records[-1].content() == {
        "fault": "fuel-exhausted",
        "failure": {
            "name": "FuelExhausted",
            "bases": [f"cloche.{name}" for name in ("FuelExhausted", "GuestFault", "ClocheError")]
            + ["builtins.Exception", "builtins.BaseException"],
            "message": "too long",
        },
    }
    assert state_of(rebuilt([*log, *batch.records])) == state_of(machine)
    assert (machine.phase, machine.open) == (RunPhase.FAILED, {})


def test_a_fault_before_anything_else_still_leaves_a_whole_log() -> None:
    machine = RunMachine(KEY)
    batch = machine.stop(begun(), Failure("LoadFailed", "no"), "load-failed", at(1))
    assert told(batch.records) == ["run created", "run started", "run stopped"]


def test_a_cancellation_after_the_event_of_a_fault_came_too_late() -> None:
    machine, _ = machine_after(begun(), answers=ONE_STEP)
    batch = machine.stop([attempt(1), done(1), cancel()], Failure("X", "no"), "x", at(9))
    assert told(batch.records) == ["attempt started 1", "step completed 1", "run stopped"]


# ---- retries and timers --------------------------------------------------------------------------------------------------


def test_the_next_attempt_is_due_at_a_time_that_is_in_the_log() -> None:
    machine, log = machine_after(begun(), [attempt(1)], [attempt_failed(1, retry_at=at(900))], answers=ONE_STEP)
    again = start(1, "add", 2, 3, attempt=2, not_before=900)
    assert (machine.wake_at, machine.pending(), rebuilt(log).pending()) == (at(900), [again], [again])


def test_attempts_are_counted_and_the_last_one_ends_the_step() -> None:
    inputs = [
        *begun(),
        attempt(1),
        attempt_failed(1, 1, at(900)),
        attempt(1, 2),
        attempt_failed(1, 2, at(1900)),
        attempt(1, 3),
    ]
    machine, _ = machine_after(inputs, answers=ONE_STEP)
    assert (machine.wake_at, machine.pending()) == (None, [start(1, "add", 2, 3, attempt=3)])
    assert told(lived([*inputs, done(1)], ONE_STEP))[-2:] == ["step completed 1", "run completed"]


def test_a_step_whose_retries_are_used_up_fails_without_another_attempt() -> None:
    inputs = [*begun(), attempt(1), attempt_failed(1, 1, at(900)), failed(1)]
    assert told(lived(inputs, ONE_STEP))[-3:] == ["attempt failed 1", "step failed 1", "run failed"]


def test_a_timer_fires_once() -> None:
    machine, log = machine_after(begun(), answers=NAP)
    assert (machine.wake_at, machine.pending()) == (at(500), [StartTimer(CallId(1), at(500))])
    assert told(lived([*begun(), fired(1, 500)], NAP))[2:] == ["timer set 1", "timer fired 1", "run completed"]
    with pytest.raises(HistoryError, match="'step completed' cannot follow"):
        advance(rebuilt(log), [done(1)], {"done 1": []})


def test_a_run_wakes_for_whatever_is_due_first_and_not_while_a_step_is_under_way() -> None:
    answers: Answers = {"start": [timer(1, at(500)), timer(2, at(200)), step(3)], "done 3": []}
    machine, _ = machine_after(begun(), answers=answers)
    seen = [machine.wake_at]
    turns: list[list[Input]] = [
        [attempt(3), attempt_failed(3, 1, at(100))],
        [attempt(3, 2)],
        [done(3)],
        [fired(2)],
        [fired(1)],
    ]
    for inputs in turns:
        advance(machine, inputs, answers)
        seen.append(machine.wake_at)
    assert seen == [None, at(100), None, at(200), at(500), None]


def test_an_abandoned_timer_does_not_wake_the_run() -> None:
    answers: Answers = {"start": [timer(1, at(100)), timer(2, at(900)), step(3)], "done 3": [abandon(1)]}
    machine, log = machine_after(begun(), [attempt(3), done(3)], answers=answers)
    assert (machine.wake_at, rebuilt(log).wake_at, list(machine.open)) == (at(900), at(900), [2])


def test_memory_follows_what_is_open_and_not_what_has_happened() -> None:
    machine = RunMachine(KEY)
    advance(machine, begun(), {"start": [step(1), timer(2, at(1_000_000))]})
    for call in range(1, 2_001, 2):  # each time a step wins against a timer far away
        answer: Answers = {f"done {call}": [abandon(call + 1), step(call + 2), timer(call + 3, at(1_000_000))]}
        advance(machine, [attempt(call), done(call)], answer)
    assert (list(machine.open), len(machine.open._dues) < 100) == ([2001, 2002], True)


# ---- from the log --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "answers", "effects"),
    [
        ([], {}, []),
        ([begun()[:1]], {}, []),
        ([begun()], ONE_STEP, [start(1, "add", 2, 3)]),
        ([begun(), [attempt(1)]], ONE_STEP, [start(1, "add", 2, 3)]),
        ([begun(), [attempt(1), attempt_failed(1, 1, at(9))]], ONE_STEP, [start(1, "add", 2, 3, attempt=2, not_before=9)]),
        ([begun(), [attempt(1), attempt_failed(1, 1, at(9)), attempt(1, 2)]], ONE_STEP, [start(1, "add", 2, 3, attempt=2)]),
        ([begun(), [attempt(1), done(1)]], TWO_STEPS, [start(2, "double", 4)]),
        ([begun()], NAP, [StartTimer(CallId(1), at(500))]),
        ([begun()], A_STEP_OR_A_NAP, [start(1), StartTimer(CallId(2), at(500))]),
        ([begun(), [attempt(1)], [cancel()]], ONE_STEP, []),
        ([begun(), [attempt(1), done(1)]], ONE_STEP, []),
    ],
    ids=["absent", "created", "called", "running", "backoff", "again", "next", "timer", "both", "canceling", "ended"],
)  # fmt: skip
def test_a_rebuilt_run_waits_for_what_it_waited_for(
    turns: list[list[Input]], answers: Answers, effects: list[Effect]
) -> None:
    machine, log = machine_after(*turns, answers=answers)
    assert (machine.pending(), rebuilt(log).pending()) == (effects, effects)


def test_a_completed_step_is_not_called_again() -> None:
    machine, log = machine_after(begun(), [attempt(1), done(1, 4)], answers=TWO_STEPS)
    assert rebuilt(log).pending() == [start(2, "double", 4)]
    rest = advance(rebuilt(log), [attempt(2), done(2, 8)], TWO_STEPS)
    assert rest.records == advance(machine, [attempt(2), done(2, 8)], TWO_STEPS).records


def test_a_record_that_cannot_follow_is_refused() -> None:
    _, log = machine_after(begun(), answers=ONE_STEP)
    machine = rebuilt(log)
    with pytest.raises(HistoryError, match="run r1 is running: 'run created' cannot follow"):
        machine.absorb(log[0])


# ---- any legal order -----------------------------------------------------------------------------------------------------


@st.composite
def programs(draw: st.DrawFn) -> tuple[dict[str, list[Command]], list[Input]]:
    """Branches of steps and naps in sequence, side by side, and an order in which the world may answer them."""
    branches = draw(st.lists(st.lists(st.sampled_from(["step", "retry", "nap"]), min_size=1, max_size=3), max_size=4))
    answers: dict[str, list[Command]] = {"start": []}
    inputs: list[Input] = begun()
    waiting: list[tuple[int, str, list[str]]] = []  # call, kind, what follows in its branch
    calls = 0

    def ask(event: str, branch: list[str]) -> None:
        nonlocal calls
        calls += 1
        answers[event].append(timer(calls, at(10)) if branch[0] == "nap" else step(calls, branch[0], calls))
        waiting.append((calls, branch[0], branch[1:]))

    for branch in branches:
        ask("start", branch)
    while waiting:
        call, kind, rest = waiting.pop(draw(st.integers(0, len(waiting) - 1)))
        inputs += [fired(call)] if kind == "nap" else [attempt(call)]
        if kind == "retry":
            inputs += [attempt_failed(call, 1, at(20)), attempt(call, 2)]
        inputs += [] if kind == "nap" else [done(call, call)]
        event = f"fired {call}" if kind == "nap" else f"done {call}"
        answers[event] = []
        if rest:
            ask(event, rest)
        elif not waiting:
            answers[event].append(result(calls))
    if not branches:
        answers["start"].append(result(0))
    return answers, inputs


@settings(max_examples=60, deadline=None)
@given(programs(), st.data())
def test_any_legal_order_leads_to_one_log_however_it_is_batched(
    program: tuple[dict[str, list[Command]], list[Input]], data: st.DataObject
) -> None:
    answers, inputs = program
    log = lived(inputs, answers)
    assert told(log)[-1] == "run completed"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(inputs)), max_size=4)) | {0, len(inputs)})
    turns = [inputs[a:b] for a, b in pairwise(cuts)]
    assert machine_after(*turns, answers=answers)[1] == log


def test_the_turns_of_a_scripted_guest_are_its_answers_joined() -> None:
    """The harness: whatever the batch, the output of a turn is the outputs of its events."""
    events = [done(1).pack(), done(2).pack()]
    assert turn(events, TWO_STEPS) == turn(events[:1], TWO_STEPS) + turn(events[1:], TWO_STEPS)
