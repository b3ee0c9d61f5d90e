"""The same events, the same bytes: under glass and without, for golden graphs, random ones, and ones that tangle.

`CLOCHE_LONG=1` makes a campaign of it. The seeds are printed by what fails: `Tangler(seed).workflow()` makes its graph again.
"""

from __future__ import annotations

import os
import runpy
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from codegen.strategies import workflows
from host.engines.tangles import Tangler
from host.engines.twins import Script, Twins, engines, opened, replayed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.strategies import values

from cloche_codegen import Workflow

LONG = bool(os.environ.get("CLOCHE_LONG"))
EXAMPLES = 3000 if LONG else 60
TANGLES = 20_000 if LONG else 240
PORTIONS = 24
GOLDEN = Path(__file__).parents[2] / "codegen" / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/workflow.py"))

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5)))
LISTS: list[Any] = [{"v": 2, "list": [1, 2, 3, {"v": 9}]}, {"v": 0, "list": [{"x": 1}]}, [1, 2, 3], {"list": []}]
VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 2, 3.5, -0.0, 1e300, 2.0**60, float("nan"), float("inf"), 2**53, 2**63, -(2**70)),
    *("", "a", "é😀", "2026-01-01T00:00:00Z", b"", b"abc", MOMENT, datetime(1, 1, 1, tzinfo=UTC)),
    *([], {}, [1, 2, 3], [{"x": 1}, {"x": None}], {"v": 1}, {"v": 2.0, "x": [1, {"y": 2}]}, {"d": MOMENT}),
    *({"score": 50, "name": "n", "list": [1, 2]}, {"__proto__": 1, "10": 2, "2": 3}, {"k": "K", "x": "2026-01-31"}),
    *LISTS * 8,
]


def lived(workflow: Workflow, seed: int, more: list[Any] | None = None) -> Twins:
    """A run of both, which have said the same."""
    script = Script(seed, VALUES + (more or []) * 4)
    twins = Twins(workflow)
    state = script.random.choice([{}, {"n": 1, "k": "K", "list": [1]}])
    script.live(
        twins, script.value(), state=state, context={"user": script.value(), "go": script.random.random() < 0.5}
    )
    return twins


@pytest.mark.parametrize("case", CASES)
def test_golden_graphs(case: str) -> None:
    workflow = runpy.run_path(str(GOLDEN / case / "workflow.py"))["workflow"]
    for seed in range(400 if LONG else 20):
        lived(workflow, seed)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not LONG)
@given(workflows(), st.integers(0, 2**32), st.lists(values(), min_size=1, max_size=6))
def test_random_graphs(workflow: Workflow, seed: int, some: list[Any]) -> None:
    lived(workflow, seed, some)


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_graphs_that_tangle(portion: int) -> None:
    for seed in range(portion, TANGLES, PORTIONS):
        workflow = Tangler(seed).workflow()
        for way in range(3):
            try:
                lived(workflow, 7 * seed + way)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, way {way}: {error}") from None


@pytest.mark.parametrize("seed", range(2000 if LONG else 40))
def test_any_batches_and_either_engine_give_what_one_by_one_gave(seed: int) -> None:
    twins = lived(Tangler(100_000 + seed).workflow(), seed)
    cuts = sorted({seed % (len(twins.told) + 1), len(twins.told) // 2})
    hashes = set()
    for engine in engines():
        for portions in ([], cuts):
            assert replayed(engine, twins.code, twins.told, portions) == b"".join(twins.said)
    for portions in ([], cuts, list(range(1, len(twins.told)))):
        cell = opened(engines()[1], twins.code)
        for start, end in zip([0, *portions], [*portions, len(twins.told)], strict=True):
            cell.turn(twins.told[start:end])
        hashes.add(cell.state_hash())
    assert hashes == {twins.direct.state_hash()} or twins.fault


def test_the_tangled_graphs_reach_everything() -> None:
    """A property test is worth what it reaches: every command but those of features without a builder."""
    reached = set()
    for seed in range(40):
        twins = lived(Tangler(seed).workflow(), seed)
        reached |= {command[0] for said in twins.said for command in commands(said)}
        reached |= {-event[0] for event in events(twins)}
    assert reached >= {0, 1, 2, 4, 5, 6, 7, 8, 9} | {-kind for kind in (1, 2, 3, 4, 5, 9, 10)}


def commands(said: bytes) -> list[list[Any]]:
    from host.engines.twins import commands_of

    return commands_of(said)


def events(twins: Twins) -> list[list[Any]]:
    from cloche.history.values import decode

    return [decode(told) for told in twins.told]
