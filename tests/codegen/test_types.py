"""Descriptions of types: one for each annotation, the same each time, and what of them a native source holds."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import typing
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    JsonValue,
    RootModel,
    TypeAdapter,
    computed_field,
    field_serializer,
)

from cloche import create_workflow, step
from cloche_codegen.json_schemas import adapter_of_json
from cloche_codegen.types import Types, has_odd_keys, is_more, lookalikes


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Money:
    amount: Decimal
    currency: str = "EUR"


class Point(typing.NamedTuple):
    x: int
    y: float = 0


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    id: uuid.UUID = Field(alias="ID")
    total: Money
    by_day: dict[dt.date, int] = Field(default={}, serialization_alias="days")

    @computed_field
    def label(self) -> str:
        return ""


class Tree(BaseModel):
    below: list[Tree] = []


class Written(BaseModel):
    at: dt.datetime

    @field_serializer("at")
    def _seconds(self, at: dt.datetime) -> float:
        return at.timestamp()


class Names(RootModel[list[str]]):
    pass


def described(annotation: Any) -> tuple[Any, dict[str, Any]]:
    types = Types()
    return types.of(TypeAdapter(annotation)), types.classes


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        (Decimal, "decimal"),
        (Annotated[int, Field(ge=0)], "int"),
        (HttpUrl, "any"),
        (list[dt.date], {"kind": "list", "items": "date"}),
        (set[int], {"kind": "set", "items": "int"}),
        (tuple[int, ...], {"kind": "tuple", "items": ["int"], "rest": 0}),
        (tuple[int, dt.time], {"kind": "tuple", "items": ["int", "time"]}),
        (dict[uuid.UUID, dt.timedelta], {"kind": "dict", "keys": "uuid", "values": "timedelta"}),
        (int | str | None, {"kind": "union", "arms": ["int", "str", "none"]}),
        (int | Any, "any"),
        (Literal["a", 1], {"kind": "literal", "values": ["a", 1]}),
        (typing.Sequence[Decimal], {"kind": "list", "items": "decimal"}),
    ],
    ids=str,
)
def test_what_an_annotation_is_described_as(annotation: Any, wanted: Any) -> None:
    assert described(annotation) == (wanted, {})


def test_classes_are_described_by_name() -> None:
    of, classes = described(list[Order | Level | Point])
    assert of == {
        "kind": "list",
        "items": {"kind": "union", "arms": [_class("Order"), _class("Level"), _class("Point")]},
    }
    assert classes == {
        "Order": {
            "kind": "model",
            "fields": {
                "id": {"type": "uuid", "key": "ID", "from": ["ID"]},
                "total": {"type": _class("Money")},
                "by_day": {
                    "type": {"kind": "dict", "keys": "date", "values": "int"},
                    "key": "days",
                    "optional": True,
                },
            },
            "computed": ["label"],
            "extra": "forbid",
            "frozen": True,
        },
        "Money": {
            "kind": "dataclass",
            "fields": {"amount": {"type": "decimal"}, "currency": {"type": "str", "optional": True}},
        },
        "Level": {"kind": "enum", "members": {"LOW": 1, "HIGH": 2}},
        "Point": {"kind": "namedtuple", "fields": {"x": {"type": "int"}, "y": {"type": "float", "optional": True}}},
    }
    assert json.loads(json.dumps(classes)) == classes


def _class(name: str) -> dict[str, str]:
    return {"kind": "class", "name": name}


def test_a_class_may_be_within_itself() -> None:
    assert described(Tree)[1]["Tree"]["fields"]["below"]["type"] == {"kind": "list", "items": _class("Tree")}


def test_what_is_within_itself_without_a_class_is_anything() -> None:
    assert described(dict[str, JsonValue]) == ({"kind": "dict", "keys": "str", "values": "any"}, {})
    schema = {"$ref": "#/$defs/L", "$defs": {"L": {"type": "array", "items": {"$ref": "#/$defs/L"}}}}
    adapter = adapter_of_json(schema)
    assert adapter is not None
    assert Types().of(adapter) == "any"


def test_a_model_may_be_one_value() -> None:
    assert described(Names)[1]["Names"] == {"kind": "model", "root": {"kind": "list", "items": "str"}, "fields": {}}


def test_what_an_author_serializes_has_a_form_of_its_own() -> None:
    assert described(Written)[1]["Written"]["fields"] == {"at": {}}


def test_two_classes_of_one_name_are_told_apart() -> None:
    other = dataclasses.make_dataclass("Money", [("value", int)])
    assert list(described(tuple[Money, other])[1]) == ["Money", "Money_2"]  # type: ignore[valid-type]


def test_what_needs_help_to_be_read() -> None:
    def is_plain(annotation: Any) -> bool:
        types = Types()
        types.of(TypeAdapter(annotation))
        return types.is_plain

    assert all(map(is_plain, (Money, Point, Level, list[dt.date], dict[str, Decimal], int | None, Tree)))
    assert not any(map(is_plain, (Order, dt.date | dt.datetime, dict[int, str])))


def test_what_is_more_than_its_wire_form() -> None:
    types = Types()

    def more(annotation: Any) -> bool:
        return is_more(types.of(TypeAdapter(annotation)))

    assert all(map(more, (Decimal, Money, Level, set[int], tuple[int, int], list[Decimal | None], dict[int, str])))
    assert not any(map(more, (int, str | None, list[str], dict[str, list[float]], Literal["a"])))
    assert has_odd_keys(types, types.of(TypeAdapter(Order)))
    assert not has_odd_keys(types, types.of(TypeAdapter(Money)))


def test_unions_that_look_alike_are_warned_of() -> None:
    types = Types()
    assert lookalikes(types, types.of(TypeAdapter(list[str | Decimal]))) == [("str", "decimal")]
    assert lookalikes(types, types.of(TypeAdapter(Decimal | str | None))) == []

    @step
    async def price(data: Any) -> str | Decimal:
        return Decimal(1)

    with pytest.warns(
        UserWarning, match=r"'price': in the union str \| decimal both are texts .* write decimal \| str"
    ):
        create_workflow(id="w").then(price).commit()
