"""A. One step behind another, workflows as steps, failures."""

from __future__ import annotations

from typing import Any

import pytest
from support.cases import Case, everywhere, failure, outcome, outputs, statuses

from cloche import FatalError, GraphError, clone_step, clone_workflow, create_workflow


@everywhere
async def test_one_step(case: Case) -> None:
    result = await case.start(create_workflow(id="w").then(case.journal.inc()), {"v": 1})
    assert outcome(result) == ("success", {"v": 2})
    assert (statuses(result), outputs(result)) == ({"inc": "success"}, {"inc": {"v": 2}})
    assert (result.input, result.step_execution_path) == ({"v": 1}, ["inc"])


@everywhere
async def test_scalars_lists_and_null_flow_unchanged(case: Case) -> None:
    a = case.journal.step("a", lambda _: "ab")
    b = case.journal.step("b", lambda data: [data, data])
    c = case.journal.step("c", lambda _: None)
    result = await case.start(create_workflow(id="w").then(a).then(b).then(c), {})
    assert outcome(result) == ("success", None)
    assert {id: (step.payload, step.output) for id, step in result.steps.items()} == {
        "a": ({}, "ab"),
        "b": ("ab", ["ab", "ab"]),
        "c": (["ab", "ab"], None),
    }


@everywhere
async def test_a_raising_step_fails_the_run(case: Case) -> None:
    journal = case.journal
    workflow = create_workflow(id="w").then(journal.inc()).then(journal.boom()).then(journal.dbl())
    result = await case.start(workflow, {"v": 1})
    assert failure(result) == ("RuntimeError", "boom")
    assert statuses(result) == {"inc": "success", "boom": "failed"}
    assert outputs(result) == {"inc": {"v": 2}, "boom": None}
    error = result.steps["boom"].error
    assert (error and error.message, result.error and result.error.step) == ("boom", "boom")
    assert (result.step_execution_path, "dbl" in journal.began) == (["inc"], False)


@everywhere
async def test_a_workflow_is_a_step_and_its_steps_stay_inside(case: Case) -> None:
    inner = create_workflow(id="W").then(case.journal.inc()).then(case.journal.dbl()).commit()
    workflow = create_workflow(id="w").then(inner).then(clone_workflow(inner, id="W2"))
    result = await case.start(workflow, {"v": 1})
    assert outcome(result) == ("success", {"v": 10})
    assert (statuses(result), outputs(result)) == (
        {"W": "success", "W2": "success"},
        {"W": {"v": 4}, "W2": {"v": 10}},
    )
    assert result.step_execution_path == ["W", "W2"]


@everywhere
async def test_the_failure_of_a_nested_workflow_keeps_its_data(case: Case) -> None:
    bad = create_workflow(id="Bad").then(case.journal.step("deep", _raise_deep)).commit()
    result = await case.start(create_workflow(id="w").then(bad).then(case.journal.inc()), {"v": 1})
    assert failure(result) == ("DeepError", "deep!")
    assert result.error is not None
    assert (result.error.data, result.error.step) == ({"code": 42}, "Bad")
    assert (statuses(result), "inc" in case.journal.began) == ({"Bad": "failed"}, False)


@everywhere
async def test_the_cause_of_a_failure_comes_along(case: Case) -> None:
    def fail(_: Any) -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    result = await case.start(create_workflow(id="w").then(case.journal.step("s", fail)))
    assert failure(result) == ("ValueError", "outer")
    assert result.error is not None
    assert result.error.cause is not None
    assert (result.error.cause.name, result.error.cause.message) == ("KeyError", "'inner'")


@everywhere
async def test_a_failure_names_the_retries_it_took(case: Case) -> None:
    def refuse(_: Any) -> None:
        raise FatalError("never")

    workflow = create_workflow(id="w").then(case.journal.step("s", refuse, retries=5))
    result = await case.start(workflow)
    assert (failure(result), result.steps["s"].attempts) == (("FatalError", "never"), 1)


@everywhere
async def test_a_step_may_run_twice_under_two_ids(case: Case) -> None:
    inc = case.journal.inc()
    workflow = create_workflow(id="w").then(inc).then(inc, id="again").then(clone_step(inc, id="third"))
    result = await case.start(workflow, {"v": 1})
    assert outputs(result) == {"inc": {"v": 2}, "again": {"v": 3}, "third": {"v": 4}}
    assert result.step_execution_path == ["inc", "again", "third"]


@everywhere
async def test_a_clone_keeps_what_its_original_says(case: Case) -> None:
    """Mastra's clones lose their retries and state schema."""
    tries: list[int] = []

    def flaky(_: Any, ctx: Any) -> str:
        tries.append(ctx.retry_count)
        if ctx.retry_count == 0:
            raise OSError("once")
        return "done"

    original = create_workflow(id="o", retry_config={"attempts": 1}).then(case.journal.acts("flaky", flaky)).commit()
    result = await case.start(clone_workflow(original, id="c"))
    assert (outcome(result), tries) == (("success", "done"), [0, 1])


def test_two_nodes_of_one_id_are_refused() -> None:
    """Mastra lets the second overwrite the result of the first."""
    from support.apps import Journal

    inc = Journal().inc()
    with pytest.raises(GraphError, match="inc"):
        create_workflow(id="w").then(inc).then(inc).commit()


class DeepError(Exception):
    code = 0


def _raise_deep(_: Any) -> None:
    error = DeepError("deep!")
    error.code = 42
    raise error
