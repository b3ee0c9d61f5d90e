"""The same events, the same bytes: the prelude of the Python guest beside an interpreter of the lowered tree (`oracle`).

That one answers as the JavaScript guest does, byte for byte (tests/host/engines). Python keeps apart what JavaScript does
not, 1.0 and 1 and the microseconds of a date: `as_javascript` is what JavaScript makes of an output.
"""

from __future__ import annotations

import os
import runpy
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from codegen.strategies import workflows
from guest_python.loop_cells import LoopCell
from host.engines.tangles import Tangler
from host.engines.twins import Script, Twins, answer, code_of, commands_of, opened, shown
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracle import DirectEngine as Interpreter

from cloche.history.values import decode, encode_plain, plain
from cloche_codegen import GraphError, Workflow

LONG = bool(os.environ.get("CLOCHE_LONG"))
GOLDEN = Path(__file__).parents[1] / "codegen" / "golden"
PORTIONS = 12
TANGLES = 24_000 if LONG else 360
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5)))
LISTS: list[Any] = [{"v": 2, "list": [1, 2, 3, {"v": 9}]}, {"v": 0, "list": [{"x": 1}]}, [1, 2, 3], {"list": []}]
VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 2, 2.0, 3.5, 1e300, 2.0**60, -0.0, float("nan"), float("inf"), 2**53, 2**63, -(2**70)),
    *("", "a", "é😀", "\ud800x", "2026-01-01T00:00:00Z", "2026-02-30 12:00:00z", b"abc", MOMENT),
    *([], {}, [1, 2, 3], [{"x": 1}, {"x": None}], {"v": 1}, {"v": 2.5, "x": [1, {"y": 2}]}, {"d": MOMENT}),
    *({"score": 50, "name": "n", "list": [1, 2]}, {"__proto__": 1, "10": 2, "2": 3}, {"k": "K", "x": "2026-01-31"}),
    *LISTS * 8,
]


def as_javascript(output: bytes) -> bytes:
    return b"".join(encode_plain(plain(_in_javascript(command))) for command in [*commands_of(output), None])


def _in_javascript(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < 2**53 and str(value) != "-0.0":
            return int(value)
        case datetime():
            moment = value.astimezone(UTC)
            return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        case dict():
            return {key: _in_javascript(item) for key, item in value.items()}
        case list() | tuple():
            return [_in_javascript(item) for item in value]
        case _:
            return value


class LoopTwins(Twins):
    def __init__(self, workflow: Workflow) -> None:
        self.code = code_of(workflow)
        self.direct = opened(Interpreter(), self.code)
        self.loop = LoopCell(workflow.source("python").code)
        self.told, self.said, self.fault = [], [], None

    def tell(self, message: bytes) -> list[list[Any]]:
        direct, loop = answer(self.direct, message), answer(self.loop, message)  # type: ignore[arg-type]
        if isinstance(direct, str) or isinstance(loop, str):
            assert loop == direct, (decode(message), str(loop)[:200], str(direct)[:200])
            self.fault = direct if isinstance(direct, str) else None
            return []
        if as_javascript(loop) != as_javascript(direct):
            raise AssertionError(f"{decode(message)}\n  python: {shown(loop)}\n  javascript: {shown(direct)}")
        self.told.append(message)
        self.said.append(loop)
        return commands_of(loop)


def lived(workflow: Workflow, seed: int) -> LoopTwins:
    """A run of both, which have said the same, one by one and in one batch."""
    script = Script(seed, VALUES)
    twins = LoopTwins(workflow)
    state = script.random.choice([{}, {"n": 1, "k": "K", "list": [1]}])
    context = {"user": script.value(), "go": script.random.random() < 0.5}
    script.live(twins, script.value(), state=state, context=context)
    again = LoopCell(workflow.source("python").code)
    assert again.turn(twins.told) == b"".join(twins.said)
    return twins


def golden(case: str) -> Workflow | None:
    """The golden workflow, if it is without code strings."""
    workflow: Workflow = runpy.run_path(str(GOLDEN / case / "workflow.py"))["workflow"]
    try:
        workflow.source("python")
    except GraphError:
        return None
    return workflow


CASES = [path.parent.name for path in sorted(GOLDEN.glob("*/workflow.py")) if golden(path.parent.name)]


@pytest.mark.parametrize("case", CASES)
def test_golden_graphs(case: str) -> None:
    workflow = golden(case)
    assert workflow is not None
    for seed in range(400 if LONG else 30):
        lived(workflow, seed)


@settings(max_examples=2000 if LONG else 60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(workflows(), st.integers(0, 2**32))
def test_random_graphs(workflow: Workflow, seed: int) -> None:
    try:
        workflow.source("python")
    except GraphError:
        assume(False)
    lived(workflow, seed)


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_graphs_that_tangle(portion: int) -> None:
    for seed in range(portion, TANGLES, PORTIONS):
        workflow = Tangler(seed, codes=False).workflow()
        for way in range(3):
            try:
                lived(workflow, 7 * seed + way)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, way {way}: {error}") from None


def test_the_tangled_graphs_reach_everything() -> None:
    """A property test is worth what it reaches."""
    reached = set()
    for seed in range(60):
        twins = lived(Tangler(seed, codes=False).workflow(), seed)
        reached |= {command[0] for said in twins.said for command in commands_of(said)}
        reached |= {-decode(told)[0] for told in twins.told}
    assert reached >= {0, 1, 2, 5, 6, 7, 8, 9} | {-kind for kind in (1, 2, 3, 4, 5, 9, 10)}
