"""The fold of a log: the same in Python and in TypeScript, and for ever what the golden table says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.folds import golden, looked_at, states_by_typescript, states_of

from cloche.history.fold import folded, place_of
from cloche.history.heads import Head


def logs() -> list[tuple[str, list[Head]]]:
    return [(one["name"], [tuple(head) for head in one["heads"]]) for one in golden()]


def test_python_folds_as_the_golden_table_says() -> None:
    for one, (name, heads) in zip(golden(), logs(), strict=True):
        states = states_of(heads)
        assert {str(at): states[at - 1] for at in looked_at(len(heads))} == one["states"], name


def test_the_table_has_every_way_a_call_may_go() -> None:
    kinds = {head[1] for _, heads in logs() for head in heads}
    assert kinds >= {
        "step_called", "step_completed", "step_failed", "step_bailed", "step_suspended", "step_resumed", "attempt_started",
        "attempt_failed", "attempt_sent", "timer_set", "timer_fired", "hook_opened", "hook_received", "hook_failed",
        "child_started", "child_ended", "call_abandoned", "cancel_delivered", "run_continued_as_new", "tagged",
    }  # fmt: skip


def test_typescript_folds_as_python_does() -> None:
    """At each record of each log, whichever side it is come to from."""
    found = states_by_typescript([heads for _, heads in logs()])
    for (name, heads), states in zip(logs(), found, strict=True):
        for at, (python, typescript) in enumerate(zip(states_of(heads), states, strict=True), 1):
            assert typescript == python, f"{name}, record {at}"


CALLS = st.integers(1, 6)
OPENS = st.sampled_from(["step_called", "step_called", "step_called", "timer_set", "hook_opened", "child_started"])
MOVES = st.sampled_from([
    "attempt_started", "attempt_sent", "attempt_failed", "attempt_queued", "step_suspended", "step_resumed", "step_completed",
    "step_failed", "call_abandoned", "step_logged", "late_result", "timer_fired", "hook_received", "child_ended",
])  # fmt: skip
OTHERS = st.sampled_from([
    "entered", "left", "tagged", "run_paused", "run_continued", "cancel_requested", "cancel_delivered", "run_completed",
    "run_stopped", "of_a_later_version",
])  # fmt: skip
PATHS = st.sampled_from(["a", "b[0]", "b[1]", "b", "w/a", "w[2]/a#3", "w[2]", "w"])
ONES = st.tuples(st.sampled_from(["open", "move", "move", "move", "other"]), OPENS, MOVES, OTHERS, CALLS, PATHS)


@st.composite
def any_log(draw: st.DrawFn) -> list[Head]:
    """Records in any order, of the kinds that there are and others: neither fold may stumble, or see something else."""
    heads: list[Any] = [(1, "run_created", 0, None, None, {"workflow": "w"}), (2, "run_started", 5, None, None, None)]
    opened = 0
    for way, opens, moves, other, call, path in draw(st.lists(ONES, max_size=40)):
        seq, time = len(heads) + 1, heads[-1][2] + draw(st.integers(-5, 30))
        if way == "open":
            opened += 1
            facts = {"due": time + 9} if opens == "timer_set" else {"heartbeat": 7} if opens == "hook_opened" else None
            heads.append((seq, opens, time, opened, path, facts))
        elif way == "move":
            heads.append((seq, moves, time, call, None, draw(facts_of(moves))))
        else:
            facts = {"tags": {"t": draw(st.sampled_from(["x", None]))}} if other == "tagged" else None
            heads.append((seq, other, time, None, path if other in ("entered", "left") else None, facts))
    return heads


def facts_of(kind: str) -> st.SearchStrategy[Any]:
    error = {"error": {"name": "E", "message": "m"}}
    if kind in ("attempt_failed", "step_failed"):
        return st.sampled_from([error | {"due": 99, "attempt": 2}, error])
    if kind in ("attempt_started", "attempt_sent"):
        return st.sampled_from([None, {"attempt": 2, "queued": 4}])
    return st.just({"queued": 3}) if kind == "attempt_queued" else st.sampled_from([None, None, error])


@settings(max_examples=15, deadline=None)
@given(st.lists(any_log(), min_size=10, max_size=10))
def test_both_folds_agree_on_any_log(found: list[list[Head]]) -> None:
    assert states_by_typescript(found) == [states_of(heads) for heads in found]


def test_a_state_is_a_function_of_the_log_alone() -> None:
    for name, heads in logs():
        assert folded(heads).state() == folded(heads).state(), name


def test_a_place_has_no_turns() -> None:
    assert place_of("w[2]/pack#3/item[10]") == "w/pack/item"
    assert place_of("a#b") == "a#b"
