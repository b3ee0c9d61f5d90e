"""A stored schema takes and refuses what the annotation takes and refuses that it was made of."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cloche_codegen.json_schemas import adapter_of_json


class Address(BaseModel):
    city: str = Field(min_length=2, pattern="^[A-Z]")
    lines: list[str] = []


class Person(BaseModel):
    name: str
    age: int = Field(ge=0, lt=150)
    kind: Literal["a", "b"] = "a"
    address: Address | None = None
    scores: dict[str, float] = {}
    friends: list[Person] = []


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: tuple[int, str]


PERSON = {"name": "Ann", "age": 30}
GIVEN: list[tuple[Any, Any]] = [
    (Person, PERSON),
    (Person, {**PERSON, "age": "31", "unknown": 1}),
    (Person, {**PERSON, "friends": [{**PERSON, "friends": [PERSON]}]}),
    (Person, {**PERSON, "address": {"city": "Rome"}, "scores": {"a": 1}}),
    (Person, {"name": "Ann"}),
    (Person, {**PERSON, "age": 150}),
    (Person, {**PERSON, "age": -1}),
    (Person, {**PERSON, "kind": "c"}),
    (Person, {**PERSON, "address": {"city": "rome"}}),
    (Person, {**PERSON, "address": {"city": "R"}}),
    (Person, {**PERSON, "friends": [{"name": 5}]}),
    (Person, {**PERSON, "scores": {"a": "b"}}),
    (Person, 5),
    (Closed, {"x": [1, "a"]}),
    (Closed, {"x": [1, "a"], "y": 1}),
    (Closed, {"x": [1]}),
    (list[int], [1, "2", 3.0]),
    (list[int], [1.5]),
    (int | None, None),
    (int | str, []),
    (bool, "yes"),
    (dict[str, int], {"a": "x"}),
]


@pytest.mark.parametrize(("annotation", "value"), GIVEN)
def test_a_stored_schema_answers_as_its_annotation(annotation: Any, value: Any) -> None:
    whole = TypeAdapter(annotation)
    stored = adapter_of_json(whole.json_schema())
    assert stored is not None
    assert _answer(stored, value) == _answer(whole, value)


def test_what_is_not_understood_says_nothing() -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"$ref": "elsewhere.json"},
        {"type": "unheard of"},
        {"not": {"type": "null"}},
        {"type": "string", "format": "date"},
    ]
    assert [adapter_of_json(schema) for schema in odd] == [None] * 5
    broken = {"type": "string", "pattern": "(?<x", "minLength": "many"}
    adapter = adapter_of_json(broken)
    assert adapter is not None
    assert adapter.validate_python("x") == "x"


def test_a_default_is_nobodys_in_particular() -> None:
    adapter = adapter_of_json({"type": "object", "properties": {"list": {"type": "array", "default": []}}})
    assert adapter is not None
    adapter.validate_python({})["list"].append(1)
    assert adapter.validate_python({}) == {"list": []}


def test_the_same_schema_is_built_once() -> None:
    assert adapter_of_json({"type": "integer", "minimum": 1}) is adapter_of_json({"minimum": 1, "type": "integer"})


def _answer(adapter: TypeAdapter[Any], value: Any) -> Any:
    """What the adapter makes of the value as plain data, or where it does not fit."""
    try:
        return TypeAdapter(Any).dump_python(adapter.validate_python(value), mode="json")
    except ValidationError as error:
        return sorted({str(item["loc"][:1]) for item in error.errors()})
