"""Replay: the script of a history, and reports of where code asks for something else."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.histories import (
    KEY,
    Answers,
    abandon,
    at,
    attempt,
    begun,
    cancel,
    done,
    machine_after,
    result,
    step,
    timer,
    turn,
    wire,
    written,
)

from cloche.errors import MalformedOutput
from cloche.history import Failure, Path, Record, RunMachine
from cloche.history.messages import Command, Enter, FailRun, Leave, WriteLog
from cloche.history.replay import DivergenceReport, find_divergence, script

ANSWERS: Answers = {
    "start": [WriteLog(2, "hi"), step(1, "reserve", {"amount": 3, "to": "Ada"})],
    "done 1": [Enter(Path("W"), 1), step(2, "charge", 1, path="W/charge")],
    "done 2": [result()],
}
LOG = ["reserve", "W/charge"]
HOW = " Its code changed while this run was open: finish the run with the version it began with, or start a new one."


def a_log(answers: Answers = ANSWERS) -> list[Record]:
    """Records 1 created, 2 started, 3 log line, 4 reserve, 5 attempt, 6 completed, 7 entered, 8 charge, 9 … 11 the end."""
    return machine_after(begun(), [attempt(1), done(1)], [attempt(2), done(2)], answers=answers)[1]


def replayed(now: Answers, then: Answers = ANSWERS, lines: dict[int, str] | None = None) -> DivergenceReport | None:
    part = script(a_log(then))
    return find_divergence("r_7QK", part, turn(part.events, now), lines)


# ---- the script ----------------------------------------------------------------------------------------------------------


def test_the_script_of_a_history_is_what_was_delivered_and_what_came_back() -> None:
    part = script(a_log())
    assert part.expected == [written(commands) for commands in ANSWERS.values()]
    assert (part.event_seqs, part.faulted) == ([2, 6, 10], False)
    assert [[seq for seq, _ in commands] for commands in part.commands] == [[3, 4], [7, 8], [11]]
    assert b"".join(part.expected) == turn(part.events, ANSWERS)


def test_the_same_code_gives_no_report() -> None:
    assert replayed(ANSWERS) is None


def test_nothing_behind_a_cancellation_is_replayed() -> None:
    _, log = machine_after(begun(), [attempt(1)], [cancel()], [done(1)], answers=ANSWERS)
    part = script(log)
    assert (part.event_seqs, part.expected) == ([2], [written(ANSWERS["start"])])


def test_a_fault_leaves_its_event_without_an_answer() -> None:
    machine, log = machine_after(begun(), answers=ANSWERS)
    log = [*log, *machine.stop([attempt(1), done(1)], Failure("E", "no"), "fuel-exhausted", at(1)).records]
    part = script(log)
    assert (part.faulted, part.event_seqs) == (True, [2, 6])
    assert find_divergence("r1", part, turn(part.events[:1], ANSWERS)) is None


def test_a_deadlock_is_no_fault_its_last_event_was_answered() -> None:
    _, log = machine_after(begun(), answers={})
    part = script(log)
    assert (part.faulted, part.expected) == (False, [b"\xf6"])


def test_an_empty_history_has_an_empty_script() -> None:
    assert script([]).events == []


# ---- divergence ----------------------------------------------------------------------------------------------------------


def at_start(*commands: Command) -> Answers:
    return {**ANSWERS, "start": commands}


HELLO = WriteLog(2, "hi")
RESERVE = {"kind": "step", "call": 1, "path": "reserve", "name": "reserve", "arguments": [{"to": "Ada", "amount": 3}]}


@pytest.mark.parametrize(
    ("now", "differences", "text"),
    [
        (
            at_start(HELLO, step(1, "charge", {"amount": 3, "to": "Ada"})),
            [
                {"at": "name", "expected": "reserve", "actual": "charge"},
                {"at": "path", "expected": "reserve", "actual": "charge"},
            ],
            "the history has step 'reserve' here, but the workflow asked for 'charge'.",
        ),
        (
            at_start(HELLO, step(1, "reserve", {"amount": 4, "to": "Ada"})),
            [{"at": "arguments[0].amount", "expected": 3, "actual": 4}],
            "the history has step 'reserve' with arguments[0].amount = 3 here, but the workflow asked for 4.",
        ),
        (
            at_start(HELLO, step(1, "reserve", {"amount": 3.0, "to": "Ada"})),
            [{"at": "arguments[0].amount", "expected": 3, "actual": 3.0}],
            "the history has step 'reserve' with arguments[0].amount = 3 here, but the workflow asked for 3.0.",
        ),
        (
            at_start(HELLO, step(1, "reserve", {"amount": 3, "to": "Ada"}, True)),
            [{"at": "arguments[1]", "expected": "(absent)", "actual": True}],
            "the history has step 'reserve' with arguments[1] = '(absent)' here, but the workflow asked for True.",
        ),
        (
            at_start(HELLO, step(1, "reserve", {"amount": 3, "to": "Ada"}, path="W/reserve")),
            [{"at": "path", "expected": "reserve", "actual": "W/reserve"}],
            "the history has step 'reserve' here, but the workflow asked for 'reserve' at W/reserve.",
        ),
        (
            at_start(HELLO, step(2, "reserve", {"amount": 3, "to": "Ada"})),
            [{"at": "call", "expected": 1, "actual": 2}],
            "the history has step 'reserve' with call = 1 here, but the workflow asked for 2.",
        ),
        (
            at_start(HELLO, FailRun(Failure("Error", "no"))),
            [
                {"at": "arguments", "expected": RESERVE["arguments"], "actual": "(absent)"},
                {"at": "call", "expected": 1, "actual": "(absent)"},
                {"at": "failure", "expected": "(absent)", "actual": {"name": "Error", "message": "no"}},
                {"at": "kind", "expected": "step", "actual": "fail"},
                {"at": "name", "expected": "reserve", "actual": "(absent)"},
                {"at": "path", "expected": "reserve", "actual": "(absent)"},
            ],
            "the history has step 'reserve' here, but the workflow asked for 'fail'.",
        ),
        (
            at_start(HELLO),
            [{"at": "", "expected": RESERVE, "actual": None}],
            "the history has step 'reserve' here, but the workflow asked for nothing.",
        ),
    ],
    ids=["step", "argument", "number", "more arguments", "path", "call", "kind", "missing"],
)  # fmt: skip
def test_a_difference_is_reported_with_both_sides(now: Answers, differences: list[dict[str, Any]], text: str) -> None:
    report = replayed(now)
    assert report is not None
    assert (report.run_id, report.seq, report.event_seq, report.expected) == ("r_7QK", 4, 2, RESERVE)
    assert report.differences == differences
    assert str(report) == f"run r_7QK, record 4: {text}{HOW}"


def test_a_command_the_history_does_not_have_is_reported_at_its_event() -> None:
    report = replayed({**ANSWERS, "done 1": [*ANSWERS["done 1"], timer(3, at(5), "W/nap")]})
    extra = {"kind": "timer", "call": 3, "path": "W/nap", "due": at(5), "value": None}
    assert report == DivergenceReport(
        "r_7QK", 6, 6, None, extra, [{"at": "", "expected": None, "actual": extra}], None, "nap"
    )
    assert str(report) == (
        f"run r_7QK, record 6: the history has nothing more here, but the workflow asked for timer at W/nap.{HOW}"
    )


def test_the_first_difference_is_reported_also_when_later_ones_follow() -> None:
    report = replayed({"start": [step(1, "other")], "done 1": [], "done 2": []})
    assert report is not None
    assert (report.seq, report.expected) == (3, {"kind": "log", "level": 2, "text": "hi"})


@pytest.mark.parametrize(
    ("path", "node", "line"),
    [
        ("charge", "charge", 3),
        ("W/charge", "charge", 3),
        ("W/charge[2]", "charge", 3),
        ("charge#4", "charge", 3),
        ("x", "x", None),
    ],
)  # fmt: skip
def test_a_report_names_the_node_and_the_first_line_of_source_that_made_it(
    path: str, node: str, line: int | None
) -> None:
    report = replayed(at_start(HELLO, step(1, "charge", path=path)), lines={9: "charge", 3: "charge", 1: "W"})
    assert report is not None
    assert (report.node, report.line) == (node, line)
    assert ("(line 3 of the generated source)" in str(report)) == (line == 3)


def test_floats_are_compared_as_they_are_written() -> None:
    then = at_start(HELLO, step(1, "reserve", [math.nan, 0.0, 1]))
    now = at_start(HELLO, step(1, "reserve", [math.nan, -0.0, 1.0]))
    report = replayed(now, then)
    assert report is not None
    assert [difference["at"] for difference in report.differences] == ["arguments[0][1]", "arguments[0][2]"]


def test_a_long_value_is_cut_in_the_text_and_whole_in_the_data() -> None:
    report = replayed(at_start(HELLO, step(1, "reserve", {"amount": "x" * 500, "to": "Ada"})))
    assert report is not None
    assert report.differences[0]["actual"] == "x" * 500
    assert str(report).count("x") < 100


@pytest.mark.parametrize(
    "commands",
    [
        [FailRun(Failure("E", "no"))],
        [Leave(Path("W"), [0, 1]), result()],
        [Enter(Path("W"), 1), result()],
        [step(1), abandon(1), result()],
        [timer(1, at(5)), result()],
    ],
    ids=lambda commands: type(commands[0]).__name__,
)
def test_every_kind_of_command_can_be_described(commands: list[Command]) -> None:
    log = RunMachine(KEY).accept(begun(), written(commands), at(0)).records
    report = find_divergence("r1", script(log), written([]))
    assert report is not None
    assert (report.seq, report.actual) == (3, None)
    assert report.expected is not None


@pytest.mark.parametrize("garbage", [b"\x07", b"\x80", b"\x81\x61\x61", b"\x81\x80", b"\x82\x18\x63\x01", b"\x61\x61"])
def test_an_answer_that_is_no_command_is_reported_as_it_is(garbage: bytes) -> None:
    part = script(a_log())
    report = find_divergence("r1", part, garbage + b"\xf6")
    assert report is not None
    assert (report.seq, report.actual is not None) == (3, True)
    assert str(report).startswith("run r1, record 3: the history has 'log' here, but the workflow asked for '")


@pytest.mark.parametrize("change", ["fewer", "more", "none"])
def test_an_output_with_another_number_of_answers_is_malformed_and_never_no_difference(change: str) -> None:
    part = script(a_log())
    output = turn(part.events, ANSWERS)
    output = {"fewer": output[: -len(written(ANSWERS["done 2"]))], "more": output + b"\xf6", "none": b""}[change]
    with pytest.raises(MalformedOutput) as raised:
        find_divergence("r1", part, output)
    assert raised.value.message == "the guest was given 3 events and did not answer each of them once"


def test_a_report_is_data() -> None:
    report = replayed(at_start(HELLO))
    assert report is not None
    assert report.to_data() == {
        "run_id": "r_7QK",
        "seq": 4,
        "event_seq": 2,
        "expected": RESERVE,
        "actual": None,
        "differences": [{"at": "", "expected": RESERVE, "actual": None}],
        "line": None,
        "node": "reserve",
        "expected_line": None,
        "expected_node": "reserve",
    }


def test_the_commands_of_the_script_are_the_bytes_of_the_history() -> None:
    assert script(a_log()).commands[0] == [(3, wire(HELLO)), (4, wire(ANSWERS["start"][1]))]
