"""A slice of the simulator. `make simulate SEED= N=` has the whole; what it has found is pinned here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.guests import needs_python

from simulation.checking import caught, failure, tried
from simulation.disk import Broken
from simulation.engine import simulate
from simulation.mutations import MUTATIONS
from simulation.scenario import LIMITED, PARENTS, WORDS, Action, Scenario, generated, shrunk

SEEDS = 100
SEEDS_OF_PARENTS = 30
SEEDS_OF_LIMITS = 60
SEEDS_OF_WORDS = 40
SEEDS_PER_MUTATION = 200

FOUND = {
    "a request that another worker accepted was accepted again": Scenario(
        922, (4, 3), (Action("start"), Action("start", run=1), Action("event", turns=3))
    ),
    "a request that came during a commit was accepted without its row": Scenario(
        573,
        (1, 0, 3, 4),
        (Action("start", worker=1), Action("start", worker=1, run=3), Action("event", 8, 0.01, worker=1, run=3)),
    ),
    "an attempt was recorded, and did not begin for the clock was set back": Scenario(
        1893,
        (4, 1, 2, 5, 5),
        (
            Action("start", worker=1, run=3),
            Action("crash at commit", turns=21, worker=1, number=2, kept=True),
            Action("crash at commit", turns=1, worker=1, number=1, kept=True),
            Action("lose answers", wait_s=0.5, worker=1, number=1),
            Action("crash at commit", turns=5, wait_s=0.01, worker=1),
            Action("crash"),
            Action("set clock", seconds=-1.0),
        ),
    ),
    "a worker that was evicted joined again and did not look for its runs": Scenario(
        128,
        (3, 4, 2),
        (
            Action("start"),
            Action("start", run=2),
            Action("crash", turns=21, worker=1),
            Action("stall", turns=21),
            Action("wait", wait_s=3.0, worker=1),
        ),
    ),
}


def test_no_promise_is_broken() -> None:
    outcomes = [simulate(generated(seed)) for seed in range(SEEDS)]
    assert sum(outcome.crashes for outcome in outcomes) > 3 * SEEDS
    assert sum(outcome.records for outcome in outcomes) > 20 * SEEDS


def test_no_promise_to_those_who_wait_for_children_is_broken() -> None:
    outcomes = [simulate(generated(seed, PARENTS)) for seed in range(SEEDS_OF_PARENTS)]
    assert sum(outcome.crashes for outcome in outcomes) > 3 * SEEDS_OF_PARENTS


def test_no_promise_to_those_who_share_limits_is_broken() -> None:
    outcomes = [simulate(generated(seed, LIMITED)) for seed in range(SEEDS_OF_LIMITS)]
    assert sum(outcome.crashes for outcome in outcomes) > 3 * SEEDS_OF_LIMITS


def test_no_promise_to_those_who_say_more_is_broken() -> None:
    needs_python()
    outcomes = [simulate(generated(seed, WORDS)) for seed in range(SEEDS_OF_WORDS)]
    assert sum(outcome.crashes for outcome in outcomes) > 3 * SEEDS_OF_WORDS


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str) -> None:
    simulate(FOUND[name])


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_caught(mutation: str) -> None:
    assert caught(mutation, tried(mutation, SEEDS_PER_MUTATION)) is not None


def test_a_seed_gives_the_same_course_each_time() -> None:
    assert simulate(generated(7)) == simulate(generated(7))


def test_a_failure_says_its_seed_and_is_made_smaller() -> None:
    with MUTATIONS["deliver twice"]():
        small = shrunk(generated(0), lambda other: failure(other) is not None)
        reason = failure(small)
    assert reason is not None
    assert reason.startswith("seed 0: Broken: run-")
    assert "seed 0" in str(small)
    assert len(small.actions) <= 2 < len(generated(0).actions)


def test_every_action_that_is_left_is_needed() -> None:
    wanted = generated(3).actions[4]
    small = shrunk(generated(3), lambda other: wanted in other.actions)
    assert small == replace(generated(3), actions=(wanted,))


def test_a_run_that_does_not_end_is_told_with_what_it_waits_for() -> None:
    with MUTATIONS["lose a timer of a live run"](), pytest.raises(Broken, match=r"do not end: \['run-0 is waiting"):
        simulate(Scenario(0, (1,), (Action("start"),)))
