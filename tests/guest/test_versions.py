"""What ABI 2 says that ABI 1 did not, and what a guest does with more than it knows: the same in both guests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest
from guest.cells import COMPLETE, FAIL, NOW, SEED, STEP, Cell, GuestStopped, pack, workflow
from guest_python.python_cells import python_cell
from guest_python.python_cells import workflow as python_workflow

from cloche_guest import ABI_VERSION, abi_of, ensure_guest, find_guest

ZONED = cbor2.CBORTag(9557, "2026-03-28T23:59:59.123456+01:00[Europe/Berlin]")
FAILURES = json.loads((Path(__file__).parents[1] / "vectors" / "failures.json").read_text())
Made = Callable[[str, str], Cell]


@pytest.fixture(params=["javascript", "python"])
def made(request: pytest.FixtureRequest) -> Made:
    """A cell of the workflow with these bodies, in JavaScript and in Python."""
    if request.param == "python":
        return lambda javascript, python: python_cell(python_workflow(python))
    return lambda javascript, python: Cell(workflow(javascript))


def test_a_guest_says_which_version_it_speaks() -> None:
    guests = [ensure_guest(), find_guest("python")]
    assert [abi_of(guest.wasm) for guest in guests if guest is not None] == [ABI_VERSION] * (2 - guests.count(None))
    assert Cell().layout.version == ABI_VERSION == 2


ASKS = "return await step('a')()", "return await step('a')()"
FAILURE = {
    "name": "ValueError",
    "zz": {"unknown": [1]},
    "cause": {"name": "E", "zz": 1, "message": "c"},
    "message": "m",
}


def test_elements_after_the_last_known_one_are_skipped(made: Made) -> None:
    cell = made(*ASKS)
    unknown = [{"a": [1, b"x", 1.5, None, cbor2.CBORTag(40, ["?"])]}, 7]

    assert cell.turn([0, NOW, SEED, None, {"zz": 1}, *unknown]) == [[STEP, 1, "a", "a", []]]
    assert cell.turn([3, NOW, 1, {"path": "a", "zz": 1}, {}, *unknown], [9, NOW, 1, {"path": "a"}, *unknown]) == []
    assert cell.turn([1, NOW, 1, "done", {}, *unknown]) == [[COMPLETE, "done"]]


def test_keys_of_a_failure_that_nobody_knows_are_skipped(made: Made) -> None:
    cell = made(*ASKS)
    cell.start()

    ((kind, failure),) = cell.turn([2, NOW, 1, FAILURE, 5])
    assert (kind, failure["name"], failure["message"]) == (FAIL, "ValueError", "m")
    assert failure["cause"] == {"name": "E", "message": "c"}


@pytest.mark.parametrize("vector", FAILURES, ids=lambda vector: vector["name"])
def test_a_failure_that_is_thrown_on_leaves_as_it_came(made: Made, vector: dict[str, str]) -> None:
    cell = made(
        "try { await step('a')() } catch (error) { throw error }",
        "try:\n    await step('a')()\nexcept Exception as error:\n    raise error",
    )
    cell.start()
    failure = cbor2.loads(bytes.fromhex(vector["hex"]))

    ((kind, left),) = cell.turn([2, NOW, 1, failure])
    left.pop("trace", None)
    assert (kind, left) == (FAIL, failure)


def test_javascript_sees_what_python_says_of_an_exception() -> None:
    body = """
      try { await step("a")() } catch (error) {
        return [error.bases, error.notes, error.errors.map((one) => one.name), Object.keys(error)];
      }"""
    cell = Cell(workflow(body))
    cell.start()
    failure = cbor2.loads(bytes.fromhex(FAILURES[-1]["hex"]))
    assert cell.turn([2, NOW, 1, failure]) == [[COMPLETE, [["cloche.FatalError"], ["n"], ["KeyError"], []]]]


def test_a_list_that_is_none_leaves_with_what_may_be_in_it() -> None:
    body = """
      const error = new Error("m");
      error.errors = [1, new TypeError("t"), error, {}];
      error.notes = "no list";
      error.bases = ["a.B", 5, , "c.D"];
      throw error"""
    ((_, left),) = Cell(workflow(body)).start()
    assert left["members"] == [{"name": "TypeError", "message": "t"}]
    assert (left["bases"], "notes" in left) == (["a.B", "c.D"], False)


def test_what_is_skipped_must_be_well_formed(made: Made) -> None:
    for tail in (b"\x61\xff", b"\xa2\x61b\x01\x61a\x01", b"\x9f\xff", b"\x81" * 70 + b"\x01", b"\x1c"):
        cell = made(*ASKS)
        cell.start()
        event = pack([1, NOW, 1, None, {}, None])
        with pytest.raises(GuestStopped) as stopped:
            cell.give(event[:-1] + tail)
        assert stopped.value.code == -1


def test_a_hook_can_fail(made: Made) -> None:
    cell = made(
        "try { await cloche.hook('h', 'paid', null) } catch (error) { return [error.name, error.message, error.data] }",
        "try:\n    await wait_for_event('paid')\nexcept TimeoutError as error:\n"
        "    return [error.name, error.message, error.data]",
    )
    cell.start()

    failure = {"data": 3, "name": "TimeoutError", "bases": ["builtins.TimeoutError"], "message": "too long silent"}
    assert cell.turn([13, NOW, 1, failure]) == [[COMPLETE, ["TimeoutError", "too long silent", 3]]]


def test_state_is_kept_when_a_step_suspends() -> None:
    body = "const a = await step('a')(); return [a, given.state]"
    cell = Cell(f"export default async (input, given) => {{ const step = cloche.step; {body} }}")
    cell.start(given={"state": {"n": 1}})

    assert cell.turn([3, NOW, 1, {"path": "a"}, {"n": 2, "m": 3}]) == []
    assert cell.complete(1, "v") == [[COMPLETE, ["v", {"m": 3, "n": 2}]]]


def test_state_is_kept_when_a_step_suspends_in_python() -> None:
    source = (
        "from cloche import *\n@workflow\nasync def main(input, given):\n    return [await step('a')(), given.state]"
    )
    cell = python_cell(source)
    cell.start(given={"state": {"n": 1}})

    assert cell.turn([3, NOW, 1, {"path": "a"}, {"n": 2, "m": 3}]) == []
    assert cell.complete(1, "v") == [[COMPLETE, ["v", {"m": 3, "n": 2}]]]


def test_a_zone_goes_through_as_it_came(made: Made) -> None:
    cell = made("return [input, [input]]", "return [input, [input]]")
    assert cell.give(pack([0, NOW, SEED, ZONED, {}])) == pack([COMPLETE, [ZONED, [ZONED]]]) + b"\xf6"


def test_a_date_that_was_changed_is_another_one() -> None:
    cell = Cell(workflow("input.setTime(input.getTime() + 1000); return [input, new Date(input)]"))
    text = cbor2.CBORTag(0, "2026-03-28T23:00:00.123Z")
    assert cell.give(pack([0, NOW, SEED, ZONED, {}])) == pack([COMPLETE, [text, text]]) + b"\xf6"


def test_arithmetic_in_a_zone_goes_by_its_clocks() -> None:
    """The night of 29 March 2026 has no hour between two and three in Berlin."""
    body = "from datetime import timedelta\nlater = input + timedelta(hours=12)\nreturn [later, str(later.tzinfo)]"
    later = cbor2.CBORTag(9557, "2026-03-29T11:59:59.123456+02:00[Europe/Berlin]")
    output = python_cell(python_workflow(body)).give(pack([0, NOW, SEED, ZONED, {}]))
    assert output == pack([COMPLETE, [later, "Europe/Berlin"]]) + b"\xf6"


def test_a_zone_that_a_guest_does_not_know_leaves_the_offset() -> None:
    zoned = cbor2.CBORTag(9557, "2026-03-28T23:59:59+01:00[Nowhere/Land]")
    output = python_cell(python_workflow("return input")).give(pack([0, NOW, SEED, zoned, {}]))
    assert output == pack([COMPLETE, cbor2.CBORTag(0, "2026-03-28T23:59:59+01:00")]) + b"\xf6"


def test_a_host_that_is_too_new_is_not_understood(made: Made) -> None:
    for event in ([8, NOW, 1, [0, None]], [14, NOW, 1]):
        cell = made(*ASKS)
        cell.start()
        with pytest.raises(GuestStopped) as stopped:
            cell.turn(event)
        assert stopped.value.code == -1
