"""How many children a run may start: counted on wherever it goes on."""

from __future__ import annotations

from typing import Any

import pytest
from hostile.platform import javascript
from support.apps import KEY, AppOn, in_loop, until

from cloche import Policy, StepContext, create_step, create_workflow
from cloche.errors import LimitExceeded
from cloche.history import RunId, RunKey
from cloche.run.limits import RateCounters
from cloche.store import MemoryStore


async def suspends(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({})
    return data


@in_loop
async def test_children_are_counted_on_while_a_run_is_parked_and_forgotten_when_it_has_ended() -> None:
    body = "await step('begets')(1); await step('suspends')(1); await step('begets')(1);"
    kid = create_workflow(id="kid").then(create_step(id="same", execute=lambda data: data)).commit()

    async def begets_a_kid(data: Any, ctx: StepContext) -> Any:
        child = await ctx.start_child(kid, data)
        assert (await ctx.start_child(kid, data)).id == child.id  # as after a crash: it is the same one
        return child.id

    steps = [create_step(id="suspends", execute=suspends), create_step(id="begets", execute=begets_a_kid)]
    for children, status in ((1, "failed"), (2, "success")):
        async with AppOn(MemoryStore(), workflows=[kid], steps=steps, policy=Policy(children=children)) as app:
            await app.deploy("default", javascript(body), workflow="main", language="javascript")
            run = await app.start("main", 1)
            assert (await run.result()).status == "suspended"
            assert app._running.starting.counters.children == {run._key: 1}
            result = await run.resume(resume_data=1)
            assert result.status == status
            assert result.error is None or result.error.data == {"limit": "children", "value": 1, "asked": 2}
            await until(lambda: not app._running.starting.counters.children)


def test_parents_that_end_elsewhere_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.run.limits.PARENTS_MAX", 2)
    taken, keys = RateCounters(lambda: 0.0), [RunKey(KEY.tenant, RunId(name)) for name in "abc"]
    for key in (keys[0], keys[1], keys[0], keys[2]):
        taken.take_child(key, 2)
    assert taken.children == {keys[0]: 2, keys[2]: 1}
    with pytest.raises(LimitExceeded, match="3 of at most 2"):
        taken.take_child(keys[0], 2)
