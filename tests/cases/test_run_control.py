"""M. Run control: entry by entry, forks, children, deletion, what a run writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from support.apps import Journal
from support.cases import Case, everywhere, failure, outcome, outputs, statuses, uncut

from cloche import Step, StepContext, Workflow, create_workflow
from cloche.errors import NotFound, NotSuspended, RunConflict, UsageError
from cloche.history import Kind, Record


def hashes(records: Sequence[Record]) -> list[bytes]:
    return [record.hash for record in records]


@everywhere
async def test_one_entry_at_a_time(case: Case) -> None:
    result = await case.start(_three(case.journal), {"v": 1}, per_step=True)
    assert (outcome(result), outputs(result)) == (("paused", None), {"inc": {"v": 2}})
    result = await case.resume(per_step=True)
    assert (outcome(result), outputs(result)) == (("paused", None), {"inc": {"v": 2}, "mid": {"v": 20}})
    result = await case.resume(per_step=True)
    assert outcome(result) == ("success", {"v": 40})
    assert case.journal.began == ["inc", "mid", "dbl"]


@everywhere
async def test_fork(case: Case) -> None:
    result = await case.start(_three(case.journal), {"v": 500})
    assert (failure(result), statuses(result)) == (("ValueError", "too big"), {"inc": "success", "mid": "failed"})
    old, began = await case.records(), len(case.journal.began)
    result = await case.fork("mid", "r2", value={"v": 3})
    assert outcome(result) == ("success", {"v": 60})
    assert (case.journal.began[began:], await case.records()) == (["mid", "dbl"], old)
    with pytest.raises(UsageError, match="never called a step at 'zzz'"):
        await case.fork("zzz", "r3")
    assert {row.key.run for row in await case.store.runs()} == {"r1", "r2"}


@everywhere
async def test_fork_with_what_the_step_got_then(case: Case) -> None:
    mended = False

    def mid(data: Any) -> Any:
        if not mended:
            raise ValueError("broken")
        return data

    workflow = create_workflow(id="w").then(case.journal.inc()).then(case.journal.step("mid", mid))
    await case.start(workflow, {"v": 1})
    mended = True
    result = await case.fork("mid", "r2")
    assert (outcome(result), result.input) == (("success", {"v": 2}), {"v": 1})
    assert (await case.records(Kind.RUN_CREATED, run_id="r2"))[0].content()["forked_from"] == {"run": "r1", "at": "mid"}
    assert (await case.look()).status == "failed"


@everywhere
async def test_fork_at_the_first_step_replaces_the_input(case: Case) -> None:
    await case.start(_three(case.journal), {"v": 500})
    result = await case.fork("inc", "r2", value={"v": 1})
    assert (outcome(result), result.input) == (("success", {"v": 40}), {"v": 1})


@everywhere
async def test_fork_inside_a_nested_workflow_and_a_loop(case: Case) -> None:
    inner = create_workflow(id="W").dountil(case.journal.inc(), "iterationCount >= 3").commit()
    await case.start(create_workflow(id="w").then(inner), {"v": 0})
    result = await case.fork("W/inc[3]", "r2", value={"v": 70})
    assert (outcome(result), case.journal.calls[-1]) == (("success", {"v": 71}), ("r2", "W/inc[3]"))


@everywhere
async def test_fork_of_a_suspended_run_leaves_it_suspended(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.ask()).then(case.journal.dbl()), {"v": 1})
    assert (await case.fork("ask", "r2")).suspended == [["ask"]]
    assert outcome(await case.resume({"add": 1}, run_id="r2")) == ("success", {"v": 4})
    assert (await case.look()).suspended == [["ask"]]


@everywhere
async def test_fork_keeps_state_context_and_resumes(case: Case) -> None:
    def act(data: Any, ctx: StepContext) -> dict[str, Any]:
        return {"state": dict(ctx.state), "user": ctx.request_context["user"], "data": data}

    setter = case.journal.acts("set", lambda data, ctx: ctx.set_state(k=2) or data)  # type: ignore[func-returns-value]
    workflow = create_workflow(id="w").then(case.journal.ask()).then(setter).then(case.journal.acts("last", act))
    await case.start(workflow, {"v": 1}, initial_state={"a": 1}, request_context={"user": "bob"})
    first = await case.resume({"add": 1})
    assert outcome(await case.fork("last", "r2")) == outcome(first)
    assert first.result == {"state": {"a": 1, "k": 2}, "user": "bob", "data": {"v": 2}}


@everywhere
async def test_an_input_that_several_made_is_not_replaced(case: Case) -> None:
    workflow = create_workflow(id="w").parallel([case.journal.inc(), case.journal.dbl()]).then(case.journal.take())
    await case.start(workflow, {"v": 1})
    with pytest.raises(UsageError, match="made by more than the step before it"):
        await case.fork("take", "r2", value={})
    assert outcome(await case.fork("take", "r2")) == ("success", {"inc": {"v": 2}, "dbl": {"v": 2}})


@everywhere
async def test_fork_needs_a_run_and_a_new_id(case: Case) -> None:
    await case.start(_three(case.journal), {"v": 1})
    with pytest.raises(NotFound):
        await case.fork("mid", "r2", run_id="nobody")
    with pytest.raises(RunConflict):
        await case.app.fork("r1", at="mid", new_run_id="r1")


@everywhere
async def test_an_entry_may_be_a_block_a_loop_a_sleep_or_a_workflow(case: Case) -> None:
    journal = case.journal
    inner = create_workflow(id="W").then(journal.step("a")).then(journal.step("b")).commit()
    workflow = (
        create_workflow(id="w")
        .branch([("true", journal.inc()), ("true", journal.dbl())])
        .map("inputData.inc")
        .dountil(journal.step("turn"), "iterationCount >= 2")
        .sleep(60, id="z")
        .then(inner)
        .map("[inputData, inputData]")
        .foreach(journal.step("item"))
    )
    seen = [await case.start(workflow, {"v": 1}, per_step=True)]
    while seen[-1].status == "paused":
        seen.append(await case.resume(per_step=True))
    assert outcome(seen[-1]) == ("success", [{"v": 2}, {"v": 2}])
    steps = [set(statuses(result)) - {"mapping_w_1", "mapping_w_2"} for result in seen]
    begun = [sorted(later - before) for before, later in zip([set(), *steps], steps, strict=False)]
    assert begun == [["dbl", "inc"], ["turn"], ["z"], ["W"], ["item"]]


@everywhere
async def test_a_paused_run_may_go_on_to_its_end(case: Case) -> None:
    await case.start(_three(case.journal), {"v": 1}, per_step=True)
    assert outcome(await case.resume()) == ("success", {"v": 40})
    with pytest.raises(NotSuspended):
        await case.resume(per_step=True)


@everywhere
async def test_an_entry_that_suspends_is_resumed_before_the_next(case: Case) -> None:
    workflow = create_workflow(id="w").then(case.journal.ask()).then(case.journal.dbl())
    assert (await case.start(workflow, {"v": 1}, per_step=True)).status == "suspended"
    assert (await case.resume({"add": 1})).status == "paused"
    assert outcome(await case.resume(per_step=True)) == ("success", {"v": 4})


@everywhere
async def test_opening_a_store_with_a_paused_run_starts_nothing(case: Case) -> None:
    await case.start(_three(case.journal), {"v": 1}, per_step=True)
    records = len(await case.records())
    await case.reopen()
    assert (case.app.is_idle, len(await case.records()), (await case.look()).status) == (True, records, "paused")
    assert outcome(await case.cancel()) == ("canceled", None)


@everywhere
async def test_a_deleted_run_is_gone_and_its_id_is_not_used_again(case: Case) -> None:
    workflow = _three(case.journal)
    await case.start(workflow, {"v": 1})
    await case.until(lambda: case.app.is_idle)
    await case.app.delete("r1")
    with pytest.raises(NotFound):
        await case.app.get("r1")
    assert (list(await case.app.list()), (await case.app.verify()).ok) == ([], True)
    with pytest.raises(RunConflict, match="r1"):
        await case.begin(workflow, {"v": 1})
    assert outcome(await case.start(workflow, {"v": 1}, run_id="r2")) == ("success", {"v": 40})


@everywhere
async def test_only_a_run_that_has_ended_is_deleted(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.ask()), {"v": 1})
    await case.until(lambda: case.app.is_idle)
    with pytest.raises(UsageError, match="cancel it first"):
        await case.app.delete("r1")
    await case.cancel()
    await case.until(lambda: case.app.is_idle)
    await case.app.delete("r1")
    with pytest.raises(NotFound):
        await case.app.delete("r1")


@everywhere
async def test_a_child_is_started_once_however_often_its_step_is_tried(case: Case) -> None:
    child = create_workflow(id="child").then(case.journal.inc()).commit()

    async def spawn(_: Any, ctx: StepContext) -> Any:
        run = await ctx.start_child("child", {"v": 41})
        if ctx.retry_count < 2:
            raise OSError("again")
        return {"child": run.id}

    await case.start(child, {"v": 0}, run_id="other")
    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", spawn, retries=2)))
    assert outcome(result) == ("success", {"child": "r1\x1fs1"})
    assert outcome(await case.end("r1\x1fs1")) == ("success", {"v": 42})
    assert [call for call in case.journal.calls if call[0] == "r1\x1fs1"][-1] == ("r1\x1fs1", "inc")
    assert {row.key.run for row in await case.store.runs()} == {"r1", "r1\x1fs1", "other"}


@everywhere
async def test_children_of_one_step_have_names_of_their_own(case: Case) -> None:
    child = create_workflow(id="child").then(case.journal.inc()).commit()

    async def spawn(_: Any, ctx: StepContext) -> list[str]:
        return [(await ctx.start_child("child", {"v": n}, run_id=f"{ctx.run_id}-{n}")).id for n in (1, 2)]

    await case.start(child, {"v": 0}, run_id="other")
    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", spawn)))
    assert [outcome(await case.end(id)) for id in result.result] == [("success", {"v": 2}), ("success", {"v": 3})]


@everywhere
async def test_what_a_step_writes_is_in_the_log(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> str:
        ctx.writer.write({"progress": 1})
        ctx.writer.write("half")
        return "done"

    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", act)))
    wrote = [record.content()["value"] for record in await case.records(Kind.STEP_WROTE)]
    assert (outcome(result), wrote) == (("success", "done"), [{"progress": 1}, "half"])


@uncut
async def test_a_stream_goes_on_from_any_number_across_a_suspension(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.inc()).then(case.journal.ask()), {"v": 1})
    run = await case.run()
    before = [record async for record in run.stream()]
    assert hashes(before) == hashes(await case.records())
    await case.resume({"add": 1})
    later = [record async for record in (await case.run()).stream(from_seq=before[-1].seq)]
    assert hashes([*before, *later]) == hashes(await case.records())
    every = [
        hashes([record async for record in run.stream(from_seq=seq)]) for seq in range(len(before) + len(later) + 1)
    ]
    assert every == [hashes(await case.records())[seq:] for seq in range(len(before) + len(later) + 1)]


@uncut
async def test_a_stream_is_fed_while_the_run_moves(case: Case) -> None:
    go_on = asyncio.Event()

    async def wait(data: Any, ctx: StepContext) -> Any:
        await go_on.wait()
        return data

    await case.begin(create_workflow(id="w").then(case.journal.inc()).then(case.journal.acts("s", wait)), {"v": 1})
    run, seen = await case.run(), []
    async for record in run.stream():
        seen.append(record)
        if record.kind is Kind.STEP_CALLED and record.path == "s":
            go_on.set()
    assert hashes(seen) == hashes(await case.records())
    assert seen[-1].kind is Kind.RUN_COMPLETED


@everywhere
async def test_runs_are_listed_by_status_and_workflow(case: Case) -> None:
    ask, inc = case.journal.ask(), case.journal.inc()
    one, two = create_workflow(id="one").then(ask), create_workflow(id="two").then(inc)
    for id, workflow in [("a", one), ("b", two), ("c", one), ("d", two)]:
        await case.start(workflow, {"v": 1}, run_id=id)
    await case.resume({"add": 1}, run_id="a")

    async def listed(**options: Any) -> list[str]:
        return [row.key.run for row in await case.app.list(**options)]

    assert await listed() == ["d", "c", "b", "a"]
    assert (await listed(status="suspended"), await listed(workflow="one")) == (["c"], ["c", "a"])
    assert (await listed(limit=2), await listed(limit=2, after="c")) == (["d", "c"], ["b", "a"])


@everywhere
async def test_the_same_id_and_input_is_the_same_run(case: Case) -> None:
    """In Mastra it runs twice."""
    workflow = create_workflow(id="w").then(case.journal.inc())
    first = await case.start(workflow, {"v": 1})
    assert await case.start(workflow, {"v": 1}) == first
    with pytest.raises(RunConflict):
        await case.begin(workflow, {"v": 2})
    assert (case.journal.began, len(await case.store.runs())) == (["inc"], 1)


def _three(journal: Journal) -> Workflow:
    return create_workflow(id="w").then(journal.inc()).then(_mid(journal)).then(journal.dbl())


def _mid(journal: Journal) -> Step:
    def mid(data: dict[str, int]) -> dict[str, int]:
        if data["v"] > 100:
            raise ValueError("too big")
        return {"v": data["v"] * 10}

    return journal.step("mid", mid)
