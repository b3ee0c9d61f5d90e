"""JavaScript's meanings of truth, equality, order, keys and text, for generated code: the same answers on every guest.

Twin of the first parts of `guest/js/prelude/workflow.js`. Careful about: a bool is no number here, a text is ordered by
UTF-16 units, and `MISSING` is what JavaScript calls undefined, which is not None.
"""

from __future__ import annotations

import json as _json
import math
import re
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final


class Missing(Enum):
    """The answer of a path that leads nowhere. It crosses as nothing: absent in mappings, null elsewhere."""

    MISSING = None

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING
_INDEX_MAX: Final = 2**32 - 2  # the largest array index of ECMAScript
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and value is not True and value is not False


def own(value: object, key: str) -> Any:
    """The own property `key` of a mapping or list, or MISSING. A text, date or byte string has none."""
    if isinstance(value, dict):
        return dict.get(value, key, MISSING)  # its attributes are its keys, `get` among them
    if isinstance(value, (list, tuple)):
        if key == "length":
            return len(value)
        if is_index(key) and int(key) < len(value):
            return value[int(key)]
    return MISSING


def get(value: object, *path: str) -> Any:
    """Own properties along the keys; MISSING as soon as one is absent."""
    for key in path:
        value = own(value, key)
        if value is MISSING:
            return MISSING
    return value


def first(*results: Any) -> Any:
    """The first result that is there."""
    for result in results:
        if result is not None and result is not MISSING:
            return result
    return MISSING


def present(result: Any) -> Any:
    """The result of a step; one that gave null counts as missing."""
    return MISSING if result is None else result


def settled(block: Any, id: str) -> Any:
    """The output of an arm of a settled block, MISSING if it failed."""
    outcome = get(block, id)
    return get(outcome, "output") if get(outcome, "status") == "success" else MISSING


def defined(fields: dict[str, Any]) -> dict[str, Any]:
    """A mapping without its missing fields."""
    return {key: value for key, value in fields.items() if value is not MISSING}


# ── the table of meanings ───────────────────────────────────────────────────────────────────────────────────────────
def same(left: Any, right: Any) -> bool:
    """Strict equality; numbers are one kind, and objects are equal only to themselves."""
    if is_number(left):
        return is_number(right) and bool(left == right)
    if isinstance(left, (bool, str)):
        return type(left) is type(right) and bool(left == right)
    return left is right


def order(left: Any, right: Any) -> int | None:
    """-1, 0 or 1 for two numbers or two texts, None for anything that has no order."""
    if isinstance(left, str):
        if not isinstance(right, str):
            return None
        if not (left.isascii() and right.isascii()):
            left, right = left.encode("utf-16-be", "surrogatepass"), right.encode("utf-16-be", "surrogatepass")
    elif not (is_number(left) and is_number(right)) or left != left or right != right:
        return None
    return 1 if left > right else -1 if left < right else 0


def eq(left: Any, right: Any) -> bool:
    return left is not MISSING and right is not MISSING and same(left, right)


def ne(left: Any, right: Any) -> bool:
    return left is not MISSING and right is not MISSING and not same(left, right)


def lt(left: Any, right: Any) -> bool:
    return order(left, right) == -1


def lte(left: Any, right: Any) -> bool:
    return order(left, right) in (-1, 0)


def gt(left: Any, right: Any) -> bool:
    return order(left, right) == 1


def gte(left: Any, right: Any) -> bool:
    return order(left, right) in (0, 1)


def is_in(value: Any, items: Any) -> bool:
    if value is MISSING or not isinstance(items, (list, tuple)):
        return False
    return any(same(value, item) for item in items)


def not_in(value: Any, items: Any) -> bool:
    return not is_in(value, items)


def exists(value: Any) -> bool:
    return value is not MISSING


def not_exists(value: Any) -> bool:
    return value is MISSING


def truthy(value: Any) -> bool:
    """Empty lists and mappings are true; 0, NaN, the empty text, null and missing are false."""
    if value is None or value is MISSING or value is False:
        return False
    if isinstance(value, (int, float)):
        return value == value and value != 0
    return not (isinstance(value, str) and value == "")


def falsy(value: Any) -> bool:
    return not truthy(value)


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def text(*parts: Any) -> str:
    """A text of parts: null as nothing, objects and lists as JSON, a date as its ISO text, the rest as JavaScript text."""
    return "".join(part if isinstance(part, str) else _shown(part) for part in parts)


def _shown(value: Any) -> str:
    if value is None or value is MISSING:
        return ""
    return instant_text(value) if isinstance(value, datetime) else json(value)


def json(value: Any) -> str:
    """Compact JSON as JavaScript writes it; a big integer as its digits, a date as its text, bytes as a list."""
    if value is None or value is MISSING:
        return "null"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, datetime):
        return quote(instant_text(value))
    if isinstance(value, dict):
        fields = (f"{quote(key)}:{json(item)}" for key, item in _in_order(value) if item is not MISSING)
        return "{" + ",".join(fields) + "}"
    if isinstance(value, (list, tuple, bytes)):
        return "[" + ",".join(map(json, value)) + "]"
    return quote(str(value))


def quote(value: str) -> str:
    """`value` as JSON.stringify quotes it: a lone surrogate is escaped, everything else beyond ASCII stays readable."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", _json.dumps(value, ensure_ascii=False))


def number_text(number: int | float) -> str:
    """The text JavaScript gives a number: `1` for 1.0, `1e+21`, `0.000001`, `1e-7`, `NaN`, `Infinity`."""
    if isinstance(number, int):
        return str(number)
    if number != number:
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    return ("-" if number < 0 else "") + _placed(digits.rstrip("0"), point)


def _placed(digits: str, point: int) -> str:
    """ECMA-262 Number::toString: `digits` with the decimal point after `point` of them."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    exponent = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "") + exponent


def instant_text(value: datetime) -> str:
    """UTC with milliseconds and `Z`; a naive one is taken as UTC."""
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and (key == "0" or key[0] != "0") and int(key) <= _INDEX_MAX


def _in_order(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """JavaScript lists integer keys first, ascending, then the others as they were put in."""
    indexes = sorted((key for key in value if is_index(key)), key=int)
    return [(key, value[key]) for key in (*indexes, *(key for key in value if not is_index(key)))]
