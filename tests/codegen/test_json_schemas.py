"""A stored schema takes and refuses what the annotation takes and refuses that it was made of."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cloche_codegen.json_schemas import BrokenSchema, adapter_of_json


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
    adapter = adapter_of_json({"type": "string", "pattern": 5, "minLength": "many"})
    assert adapter is not None
    assert adapter.validate_python("x") == "x"


# An engine that backtracks does not come to an end with these: two to the power of the letters.
ENDLESS = ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*a){24}$", r"^(\w+\s?)*$", "^((a*)*)*$"]


@pytest.mark.parametrize("pattern", ENDLESS)
def test_patterns_are_matched_in_linear_time(pattern: str) -> None:
    adapter = adapter_of_json({"type": "string", "pattern": pattern})
    assert adapter is not None
    with pytest.raises(ValidationError):
        adapter.validate_python("a" * 200 + "!!")


BROKEN = [
    ({"pattern": "(?=a)b"}, "pattern: the pattern '(?=a)b' cannot be used: look-around, including look-ahead"),
    ({"pattern": r"(a)\1"}, "backreferences are not supported"),
    ({"pattern": "(?<x"}, "unclosed capture group name"),
    ({"pattern": "(?x) a"}, "the flag x is not known here"),
    ({"pattern": r"(\w{40}){40}"}, "it is too large, with its repetitions written out"),
    ({"pattern": r"([a[\w]]{99}){99}"}, "it is too large, with its repetitions written out"),
    ({"pattern": "x" * 100_000}, f"the pattern '{'x' * 100}…' cannot be used: it is too large"),
    ({"minLength": -1}, "negative"),
    ({"maxLength": 10**30}, "too big"),
]


@pytest.mark.parametrize(("keywords", "why"), BROKEN)
def test_what_cannot_be_checked_is_refused(keywords: dict[str, Any], why: str) -> None:
    with pytest.raises(BrokenSchema) as refused:
        adapter_of_json({"type": "string", **keywords})
    assert why in str(refused.value)


def test_a_refusal_names_the_place_of_the_pattern() -> None:
    schema = {"properties": {"a": {"items": {"type": "string", "pattern": "(?!x)"}, "type": "array"}}, "type": "object"}
    with pytest.raises(BrokenSchema, match=r"^properties\.a\.items\.pattern: the pattern '\(\?!x\)' cannot be used"):
        adapter_of_json(schema)


def test_the_patterns_of_a_schema_are_bounded_together() -> None:
    some = {"type": "string", "pattern": r"^\w{20}$"}
    assert adapter_of_json({"type": "array", "prefixItems": [some] * 10}) is not None
    with pytest.raises(BrokenSchema, match="all patterns of the schema together are too large"):
        adapter_of_json({"type": "array", "prefixItems": [some] * 11})


def test_in_an_accepted_schema_the_rest_is_checked() -> None:
    adapter = adapter_of_json({"type": "string", "pattern": "(?=a)b", "maxLength": 3}, is_accepted=True)
    assert adapter is not None
    assert adapter.validate_python("xyz") == "xyz"
    with pytest.raises(ValidationError):
        adapter.validate_python("four")


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
