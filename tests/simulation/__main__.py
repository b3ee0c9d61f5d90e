"""`make simulate SEED= N=`: N scenarios from SEED on, and every planted bug.

A failure prints its seed and a smaller scenario.
"""

from __future__ import annotations

import argparse
import sys
import time

from simulation.checking import caught, failure, tried
from simulation.engine import simulate
from simulation.mutations import MUTATIONS
from simulation.scenario import FLOWS, PARENTS, generated, shrunk

SEEDS_PER_MUTATION = 300


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2_000)
    asked = parser.parse_args()
    bad = scenarios(asked.seed, asked.count)
    bad += scenarios(asked.seed, -(-asked.count // 10), PARENTS)
    return 1 if bad or (asked.count > 1 and not planted()) else 0


def scenarios(first: int, count: int, among: range = FLOWS) -> int:
    """How many of them break a promise."""
    begun, crashes, actions, bad = time.process_time(), 0, 0, 0
    for seed in range(first, first + count):
        scenario = generated(seed, among)
        try:
            outcome = simulate(scenario)
            crashes, actions = crashes + outcome.crashes, actions + outcome.actions
        except Exception as error:
            bad += 1
            small = shrunk(scenario, lambda other: failure(other) is not None)
            print(f"seed {seed}: {error}\n{small}\n  {failure(small)}", flush=True)
    seconds = time.process_time() - begun
    print(f"{count} seeds, {bad} broken; {actions} actions, {crashes} crashes, {crashes / seconds:.0f} a second of CPU")
    return bad


def planted() -> bool:
    """Whether every planted bug is caught."""
    missed = []
    for name in MUTATIONS:
        seed = caught(name, tried(name, SEEDS_PER_MUTATION))
        print(f"{name}: {'NOT CAUGHT' if seed is None else f'caught by seed {seed}'}", flush=True)
        missed += [name] if seed is None else []
    return not missed


if __name__ == "__main__":
    sys.exit(main())
