"""What a machine refuses: inputs that come too late or twice, and output that cannot follow."""

from __future__ import annotations

import pytest
from support.histories import (
    KEY,
    Answers,
    abandon,
    advance,
    at,
    attempt,
    attempt_failed,
    begun,
    done,
    failed,
    fired,
    machine_after,
    rebuilt,
    result,
    step,
    timer,
    told,
    written,
)

from cloche.errors import HistoryError, MalformedOutput
from cloche.history import CallId, RunMachine
from cloche.history.machine import Input
from cloche.history.messages import Command

TWO_STEPS: Answers = {"start": [step(1, "add", 1)], "done 1": [step(2, "double", 4)], "done 2": [result(8)]}
TWO_AT_ONCE: Answers = {"start": [step(1, "a"), step(2, "b")]}


@pytest.mark.parametrize(
    "late", [done(1), failed(1), attempt(1), attempt_failed(1), fired(1)], ids=lambda f: type(f).__name__
)
def test_an_input_for_a_call_that_has_ended_is_refused(late: Input) -> None:
    machine, _ = machine_after(begun(), [attempt(1), done(1)], answers=TWO_STEPS)
    with pytest.raises(HistoryError) as raised:
        advance(machine, [late], {"done 1": [], "failed 1": [], "fired 1": []})
    assert raised.value.message == f"run r1, record {machine.head_seq}: call 1 is not open"


def test_the_end_of_a_call_that_was_abandoned_in_the_same_batch_spoils_the_turn() -> None:
    """The guest was given what it should not have seen: the cell is dropped, and the inputs are taken one by one."""
    answers: Answers = {**TWO_AT_ONCE, "done 1": [abandon(2), step(3)]}
    machine, log = machine_after(begun(), [attempt(1), attempt(2)], answers=answers)
    with pytest.raises(MalformedOutput, match="the guest abandoned call 2 and was given its end in the same turn"):
        advance(machine, [done(1), done(2)], answers)
    machine = rebuilt(log)
    assert told(advance(machine, [done(1)], answers).records) == [
        "step completed 1",
        "call abandoned 2",
        "step called 3",
    ]
    assert CallId(2) not in machine.open


def test_a_note_of_a_call_abandoned_in_the_same_batch_is_left_out() -> None:
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


def test_abandoning_what_is_not_open_is_refused() -> None:
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
