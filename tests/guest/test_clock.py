"""Timers as the web has them are the run's own timers; the clocks show the time of the event."""

from __future__ import annotations

from typing import Any

import pytest
from guest.cells import ABANDON, LOG, NOW, TIMER, Cell, run, workflow

FOREVER = "; await new Promise(() => {})"


def fired(cell: Cell, call: int, now: int) -> list[Any]:
    return cell.turn([4, now, call])


def test_a_timeout_is_a_timer_that_calls_with_what_was_given() -> None:
    cell = Cell(workflow("setTimeout((a, b) => console.log(a, b, Date.now()), 100, 'x', 2)" + FOREVER))

    assert cell.start() == [[TIMER, 1, "setTimeout", NOW + 100, None]]
    assert fired(cell, 1, NOW + 100) == [[LOG, 2, f"x 2 {NOW + 100}"]]


def test_each_timer_has_a_path_of_its_own() -> None:
    cell = Cell(
        workflow(
            "setTimeout(() => 1); setTimeout(() => 1, -5); setTimeout(() => 1, 'x'); setInterval(() => 1, 7)" + FOREVER
        )
    )

    assert [(command[2], command[3] - NOW) for command in cell.start()] == [
        ("setTimeout", 0), ("setTimeout#2", 0), ("setTimeout#3", 0), ("setInterval[1]", 7),
    ]  # fmt: skip


def test_a_timeout_that_is_cleared_is_abandoned_and_calls_nobody() -> None:
    body = "const id = setTimeout(() => console.log(1), 5); clearTimeout(id); clearTimeout(id); clearTimeout(); clearInterval()"
    cell = Cell(workflow(body + FOREVER))

    assert [command[:2] for command in cell.start()] == [[TIMER, 1], [ABANDON, 1]]
    assert fired(cell, 1, NOW + 5) == []


def test_an_interval_goes_on_until_it_is_cleared() -> None:
    body = "let n = 0; const id = setInterval(() => { console.log(++n); if (n === 3) clearInterval(id) }, 10)"
    cell = Cell(workflow(body + FOREVER))
    cell.start()

    assert fired(cell, 1, NOW + 10) == [[LOG, 2, "1"], [TIMER, 2, "setInterval[2]", NOW + 20, None]]
    assert fired(cell, 2, NOW + 25) == [[LOG, 2, "2"], [TIMER, 3, "setInterval[3]", NOW + 35, None]]
    assert fired(cell, 3, NOW + 35) == [[LOG, 2, "3"]]


def test_a_call_that_throws_is_told_and_an_interval_goes_on() -> None:
    cell = Cell(workflow("setInterval(() => { throw new Error('tick') }, 1)" + FOREVER))
    cell.start()

    timer, logged = fired(cell, 1, NOW + 1)
    assert timer[:3] == [TIMER, 2, "setInterval[2]"]
    assert logged[2].startswith("a promise was rejected, and nobody has handled it: Error: tick")


@pytest.mark.parametrize("value", ["'code'", "undefined", "{}"])
def test_a_timer_takes_a_function(value: str) -> None:
    assert run(f"try {{ setTimeout({value}, 1) }} catch (e) {{ return e.message }}") == "setTimeout takes a function"


def test_timers_that_are_open_do_not_keep_a_run() -> None:
    assert Cell(workflow("setTimeout(() => 1, 1e9); setInterval(() => 1, 5); return 1")).start()[-1] == [7, 1]


def test_performance_is_the_time_of_the_event() -> None:
    cell = Cell(
        workflow(
            "const a = performance.now(); await step('s')(); return [a, performance.now(), performance.timeOrigin]"
        )
    )
    cell.start(now=NOW)

    assert cell.complete(1, now=NOW + 9) == [[7, [NOW, NOW + 9, 0]]]


def test_chance_while_loading_is_the_same_for_all_and_the_run_s_afterwards() -> None:
    source = "const early = [Math.random(), Math.random()]; export default () => [early, Math.random()]"
    (_, (early, late)), (_, (again, other)) = (
        Cell(source).start(seed=seed)[0] for seed in (bytes(16), bytes(range(16)))
    )

    assert early == again
    assert late != other
    assert other == 0.44093024939483727  # what it is without any number drawn before: `start` begins anew
    assert early[0] != early[1]


def test_weak_references_hold_and_registries_never_call() -> None:
    body = """let o = { a: 1 }; const ref = new WeakRef(o), all = new FinalizationRegistry(() => console.log("called"));
        const token = {}; all.register(o, "held", token); o = null; await step("s")();
        return [ref.deref().a, all.unregister(token), all.unregister(token), String(ref), String(all)]"""
    cell = Cell(workflow(body))
    cell.start()

    assert cell.complete(1) == [[7, [1, True, False, "[object WeakRef]", "[object FinalizationRegistry]"]]]


@pytest.mark.parametrize(
    "wrong",
    ["new WeakRef(1)", "new WeakRef(Symbol.for('x'))", "WeakRef({})", "new FinalizationRegistry(1)",
     "new FinalizationRegistry(() => 1).register(1)", "new FinalizationRegistry(() => 1).unregister(1)"],
)  # fmt: skip
def test_they_take_what_the_standard_takes(wrong: str) -> None:
    assert run(f"try {{ {wrong} }} catch (e) {{ return e.name }}") == "TypeError"
