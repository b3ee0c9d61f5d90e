"""Values across the glass of the Python guest: the vectors that all codecs share, and what only Python has."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from guest.cells import GuestStopped, pack
from guest_python.python_cells import ECHO, outcome, python_cell
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.engines.direct.driver import duration

VECTORS = Path(__file__).parents[1] / "vectors"
START = bytes.fromhex("85001b0000018bcfe5680050") + bytes(16)


def rows(name: str) -> list[Any]:
    loaded: list[Any] = json.loads((VECTORS / name).read_text())
    return [pytest.param(row, id=row["name"]) for row in loaded]


def echo(encoded: bytes) -> bytes:
    output = python_cell(ECHO).give(START + encoded + b"\xa0")
    assert output[:2] == b"\x82\x07"
    assert output[-1:] == b"\xf6"
    return output[2:-1]


@pytest.mark.parametrize("row", rows("values.json"))
def test_a_value_comes_back_in_its_one_encoding(row: dict[str, Any]) -> None:
    assert echo(bytes.fromhex(row["hex"])).hex() == row.get("from_python", row["hex"])


@pytest.mark.parametrize("row", rows("hostile.json"))
def test_a_hostile_encoding_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(GuestStopped) as stopped:
        python_cell(ECHO).give(START + bytes.fromhex(row["hex"]) + b"\xa0")

    assert stopped.value.code == -1


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=20),
    max_leaves=40,
)


@given(st.lists(VALUES, max_size=10))
@settings(max_examples=60, deadline=None)
def test_any_value_comes_back_as_it_was(values: list[Any]) -> None:
    encoded = pack(values)

    assert echo(encoded) == encoded


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_an_event_or_a_fault_and_never_a_trap(data: bytes) -> None:
    cell = python_cell(ECHO)
    try:
        outcome = cell.pass_(data)[0]
    except GuestStopped as stopped:
        outcome = stopped.code

    assert outcome in (len(data), -1, -7)


@pytest.mark.parametrize(
    ("value", "crosses"),
    [
        ("decimal.Decimal('1.10')", "1.10"),
        ("uuid.UUID(int=1)", "00000000-0000-0000-0000-000000000001"),
        ("datetime.date(2026, 1, 2)", "2026-01-02"),
        ("datetime.datetime(2026, 1, 2, 3)", "2026-01-02T03:00:00"),
        ("datetime.timedelta(days=1, seconds=1.5)", "P1DT1.5S"),
        ("datetime.timedelta()", "PT0S"),
        ("-datetime.timedelta(hours=2, minutes=3)", "-PT2H3M"),
        ("pathlib.PurePosixPath('a/b')", "a/b"),
        ("Colour.RED", "red"),
        ("{Colour.RED: 1}", ("TypeError", "result has a key that is not text: only text keys can cross")),
        ("Point(1, {3, 2})", {"x": 1, "y": [2, 3]}),
        ("{'bb', 'a', 'c'}", ["a", "c", "bb"]),
        ("(1, (2,))", [1, [2]]),
        ("bytearray(b'x')", b"x"),
        ("True", True),
        ("datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)", datetime(2026, 1, 2, tzinfo=UTC)),
        ("collections.OrderedDict(b=1, a=2)", {"a": 2, "b": 1}),
        ("type('Text', (str,), {})('t')", "t"),
    ],
)
def test_what_only_python_has_crosses_as_the_host_would_send_it(value: str, crosses: Any) -> None:
    head = """
import collections, dataclasses, datetime, decimal, enum, pathlib, uuid
class Colour(enum.Enum):
    RED = "red"
@dataclasses.dataclass
class Point:
    x: int
    y: object
"""
    assert outcome(f"return {value}", head=head) == crosses


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{'a': [1, {'cb': print}]}", "result.a[1].cb is a function"),
        ("[lambda: 1]", "result[0] is a function"),
        ("object()", "result is an object"),
        ("int", "result is a class (int)"),
        ("{1: 2}", "result has a key that is not text: only text keys can cross"),
        ("(i for i in [1])", "result is a generator"),
        ("__import__('json')", "result is a module"),
        ("1j", "result is a complex"),
        ("{'a b': object()}", 'result["a b"] is an object'),
        ("{print}", "result is a set; an item is a function"),
    ],
)
def test_what_cannot_cross_is_refused_by_its_place(value: str, why: str) -> None:
    can = (
        ""
        if "key that is not text" in why
        else ", which cannot cross; what can: text, numbers, bytes, dates, lists, mappings, models"
    )
    assert outcome(f"return {value}") == ("TypeError", why + can)


def test_cycles_and_depth_are_refused() -> None:
    assert outcome("x = [1]; x.append({'a': x}); return x") == ("TypeError", "result[1].a is a cycle")
    name, why = outcome("x = []\nfor _ in range(70): x = [x]\nreturn x")
    assert (name, why[-25:]) == ("TypeError", "[0] is nested deeper than 64"[-25:])
    assert outcome("x = []\nx = [x, x]\nreturn x") == [[], []]  # the same thing twice is no cycle


def test_a_deep_event_does_not_recur_without_bound() -> None:
    with pytest.raises(GuestStopped) as stopped:
        python_cell(ECHO).give(START + b"\x81" * 1_000_000 + b"\xf6\xa0")

    assert stopped.value.code == -1


def test_a_mapping_has_attributes() -> None:
    data = {"a": {"b": 1}, "items": [2], "__class__": 3}

    assert outcome("return [input.a.b, input.items, input['__class__'], input.get('c')]", data) == [1, [2], 3, None]
    assert outcome("input.c = 5; del input.a; return input", {"a": 1}) == {"c": 5}
    assert outcome("return input.nope", {}) == ("AttributeError", "'cloche.Data' object has no attribute 'nope'")
    assert outcome("return [isinstance(input, dict), {**input}, input | {'b': 2}]", {"a": 1})[2] == {"a": 1, "b": 2}


DURATIONS = [
    "PT0S", "P", "P1D", "-P1DT2H3M4.5S", "+PT1M", "P1Y2M3W4DT5H6M7.000008S", "PT93784.25S", "P999999999DT23H59M59.999999S",
    "-P999999999D", "PT0.1S",
]  # fmt: skip
NO_DURATIONS = ["", "1D", "P1", "P1S", "PT1D", "P1DT1X", "PT1M1H", "P1.5D", "PT.5S", "PTT1S", "--P1D", "P1D "]


def test_durations_are_read_as_in_python() -> None:
    body = (
        "import _cloche, datetime\nunit = datetime.timedelta(microseconds=1)\nmade = []\nfor one in input:\n    try:\n"
    )
    body += "        made.append([_cloche.duration(one) // unit, _cloche.duration(one)])\n"
    body += "    except ValueError as error:\n        made.append(str(error))\nreturn made"
    found = outcome(body, [*DURATIONS, *NO_DURATIONS])

    unit = timedelta(microseconds=1)
    for text, (size, again) in zip(DURATIONS, found, strict=False):
        assert (size, duration(again)) == (duration(text) // unit, duration(text)), text
    assert found[len(DURATIONS) :] == [f"{one!r} is no duration" for one in NO_DURATIONS]
