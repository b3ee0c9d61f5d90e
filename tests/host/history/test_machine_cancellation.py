"""Cancellation: what is recorded, what is delivered, and when the run has ended."""

from __future__ import annotations

import pytest
from support.histories import (
    Answers,
    advance,
    at,
    attempt,
    attempt_failed,
    begun,
    cancel,
    done,
    failed,
    machine_after,
    rebuilt,
    result,
    state_of,
    step,
    timer,
    told,
)

from cloche.errors import HistoryError
from cloche.history import Failure
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import Input
from cloche.history.messages import FailRun
from cloche.history.notes import RunCanceled

ONE_STEP: Answers = {
    "start": [step(1, "add", 2, 3)],
    "done 1": [result(5)],
    "failed 1": [FailRun(Failure("Error", "no"))],
}
TWO_STEPS: Answers = {"start": [step(1, "add", 1)], "done 1": [step(2, "double", 4)], "done 2": [result(8)]}
TWO_AT_ONCE: Answers = {"start": [step(1, "a"), step(2, "b")]}
NAP: Answers = {"start": [timer(1, at(500))], "fired 1": [result()]}


def test_a_cancellation_with_nothing_under_way_is_through_at_once() -> None:
    machine, log = machine_after(begun(), [cancel()], answers=NAP)
    assert told(log)[3:] == ["cancel requested", "run canceled"]
    assert (machine.phase, machine.open, machine.wake_at) == (RunPhase.CANCELED, {}, None)
    assert state_of(rebuilt(log)) == state_of(machine)


def test_a_cancellation_waits_for_steps_that_run_and_delivers_nothing_more() -> None:
    machine, log = machine_after(begun(), [attempt(1)], [cancel()], answers=TWO_STEPS)
    assert (machine.phase, machine.deliver([done(1)])) == (RunPhase.CANCELING, [])
    batch = advance(machine, [done(1)], now=30)
    assert (told(batch.records), batch.effects) == (["step completed 1", "run canceled"], [])
    assert state_of(rebuilt([*log, *batch.records])) == state_of(machine)


def test_a_cancellation_waits_for_all_steps_whatever_becomes_of_them() -> None:
    machine, _ = machine_after(begun(), [attempt(1), attempt(2)], [cancel()], [done(1)], answers=TWO_AT_ONCE)
    assert machine.phase is RunPhase.CANCELING
    batch = advance(machine, [attempt_failed(2), failed(2)])
    assert told(batch.records) == ["attempt failed 2", "step failed 2", "run canceled"]


def test_a_result_that_arrives_after_a_cancellation_is_recorded_and_not_delivered() -> None:
    machine, _ = machine_after(begun(), answers=TWO_STEPS)
    inputs: list[Input] = [cancel(), attempt(1), done(1)]
    assert machine.deliver(inputs) == []
    assert told(advance(machine, inputs).records) == [
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
    turns: list[list[Input]] = [begun(), [attempt(1)], [attempt_failed(1, retry_at=at(900))], [cancel()]]
    _, log = machine_after(*turns, answers=ONE_STEP)
    assert told(log)[-2:] == ["cancel requested", "run canceled"]


def test_a_second_cancellation_cannot_follow() -> None:
    machine, _ = machine_after(begun(), [attempt(1)], [cancel()], answers=ONE_STEP)
    with pytest.raises(HistoryError, match="run r1 is canceling: 'cancel requested' cannot follow"):
        advance(machine, [cancel()])


def test_a_run_that_was_created_and_not_started_can_be_ended() -> None:
    machine, log = machine_after(begun()[:1], [RunCanceled(at(1))])
    assert (told(log), machine.phase) == (["run created", "run canceled"], RunPhase.CANCELED)
