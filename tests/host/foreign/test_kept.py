"""Conductors that wait for the next request of their runs."""

from __future__ import annotations

from support.foreign_flows import increment, plus, wf

from cloche.foreign import Conductor, Hosted
from cloche.foreign.kept import Kept, KeptConductors


def test_a_cell_is_led_on_under_its_own_history_only() -> None:
    """What came before is another run's, or came in another order: a fresh cell is led through it."""
    hosted = Hosted.of(wf("w").parallel([plus, increment]).commit())
    run = Conductor(hosted)
    run.begin("r", 1_000, {"x": 1})
    history = [("a", {"n": 1}), ("b", {"n": 2})]

    def kept() -> KeptConductors:
        kept = KeptConductors()
        kept.put("r", Kept(run, "begun", history, {}))
        return kept

    assert kept().take("r", "begun", [*history, ("c", {})]) is not None
    others = [
        ("r2", "begun", history),
        ("r", "other", history),
        ("r", "begun", history[::-1]),
        ("r", "begun", history[:1]),
    ]
    assert [kept().take(*other) for other in others] == [None] * 4


def test_cells_that_are_kept_are_bounded_in_bytes() -> None:
    run = Conductor(Hosted.of(wf("w").then(plus).commit()))
    run.begin("r", 1_000, {"x": 1})
    kept = KeptConductors(3 * run.resident_bytes)
    for number in range(5):
        kept.put(str(number), Kept(run, "begun", [], {}))
    assert [str(number) for number in range(5) if kept.take(str(number), "begun", [])] == ["2", "3", "4"]
