"""Predicates: the table of meanings, short circuits, the wire form."""

from __future__ import annotations

from typing import Any

import pytest
from codegen.truth_table import ROWS
from pydantic import ValidationError

from cloche_codegen.conditions.predicates import MEANING, Predicate, PredicateBox, evaluate, paths_of
from cloche_codegen.conditions.values import MISSING, get


def predicate(data: dict[str, Any]) -> Predicate:
    return PredicateBox(predicate=data).predicate


def answer(data: dict[str, Any], **roots: Any) -> bool:
    def look_up(path: str) -> object:
        return get(roots, path.split("."))

    return evaluate(predicate(data), look_up)


@pytest.mark.parametrize(("op", "operands", "expected"), ROWS)
def test_an_operator_answers_as_the_table_says(op: str, operands: tuple[object, ...], expected: bool) -> None:
    assert MEANING[op](*operands) is expected


def test_the_table_has_rows_for_every_operator() -> None:
    assert {op for op, _, _ in ROWS} == set(MEANING)


def test_paths_go_through_own_properties_and_indexes() -> None:
    data = {"a": [{"b": 7}], "text": "abc"}
    assert get(data, ("a", "0", "b")) == 7
    assert get(data, ("a", "length")) == 1
    assert get(data, ("a", "00")) is MISSING
    assert get(data, ("a", "-1")) is MISSING
    assert get(data, ("text", "length")) is MISSING
    assert get(data, ("constructor",)) is MISSING


def test_and_and_or_stop_at_the_answer() -> None:
    yes, no = {"truthy": {"value": {"literal": True}}}, {"truthy": {"value": {"literal": False}}}
    asked: list[str] = []

    def look_up(path: str) -> object:
        asked.append(path)
        return True

    tail = {"exists": {"path": "inputData"}}
    assert evaluate(predicate({"or": {"args": [yes, tail]}}), look_up) is True
    assert evaluate(predicate({"and": {"args": [no, tail]}}), look_up) is False
    assert asked == []
    assert answer({"and": {"args": []}}) is True
    assert answer({"or": {"args": []}}) is False
    assert answer({"not": {"arg": no}}) is True


def test_a_missing_path_is_not_null() -> None:
    is_null = {"eq": {"left": {"path": "inputData.x"}, "right": {"literal": None}}}
    assert answer(is_null, inputData={"x": None}) is True
    assert answer(is_null, inputData={}) is False


@pytest.mark.parametrize(
    "data",
    [
        {"eq": {"left": {"path": "inputData.x"}, "right": {"literal": None}}},
        {"in": {"value": {"literal": 1}, "set": [1, 1.5, "a", True, None]}},
        {"notIn": {"value": {"path": "state.x"}, "set": {"path": "state.list"}}},
        {"exists": {"path": "stepResults.a.b"}},
        {"falsy": {"value": {"path": "initData"}}},
        {"and": {"args": [{"not": {"arg": {"or": {"args": []}}}}]}},
    ],
)
def test_the_wire_form_is_kept(data: dict[str, Any]) -> None:
    box = PredicateBox(predicate=data)
    assert box.model_dump(mode="json", exclude_none=True) == {"predicate": data}
    assert PredicateBox.model_validate_json(box.model_dump_json(exclude_none=True)) == box


def test_a_path_may_be_written_inside_braces() -> None:
    assert list(paths_of(predicate({"truthy": {"value": {"path": "${inputData.x}"}}}))) == ["inputData.x"]


@pytest.mark.parametrize(
    "data",
    [
        {"grt": {"left": {"literal": 1}, "right": {"literal": 1}}},
        {"eq": {"left": {"literal": 1}}},
        {"eq": {"left": {"literal": 1}, "right": {"literal": []}}},
        {"eq": {"left": {"literal": 1}, "right": {"literal": 1, "path": "x"}}},
        {"eq": {"left": {"literal": 1}, "right": {"literal": float("nan")}}},
        {"eq": {"left": {"literal": 1}, "right": {"literal": 1}}, "ne": {}},
        {"exists": {"path": "inputData", "more": 1}},
        {"not": {"args": []}},
        {},
        "inputData",
    ],
)
def test_anything_else_is_no_predicate(data: Any) -> None:
    with pytest.raises(ValidationError):
        PredicateBox(predicate=data)
