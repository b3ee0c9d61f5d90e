"""Whether a scenario breaks a promise, and which seeds catch a planted bug."""

from __future__ import annotations

from collections.abc import Iterable

from simulation.engine import simulate
from simulation.mutations import MUTATIONS, OF_PARENTS
from simulation.scenario import FLOWS, PARENTS, Scenario, generated


def failure(scenario: Scenario) -> str | None:
    """What goes wrong; None if nothing does. A fault of cloche's own is a broken promise too."""
    try:
        simulate(scenario)
    except Exception as error:
        return f"seed {scenario.seed}: {type(error).__name__}: {error}"
    return None


def caught(mutation: str, seeds: Iterable[int]) -> int | None:
    """The first of `seeds` that fails while the bug is planted."""
    among = PARENTS if mutation in OF_PARENTS else FLOWS
    with MUTATIONS[mutation]():
        return next((seed for seed in seeds if failure(generated(seed, among)) is not None), None)
