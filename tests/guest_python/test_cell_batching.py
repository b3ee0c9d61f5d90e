"""The memory of a Python guest is a function of image and events, however these were batched; and its faults."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from guest.cells import COMPLETE, NOW, SEED, STEP, Cell, GuestStopped, pack, python_module
from guest_python.python_cells import ECHO, HEAD, python_cell, workflow

MIXED = workflow(
    """
total = Sum()
for i in range(input):
    a, b = await gather(child(i), child(-i))
    total.value += a + b
    knot = [{str(i), "x", f"y{i}"}, random.random(), uuid.uuid4()]
    knot.append(knot)
    print(total.value, len(str(knot)))
return total.value
""",
    head="""
import random, uuid
from dataclasses import dataclass
inc = step("inc")
@dataclass
class Sum:
    value: int = 0
async def child(i):
    return await inc(await inc({"i": i, "text": "é" * (i % 50)}))
""",
)


def history(count: int) -> list[bytes]:
    """Every step of `MIXED` answered with its call's number, in the order asked."""
    return [pack([0, NOW, SEED, count, {}]), *(pack([1, NOW + i, i, i]) for i in range(1, 4 * count + 1))]


def test_the_whole_state_is_equal_however_events_are_batched() -> None:
    events = history(250)
    seen = set()
    for size in (len(events), 100, 7, 1, 0):
        cell = python_cell(MIXED)
        cuts = (
            [*range(0, len(events), size), len(events)] if size else sorted(random.Random(5).sample(range(1, 1000), 50))
        )
        cuts = sorted({0, *cuts, len(events)})
        output = b"".join(cell.give(*events[a:b]) for a, b in pairwise(cuts))
        seen.add((cell.state(), output))

    assert len(seen) == 1


def test_garbage_in_cycles_is_collected_at_the_same_events() -> None:
    body = "import gc\nfor i in range(3000):\n    x = [i]; x.append(x)\n    await step('a')(i)\nreturn gc.get_count()[1] >= 0"
    events = [pack([0, NOW, SEED, None, {}]), *(pack([1, NOW, i, None]) for i in range(1, 3001))]
    one, two = python_cell(workflow(body)), python_cell(workflow(body))
    outputs = one.give(*events), b"".join(two.give(event) for event in events)

    assert outputs[0] == outputs[1]
    assert one.state() == two.state()


def test_two_cells_of_one_image_do_the_same_with_the_same_fuel() -> None:
    one, two = python_cell(MIXED), python_cell(MIXED)
    for cell in (one, two):
        cell.give(*history(40))

    assert (one.state(), one.fuel_used()) == (two.state(), two.fuel_used())


def test_a_large_output_stops_a_turn_between_events() -> None:
    body = "for i in range(6): await step('a')('x' * 1_000_000)"
    cell = python_cell(workflow(body))
    events = [pack([0, NOW, SEED, None, {}]), *(pack([1, NOW, i, None]) for i in range(1, 7))]
    consumed, output = cell.pass_(b"".join(events))

    assert 2 << 20 < len(output) < 4 << 20
    rest = b"".join(events)[consumed:]
    assert rest[:1] == b"\x84"
    assert cell.give(rest).endswith(b"\x82\x07\xf6\xf6")


def fault(source: str, *events: Any) -> int:
    with pytest.raises(GuestStopped) as stopped:
        python_cell(source).turn(*events)
    return stopped.value.code


START = [0, NOW, SEED, None, {}]


def test_an_output_of_more_than_6_mib_is_a_fault() -> None:
    assert fault(workflow("await step('a')('x' * (7 << 20))"), START) == -2


def test_more_than_100000_commands_are_a_fault() -> None:
    assert fault(workflow("for i in range(100_001): print(i)"), START) == -6


def test_a_turn_before_load_is_a_fault() -> None:
    with pytest.raises(GuestStopped) as stopped:
        Cell(guest=python_module()).turn(START)

    assert stopped.value.code == -4


def test_a_second_load_is_refused() -> None:
    cell = python_cell(ECHO)
    with pytest.raises(GuestStopped) as again:
        cell.load(ECHO)
    assert again.value.failure["message"] == "a workflow is loaded already"


@pytest.mark.parametrize(
    "event",
    [
        [1, NOW, 1, None],  # before the start
        [0, NOW, b"short", None, {}],
        [0, NOW, SEED, None],
        [0, NOW, SEED, None, []],
        [0, "now", SEED, None, {}],
        [11, NOW],
        [],
        None,
    ],
)
def test_an_event_of_another_form_is_malformed(event: Any) -> None:
    assert fault(ECHO, event) == -1


def test_an_event_for_no_open_call_is_a_fault() -> None:
    source = workflow("await step('a')()")
    assert fault(source, START, [1, NOW, 2, None]) == -7
    assert fault(source, START, [4, NOW, 1]) == -7
    assert fault(source, START, START) == -1
    assert fault(source, START, [2, NOW, 1, {"name": "E"}]) == -1


def test_arguments_are_taken_when_they_are_asked() -> None:
    source = workflow(
        "data = {'a': 1}\nasked = step('a')(data)\nbegun = gather(asked)\nawait begun\ndata['a'] = 2\nreturn data"
    )
    cell = python_cell(source)

    assert cell.start() == [[STEP, 1, "a", "a", [{"a": 1}]]]
    assert cell.complete(1) == [[COMPLETE, {"a": 2}]]


def test_the_loop_held_by_the_driver_is_not_replaced_by_workflow_code() -> None:
    head = "import cloche._loop as loop\nloop.deliver = loop.load = loop.failure = None\n"

    assert python_cell(f"{HEAD}{head}@workflow\nasync def main(input): return 1").start() == [[COMPLETE, 1]]
