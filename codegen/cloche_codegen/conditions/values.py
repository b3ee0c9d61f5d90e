"""JavaScript's meanings of truth, equality, order, keys and text, over values that have crossed the glass.

Conditions mean the same on every engine, so where no JavaScript runs these functions answer as it would. They are the
Python half of the one table in `predicates`; the other half is `guest/js/prelude/workflow.js`. Careful about: `bool` is
not a number here, a text is ordered by UTF-16 units, numbers are shown as JavaScript shows them.
Source: ECMA-262 (IsStrictlyEqual, IsLessThan, Number::toString); Mastra's predicates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Final


class Missing(Enum):
    """The answer of a path that leads nowhere: JavaScript's `undefined`, which Python lacks."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing.MISSING
_INDEX_MAX: Final = 2**32 - 2  # the largest array index of ECMAScript


def is_number(value: object) -> bool:
    """Whether JavaScript calls it a number or a BigInt (a bool is neither)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def truthy(value: object) -> bool:
    """ToBoolean: empty lists and mappings are true; 0, NaN, the empty text, null and missing are false."""
    match value:
        case None | Missing.MISSING | False | "":
            return False
        case float() if math.isnan(value):
            return False
        case int() | float():
            return value != 0
        case _:
            return True


def same(left: object, right: object) -> bool:
    """`===`, except that a BigInt equals the number of the same value; objects are equal only to themselves."""
    if is_number(left) and is_number(right):
        return left == right
    if isinstance(left, bool | str) and type(left) is type(right):
        return left == right
    return left is right


def order(left: object, right: object) -> int | None:
    """-1, 0 or 1 for two numbers or two texts, None for anything that has no order (mixed kinds, NaN)."""
    if isinstance(left, str) and isinstance(right, str):
        # JavaScript orders texts by UTF-16 unit; Python by code point, which differs beyond the first plane.
        one, other = left.encode("utf-16-be", "surrogatepass"), right.encode("utf-16-be", "surrogatepass")
        return (one > other) - (one < other)
    if isinstance(left, int | float) and isinstance(right, int | float) and is_number(left) and is_number(right):
        if left != left or right != right:
            return None
        return (left > right) - (left < right)
    return None


def own(value: object, key: str) -> object:
    """The own property `key` of a mapping or list, or MISSING. A text, date or byte string has none."""
    if isinstance(value, Mapping):
        return value.get(key, MISSING)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        if key == "length":
            return len(value)
        if _is_index(key) and int(key) < len(value):
            return value[int(key)]
    return MISSING


def get(value: object, keys: Iterable[str]) -> object:
    """Follow `keys` through own properties; MISSING as soon as one is absent."""
    for key in keys:
        value = own(value, key)
        if value is MISSING:
            return MISSING
    return value


def number_text(number: int | float) -> str:
    """The text JavaScript gives a number: `1` for 1.0, `1e+21`, `0.000001`, `1e-7`, `NaN`, `Infinity`."""
    if isinstance(number, int):
        return str(number)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    return sign + _place(digits, point)


def _place(digits: str, point: int) -> str:
    """Number::toString steps 6 to 10: `digits` with the decimal point after `point` of them."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    exponent = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "") + exponent


def text_of(value: object) -> str:
    """How a template shows a value: null as nothing, objects and lists as compact JSON, the rest as JavaScript text."""
    if value is None or value is MISSING:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return instant_text(value)
    return json_text(value)


def json_text(value: object) -> str:
    """Compact JSON as `JSON.stringify` writes it; a big integer as its digits, a date as its text, no NaN."""
    match value:
        case None | Missing.MISSING:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number_text(value)
        case str():
            return quote(value)
        case datetime():
            return quote(instant_text(value))
        case bytes():
            return json_text(list(value))
        case Mapping():
            return "{" + ",".join(f"{quote(key)}:{json_text(item)}" for key, item in _in_order(value)) + "}"
        case Iterable():
            return "[" + ",".join(json_text(item) for item in value) + "]"
        case _:
            return quote(str(value))


def instant_text(value: datetime) -> str:
    """A date as JavaScript writes it in JSON: UTC, milliseconds, `Z`. A naive one is taken as UTC."""
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def quote(text: str) -> str:
    """`text` as JSON.stringify quotes it: a lone surrogate is escaped, everything else beyond ASCII stays readable."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in quoted) if _torn(quoted) else quoted


def _torn(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and (key == "0" or key[0] != "0") and int(key) <= _INDEX_MAX


def _in_order(value: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    """JavaScript lists integer keys first, ascending, then the others as they were put in."""
    indexes = sorted((key for key in value if _is_index(key)), key=int)
    return [(key, value[key]) for key in (*indexes, *(key for key in value if not _is_index(key)))]
