"""Whether a scenario breaks a promise, and which seeds catch a planted bug."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from simulation.engine import simulate
from simulation.mutations import MUTATIONS, OF_LIMITS, OF_PARENTS
from simulation.scenario import FLOWS, LIMITED, PARENTS, Action, Scenario, generated


def failure(scenario: Scenario) -> str | None:
    """What goes wrong; None if nothing does. A fault of cloche's own is a broken promise too."""
    try:
        simulate(scenario)
    except Exception as error:
        return f"seed {scenario.seed}: {type(error).__name__}: {error}"
    return None


# The only scenario that is tried, where it takes thousands of seeds to find one, or where one that fails takes long.
CHOSEN = {
    "let deadlines overtake": generated(215),
    "keep the mark of a worker that is gone": replace(generated(244), waits=False, places=0),
    "forget what a lost answer gave": generated(188),
    "tell nobody who has a permit": Scenario(0, (10,) * 4, tuple(Action("start", run=run) for run in range(4))),
    "lose a retry": replace(generated(0), places=0),
    # It stands still twice, so that it is evicted while more than one asks whether it is.
    "let looks overlap": Scenario(
        100_020,
        (5, 1, 5, 5, 3),
        (
            Action("start", turns=1, run=1),
            Action("stall", turns=21, wait_s=0.3, kept=True),
            Action("stall", wait_s=0.5, kept=True),
        ),
        waits=True,
    ),
}


def tried(mutation: str, count: int) -> Iterator[Scenario]:
    """The scenarios that are to catch a planted bug: at most so many."""
    among = PARENTS if mutation in OF_PARENTS else LIMITED if mutation in OF_LIMITS else FLOWS
    return iter([CHOSEN[mutation]]) if mutation in CHOSEN else (generated(seed, among) for seed in range(count))


def caught(mutation: str, scenarios: Iterable[Scenario]) -> int | None:
    """The first of `scenarios` that fails while the bug is planted, by its seed."""
    with MUTATIONS[mutation]():
        return next((one.seed for one in scenarios if failure(one) is not None), None)
