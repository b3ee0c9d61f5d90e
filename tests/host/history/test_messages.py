"""Events as they enter the glass, commands as they leave it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histories import SEED, T0, abandon, at, cancel, done, failed, fired, result, step, timer, wire, written
from support.strategies import hostile, values

from cloche.errors import InvalidInput, MalformedOutput
from cloche.history import CallId, Failure, Path
from cloche.history.check import check
from cloche.history.messages import Command, CompleteRun, Enter, Event, FailRun, Leave, Started, StepFailed, WriteLog
from cloche.history.output import split_output, unpack_command
from cloche.history.values import decode, encode_plain, plain

COMMANDS: list[Command] = [
    step(1, "add", 1, "x"),
    timer(2, at(5)),
    WriteLog(4, "bad"),
    Enter(Path("W"), {"a": 1}),
    Leave(Path("W"), [0, None]),
    Leave(Path("W"), [1, {"name": "E", "message": ""}]),
    result([1.0]),
    FailRun(Failure("E", "no", {"code": 3}, Failure("F", "why"))),
    abandon(2),
]


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (
            Started(at(0), SEED, {"b": 1, "a": 2}, {"state": {"n": 1}}),
            [0, T0, SEED, {"a": 2, "b": 1}, {"state": {"n": 1}}],
        ),
        (done(3, {"x": 1}, ms=7), [1, T0 + 7, 3, {"x": 1}]),
        (failed(3, "no"), [2, T0, 3, {"name": "Error", "message": "no"}]),
        (fired(4), [4, T0, 4]),
        (cancel(1, "enough \ud800"), [7, T0 + 1, "enough \ufffd"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_event_on_the_wire_is_its_number_and_its_fields(event: Event, wire: list[Any]) -> None:
    assert (decode(event.pack()), event.pack()) == (wire, encode_plain(wire))


def test_an_event_is_packed_once_and_equal_to_one_that_is_not_packed() -> None:
    packed, other = done(1, 2), done(1, 2)
    assert packed.pack() is packed.pack()
    assert packed == other


def test_input_that_cannot_cross_is_named_with_its_place() -> None:
    with pytest.raises(InvalidInput) as raised:
        Started(at(0), SEED, {"orders": [object()]}, {}).pack()
    assert raised.value.path == "input.orders[0]"


@given(values())
def test_every_event_is_in_the_grammar(value: Any) -> None:
    events = [Started(at(0), SEED, value, {"state": {"x": value}}), done(1, plain(value))]
    events.append(StepFailed(at(0), CallId(1), Failure("E", "", value)))
    assert [check(event.pack()) for event in events] == [len(event.pack()) for event in events]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_is_read_as_it_was_written(command: Command) -> None:
    assert unpack_command(wire(command)) == command


@given(values())
def test_a_command_carries_any_value(value: Any) -> None:
    assert list(split_output(written([CompleteRun(plain(value))]))) == [[wire(CompleteRun(plain(value)))]]


def test_fields_that_a_later_version_adds_at_the_end_are_passed_over() -> None:
    assert unpack_command(encode_plain([9, 2, "new"])) == abandon(2)


# ---- a turn's output -----------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.sampled_from(COMMANDS), max_size=4), max_size=5))
def test_an_output_is_taken_apart_into_the_commands_of_each_event(turns: list[list[Command]]) -> None:
    output = b"".join(map(written, turns))
    assert list(split_output(output)) == [[wire(command) for command in commands] for commands in turns]


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (wire(abandon(1)), "the guest left an event open: its output ends without the closing mark"),
        (b"\xf6" + wire(abandon(1)), "the guest left an event open: its output ends without the closing mark"),
        (wire(abandon(300))[:-1], "the guest wrote a malformed message: the message ends in the middle (byte 2)"),
        (b"\xf6\x9f\xff\xf6", "the guest wrote a malformed message: indefinite or reserved length (byte 1)"),
        (
            b"\xff\xf6",
            "the guest wrote a malformed message: a simple value or float that is not in the grammar (byte 0)",
        ),
    ],
    ids=["open", "second open", "cut", "indefinite", "break"],
)
def test_an_output_that_is_no_sequence_of_answers_is_refused(output: bytes, what: str) -> None:
    with pytest.raises(MalformedOutput) as raised:
        list(split_output(output))
    assert raised.value.message == what


@given(st.lists(hostile | st.just(b"\xf6") | st.sampled_from(COMMANDS).map(wire), max_size=5).map(b"".join))
def test_any_output_is_commands_or_malformed_and_nothing_else(output: bytes) -> None:
    try:
        answers = list(split_output(output))
        for body in (body for commands in answers for body in commands):
            unpack_command(body)
    except MalformedOutput:
        return
    assert b"".join(b"".join(commands) + b"\xf6" for commands in answers) == output


NOT_A_COMMAND = "the guest wrote something that is not a command"
FAILURE = {"name": "E", "message": "no"}


def misfit(name: str) -> str:
    return f"the guest wrote a {name} command whose fields are not in the grammar"


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (7, NOT_A_COMMAND),
        ("step", NOT_A_COMMAND),
        ({"kind": 0}, NOT_A_COMMAND),
        ([], NOT_A_COMMAND),
        (["step"], NOT_A_COMMAND),
        ([True, 1], NOT_A_COMMAND),
        ([7.0, 1], NOT_A_COMMAND),
        ([[7], 1], NOT_A_COMMAND),
        ([None], NOT_A_COMMAND),
        ([-1], "the guest wrote a command of unknown kind -1"),
        ([15], "the guest wrote a command of unknown kind 15"),
        ([12, {}], "the guest set tags that are not 1 to 64 names, each with a name, a number, a bool or null"),
        ([2, 1, "p", "n", 1, {"heartbeat": 0}], "the guest opened a hook whose options are not in the grammar"),
        ([2**80], f"the guest wrote a command of unknown kind {2**80}"),
        ([3, 1, "p", "w"], misfit("StartChild")),
        ([10, 1, "p", "n", []], "the guest wrote a command of unknown kind 10"),
        ([0, 1, "p", "n"], misfit("CallStep")),
        ([0, "1", "p", "n", []], misfit("CallStep")),
        ([0, True, "p", "n", []], misfit("CallStep")),
        ([0, -1, "p", "n", []], misfit("CallStep")),
        ([0, 1.0, "p", "n", []], misfit("CallStep")),
        ([0, 2**63, "p", "n", []], misfit("CallStep")),
        ([0, 1, b"p", "n", []], misfit("CallStep")),
        ([0, 1, "p", None, []], misfit("CallStep")),
        ([0, 1, "p", "n", {}], misfit("CallStep")),
        ([1, 1, "p", 5], misfit("SetTimer")),
        ([1, 1, "p", 5.5, None], misfit("SetTimer")),
        ([1, 1, "p", -1, None], misfit("SetTimer")),
        ([1, 1, "p", "soon", None], misfit("SetTimer")),
        ([4, 2], misfit("WriteLog")),
        ([4, 2, 3], misfit("WriteLog")),
        ([4, 5, "text"], "the guest wrote a log line of unknown level 5"),
        ([5, "p"], misfit("Enter")),
        ([5, 1, None], misfit("Enter")),
        ([6, "p"], misfit("Leave")),
        ([6, "p", None], misfit("Leave")),
        ([6, "p", []], "the guest left a path without an outcome"),
        ([6, "p", [0]], "the guest left a path without an outcome"),
        ([6, "p", [0, 1, 2]], "the guest left a path without an outcome"),
        ([6, "p", [2, FAILURE]], "the guest left a path without an outcome"),
        ([6, "p", [False, 1]], "the guest left a path without an outcome"),
        ([6, "p", [1, "no"]], "the guest left a path without an outcome"),
        ([6, "p", [1, {"name": "E"}]], "the guest left a path without an outcome"),
        ([7], misfit("CompleteRun")),
        ([8], misfit("FailRun")),
        ([8, "no"], misfit("FailRun")),
        ([8, {}], "the guest failed without a name and a message"),
        ([8, {"name": 1, "message": "no"}], "the guest failed without a name and a message"),
        ([8, {**FAILURE, "cause": "no"}], "the guest failed without a name and a message"),
        ([9], misfit("AbandonCall")),
        ([9, None], misfit("AbandonCall")),
    ],
    ids=repr,
)  # fmt: skip
def test_a_message_that_is_not_in_the_grammar_is_refused_by_name(message: Any, what: str) -> None:
    with pytest.raises(MalformedOutput) as raised:
        unpack_command(encode_plain(message))
    assert raised.value.message == what
