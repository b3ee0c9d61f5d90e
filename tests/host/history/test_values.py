"""Values across the glass: what may cross, and the encoding of `guest/ABI.md`."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, field_serializer
from support.strategies import hostile, values

from cloche.errors import InvalidInput, MalformedOutput
from cloche.history.check import DEPTH_MAX, check
from cloche.history.values import decode, encode, encode_plain, plain


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(StrEnum):
    ADA = "Ada"


class Point(NamedTuple):
    x: int
    y: int


class Amount(int):
    pass


class Moment(datetime):
    pass


@dataclass
class Address:
    street: str
    numbers: tuple[int, ...]


class Item(BaseModel):
    price: Decimal
    quantity: int = Field(alias="qty")


class Order(BaseModel):
    items: list[Item]
    tags: set[str]


class Scores(RootModel[list[int]]):
    pass


class Broken(BaseModel):
    x: int

    @field_serializer("x")
    def refuse(self, x: int) -> int:
        raise RuntimeError(f"{x} is not for you")


def same(a: Any, b: Any) -> bool:
    """Equal in value and in type, −0.0 and NaN included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.copysign(1, a) == math.copysign(1, b) and a == b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, datetime):
        return bool(a == b and a.utcoffset() == b.utcoffset())
    return bool(a == b)


def moments_in(value: Any) -> Iterator[datetime]:
    if isinstance(value, datetime):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from moments_in(item)


# ---- round trip ----------------------------------------------------------------------------------------------------------


@given(values())
@example({"__proto__": 1, "10": 2, "": 3})
@example([-0.0, 0.0, 1.0, 1, math.nan, math.inf, -math.inf, 5e-324])
def test_what_is_read_is_what_was_written(value: Any) -> None:
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (Moment(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (datetime(2026, 1, 31, 12, 30), "2026-01-31T12:30:00"),
        (date(2026, 1, 31), "2026-01-31"),
        (time(12, 30), "12:30:00"),
        (timedelta(hours=1, seconds=1), "PT1H1S"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (PurePosixPath("/a/b"), "/a/b"),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Name.ADA, "Ada"),
        (Amount(7), 7),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        ({3, 1, 20, 100}, [1, 3, 20, 100]),
        (frozenset({"b", "aa", "a"}), ["a", "b", "aa"]),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (Address("Elm", (1, 2)), {"street": "Elm", "numbers": [1, 2]}),
        (Item(price=Decimal("2.50"), qty=3), {"price": "2.50", "qty": 3}),
        (
            Order(items=[Item(price=Decimal(1), qty=1)], tags={"x"}),
            {"items": [{"price": "1", "qty": 1}], "tags": ["x"]},
        ),
        (Scores([1, 2]), [1, 2]),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ({"\udfff": 1}, {"\ufffd": 1}),
    ],
)
def test_each_row_of_the_table_of_values(value: Any, back: Any) -> None:
    assert same(decode(encode(value)), back)


def test_an_offset_finer_than_minutes_becomes_utc_since_rfc_3339_has_none() -> None:
    amsterdam_1900 = timezone(timedelta(minutes=19, seconds=32))
    moment = datetime(1900, 1, 1, 12, tzinfo=amsterdam_1900)
    data = encode(moment)
    assert (check(data), decode(data)) == (len(data), datetime(1900, 1, 1, 11, 40, 28, tzinfo=UTC))


def test_nothing_of_the_result_is_shared_with_the_value() -> None:
    value = {"list": [1], "map": {"a": 1}}
    crossed = plain(value)
    value["list"].append(2)  # type: ignore[attr-defined]
    value["map"]["b"] = 2  # type: ignore[index]
    assert crossed == {"map": {"a": 1}, "list": [1]}


# ---- one encoding --------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=30), st.integers(), max_size=8), st.randoms())
def test_the_order_of_insertion_does_not_reach_the_bytes(value: dict[str, int], random: Any) -> None:
    value = {plain(key): item for key, item in value.items()}
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert encode(dict(shuffled)) == encode(value)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.none(), max_size=8))
def test_keys_are_sorted_by_their_encoded_bytes(value: dict[str, None]) -> None:
    assert list(decode(encode(value))) == sorted(value, key=encode_plain)


@given(values())
def test_what_is_written_is_accepted_whole(value: Any) -> None:
    data = encode(value)
    assert [check(data), check(data + b"\x00"), check(b"\xff" + data, 1)] == [len(data), len(data), len(data) + 1]


@given(values())
def test_what_was_read_is_written_in_the_same_bytes(value: Any) -> None:
    data = encode(value)
    assert encode(decode(data)) == data


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "fb3ff0000000000000"),
        (-0.0, "fb8000000000000000"),
        (math.nan, "f97e00"),
        (-math.nan, "f97e00"),
        (math.inf, "f97c00"),
        (-math.inf, "f9fc00"),
        (2**64 - 1, "1bffffffffffffffff"),
        (2**64, "c249010000000000000000"),
        (-(2**64), "3bffffffffffffffff"),
        (-(2**64) - 1, "c349010000000000000000"),
        ({"b": 1, "aa": 2, "a": 3}, "a361610361620162616102"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "c074323032362d30312d33315431323a30303a30305a"),
    ],
)
def test_the_bytes_of_some_values(value: Any, written: str) -> None:
    assert encode(value).hex() == written


# ---- what cannot cross ---------------------------------------------------------------------------------------------------


def a_loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def nested(levels: int, innermost: Any = None) -> Any:
    value = innermost
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        (
            object(),
            "",
            "the value is a builtins.object, which cannot cross the glass; return data (text, numbers, bytes, dates, lists, "
            "mappings, pydantic models)",
        ),
        (
            {"items": [1, {"cb": len}]},
            "items[1].cb",
            "items[1].cb is a builtins.builtin_function_or_method, which cannot cross the glass; return data (text, numbers, "
            "bytes, dates, lists, mappings, pydantic models)",
        ),
        ({"a": {1: 2}}, "a[1]", "a[1] has a key that is not text: only text keys can cross the glass"),
        ({Color.RED: 1}, f"[{Color.RED!r}]", f"[{Color.RED!r}] has a key that is not text: only text keys can cross the glass"),
        ({chr(0xD800): 1, chr(0xDFFF): 2}, "", "the value has two keys that are the same text once they are UTF-8"),
        (
            [Broken(x=3)],
            "[0]",
            "[0]: Broken could not be turned into data: Error calling function `refuse`: RuntimeError: 3 is not for you",
        ),
        (a_loop(), "[0]" * 64, "[0]" * 64 + " is nested deeper than 64; pass a reference instead"),
        (nested(100_000), "[0]" * 64, "[0]" * 64 + " is nested deeper than 64; pass a reference instead"),
    ],
    ids=["object", "function", "number as key", "enum as key", "same key", "serialiser", "loop", "deep"],
)  # fmt: skip
def test_what_cannot_cross_is_named_with_its_place(value: Any, path: str, message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        encode(value)
    assert (raised.value.message, raised.value.path) == (message, path)


def test_depth_is_counted_below_the_message_alike_when_written_and_when_read() -> None:
    deepest = nested(DEPTH_MAX, datetime(2026, 1, 1, tzinfo=UTC))
    message = encode_plain([7, plain(deepest)])
    assert check(message) == len(message)
    with pytest.raises(InvalidInput, match="nested deeper than 64"):
        encode([deepest])
    with pytest.raises(MalformedOutput, match="nested deeper than 64"):
        check(encode_plain([7, [deepest]]))


# ---- bytes from a guest --------------------------------------------------------------------------------------------------


@given(hostile)
@example(b"\xc0\x74" + b"2026-01-31T12:00:00Z")
@example(b"\xc0\x78\x18" + b"2026-01-31T12:00:00.000Z")
@example(b"\xc0\x74" + b"2026-01-31 12:00:00Z")
@example(b"\xc0\x70" + b"20260131T120000Z")
@example(b"\xa2\x60\x01\x60\x02")
@example(b"\xa2\x61\x61\xa0\x61\x61\x01")
@example(b"\x9b" + b"\xff" * 8)
def test_any_bytes_are_refused_or_are_a_value_with_these_bytes(data: bytes) -> None:
    try:
        end = check(data)
    except MalformedOutput:
        return
    value = decode(data[:end])
    again = encode_plain(value)
    if any(moments_in(value)):  # an instant has several spellings in RFC 3339, `.000Z` is JavaScript's
        assert same(decode(again), value)
    else:
        assert again == data[:end]


@given(values(), st.integers(0, 200))
def test_a_value_that_was_cut_is_refused(value: Any, length: int) -> None:
    data = encode(value)
    if length < len(data):
        with pytest.raises(MalformedOutput):
            check(data[:length])


@pytest.mark.parametrize("head", [b"\x81", b"\xa1\x60", b"\xc0", b"\x82\x80"])
def test_no_depth_of_bytes_is_too_much_for_the_check(head: bytes) -> None:
    with pytest.raises(MalformedOutput):
        check(head * 200_000)


def timestamp(text: str) -> str:
    return (b"\xc0" + encode(text)).hex()


RULES = {
    "nothing": ("", "the message ends in the middle (byte 0)"),
    "a head cut": ("19 01", "the message ends in the middle (byte 0)"),
    "an item missing": ("82 01", "more items are announced than bytes are left (byte 0)"),
    "a value missing": ("a1 61 61", "the message ends in the middle (byte 3)"),
    "bytes cut": ("42 01", "a string is longer than what is left (byte 0)"),
    "text cut": ("62 61", "a string is longer than what is left (byte 0)"),
    "key cut": ("a1 62 61", "a text is longer than what is left (byte 1)"),
    "more items than could be": ("9b ffffffffffffffff", "more items are announced than bytes are left (byte 0)"),
    "more pairs than could be": ("a2 60 00", "more items are announced than bytes are left (byte 0)"),
    "integer longer than needed": ("18 17", "a head is longer than it needs to be (byte 0)"),
    "two bytes for one": ("19 00ff", "a head is longer than it needs to be (byte 0)"),
    "four bytes for two": ("1a 0000ffff", "a head is longer than it needs to be (byte 0)"),
    "eight bytes for four": ("1b 00000000ffffffff", "a head is longer than it needs to be (byte 0)"),
    "length longer than needed": ("78 01 61", "a head is longer than it needs to be (byte 0)"),
    "indefinite list": ("9f ff", "indefinite or reserved length (byte 0)"),
    "indefinite map": ("bf ff", "indefinite or reserved length (byte 0)"),
    "indefinite text": ("7f ff", "indefinite or reserved length (byte 0)"),
    "reserved length": ("1c", "indefinite or reserved length (byte 0)"),
    "break alone": ("ff", "a simple value or float that is not in the grammar (byte 0)"),
    "undefined": ("f7", "a simple value or float that is not in the grammar (byte 0)"),
    "another simple value": ("f8 20", "a simple value or float that is not in the grammar (byte 0)"),
    "float16": ("f9 3c00", "a simple value or float that is not in the grammar (byte 0)"),
    "float32": ("fa 3f800000", "a simple value or float that is not in the grammar (byte 0)"),
    "float64 cut": ("fb 3ff00000", "a simple value or float that is not in the grammar (byte 0)"),
    "another NaN": ("f9 7e01", "a simple value or float that is not in the grammar (byte 0)"),
    "long NaN": ("fb 7ff8000000000000", "a float that is not finite has its own short form (byte 0)"),
    "long infinity": ("fb fff0000000000000", "a float that is not finite has its own short form (byte 0)"),
    "number as key": ("a1 01 02", "a map key is not text (byte 1)"),
    "bytes as key": ("a1 41 61 02", "a map key is not text (byte 1)"),
    "keys not sorted": ("a2 61 62 01 61 61 02", "map keys are not sorted or not unique (byte 4)"),
    "longer key first": ("a2 62 6161 01 61 62 02", "map keys are not sorted or not unique (byte 5)"),
    "key twice": ("a2 61 61 01 61 61 02", "map keys are not sorted or not unique (byte 4)"),
    "empty key twice": ("a2 60 01 60 02", "map keys are not sorted or not unique (byte 3)"),
    "key twice around a map": ("a2 61 61 a1 61 62 01 61 61 02", "map keys are not sorted or not unique (byte 7)"),
    "text not UTF-8": ("61 ff", "text that is not UTF-8 (byte 0)"),
    "surrogate as UTF-8": ("63 eda080", "text that is not UTF-8 (byte 0)"),
    "key not UTF-8": ("a1 61 ff 01", "text that is not UTF-8 (byte 1)"),
    "epoch time": ("c1 00", "tag 1 is not in the grammar (byte 0)"),
    "another tag": ("d8 20 61 61", "tag 32 is not in the grammar (byte 0)"),
    "tag before nothing": ("c2", "the message ends in the middle (byte 1)"),
    "tag before a tag": ("c2 c2 49 010000000000000000", "tag 2 stands before something else than it should (byte 0)"),
    "bignum of text": ("c2 61 61", "tag 2 stands before something else than it should (byte 0)"),
    "bignum that is empty": ("c2 40", "a big integer that fits an integer, or has leading zeros (byte 0)"),
    "bignum that fits": ("c2 48 ffffffffffffffff", "a big integer that fits an integer, or has leading zeros (byte 0)"),
    "bignum with zeros": ("c3 4a 00010000000000000000", "a big integer that fits an integer, or has leading zeros (byte 0)"),
    "timestamp as number": ("c0 01", "tag 0 stands before something else than it should (byte 0)"),
    "timestamp without offset": (timestamp("2026-01-31T12:00:00"), "a timestamp that is not RFC 3339 (byte 0)"),
    "timestamp with a space": (timestamp("2026-01-31 12:00:00Z"), "a timestamp that is not RFC 3339 (byte 0)"),
    "basic format": (timestamp("20260131T120000Z"), "a timestamp that is not RFC 3339 (byte 0)"),
    "week date": (timestamp("2026-W05-6T12:00:00Z"), "a timestamp that is not RFC 3339 (byte 0)"),
    "comma": (timestamp("2026-01-31T12:00:00,5Z"), "a timestamp that is not RFC 3339 (byte 0)"),
    "no such day": (timestamp("2026-02-30T12:00:00Z"), "a timestamp that is not RFC 3339 (byte 0)"),
    "no such hour": (timestamp("2026-01-31T24:00:00Z"), "a timestamp that is not RFC 3339 (byte 0)"),
    "no such offset": (timestamp("2026-01-31T12:00:00+25:00"), "a timestamp that is not RFC 3339 (byte 0)"),
    "offset with seconds": (timestamp("2026-01-31T12:00:00+01:00:30"), "a timestamp that is not RFC 3339 (byte 0)"),
    "digits of another script": (timestamp("٢٠٢٦-01-31T12:00:00Z"), "a timestamp that is not RFC 3339 (byte 0)"),
    "too deep": ("81" * 66 + "00", "nested deeper than 64 (byte 65)"),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_of_the_encoding_refuses(rule: str) -> None:
    data, what = RULES[rule]
    with pytest.raises(MalformedOutput) as raised:
        check(bytes.fromhex(data))
    assert raised.value.message == f"the guest wrote a malformed message: {what}"
