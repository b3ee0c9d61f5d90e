"""What a Python function gives, as far as its source says so: a `map` by a function is checked at commit."""

from __future__ import annotations

from typing import Any

import pytest

from cloche_codegen import GraphError, create_step, create_workflow


async def _add(a: int, b: int) -> int:
    return a + b


def _only_a(data: Any) -> dict[str, int]:
    a = data["x"]
    return {"a": a}


def _perhaps(data: Any) -> dict[str, int]:
    if data["x"]:
        return {"a": 1, "b": 2}
    return {"a": 1}


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda data: {"a": data["x"]}, ".b is required and never given"),
        (_only_a, ".b is required and never given"),
        (lambda data: {"a": 1, "b": [data["x"]]}, ".b is array, not integer"),
        (lambda data: {"a": 1, "b": 2, "c": 3}, ".c is given and not taken"),
        (lambda data: f"{data}", "the value is string, not object"),
    ],
)
def test_what_can_never_be_the_parameters_of_a_step_is_told(function: Any, why: str) -> None:
    workflow = create_workflow(id="w").map(function).then(create_step(id="add", execute=_add))
    with pytest.raises(GraphError) as caught:
        workflow.commit()
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [lambda data: {"a": 1, "b": data["x"]}, lambda data: {**data, "a": 1}, lambda data: data["x"], _perhaps],
)
def test_what_may_be_is_taken(function: Any) -> None:
    assert create_workflow(id="w").map(function).then(create_step(id="add", execute=_add)).commit()
