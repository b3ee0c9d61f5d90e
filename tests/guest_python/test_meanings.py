"""The truth table and the texts of values, asked of the Python guest's prelude: the same answers as everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from codegen.truth_table import ROWS
from guest_python.loop_cells import part

from cloche_codegen.conditions.values import MISSING, number_text, text_of

NAMES = {"in": "is_in", "notIn": "not_in", "notExists": "not_exists"}


@pytest.fixture(scope="module")
def flow() -> Any:
    return part("flow")


def test_the_prelude_answers_every_row_of_the_table(flow: Any) -> None:
    for op, operands, expected in ROWS:
        given = [flow.MISSING if operand is MISSING else operand for operand in operands]
        assert getattr(flow, NAMES.get(op, op))(*given) is expected, (op, operands)


def test_templates_show_values_alike(flow: Any) -> None:
    values: list[Any] = [
        None, "", "a\u2028é\ud800", True, 1.0, -0.0, 1e21, 1e-7, 0.1, 123456789012345680000.0, 2**64, 5e-324, float("nan"),
        {"b": 1, "10": 2, "9": [None, 1.5]}, [], [[]], {"a": {"x": "\n"}}, b"\x01\xff", datetime(999, 1, 2, 3, 4, tzinfo=UTC),
        float("-inf"), {"d": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)},
    ]  # fmt: skip
    for value in values:
        assert flow.text(value) == text_of(value)
    for exponent in range(-330, 309):
        assert flow.text(1.25 * 10.0**exponent) == number_text(1.25 * 10.0**exponent)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("2026-02-30T12:00:00Z", 1772452800000), ("2026-01-01 24:00:00Z", 1767312000000), ("2026-01-01T24:00:01Z", None),
     ("0000-01-01T00:00:00Z", -62167219200000), ("2026-01-01T00:00:00+23:59", 1767139260000), ("2026-13-01T00:00:00Z", None),
     ("2026-01-01T00:00:00+24:00", None), ("2026-01-01T00:00:00.9999Z", 1767225600999), ("2026-01-01T00:00:00z", None),
     ("2026-01-01 00:00:00z", 1767225600000), ("2026-01-01 00:00:00.5+01:00", 1767222000500), ("2026-01-00T00:00:00Z", None)],
)  # fmt: skip
def test_texts_of_instants_are_read_as_javascript_reads_them(flow: Any, text: str, ms: int | None) -> None:
    if ms is not None:
        assert flow.instant("x", lambda: text) == ms
    else:
        with pytest.raises(Exception, match="is no date, RFC 3339 text or milliseconds"):
            flow.instant("x", lambda: text)
