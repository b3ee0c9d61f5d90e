"""Calls in the Python guest: which fit, in Python's own words; what crosses of them; and those that nobody awaits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from codegen.signatures import CALLS, Called, python_says
from guest.cells import COMPLETE, FAIL, NOW, STEP, Cell
from guest_python.loop_cells import LoopCell
from guest_python.python_cells import HEAD, python_cell, workflow
from hypothesis import example, given, settings

from cloche.history.values import decode, encode

HINT = re.compile(r"\. Did you mean '\w+'\?$")  # newer versions of Python add it


def source(call: Called) -> str:
    written = [*map(repr, call.arguments), *(f"{name}={value}" for name, value in call.keywords.items())]
    return workflow(f"return await f({', '.join(written)})", f"f = step('f', signature='f({call.signature})')")


def commands_of(call: Called, *, by_loop: bool) -> list[Any]:
    if not by_loop:
        return python_cell(source(call)).start()
    output = LoopCell(source(call)).turn([encode([0, NOW, bytes(16), None, {}])])
    return [command for command in decode(b"\x9f" + output + b"\xff") if command is not None]


@pytest.mark.parametrize("by_loop", [True, False], ids=["the prelude", "the guest"])
@given(CALLS)
@example(Called("a, *, b", [1], {}))
@example(Called("a, b=0", [1, 2, 3], {}))
@settings(max_examples=60, deadline=None)
def test_a_call_fits_where_python_says_so(by_loop: bool, call: Called) -> None:
    _, error = python_says(call)
    (command,) = commands_of(call, by_loop=by_loop)
    if error is None:
        keywords = [dict(sorted(call.keywords.items()))] if call.keywords else []
        assert command == [STEP, 1, "f", "f", call.arguments, *keywords]
    else:
        assert (command[0], command[1]["name"]) == (FAIL, "TypeError")
        assert HINT.sub("", command[1]["message"]) == HINT.sub("", error)


def test_a_call_that_does_not_fit_fails_in_its_line() -> None:
    (command,) = python_cell(workflow("x = 1\nawait pay(1, 2)", "pay = step('pay', signature='pay(amount)')")).start()
    assert command[1]["message"] == "pay() takes 1 positional argument but 2 were given"
    assert command[1]["trace"] == [[6, "main"]]


def test_a_call_that_does_not_fit_can_be_caught() -> None:
    body = "try:\n    await pay()\nexcept TypeError as error:\n    return str(error)"
    cell = python_cell(workflow(body, "pay = step('pay', signature='pay(amount)')"))
    assert cell.start() == [[COMPLETE, "pay() missing 1 required positional argument: 'amount'"]]


def test_the_signature_of_a_step_in_the_source_is_its_own() -> None:
    head = "@step\nasync def pay(a, /, b, *c, d, e=1, ctx=None, **f): ...\n"
    head += "@step(id='get')\ndef take(data: int, n: int = 7): ..."
    cell = python_cell(workflow("await pay(1, 2, 3, d=4, z=5)\nawait take(1, n=2)\nawait pay()", head))
    assert cell.start() == [[STEP, 1, "pay", "pay", [1, 2, 3], {"d": 4, "z": 5}]]
    assert cell.complete(1) == [[STEP, 2, "get", "get", [1], {"n": 2}]]
    ((_, failure),) = cell.complete(2)
    assert failure["message"].startswith("pay() missing 2 required positional arguments: 'a' and 'b'")


def started(signature: str, given_input: Any, body: str = "return locals()") -> Any:
    cell = python_cell(f"{HEAD}@workflow\nasync def main({signature}): {body}")
    ((kind, result),) = cell.start(given_input, given={"state": {"s": 1}})
    return result if kind == COMPLETE else result["message"]


STATE = {"state": {"s": 1}, "context": {}}


@pytest.mark.parametrize(
    ("signature", "value", "result"),
    [
        ("user", {"a": 1}, {"user": {"a": 1}}),
        ("user, given", 1, {"user": 1, "given": STATE}),
        ("user, other", 1, {"user": 1, "other": STATE}),
        ("a: int, b: int", {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ("a: int, b: int = 5", 1, {"a": 1, "b": 5}),
        ("a, /, b, *, c=3, given", {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3, "given": STATE}),
        ("", None, {}),
        ("a: int, b: int", {"a": 1}, "main() missing 1 required positional argument: 'b'"),
        ("a: int, b: int", 5, "main() takes a mapping of its arguments, not a int"),
    ],
)
def test_a_workflow_gets_its_input_by_its_parameters(signature: str, value: Any, result: Any) -> None:
    assert started(signature, value) == result


# ---- calls that nobody awaits ----

FORGOTTEN = [
    ("charge(1)\nreturn 1", 5),
    ("x = charge(1)\nreturn 1", 5),
    ("charges = [charge(n) for n in range(3)]\nreturn len(charges)", 5),
    ("await charge(1)\n\ncharge(2)\nreturn 1", 7),
    ("if True:\n    charge(1)\nawait charge(2)", 6),
]


def ended(cell: Cell) -> Any:
    commands, calls = cell.start(), 0
    while commands and commands[-1][0] == STEP:
        calls += 1
        commands = cell.complete(calls)
    return commands[-1]


@pytest.mark.parametrize(("body", "line"), FORGOTTEN)
def test_a_step_that_is_never_awaited_fails_the_run(body: str, line: int) -> None:
    kind, failure = ended(python_cell(workflow(body, "charge = step('charge')")))
    assert (kind, failure["name"], failure["trace"][0][0]) == (FAIL, "RuntimeError", line)
    assert failure["message"] == "'charge' was called and never awaited, so it never ran: write await charge(...)"


@pytest.mark.parametrize(
    "body",
    [
        "first = charge(1)\nreturn await race(charge(2), first)",
        "try:\n    await gather(charge(1), charge(2), limit=1)\nexcept ValueError:\n    return 1",
        "waiting = charge(1)\ntry:\n    raise ValueError\nexcept ValueError:\n    pass\nreturn await waiting",
        "waiting = charge(1)\nraise ValueError('its own')",
    ],
)
def test_a_step_that_was_not_begun_for_a_reason_is_no_fault(body: str) -> None:
    cell = python_cell(workflow(body, "charge = step('charge')"))
    commands = cell.start()
    if commands[0][0] == STEP:
        commands = cell.turn([2, NOW, 1, {"name": "ValueError", "message": "no"}])
    assert "never awaited" not in str(commands)
