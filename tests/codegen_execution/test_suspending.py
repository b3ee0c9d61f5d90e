"""Blocks with arms that wait for outside data: who is waited for, what fails, what goes on after a resume."""

from __future__ import annotations

from codegen.steps_for_tests import free
from codegen_execution.sessions import Session

from cloche_codegen import Workflow, clone_workflow, create_workflow, path

a, b, c, d = (free(id) for id in "abcd")


def new(id: str = "t") -> Workflow:
    return create_workflow(id=id)


def test_failure_beats_suspension_in_either_order_c15() -> None:
    for first_suspended in (True, False):
        with Session(new().parallel([a, b])) as run:
            if first_suspended:
                run.suspend("a")
                run.fail("b", "F")
            else:
                run.fail("b", "F")
                assert not run.ended
                run.suspend("a")
            assert run.message == "Error: F"
            assert run.abandoned == []


def test_suspended_arms_are_resumed_one_by_one_c37() -> None:
    with Session(new().parallel([a, b])) as run:
        run.suspend("a", "b")
        run.resume("a")
        run.complete("a", 1)
        assert not run.ended
        run.resume("b")
        run.complete("b", 2)
        assert run.result == {"a": 1, "b": 2}


def test_an_arm_that_runs_again_is_waited_for() -> None:
    with Session(new().parallel([a, b, c])) as run:
        run.suspend("a", "b")
        run.resume("a")
        run.fail("c", "C")
        assert not run.ended
        run.suspend("a")
        assert run.message == "Error: C"


def test_the_first_failure_in_order_is_told() -> None:
    with Session(new().parallel([a, b, c])) as run:
        run.fail("c", "C")
        run.suspend("a")
        run.fail("b", "B")
        assert run.message == "Error: B"


def test_a_settled_block_waits_for_its_suspended_arms() -> None:
    with Session(new().parallel([a, b], settle=True)) as run:
        run.fail("b", "B")
        run.suspend("a")
        assert not run.ended
        run.complete("a", 1)
        assert run.result["a"] == {"status": "success", "output": 1}


def test_a_suspended_step_keeps_its_place_under_a_limit() -> None:
    with Session(new().parallel([a, b, c], limit=2)) as run:
        assert run.started == ["a", "b"]
        run.suspend("a")
        assert run.fail("b", "B") == ["c"]
        assert not run.ended
        run.suspend("c")
        assert run.message == "Error: B"


def test_arms_that_could_not_begin_do_not_hold_up_a_failure() -> None:
    with Session(new().parallel([a, b, c, d], limit=2)) as run:
        run.fail("a", "A")
        run.suspend("b", "c")
        assert run.message == "Error: A"
        assert "d" not in run.calls


def test_branches_wait_and_fail_alike_and_never_ask_again_c44() -> None:
    workflow = (
        new().branch([("(inputData.asked = (inputData.asked ?? 0) + 1) === 1", a), (True, b), (False, c)]).then(d)
    )
    with Session(workflow, {}) as run:
        assert run.started == ["a", "b"]
        run.suspend("a")
        run.complete("b", 2)
        run.resume("a")
        assert run.complete("a", 1) == ["d"]
        assert run.values["d"] == {"a": 1, "b": 2}
        run.complete("d")
    with Session(new().branch([(True, a), (True, b)])) as run:
        run.suspend("a")
        run.fail("b")
        assert run.message == "Error: broken"
    with Session(new().choose([(True, a)])) as run:
        run.suspend("a")
        run.complete("a", 1)
        assert run.result == {"a": 1}


def test_a_nested_workflow_is_suspended_when_what_it_waits_for_is() -> None:
    inner = new("W").then(a).parallel([b, c]).commit()
    with Session(new().parallel([inner, d])) as run:
        run.complete("W/a")
        run.suspend("W/b")
        run.fail("d", "D")
        assert not run.ended  # W/c still runs
        run.suspend("W/c")
        assert run.message == "Error: D"


def test_a_nested_workflow_goes_on_after_a_resume() -> None:
    inner = new("W").parallel([b, c]).then(a).commit()
    with Session(new().parallel([inner, d])) as run:
        run.suspend("W/b", "W/c")
        run.resume("W/b")
        run.fail("d", "D")
        run.complete("W/b")
        assert run.ended  # W/c is suspended, and nothing else runs
        assert run.message == "Error: D"
    with Session(new().parallel([inner, d])) as run:
        run.suspend("W/b")
        run.complete("W/c")
        run.resume("W/b")
        assert run.complete("W/b") == ["W/a"]
        run.fail("d", "D")
        assert not run.ended
        run.complete("W/a")
        assert run.message == "Error: D"


def test_a_failure_inside_is_the_failure_of_the_arm() -> None:
    inner = new("W").parallel([b, c]).commit()
    with Session(new().parallel([inner, d], settle=True)) as run:
        run.suspend("W/b")
        run.fail("W/c", "C")
        assert run.told[-1] == ("left", "W", [1, {"name": "Error", "message": "C"}])
        assert run.abandoned == []  # the host knows it from what is left
        run.complete("d", 1)
        assert run.result["W"] == {"status": "failed", "error": {"name": "Error", "message": "C"}}


def test_suspension_is_told_upwards_through_every_kind_of_block() -> None:
    deep = new("deep").then(a).commit()
    looped = new("looped").dountil(deep, path("inputData.done")).commit()
    each = new("each").foreach(looped, concurrency=2).commit()
    chosen = new("chosen").choose([(True, each)]).commit()
    branched = new("branched").branch([(True, chosen)]).commit()
    with Session(new().parallel([branched, d]), [1, 2]) as run:
        first = "branched/chosen/each/looped[0]/deep[1]/a"
        second = "branched/chosen/each/looped[1]/deep[1]/a"
        assert run.started == [first, second, "d"]
        run.suspend(first)
        run.fail("d", "D")
        assert not run.ended
        run.complete(second, {"done": False})
        assert not run.ended
        run.suspend("branched/chosen/each/looped[1]/deep[2]/a")
        assert run.message == "Error: D"


def test_foreach_one_at_a_time_stops_at_a_suspended_item_c41() -> None:
    with Session(new().foreach(a), [1, 2, 3]) as run:
        assert run.complete("a[0]", 10) == ["a[1]"]
        assert run.suspend("a[1]") == []
        assert run.resume("a[1]") == []
        assert run.complete("a[1]", 21) == ["a[2]"]
        run.suspend("a[2]")
        run.complete("a[2]", 32)
        assert run.result == [10, 21, 32]


def test_foreach_all_at_once_c41() -> None:
    with Session(new().foreach(a, concurrency=3), [1, 2, 3]) as run:
        run.complete("a[0]", 10)
        run.suspend("a[1]", "a[2]")
        for item in ("a[2]", "a[1]"):
            run.resume(item)
            run.complete(item, item)
        assert run.result == [10, "a[1]", "a[2]"]


def test_a_failed_item_ends_foreach_when_the_others_are_suspended() -> None:
    with Session(new().foreach(a, concurrency=3), [1, 2, 3, 4]) as run:
        run.suspend("a[0]")
        run.fail("a[2]", "2")
        assert not run.ended
        run.fail("a[1]", "1")
        assert run.message == "Error: 1"
        assert run.told[-1][:2] == ("left", "a")
        assert "a[3]" not in run.calls
    with Session(new().foreach(a, concurrency=2, on_error="collect"), [1, 2, 3]) as run:
        run.suspend("a[0]")
        assert run.fail("a[1]", "1") == ["a[2]"]
        run.suspend("a[2]")
        assert not run.ended
        run.complete("a[2]", 2)
        run.complete("a[0]", 0)
        assert [item["status"] for item in run.result] == ["success", "failed", "success"]


def test_a_loop_body_may_suspend_every_turn_c43() -> None:
    with Session(new().dountil(a, path("inputData.v") >= 3), {"v": 1}) as run:
        run.suspend("a[1]")
        run.resume("a[1]")
        assert run.complete("a[1]", {"v": 2}) == ["a[2]"]
        run.suspend("a[2]")
        run.resume("a[2]")
        run.complete("a[2]", {"v": 3})
        assert run.result == {"v": 3}


def test_waiting_for_an_event_or_a_timer_is_not_suspended() -> None:
    inner = new("W").wait_for_event("e").sleep(1).commit()
    with Session(new().parallel([inner, d])) as run:
        run.fail("d", "D")
        assert not run.ended
        run.receive("W/wait_for_event_1", 1)
        assert not run.ended
        run.fire("W/sleep_1")
        assert run.message == "Error: D"


def test_later_blocks_are_not_taken_for_earlier_ones() -> None:
    inner = new("W").parallel([a, b]).then(d).commit()
    with Session(new().parallel([inner, c], settle=True).then(clone_workflow(inner, id="V"))) as run:
        run.suspend("W/a")
        run.fail("W/b", "B")
        assert run.complete("c") == ["V/a", "V/b"]
        run.suspend("V/a")
        assert not run.ended
        run.complete("V/b", 1)
        assert run.complete("V/a", 2) == ["V/d"]


def test_many_suspended_arms() -> None:
    arms = [free(f"s{i}") for i in range(3000)]
    with Session(new().parallel(arms)) as run:
        run.suspend(*(step.id for step in arms[1:]))
        run.fail("s0", "S")
        assert run.message == "Error: S"


def test_state_changes_are_seen_at_once_and_everywhere_c50() -> None:
    inner = new("W").choose([(path("state.x") == 1, a)]).map({"s": path("state")}).commit()
    with Session(
        new().then(b).then(inner).map({"x": path("state.y"), "w": path("inputData.s")}), state={"x": 0, "z": 9}
    ) as run:
        assert run.complete("b", None, x=1) == ["W/a"]
        run.complete("W/a", None, y=2)
        assert run.result == {"x": 2, "w": {"x": 1, "y": 2, "z": 9}}
    with Session(new().then(b).map({"x": path("state.x")})) as run:
        run.complete("b", None, x=1)
        assert run.result == {"x": 1}
