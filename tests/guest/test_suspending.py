"""Steps that suspend, resume and bail, and state that arrives with their results."""

from __future__ import annotations

from typing import Any

import pytest
from guest.cells import COMPLETE, FAIL, NOW, Cell, GuestStopped, workflow

BAIL = 10


def test_suspended_and_resumed_settle_nothing() -> None:
    cell = Cell(workflow("return await step('a')()"))
    cell.start()

    assert (
        cell.turn([3, NOW, 1, {"path": "a", "payload": 1, "labels": ["x"]}], [9, NOW, 1, {"path": "a", "data": 2}])
        == []
    )
    assert cell.turn([9, NOW, 1, {"path": "a"}], [3, NOW, 1, {"path": "a"}]) == []
    assert cell.complete(1, "done") == [[7, "done"]]


@pytest.mark.parametrize(
    "event", [[9, NOW, 1, 5], [9, NOW, 1], [10, NOW, 1], [10, NOW, 1, None, 5], [11, NOW, 1, None]]
)
def test_a_malformed_event_is_a_fault(event: list[Any]) -> None:
    cell = Cell(workflow("return await step('a')()"))
    cell.start()

    with pytest.raises(GuestStopped) as stopped:
        cell.turn(event)
    assert stopped.value.code == -1


@pytest.mark.parametrize("kind", [9, 10])
def test_only_an_open_step_can_be_resumed_or_bail(kind: int) -> None:
    cell = Cell(workflow("return await cloche.sleep('t', 1)"))
    cell.start()

    with pytest.raises(GuestStopped) as stopped:
        cell.turn([kind, NOW, 1, {}])
    assert stopped.value.code == -7


def test_a_bail_completes_the_run() -> None:
    cell = Cell(workflow("await step('a')(); await step('never')()"))
    cell.start()

    assert cell.turn([BAIL, NOW, 1, {"v": 1}]) == [[COMPLETE, {"v": 1}]]


def test_workflow_code_can_pass_a_bail_on_but_not_read_or_make_one() -> None:
    body = """
    const seen = [];
    try { await step('a')() } catch (e) {
      seen.push(typeof e, Object.getPrototypeOf(e), Reflect.ownKeys(e).length, Object.isFrozen(e), e.constructor === undefined);
      await step('seen')(seen);
      for (const fake of [Object.create(e), { ...e }, new Proxy(e, {})]) {
        try { await (async () => { throw fake })() } catch (thrown) { seen.push(thrown === fake) }
      }
      throw e;
    }"""
    cell = Cell(workflow(body))
    cell.start()

    ((_, call, *_, arguments),) = cell.turn([BAIL, NOW, 1, "secret"])
    assert arguments == [["object", None, 0, True, True]]
    assert cell.complete(call) == [[COMPLETE, "secret"]]


def test_what_looks_like_a_bail_fails_the_run() -> None:
    cell = Cell(workflow("try { await step('a')() } catch (e) { throw new Proxy(e, {}) }"))
    cell.start()

    ((kind, *_),) = cell.turn([BAIL, NOW, 1, 5])
    assert kind == FAIL


def test_state_is_always_there_and_changes_before_the_result_is_heard() -> None:
    body = "const { state, context } = given, a = await step('a')(); return [a, { ...state }, context, given.state === state]"
    cell = Cell(workflow(body))
    cell.start()

    assert cell.turn([1, NOW, 1, "a", {"x": 1, "__proto__": 2}]) == [[7, ["a", {"x": 1, "__proto__": 2}, {}, True]]]


def test_state_is_merged_key_by_key_also_by_a_bail_and_for_an_abandoned_step() -> None:
    body = """
    const a = step('a')(), b = step('b')(), c = step('c')();
    cloche.abandon(b);
    await a;
    try { await c } catch { return given.state }"""
    cell = Cell(workflow(body))
    cell.start(given={"state": {"x": 0, "z": 9}})

    cell.turn([1, NOW, 1, None, {"x": 1}], [1, NOW, 2, None, {"y": 2}])
    assert cell.turn([BAIL, NOW, 3, None, {"w": 3}]) == [[7, {"x": 1, "y": 2, "z": 9, "w": 3}]]


def test_frozen_state_stays_as_it_is() -> None:
    cell = Cell(workflow("Object.freeze(given.state); await step('a')(); return given.state"))
    cell.start(given={"state": {"x": 0}})

    assert cell.turn([1, NOW, 1, None, {"x": 1}]) == [[7, {"x": 0}]]
