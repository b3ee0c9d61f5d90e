"""Workflows in Python: what they ask for, in which order, and what happens to what is not wanted any more."""

from __future__ import annotations

from typing import Any

import pytest
from guest_python.loop_cells import LoopCell

from cloche.errors import LoadFailed, MalformedOutput, OutputTooLarge

STEP, TIMER, HOOK, CHILD, LOG, ENTERED, LEFT, COMPLETE, FAIL, ABANDON = range(10)
NOW = 1_767_225_600_000
SEED = bytes(16)
CANNOT = ", which cannot cross; what can: text, numbers, bytes, dates, lists, mappings, models"


class Native(LoopCell):
    """A run whose values are told in plain; `body` is that of the workflow."""

    def __init__(self, body: str, head: str = "") -> None:
        lines = "\n".join("    " + line for line in body.strip("\n").split("\n"))
        names = "gather, log, now, race, sleep, sleep_until, start_child, step, wait_for_event, workflow"
        super().__init__(
            f"import cloche\nfrom cloche import {names}\n{head}\n@workflow\nasync def main(input):\n{lines}\n"
        )

    def tell(self, *event: Any) -> list[Any]:
        kind, *rest = event
        return self.deliver([kind, NOW, *rest])

    def start(self, value: Any = None) -> list[Any]:
        return self.tell(0, SEED, value, {})

    def complete(self, call: int, value: Any = None) -> list[Any]:
        return self.tell(1, call, value)

    def fail(self, call: int, name: str = "ValueError", **more: Any) -> list[Any]:
        return self.tell(2, call, {"name": name, "message": "no", **more})


def test_steps_are_asked_by_name_and_numbered_from_the_second_on() -> None:
    run = Native("a = await step('inc')(input)\nreturn [a, await step('inc')(a), await step('inc', 'here')(1, 2)]")
    assert run.start(5) == [[STEP, 1, "inc", "inc", [5]]]
    assert run.complete(1, 6) == [[STEP, 2, "inc#2", "inc", [6]]]
    assert run.complete(2, 7) == [[STEP, 3, "here", "inc", [1, 2]]]
    assert run.complete(3, 8) == [[COMPLETE, [6, 7, 8]]]


def test_the_decorator_of_the_host_makes_a_call_of_it() -> None:
    head = "@cloche.step(id='create-account', retries=2)\nasync def create(user): raise AssertionError\n@step\ndef plain(): ..."
    run = Native("return [await create(input), await plain()]", head)
    assert run.start("u") == [[STEP, 1, "create-account", "create-account", ["u"]]]
    assert run.complete(1) == [[STEP, 2, "plain", "plain", []]]


def test_arguments_are_what_they_were_when_the_step_was_asked() -> None:
    run = Native("a = [1]\ncall = step('s')(a)\nfirst = gather(call, step('t')(a))\na.append(2)\nreturn await first")
    assert run.start() == [[STEP, 1, "s", "s", [[1, 2]]], [STEP, 2, "t", "t", [[1, 2]]]]


def test_what_cannot_cross_is_an_error_where_it_is_asked_and_takes_no_number() -> None:
    run = Native(
        "try:\n    await step('s')({'a': [print]})\nexcept TypeError as e:\n    return [str(e), await step('s')()]"
    )
    assert run.start() == [[STEP, 1, "s", "s", []]]
    (end,) = run.complete(1, "done")
    assert end == [COMPLETE, [f"arguments[0].a[0] is a function{CANNOT}", "done"]]


def test_gather_keeps_the_order_and_the_limit() -> None:
    run = Native("return await gather(*[step('s')(i) for i in range(4)], limit=2)")
    assert [command[2] for command in run.start()] == ["s", "s#2"]
    assert run.complete(2, "b") == [[STEP, 3, "s#3", "s", [2]]]
    assert run.complete(3, "c") == [[STEP, 4, "s#4", "s", [3]]]
    assert run.complete(1, "a") == []
    assert run.complete(4, "d") == [[COMPLETE, ["a", "b", "c", "d"]]]


def test_gather_of_coroutines_goes_on_in_the_order_of_events() -> None:
    head = "async def two(n):\n    return await step('b')(await step('a')(n))"
    run = Native("return await gather(two(1), two(2))", head)
    assert [command[2] for command in run.start()] == ["a", "a#2"]
    assert run.complete(2, 20) == [[STEP, 3, "b", "b", [20]]]
    assert run.complete(1, 10) == [[STEP, 4, "b#2", "b", [10]]]
    assert run.complete(3, 21) == []
    assert run.complete(4, 11) == [[COMPLETE, [11, 21]]]


def test_the_first_failure_gives_up_the_rest_and_waits_for_their_cleaning_up() -> None:
    head = """
async def careful():
    try:
        await step('slow')()
    finally:
        await step('undo')()
"""
    run = Native("return await gather(careful(), step('bad')(), step('other')(), careful(), limit=3)", head)
    assert [command[3] for command in run.start()] == ["slow", "bad", "other"]
    assert run.fail(2) == [[ABANDON, 1], [STEP, 4, "undo", "undo", []], [ABANDON, 3]]
    assert run.complete(1) == []  # its result comes all the same, and nobody hears it
    (end,) = run.complete(4)
    assert end[0] == FAIL
    assert (end[1]["name"], end[1]["message"]) == ("ValueError", "no")


def test_settled_gather_gives_how_each_ended() -> None:
    run = Native("return await gather(step('a')(), step('b')(), settle=True)")
    run.start()
    assert run.fail(1, "Odd", data={"n": 1}) == []
    assert run.complete(2, 5) == [
        [COMPLETE, [{"status": "failed", "error": {"name": "Odd", "message": "no", "data": {"n": 1}}},
                    {"status": "success", "output": 5}]]
    ]  # fmt: skip


def test_race_takes_the_first_and_gives_up_the_others() -> None:
    head = """
async def nap():
    try:
        await sleep(9)
    finally:
        log('woken')
"""
    run = Native("return await race(step('s')(), nap(), step('t')())", head)
    assert [command[0] for command in run.start()] == [STEP, TIMER, STEP]
    ended = run.complete(3, "t")
    assert ended == [[ABANDON, 1], [ABANDON, 2], [LOG, 2, "woken"], [COMPLETE, "t"]]


def test_a_race_inside_a_gather_inside_a_race_is_given_up_inside_out() -> None:
    run = Native("return await race(gather(step('a')(), race(step('b')(), step('c')())), step('d')())")
    assert len(run.start()) == 4
    assert run.complete(4, 1) == [[ABANDON, 1], [ABANDON, 2], [ABANDON, 3], [COMPLETE, 1]]


def test_a_limit_below_one_and_an_empty_race_are_errors() -> None:
    run = Native("try:\n    gather(limit=0)\nexcept ValueError as e:\n    race(str(e))\n    race()")
    (end,) = run.start()
    assert (end[0], end[1]["name"]) == (FAIL, "ValueError")
    assert Native("return await gather()").start() == [[COMPLETE, []]]


@pytest.mark.parametrize(
    ("call", "due"),
    [("sleep(1.5)", 1500), ("sleep(days=3)", 259_200_000), ("sleep(hours=1, minutes=1)", 3_660_000), ("sleep(-1)", 0),
     ("sleep(timedelta(seconds=2))", 2000), ("sleep_until(now() + timedelta(seconds=5))", 5000)],
)  # fmt: skip
def test_sleeping(call: str, due: int) -> None:
    run = Native(f"await {call}\nreturn now().isoformat()", "from datetime import timedelta")
    assert run.start() == [[TIMER, 1, "sleep", NOW + due, None]]
    assert run.deliver([4, NOW + 1, 1]) == [[COMPLETE, "2026-01-01T00:00:00.001000+00:00"]]


def test_an_event_comes_or_is_too_late() -> None:
    body = "try:\n    return await wait_for_event('paid', timeout=60)\nexcept TimeoutError as e:\n    return type(e).__name__"
    run = Native(body)
    assert run.start() == [
        [HOOK, 1, "paid", "paid", {"input": None}],
        [TIMER, 2, "paid/timeout", NOW + 60_000, None],
    ]
    assert run.tell(5, 1, {"sum": 3}) == [[ABANDON, 2], [COMPLETE, {"sum": 3}]]
    run = Native(body)
    run.start()
    assert run.tell(4, 2) == [[ABANDON, 1], [COMPLETE, "EventTimeout"]]


def test_a_child_run_gives_its_result_or_its_failure() -> None:
    run = Native("return [await start_child('other', {'x': 1}), await start_child('other')]")
    assert run.start() == [[CHILD, 1, "other", "other", {"x": 1}]]
    assert run.tell(6, 1, [0, 5]) == [[CHILD, 2, "other#2", "other", None]]
    (end,) = run.tell(6, 2, [1, {"name": "Bad", "message": "it was"}])
    assert (end[0], end[1]["name"], end[1]["message"]) == (FAIL, "Bad", "it was")


def test_a_failure_can_be_caught_by_the_name_of_a_built_in_exception() -> None:
    run = Native(
        "try:\n    await step('s')()\nexcept ValueError as e:\n    return [str(e), e.name, e.data, str(e.cause)]"
    )
    run.start()
    assert run.fail(1, data=[1], cause={"name": "Odd", "message": "why"}) == [
        [COMPLETE, ["no", "ValueError", [1], "why"]]
    ]


def test_exceptions_that_the_workflow_imports_are_caught_by_their_names() -> None:
    body = "try:\n    await step('s')()\nexcept ValueError as e:\n    return [isinstance(e, JSONDecodeError), str(e)]"
    run = Native(body, "from json import JSONDecodeError")
    run.start()
    assert run.fail(1, "JSONDecodeError") == [[COMPLETE, [True, "no"]]]


def test_a_base_is_found_in_a_module_that_was_imported() -> None:
    body = """
try:
    await step('s')()
except decimal.DivisionByZero as e:
    return [e.name, isinstance(e, ArithmeticError)]
"""
    run = Native(body, "import decimal")
    run.start()
    bases = ["shop.NoPrice", "decimal.DivisionByZero", "builtins.Exception"]
    assert run.fail(1, "NoPrice", bases=bases) == [[COMPLETE, ["NoPrice", True]]]


def test_what_the_loop_takes_as_its_own_is_never_made_of_a_failure() -> None:
    body = "try:\n    await step('s')()\nexcept Exception as e:\n    return [type(e).__name__, list(e.bases)]"
    for name in ("StopIteration", "MemoryError", "StopAsyncIteration"):
        run = Native(body)
        run.start()
        assert run.fail(1, name, bases=[f"builtins.{name}"]) == [[COMPLETE, ["Failure", [f"builtins.{name}"]]]]


def test_of_a_group_except_star_takes_a_part() -> None:
    body = """
try:
    await step('s')()
except* KeyError as e:
    log(len(e.exceptions))
except* ValueError as e:
    log(str(e.exceptions[0]))
"""
    run = Native(body)
    run.start()
    members = [{"name": name, "message": "m", "bases": [f"builtins.{name}"]} for name in ("KeyError", "ValueError")]
    told = run.fail(1, "ExceptionGroup", bases=["builtins.ExceptionGroup"], members=members)
    assert told == [[LOG, 2, "1"], [LOG, 2, "m"], [COMPLETE, None]]


def test_an_exception_that_leaves_is_the_failure_of_the_run_with_its_place() -> None:
    head = """
class Broke(Exception): ...
def sink():
    error = Broke('sunk')
    error.depth, error.call = 3, print
    raise error from KeyError('k')
"""
    (end,) = Native("sink()", head).start()
    trace = end[1].pop("trace")
    of_exceptions = ["builtins.Exception", "builtins.BaseException"]
    cause = {
        "name": "KeyError", "message": "'k'", "data": {"args": ["k"]},
        "bases": ["builtins.KeyError", "builtins.LookupError", *of_exceptions],
    }  # fmt: skip
    assert end == [
        FAIL, {"name": "Broke", "message": "sunk", "data": {"depth": 3}, "bases": of_exceptions, "cause": cause}
    ]  # fmt: skip
    assert [function for _, function in trace] == ["main", "sink"]


def test_a_run_that_is_canceled_cleans_up() -> None:
    run = Native("try:\n    await step('slow')()\nfinally:\n    await step('undo')()")
    run.start()
    assert run.tell(7, "enough") == [[ABANDON, 1], [STEP, 2, "undo", "undo", []]]
    (end,) = run.complete(2)
    assert (end[0], end[1]["name"]) == (FAIL, "Canceled")


def test_a_bail_ends_the_run_well_and_no_except_exception_stops_it() -> None:
    run = Native("try:\n    await gather(step('a')(), step('b')())\nexcept Exception:\n    return 1")
    run.start()
    assert run.tell(10, 1, {"early": True}) == [[COMPLETE, {"early": True}]]
    assert run.complete(2) == []


def test_after_the_end_nothing_is_asked_and_events_are_still_checked() -> None:
    run = Native("async def never():\n    await step('x')()\nawait race(step('a')(), step('b')())\nreturn gather", "")
    run.start()
    (_, end) = run.complete(1)
    assert (end[0], end[1]["name"], end[1]["message"]) == (FAIL, "TypeError", f"result is a function{CANNOT}")
    assert run.complete(2) == []
    with pytest.raises(MalformedOutput, match="a call that it did not make"):
        run.complete(2)


@pytest.mark.parametrize(
    "event", [[1, 9, None], [2, 1, {"name": "a", "message": "b"}], [5, 1, 0], [9, 2, {}], [6, 1, [0, 1]]]
)
def test_an_event_that_names_no_open_call_of_its_kind_is_a_fault(event: list[Any]) -> None:
    run = Native("await sleep(1)")
    run.start()
    with pytest.raises(MalformedOutput, match="a call that it did not make"):
        run.tell(*event)


def test_only_cloches_own_can_be_awaited() -> None:
    head = "import types\n@types.coroutine\ndef odd():\n    yield 5"
    (end,) = Native("await odd()", head).start()
    assert end[1]["message"] == "int cannot be awaited in a workflow: await steps, sleeps and events"
    (end,) = Native("await gather(5)").start()
    assert end[1]["name"] == "TypeError"


def test_too_many_commands_of_one_event_are_a_fault_that_cannot_be_caught() -> None:
    run = Native(
        "try:\n    await gather(*[step('s')() for _ in range(101_000)])\nexcept BaseException:\n    return 'caught'"
    )
    with pytest.raises(OutputTooLarge, match="100,000"):
        run.start()


def test_names_of_the_host_can_be_imported_and_not_used() -> None:
    run = Native("StepContext(1)", "from cloche import StepContext, FatalError, create_workflow")
    (end,) = run.start()
    assert "cloche.StepContext belongs to the host" in end[1]["message"]


def test_a_module_without_a_workflow_does_not_load() -> None:
    with pytest.raises(LoadFailed, match="@workflow"):
        LoopCell("async def main(input): return 1")


def test_log_lines_have_their_level_and_say_nothing_while_loading() -> None:
    run = Native("log('a', 1)\nlog.error('b')", "log('unheard')")
    assert run.start() == [[LOG, 2, "a 1"], [LOG, 4, "b"], [COMPLETE, None]]


def test_a_run_that_waits_for_itself_asks_for_nothing_more() -> None:
    """The host sees that nothing is open and fails the run with a Deadlock."""
    run = Native("await type(step('s')()).__mro__[3]()")
    assert run.start() == []


def test_state_may_have_keys_that_are_named_as_methods_of_a_dict() -> None:
    source = """
from cloche import step, workflow
@workflow
async def main(input, given):
    await step('s')()
    return given['state']
"""
    run = LoopCell(source)
    run.deliver([0, NOW, SEED, None, {"state": {"update": 1, "get": 2, "items": 3}, "context": {}}])
    ((kind, result),) = run.deliver([1, NOW, 1, None, {"update": 5, "setdefault": 6}])
    assert (kind, result) == (COMPLETE, {"update": 5, "get": 2, "items": 3, "setdefault": 6})
