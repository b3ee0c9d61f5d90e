"""Bails, completion policies and events from outside: whatever ends before everything in it has."""

from __future__ import annotations

from typing import Any

import pytest
from codegen.steps_for_tests import free
from codegen_execution.sessions import Session

from cloche_codegen import Workflow, code, create_workflow, path

a, b, c, d = (free(id) for id in "abcd")


def new(id: str = "t") -> Workflow:
    return create_workflow(id=id)


# ── bail ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "workflow",
    [
        new().then(a).then(d),
        new().parallel([a, b]).then(d),
        new().parallel([a, b], settle=True).then(d),
        new().parallel([a, b], min_successes=1, limit=1).then(d),
        new().branch([(True, a), (True, b)]).then(d),
        new().choose([(True, a)]).then(d),
    ],
)
def test_a_bail_ends_the_run_from_anywhere(workflow: Workflow) -> None:
    with Session(workflow) as run:
        run.bail("a", ["B"])
        assert run.result == ["B"]
        assert "d" not in run.calls
        assert run.abandoned == []


@pytest.mark.parametrize("on_error", ["stop", "collect"])
def test_a_bail_in_an_item_c31(on_error: Any) -> None:
    with Session(new().foreach(a, on_error=on_error).then(d), [1, 2, 3]) as run:
        run.complete("a[0]", 1)
        run.bail("a[1]", ["B"])
        assert run.result == ["B"]
        assert "a[2]" not in run.calls
        assert run.told == [("entered", "a", [1, 2, 3])]


def test_a_bail_in_a_loop_and_after_a_resume() -> None:
    with Session(new().dountil(a, path("inputData.done")).then(d)) as run:
        run.complete("a[1]", {"done": False})
        run.suspend("a[2]")
        run.resume("a[2]")
        run.bail("a[2]", None)
        assert (run.ended, run.result, run.failure) == (True, None, None)


def test_a_bail_ends_the_innermost_workflow_alone() -> None:
    inner = new("inner").parallel([a, b]).then(c).commit()
    outer = new("outer").then(inner).commit()
    with Session(new().then(outer).then(d)) as run:
        assert run.bail("outer/inner/a", {"v": 1}, x=5) == ["d"]
        assert run.told[-2:] == [("left", "outer/inner", [0, {"v": 1}]), ("left", "outer", [0, {"v": 1}])]
        assert run.values["d"] == {"v": 1}
        assert run.abandoned == []
        run.complete("d", "end")
        assert run.result == "end"


def test_a_bailing_arm_is_a_success_of_its_workflow() -> None:
    inner = new("W").parallel([a, b]).commit()
    with Session(new().parallel([inner, d])) as run:
        run.suspend("W/b")
        run.bail("W/a", 1)
        run.suspend("d")
        run.resume("d")
        run.complete("d", 2)
        assert run.result == {"W": 1, "d": 2}


def test_what_is_left_behind_is_dropped_when_it_arrives() -> None:
    inner = new("W").parallel([a, b]).then(c).commit()
    with Session(new().then(inner).then(d)) as run:
        run.bail("W/a", 1)
        assert run.complete("W/b", "late", x=1) == []
        run.complete("d", 2)
        assert run.result == 2


def test_no_condition_and_no_code_can_hold_a_bail_up() -> None:
    tamper = (
        "(() => { Promise.prototype.then = Promise.prototype.catch = function () { return this; };"
        " Object.defineProperty(Object.prototype, 'settle', { value: true });"
        " Object.defineProperty(Object.prototype, 'minSuccesses', { value: 1 });"
        " for (const key of ['get', 'set', 'delete', 'forEach', 'has']) Map.prototype[key] = () => { throw 1; };"
        " for (const key of ['slice', 'startsWith', 'indexOf']) String.prototype[key] = () => { throw 2; };"
        " Array.prototype[Symbol.iterator] = null; Symbol.hasInstance; return inputData; })()"
    )
    inner = new("W").map(code(tamper)).parallel([a, b]).then(c).commit()
    with Session(new().then(inner).branch([(True, d)])) as run:
        run.suspend("W/b")
        run.bail("W/a", 1)
        run.suspend("d")
        run.complete("d", 2)
        assert (run.failure, run.result) == (None, {"d": 2})
    with Session(new().map(code(tamper)).parallel([a, b])) as run:
        run.fail("a", "A")
        run.suspend("b")
        assert run.message == "Error: A"


# ── completion policies ─────────────────────────────────────────────────────────────────────────────────────────────
def test_the_first_success_is_enough_and_the_rest_is_abandoned() -> None:
    inner = new("W").parallel([b, c]).commit()
    with Session(new().parallel([a, inner, d], first_success=True)) as run:
        run.fail("a")
        run.suspend("W/b")
        run.complete("d", 1)
        assert run.abandoned == ["W/b", "W/c"]
        assert run.result == {"d": 1}


def test_no_more_begin_once_there_are_enough() -> None:
    with Session(new().parallel([a, b, c, d], min_successes=2, limit=2).map(path("inputData"))) as run:
        assert run.complete("b", 2) == ["c"]
        run.complete("c", 3)
        assert run.abandoned == ["a"]
        assert run.result == {"b": 2, "c": 3}


def test_too_few_can_still_succeed() -> None:
    with Session(new().parallel([a, b, c], min_successes=2)) as run:
        run.fail("c", "C")
        assert not run.ended
        run.fail("b", "B")
        counts = "of 3, 0 have succeeded and 2 have failed"
        assert run.message == f"CompletionError: the parallel block: {counts}; the first: Error: B"


def test_more_failures_than_tolerated_end_a_block_at_once() -> None:
    with Session(new().parallel([a, b, c], tolerated_failures=0)) as run:
        run.fail("b", "B")
        counts = "of 3, 0 have succeeded and 1 have failed"
        assert run.message == f"CompletionError: the parallel block: {counts}; the first: Error: B"
    with Session(new().parallel([a, b, c], min_successes=1, tolerated_failures=1)) as run:
        run.fail("a", "A")
        run.fail("b", "B")
        counts = "of 3, 0 have succeeded and 2 have failed"
        assert run.message == f"CompletionError: the parallel block: {counts}; the first: Error: A"


def test_tolerated_failures_are_left_out_and_suspended_arms_waited_for() -> None:
    with Session(new().parallel([a, b, c], tolerated_failures=1)) as run:
        run.fail("b", "B")
        run.suspend("a")
        run.complete("c", 3)
        assert not run.ended
        run.complete("a", 1)
        assert run.result == {"a": 1, "c": 3}
    with Session(new().parallel([a, b], tolerated_failures=2)) as run:
        run.fail("a")
        run.fail("b")
        assert run.result == {}


def test_policies_of_foreach() -> None:
    with Session(new().foreach(a, min_successes=2, concurrency=2), [1, 2, 3, 4]) as run:
        assert run.fail("a[0]") == ["a[2]"]
        assert run.complete("a[2]", 30) == ["a[3]"]
        run.complete("a[1]", 20)
        assert run.abandoned == ["a[3]"]
        assert run.result == [20, 30]
        assert run.told[-1] == ("left", "a", [0, [20, 30]])
    with Session(new().foreach(a, tolerated_failures=1), [1, 2, 3]) as run:
        assert run.fail("a[0]", "0") == ["a[1]"]
        assert run.complete("a[1]", None) == ["a[2]"]
        run.fail("a[2]", "2")
        counts = "of 3, 1 have succeeded and 2 have failed"
        assert run.message == f'CompletionError: foreach over "a": {counts}; the first: Error: 0'


def test_a_list_that_is_too_short_fails_before_anything_begins() -> None:
    with Session(new().foreach(a, min_successes=2), [1]) as run:
        assert run.message == 'CompletionError: foreach over "a" needs 2 to succeed and has 1'
        assert run.calls == {}
    with Session(new().foreach(a, tolerated_failures=0), []) as run:
        assert run.result == []


def test_what_was_abandoned_may_still_arrive() -> None:
    with Session(new().parallel([a, b], first_success=True).then(d)) as run:
        assert run.complete("b", 1) == ["d"]
        assert run.complete("a", "late", x=1) == []
        run.complete("d", 2)
        assert run.result == 2


# ── events from outside ─────────────────────────────────────────────────────────────────────────────────────────────
def test_an_event_flows_on() -> None:
    with Session(new().wait_for_event("go", id="w").then(a), {"v": 1}) as run:
        assert run.started == ["w"]
        assert run.values["w"] == ["go", {"input": {"v": 1}}]
        assert run.receive("w", {"by": "me"}) == ["a"]
        assert run.values["a"] == {"by": "me"}


def test_an_event_in_time_abandons_the_timeout() -> None:
    with Session(new().wait_for_event("go", id="w", timeout=1.5)) as run:
        assert (run.started, run.values["w/timeout"]) == (["w", "w/timeout"], 1500)
        run.receive("w", 5)
        assert (run.result, run.abandoned) == (5, ["w/timeout"])


def test_a_timeout_abandons_the_event_and_names_it() -> None:
    inner = new("W").wait_for_event("go", id="w", timeout=path("inputData.wait")).commit()
    with Session(new().then(inner), {"wait": 2}) as run:
        run.fire("W/w/timeout")
        assert run.message == 'EventTimeout: no event "go" came to "W/w" in 2000 ms'
        assert run.abandoned == ["W/w"]
    with Session(new().wait_for_event("go", timeout="'soon'")) as run:
        assert run.message == 'ExpressionError: the duration of "wait_for_event_1" is no number of seconds: "soon"'


def test_what_cannot_cross_is_no_wait() -> None:
    with Session(new().map(code("[() => 1]"), id="m").wait_for_event("go", timeout=1)) as run:
        assert run.failure["name"] == "TypeError"
