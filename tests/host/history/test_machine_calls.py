"""One run as a state machine: calls that are canceled, tried again, due, or spoken of too late."""

from __future__ import annotations

import pytest
from host.history.scripts import NAP, ONE_STEP, TWO_AT_ONCE, TWO_STEPS, wish
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
    state_of,
    step,
    timer,
    told,
    written,
)

from cloche.errors import HistoryError, MalformedOutput
from cloche.history import CallId, Failure, Kind, Note, RunMachine
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import Fact, StartTimer
from cloche.history.messages import Command

# ---- cancellation --------------------------------------------------------------------------------------------------------


def test_a_cancellation_with_nothing_under_way_is_through_at_once() -> None:
    machine, log = machine_after(begun(), [cancel()], answers=NAP)
    assert told(log)[3:] == ["cancel requested", "run canceled"]
    assert (machine.phase, machine.open, machine.wake_at) == (RunPhase.CANCELED, {}, None)
    assert state_of(rebuilt(log)) == state_of(machine)


def test_a_cancellation_waits_for_steps_that_run_and_delivers_nothing_more() -> None:
    machine, log = machine_after(begun(), [attempt(1)], [cancel()], answers=TWO_STEPS)
    assert (machine.phase, machine.deliver([done(1)])) == (RunPhase.CANCELING, [])
    batch = advance(machine, [done(1)], now=30)
    assert (told(batch.records), batch.wishes) == (["step completed 1", "run canceled"], [])
    assert state_of(rebuilt([*log, *batch.records])) == state_of(machine)


def test_a_cancellation_waits_for_all_steps_whatever_becomes_of_them() -> None:
    machine, _ = machine_after(begun(), [attempt(1), attempt(2)], [cancel()], [done(1)], answers=TWO_AT_ONCE)
    assert machine.phase is RunPhase.CANCELING
    batch = advance(machine, [attempt_failed(2), failed(2)])
    assert told(batch.records) == ["attempt failed 2", "step failed 2", "run canceled"]


def test_a_result_that_arrives_behind_a_cancellation_is_recorded_and_not_delivered() -> None:
    machine, _ = machine_after(begun(), answers=TWO_STEPS)
    facts: list[Fact] = [cancel(), attempt(1), done(1)]
    assert machine.deliver(facts) == []
    assert told(advance(machine, facts).records) == [
        "cancel requested",
        "attempt started 1",
        "step completed 1",
        "run canceled",
    ]


def test_a_step_asked_for_just_before_a_cancellation_is_never_begun_and_does_not_hold_it_up() -> None:
    machine, log = machine_after(begun(), answers=TWO_STEPS)
    batch = advance(machine, [attempt(1), done(1), cancel()], TWO_STEPS)
    assert told(batch.records) == [
        "attempt started 1",
        "step completed 1",
        "step called 2",
        "cancel requested",
        "step failed 2",
        "run canceled",
    ]
    assert Failure.from_wire(batch.records[-2].content()[3]) == Failure(
        "Canceled", "the run was canceled before this step began"
    )
    assert machine.committed(batch) == []
    assert state_of(rebuilt([*log, *batch.records])) == state_of(machine)


def test_a_run_may_be_canceled_in_the_batch_that_starts_it() -> None:
    _, log = machine_after([*begun(), cancel()], answers=TWO_AT_ONCE)
    assert told(log)[2:] == [
        "step called 1",
        "step called 2",
        "cancel requested",
        "step failed 1",
        "step failed 2",
        "run canceled",
    ]


def test_a_step_that_waits_for_its_next_attempt_does_not_hold_up_a_cancellation() -> None:
    turns: list[list[Fact]] = [begun(), [attempt(1)], [attempt_failed(1, retry_at=at(900))], [cancel()]]
    _, log = machine_after(*turns, answers=ONE_STEP)
    assert told(log)[-2:] == ["cancel requested", "run canceled"]


def test_a_second_cancellation_cannot_follow() -> None:
    machine, _ = machine_after(begun(), [attempt(1)], [cancel()], answers=ONE_STEP)
    with pytest.raises(HistoryError, match="run r1 is canceling: 'cancel requested' cannot follow"):
        advance(machine, [cancel()])


def test_a_run_that_was_created_and_not_started_can_be_ended() -> None:
    machine, log = machine_after(begun()[:1], [Note(Kind.RUN_CANCELED, at(1), {})])
    assert (told(log), machine.phase) == (["run created", "run canceled"], RunPhase.CANCELED)


# ---- retries and timers --------------------------------------------------------------------------------------------------


def test_the_next_attempt_is_due_at_a_time_that_is_in_the_log() -> None:
    machine, log = machine_after(begun(), [attempt(1)], [attempt_failed(1, retry_at=at(900))], answers=ONE_STEP)
    again = wish(1, "add", 2, 3, attempt=2, not_before=900)
    assert (machine.wake_at, machine.pending(), rebuilt(log).pending()) == (at(900), [again], [again])


def test_attempts_are_counted_and_the_last_one_ends_the_step() -> None:
    facts = [
        *begun(),
        attempt(1),
        attempt_failed(1, 1, at(900)),
        attempt(1, 2),
        attempt_failed(1, 2, at(1900)),
        attempt(1, 3),
    ]
    machine, _ = machine_after(facts, answers=ONE_STEP)
    assert (machine.wake_at, machine.pending()) == (None, [wish(1, "add", 2, 3, attempt=3)])
    assert told(lived([*facts, done(1)], ONE_STEP))[-2:] == ["step completed 1", "run completed"]


def test_a_step_whose_retries_are_used_up_fails_without_another_attempt() -> None:
    facts = [*begun(), attempt(1), attempt_failed(1, 1, at(900)), failed(1)]
    assert told(lived(facts, ONE_STEP))[-3:] == ["attempt failed 1", "step failed 1", "run failed"]


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
    for facts in ([attempt(3), attempt_failed(3, 1, at(100))], [attempt(3, 2)], [done(3)], [fired(2)], [fired(1)]):
        advance(machine, facts, answers)
        seen.append(machine.wake_at)
    assert seen == [None, at(100), None, at(200), at(500), None]


def test_a_timer_that_was_given_up_does_not_wake_the_run() -> None:
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


# ---- too late, twice, wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "late", [done(1), failed(1), attempt(1), attempt_failed(1), fired(1)], ids=lambda f: type(f).__name__
)
def test_a_fact_about_a_call_that_has_ended_is_refused(late: Fact) -> None:
    machine, _ = machine_after(begun(), [attempt(1), done(1)], answers=TWO_STEPS)
    with pytest.raises(HistoryError) as raised:
        advance(machine, [late], {"done 1": [], "failed 1": [], "fired 1": []})
    assert raised.value.message == f"run r1, record {machine.head_seq}: call 1 is not open"


def test_the_end_of_a_call_that_was_given_up_in_the_same_batch_spoils_the_turn() -> None:
    """The guest was given what it should not have seen: the cell is dropped, and the facts are led through one by one."""
    answers: Answers = {**TWO_AT_ONCE, "done 1": [abandon(2), step(3)]}
    machine, log = machine_after(begun(), [attempt(1), attempt(2)], answers=answers)
    with pytest.raises(MalformedOutput, match="the guest gave up call 2 and was given its end in the same turn"):
        advance(machine, [done(1), done(2)], answers)
    machine = rebuilt(log)
    assert told(advance(machine, [done(1)], answers).records) == [
        "step completed 1",
        "call abandoned 2",
        "step called 3",
    ]
    assert CallId(2) not in machine.open


def test_a_note_about_a_call_that_was_given_up_in_the_same_batch_is_left_out() -> None:
    answers: Answers = {**TWO_AT_ONCE, "done 1": [abandon(2), step(3)]}
    machine, _ = machine_after(begun(), [attempt(1), attempt(2)], answers=answers)
    batch = advance(machine, [done(1), attempt_failed(2)], answers)
    assert told(batch.records) == ["step completed 1", "call abandoned 2", "step called 3"]


@pytest.mark.parametrize("again", [step(1), timer(1, at(5)), step(2), timer(2, at(5))], ids=["1", "1", "2", "2"])
def test_a_call_number_is_never_used_again_whether_its_call_is_open_or_ended(again: Command) -> None:
    machine, log = machine_after(begun(), [attempt(1)], answers=TWO_AT_ONCE)
    for one in (machine, rebuilt(log)):
        with pytest.raises(MalformedOutput, match=r"the guest used call [12] again"):
            advance(one, [done(1)], {"done 1": [again]})


def test_calls_are_numbered_from_one() -> None:
    with pytest.raises(MalformedOutput, match="the guest used call 0 again"):
        advance(RunMachine(KEY), begun(), {"start": [step(0)]})


def test_giving_up_what_is_not_open_is_refused() -> None:
    with pytest.raises(MalformedOutput, match=r"the guest asked for what cannot follow: .* call 7 is not open"):
        advance(RunMachine(KEY), begun(), {"start": [abandon(7)]})


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (b"", "the guest answered fewer events than it was given"),
        (written([step(1)]) + written([]), "the guest answered more events than it was given"),
        (written([step(1)])[:-1], "the guest left an event open: its output ends without the closing mark"),
    ],
    ids=["fewer", "more", "open"],
)
def test_every_event_is_answered_once(output: bytes, what: str) -> None:
    machine = RunMachine(KEY)
    machine.deliver(begun())
    with pytest.raises(MalformedOutput) as raised:
        machine.accept(begun(), output, at(0))
    assert raised.value.message == what
