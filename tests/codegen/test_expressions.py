"""Expressions: Python operators that note a condition instead of computing one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import BaseModel

from cloche_codegen import GraphError, UnknownReference, path, refs
from cloche_codegen.conditions.expressions import Expression


class Address(BaseModel):
    city: str


class Order(BaseModel):
    score: int
    address: Address
    exists: bool = True


def data(expression: Expression) -> Any:
    return expression.predicate().model_dump(mode="json")


def test_operators_become_predicates() -> None:
    wf = refs(Order)
    assert data(wf.input.score > 80) == {"gt": {"left": {"path": "inputData.score"}, "right": {"literal": 80}}}
    assert data(path("a.b") < 80) == {"lt": {"left": {"path": "a.b"}, "right": {"literal": 80}}}
    assert data(path("x") == path("y")) == {"eq": {"left": {"path": "x"}, "right": {"path": "y"}}}
    assert data(path("x") != None) == {"ne": {"left": {"path": "x"}, "right": {"literal": None}}}  # noqa: E711
    assert data(~(wf.state.n <= 1)) == {"not": {"arg": {"lte": {"left": {"path": "state.n"}, "right": {"literal": 1}}}}}
    assert data(wf.steps["add-ten"].x.in_([1, "a"])) == {
        "in": {"value": {"path": "stepResults.add-ten.x"}, "set": [1, "a"]}
    }
    assert data(wf.input["exists"].exists()) == {"exists": {"path": "inputData.exists"}}
    assert data(wf.input.address.city) == {"truthy": {"value": {"path": "inputData.address.city"}}}


def test_long_chains_are_flat() -> None:
    a, b, c = (path(f"inputData.{name}").truthy() for name in "abc")
    assert len(data(a & b & c)["and"]["args"]) == 3
    assert list(data(a & b | c)) == ["or"]


def test_fields_are_checked_against_the_model() -> None:
    with pytest.raises(UnknownReference) as caught:
        refs(Order).input.scoer  # noqa: B018
    assert str(caught.value) == "inputData.scoer: the model has no field 'scoer'; it has: score, address, exists"
    assert not hasattr(refs(Order).input.address, "street")
    assert hasattr(refs().input, "anything")


@pytest.mark.parametrize(
    "misuse",
    [
        lambda p: bool(p > 1),
        lambda p: p > 1 and p < 3,
        lambda p: 1 < p < 3,
        lambda p: not p,
        lambda p: p in [1],
    ],
)
def test_asking_for_truth_while_building_says_what_to_write(misuse: Any) -> None:
    with pytest.raises(GraphError) as caught:
        misuse(path("inputData.x"))
    assert str(caught.value) == (
        "expression: an expression has no truth value while the workflow is built; write & for and, | for or, ~ for not, "
        "put each comparison in parentheses, and write a < b < c as (a < b) & (b < c)"
    )


def test_what_is_no_condition_is_refused() -> None:
    for misuse in (lambda: path("x") == [1], lambda: path("x") & True, lambda: path("x")["a.b"], lambda: path("x")[-1]):
        with pytest.raises(GraphError):
            misuse()
    with pytest.raises(TypeError):
        iter(path("x"))
    assert copy.copy(path("x")).path_text == "x"
