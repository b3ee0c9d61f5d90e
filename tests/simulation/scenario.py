"""What happens in a simulation, as data that a seed gives and that can be made smaller."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

WORKERS = 2
FLOWS = range(7)
PARENTS = range(7, 10)  # the flows that wait for a child
LIMITED = range(10, 13)  # those that share limits
WORDS = range(13, 17)  # those that say more: tasks, races by name, ids of children, compensation


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that is done, after `turns` passes of the loop and `wait_s` of time. What the others mean depends on `kind`."""

    kind: str
    turns: int = 0
    wait_s: float = 0.0
    worker: int = 0
    run: int = 0
    number: int = 0
    kept: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    seed: int
    flows: tuple[int, ...]  # which workflow each run is of
    actions: tuple[Action, ...]
    waits: bool = False  # whether the loop goes on before and after each thing that the store does
    places: int = 0  # how many runs a worker may drive, and how many may wait; 0: as many as there are

    def __str__(self) -> str:
        more = f", {self.places} places" * bool(self.places) + ", a store that waits" * self.waits
        lines = [f"seed {self.seed}, runs of workflows {list(self.flows)}{more}:"]
        lines += [f"  {_said(action)}" for action in self.actions]
        return "\n".join(lines)


# How often each kind comes.
KINDS = {
    "start": 6,
    "crash": 11,  # at any await: nothing more is heard of the worker
    "crash at commit": 11,  # before it, or behind it and before anybody hears of it
    "resume": 3,
    "event": 3,
    "outside": 4,  # an event, or data, from a process that is no worker: also while none is running
    "cancel": 1,
    "refuse": 2,  # commits are refused for a while
    "lose answers": 2,  # commits are made (`kept`: whatever is asked is done), and said to be refused
    "cut off": 1,  # the worker lives and cannot reach the store
    "stall": 2,  # the worker stands still before a commit (`kept`: before whatever it asks next), and is evicted meanwhile
    "set clock": 2,
    "wait": 3,
}


def generated(seed: int, among: range = FLOWS) -> Scenario:
    chance = random.Random(seed)
    flows = tuple(chance.randrange(among.start, among.stop) for _ in range(chance.randint(2, 5)))
    kinds, weights = list(KINDS), list(KINDS.values())
    first = [Action("start", worker=chance.randrange(WORKERS), run=run) for run in range(len(flows))]
    rest = [_action(chance, chance.choices(kinds, weights)[0], len(flows)) for _ in range(chance.randint(10, 30))]
    return Scenario(seed, flows, (*first, *rest), waits=True, places=random.Random(f"{seed} places").randint(0, 2))


def _action(chance: random.Random, kind: str, runs: int) -> Action:
    return Action(
        kind,
        turns=chance.choice((0, 0, 1, 2, 3, 5, 8, 13, 21)),
        wait_s=chance.choice((0, 0, 0, 0.01, 0.05, 0.5, 3.0)),
        worker=chance.randrange(WORKERS),
        run=chance.randrange(runs),
        number=chance.randint(0, 3),
        kept=chance.random() < 0.5,
        seconds=chance.choice((-86_400.0, -30.0, -1.0, 0.2, 1.0, 12.0, 60.0, 86_400.0 * 400)),
    )


def shrunk(scenario: Scenario, fails: Callable[[Scenario], bool]) -> Scenario:
    """A scenario with fewer actions that still fails."""
    size = max(1, len(scenario.actions) // 2)
    while True:
        smaller = _without(scenario, size, fails)
        if smaller is not None:
            scenario = smaller
        elif size == 1:
            return scenario
        size = max(1, min(size if smaller is not None else size // 2, len(scenario.actions)))


def _without(scenario: Scenario, size: int, fails: Callable[[Scenario], bool]) -> Scenario | None:
    actions: Sequence[Action] = scenario.actions
    for begin in range(0, len(actions), size):
        smaller = replace(scenario, actions=(*actions[:begin], *actions[begin + size :]))
        if len(smaller.actions) < len(actions) and fails(smaller):
            return smaller
    return None


def _said(action: Action) -> str:
    named = [
        ("turns", 0),
        ("wait_s", 0.0),
        ("worker", None),
        ("run", None),
        ("number", None),
        ("kept", None),
        ("seconds", None),
    ]
    return f"{action.kind}: " + ", ".join(
        f"{name}={getattr(action, name)}" for name, usual in named if getattr(action, name) != usual
    )
