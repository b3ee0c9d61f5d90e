"""What an engine cannot say is refused when the workflow is added: by node, with the reason."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloche import Concurrency, StepContext, create_step, create_workflow
from cloche.errors import RefusedByEngine
from cloche.foreign import Hosting
from cloche.foreign.refusals import ENGINES, RULES, table

DOCS = Path(__file__).parents[3] / "docs" / "engines"


def count(data: Any, ctx: StepContext) -> Any:
    ctx.update_state(lambda state: {"n": state.get("n", 0) + 1})
    return data


async def start(data: Any, ctx: StepContext) -> Any:
    return (await ctx.start_child("other", data)).id


def nothing(data: Any) -> Any:
    return data


counts, starts = create_step(id="counts", execute=count), create_step(id="starts", execute=start)
once = create_step(id="once", execute=nothing, at_most_once=True)
often = create_step(id="often", execute=nothing, retries=21)
limited = create_step(id="limited", execute=nothing, concurrency=Concurrency("printer", most=2))
plain = create_step(id="plain", execute=nothing)


def wf(id: str = "w") -> Any:
    return create_workflow(id=id)


# For each rule a workflow that it finds, the node that it names, and one beside it that it must not find.
CASES: list[tuple[Any, str, Any]] = [
    (wf().then(once), "step 'once'", wf().then(plain)),
    (wf().then(limited), "step 'limited'", wf().then(plain)),
    (wf().then(starts), "step 'starts'", wf().then(counts)),
    (wf().parallel([counts, plain]), "step 'counts' in '", wf().parallel([counts, plain], limit=1)),
    (wf().then(often), "step 'often'", wf().then(create_step(id="often", execute=nothing, retries=20))),
    (
        wf().then(plain).sleep(timedelta(days=366), id="long"),
        "node 'long'",
        wf().then(plain).sleep(timedelta(days=365)),
    ),
    (wf("a b").then(plain), "workflow 'a b'", wf("a-b").then(plain)),
]


@pytest.mark.parametrize(
    ("rule", "case"), list(zip(RULES, CASES, strict=True)), ids=lambda one: getattr(one, "says", "")
)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_engine_cannot_say_is_refused(engine: str, rule: Any, case: Any) -> None:
    asks, node, does_not = case
    Hosting(engine).add(does_not.commit())
    if engine not in rule.reasons:
        Hosting(engine).add(asks.commit())
        return
    with pytest.raises(RefusedByEngine) as refused:
        Hosting(engine).add(asks.commit())
    problem = next(one for one in refused.value.problems if one.startswith(node))
    assert problem.endswith(f"{rule.says}: {rule.reasons[engine]}")
    assert refused.value.engine == engine


def test_nodes_of_a_nested_workflow_are_looked_at() -> None:
    inner = wf("inner").foreach(counts, concurrency=3).commit()
    with pytest.raises(RefusedByEngine, match="step 'counts' in 'foreach_1'"):
        Hosting("Temporal").add(wf().parallel([inner, plain]).commit())


def test_the_table_in_the_docs_is_made_of_the_rules() -> None:
    assert table() in (DOCS / "README.md").read_text()
