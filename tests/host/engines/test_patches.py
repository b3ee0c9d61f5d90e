"""Patches: one answer on every engine, kept for the whole run, and the same bytes whatever the batching."""

from __future__ import annotations

from typing import Any

import pytest
from host.engines.twins import NOW, STEP, code_of, commands_of, engines, event, opened, started

import cloche_guest
from cloche import Workflow, create_step, create_workflow, path
from cloche.engines import Cell, Language
from cloche.errors import MalformedOutput
from cloche.history.messages import Replaying
from cloche.sandbox import Cell as SandboxCell
from cloche_codegen import patched

PATCHED = 11
KINDS = ("sandbox", "sandbox, python", "direct")


def looping() -> Workflow:
    """Asks for a patch before its first step and in every turn of a loop, and for another behind it."""
    new, old = (create_step(id=id, execute=lambda data: data) for id in ("new", "old"))
    turn = (
        create_workflow(id="turn").choose([(patched("a"), new)], otherwise=old).map({"v": path("initData.v")}).commit()
    )
    late, last = (create_step(id=id, execute=lambda data: data) for id in ("late", "last"))
    return (
        create_workflow(id="w")
        .dountil(turn, path("iterationCount") >= 2)
        .choose([(patched("b"), late)], otherwise=last)
        .commit()
    )


@pytest.fixture(params=KINDS)
def cell(request: pytest.FixtureRequest) -> Cell:
    language: Language = "python" if "python" in request.param else "javascript"
    if language == "python" and cloche_guest.find_guest("python") is None:
        pytest.skip("the Python guest is not built: make guest-python")
    sandbox, direct = engines()
    return opened(direct if request.param == "direct" else sandbox, code_of(looping(), language))


def told(cell: Cell, *events: bytes) -> list[list[Any]]:
    """Steps by name, patches by id."""
    said = [command for one in events for command in commands_of(cell.turn([one]))]
    return [[c[0], c[3] if c[0] == STEP else c[1]] for c in said if c[0] in (STEP, PATCHED)]


def done(call: int) -> bytes:
    return event(1, NOW, call, {"v": 1})


UPGRADED = event(11, NOW, {"code": "c", "guest": "g"})


def test_new_runs_take_the_new_way_and_say_so_once(cell: Cell) -> None:
    assert told(cell, started({"v": 1})) == [[PATCHED, "a"], [STEP, "new"]]
    assert told(cell, done(1)) == [[STEP, "new"]]
    assert told(cell, done(2)) == [[PATCHED, "b"], [STEP, "late"]]


def test_a_history_without_the_patch_is_led_the_old_way(cell: Cell) -> None:
    cell.turn([Replaying([]).pack()])
    assert told(cell, started({"v": 1}), done(1), done(2)) == [[STEP, "old"], [STEP, "old"], [STEP, "last"]]


def test_a_history_with_the_patch_is_led_the_new_way_and_says_so_again(cell: Cell) -> None:
    cell.turn([Replaying(["a"]).pack()])
    assert told(cell, started({"v": 1}), done(1), done(2)) == [
        [PATCHED, "a"],
        [STEP, "new"],
        [STEP, "new"],
        [STEP, "last"],
    ]


def test_behind_the_upgrade_what_was_answered_stays_and_what_is_new_is_true(cell: Cell) -> None:
    cell.turn([Replaying([]).pack()])
    assert told(cell, started({"v": 1}), UPGRADED, done(1)) == [[STEP, "old"], [STEP, "old"]]
    assert told(cell, done(2)) == [[PATCHED, "b"], [STEP, "late"]]


def test_events_out_of_place_are_malformed(cell: Cell) -> None:
    with pytest.raises(MalformedOutput):
        cell.turn([UPGRADED])


def test_a_run_that_has_begun_is_not_led_again(cell: Cell) -> None:
    cell.turn([started({"v": 1})])
    with pytest.raises(MalformedOutput):
        cell.turn([Replaying([]).pack()])


def test_the_batching_leaves_no_trace(cell: Cell) -> None:
    events = [Replaying(["b"]).pack(), started({"v": 1}), done(1), UPGRADED, done(2)]
    language: Language = "javascript"
    if isinstance(cell, SandboxCell) and cell._image.base.digest == engines()[0].guest("javascript")[0]:
        other = opened(engines()[0], code_of(looping(), language))
        assert b"".join(cell.turn([one]) for one in events) == other.turn(events)
        assert cell.state_hash() == other.state_hash()


@pytest.mark.parametrize("bad", [event(12, NOW, {"a": 1}), event(12, NOW), event(12, NOW, "a"), event(11, NOW)])
def test_malformed_ones_are_refused(cell: Cell, bad: bytes) -> None:
    with pytest.raises(MalformedOutput):
        cell.turn([bad])
