"""What a step of a nested workflow sees and goes by: its own workflow's, not that of the run around it."""

from __future__ import annotations

from support.apps import AppOn, Journal, in_loop

from cloche import create_workflow
from cloche.store import MemoryStore


@in_loop
async def test_a_step_is_retried_as_its_own_workflow_says(journal: Journal) -> None:
    boom = journal.boom()
    inner = create_workflow(id="Inner", retry_config={"attempts": 2}).then(boom).commit()
    outer = create_workflow(id="w").foreach(inner).commit()
    async with AppOn(MemoryStore(), workflows=[outer]) as app:
        assert (await (await app.start("w", [1])).result()).status == "failed"
    assert journal.began == ["Inner[0]/boom"] * 3


@in_loop
async def test_a_workflow_that_says_nothing_goes_by_the_one_around_it(journal: Journal) -> None:
    inner = create_workflow(id="Inner").then(journal.boom()).commit()
    outer = create_workflow(id="w", retry_config={"attempts": 1}).then(inner).commit()
    async with AppOn(MemoryStore(), workflows=[outer]) as app:
        assert (await (await app.start("w", 1)).result()).status == "failed"
    assert journal.began == ["Inner/boom"] * 2
