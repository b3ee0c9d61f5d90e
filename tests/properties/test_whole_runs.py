"""Random workflows, lived to their end: one answer on every engine, in every way, and under every crash.

`make campaign SEED=1 GRAPHS=500` makes many of it. What fails prints the flow that hypothesis has shrunk it to.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from support.cases import ENGINES, Case, Way
from support.random_flows import Flow, Outside, flows, lived, outsides

from cloche.engines import DirectEngine, SandboxEngine
from cloche.history import Kind, Path
from cloche.history.messages import COMMANDS, EVENTS

GRAPHS = int(os.environ.get("CLOCHE_GRAPHS", "40"))
LIFE_S_MAX = 60.0
ENDED = (Kind.STEP_COMPLETED, Kind.STEP_FAILED, Kind.STEP_BAILED)
campaign = settings(
    max_examples=GRAPHS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


@dataclass(frozen=True)
class Life:
    """What is compared of a run: how it ended, its log but for the note of its creation, and which calls began how often."""

    outcome: dict[str, Any]
    records: list[bytes]
    messages: list[tuple[Kind, Path | None, bytes]]
    began: Counter[str]


def live(
    engine: type[SandboxEngine] | type[DirectEngine], way: Way, flow: Flow, outside: Outside, commits_a_life: int = 1
) -> Life:
    async def whole() -> Life:
        case = Case(engine, way, commits_a_life=commits_a_life)
        try:
            result = await lived(case, flow, outside)
            await case.check()  # the chain holds, both engines replay it
            records = await case.records()
        finally:
            await case.vanish()
        shown = {
            "status": result.status,
            "result": result.result,
            "error": result.error and (result.error.name, result.error.message, result.error.data),
            "state": result.state,
            "steps": {id: (step.status, step.output) for id, step in result.steps.items()},
        }
        messages = [(record.kind, record.path, record.body) for record in records if record.kind in EVENTS | COMMANDS]
        return Life(
            shown, [record.packed for record in records[1:]], messages, Counter(path for _, path in case.journal.calls)
        )

    return asyncio.run(asyncio.wait_for(whole(), LIFE_S_MAX))


@campaign
@given(flow=flows, outside=outsides)
def test_both_engines_write_the_same_log(flow: Flow, outside: Outside) -> None:
    sandbox, direct = (live(engine, Way.STRAIGHT, flow, outside) for engine in ENGINES)
    assert sandbox.outcome == direct.outcome
    assert sandbox.records == direct.records
    assert sandbox.began == direct.began


@campaign
@given(flow=flows, outside=outsides)
def test_the_stored_graph_is_the_same_workflow(flow: Flow, outside: Outside) -> None:
    straight, stored = (live(SandboxEngine, way, flow, outside) for way in (Way.STRAIGHT, Way.STORED))
    assert (straight.outcome, straight.messages, straight.began) == (stored.outcome, stored.messages, stored.began)


@campaign
@given(flow=flows, outside=outsides, commits_a_life=st.integers(1, 4))
def test_crashes_change_nothing(flow: Flow, outside: Outside, commits_a_life: int) -> None:
    """What had not ended when its process did begins again, what had never does (`Case.vanish` looks)."""
    for engine in ENGINES:
        straight = live(engine, Way.STRAIGHT, flow, outside)
        cut = live(engine, Way.CUTS, flow, outside, commits_a_life)
        note(f"{engine.name}: {straight.outcome}")
        assert cut.outcome == straight.outcome
        assert Counter(cut.messages) == Counter(straight.messages)
        assert set(cut.began) == set(straight.began)
        assert all(times >= straight.began[path] for path, times in cut.began.items())


def test_the_flows_reach_what_they_are_to_reach() -> None:
    """Otherwise the laws above hold for nothing."""
    seen: Counter[str] = Counter()

    @settings(campaign, max_examples=60, database=None, derandomize=True)
    @given(flow=flows, outside=outsides)
    def look(flow: Flow, outside: Outside) -> None:
        life = live(DirectEngine, Way.STRAIGHT, flow, outside)
        seen[life.outcome["status"]] += 1
        seen.update(kind.name for kind in {kind for kind, _, _ in life.messages})

    look()
    native = {
        Kind.CHILD_STARTED,
        Kind.CHILD_ENDED,
        Kind.CANCEL_DELIVERED,
        Kind.RUN_CANCELED_BY_CODE,
        Kind.TAGGED,
        Kind.DEADLINE_SET,
        Kind.RUN_CONTINUED_AS_NEW,
    }  # of code, not of graphs
    others = {Kind.HOOK_FAILED, Kind.LOG_LINE, Kind.CALL_ABANDONED, Kind.RUN_UPGRADED, Kind.PATCHED}
    wanted = {"success", "failed", "canceled"} | {kind.name for kind in (EVENTS | COMMANDS) - native - others}
    assert wanted <= set(seen), wanted - set(seen)
