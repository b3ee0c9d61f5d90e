"""JavaScript's texts of values, as templates show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cloche_codegen.conditions.values import json_text, number_text, text_of


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (0.1, "0.1"), (100.0, "100"), (1e20, "100000000000000000000"),
        (1e21, "1e+21"), (1.5e21, "1.5e+21"), (123456789012345680000.0, "123456789012345680000"), (1e-6, "0.000001"),
        (1.5e-6, "0.0000015"), (1e-7, "1e-7"), (1.25e-7, "1.25e-7"), (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (2**70, "1180591620717411303424"), (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"), (9007199254740993.0, "9007199254740992"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_javascript_writes_them(number: float, text: str) -> None:
    assert number_text(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("a\n", "a\n"),
        (True, "true"),
        (1.0, "1"),
        ({"v": 2, "a": [None, True, "x\u2028é"]}, '{"v":2,"a":[null,true,"x\u2028é"]}'),
        ({"b": 1, "10": 2, "9": 3, "01": 4}, '{"9":3,"10":2,"b":1,"01":4}'),
        ([], "[]"),
        (b"\x01\xff", "[1,255]"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00.000Z"),
        ([datetime(2026, 1, 31, 14, 0, 0, 5999, timezone(timedelta(hours=2)))], '["2026-01-31T12:00:00.005Z"]'),
        (2**64, "18446744073709551616"),
    ],
)
def test_templates_show_values(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_half_a_character_is_escaped() -> None:
    assert json_text("\ud800x😀") == '"\\ud800x😀"'
