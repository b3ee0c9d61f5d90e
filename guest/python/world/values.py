"""Values that are not of the codec's own types: what they become on their way out, and timestamps on their way in.

The table is the host's (`cloche.history.values`): text for dates without an offset, times, paths; ISO 8601 for durations;
text for Decimal and UUID; an Enum is its value, a dataclass a mapping, a set a list in canonical order.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from importlib import import_module
from pathlib import PurePath
from types import BuiltinFunctionType, CoroutineType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import _cloche

PLAIN, TIMESTAMP, REFUSED, ZONED = range(4)
_failing: list[BaseException] = []  # whose failure forms are being made
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType)
_RFC_3339 = re.compile(
    r"(\d{4})-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)

_ZONE = re.compile(r"[A-Za-z0-9._/+-]{1,64}\]")


def mend(text: str) -> str:
    """Lone surrogates become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse_time(text: str) -> datetime | None:
    """The datetime of an RFC 3339 text, or None."""
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def parse_zoned(text: str) -> datetime | None:
    """The datetime of an RFC 3339 text with the name of its zone after it (RFC 9557), or None. The offset says which instant it
    is; a zone that is not known here is passed over."""
    stamp, bracket, name = text.partition("[")
    moment = parse_time(stamp)
    if moment is None or not bracket or not _ZONE.fullmatch(name):
        return None
    try:
        return moment.astimezone(ZoneInfo(name[:-1]))
    except (ZoneInfoNotFoundError, ValueError, OverflowError):
        return moment


def convert(value: Any) -> tuple[int, Any]:
    """(how, what) for a value that is of none of the codec's own types."""
    match value:
        case Enum():
            return _again(value.value)
        case bool() | int():
            return PLAIN, int(value)
        case float():
            return PLAIN, float(value)
        case str():
            return PLAIN, "".join(value)
        case datetime() if value.utcoffset() is not None:
            return _timestamp(value)
        case datetime() | date() | time():
            return PLAIN, value.isoformat()
        case timedelta():
            return PLAIN, duration(value)
        case Decimal() | UUID() | PurePath():
            return PLAIN, str(value)
        case bytes() | bytearray() | memoryview():
            return PLAIN, bytes(value)
        case Mapping():
            return PLAIN, dict(value.items())
        case Set():
            return _set(value)
        case list() | tuple():
            return PLAIN, list(value)
        case BaseException():
            return _failure(value)
    if not isinstance(value, type) and dataclasses.is_dataclass(value):
        return PLAIN, _typed(value, {one.name: getattr(value, one.name) for one in dataclasses.fields(value)})
    crossing = getattr(type(value), "__crossing__", None)
    if crossing is not None:
        made = crossing(value)
        return (PLAIN, _typed(value, made)) if isinstance(made, dict) else _again(made)
    return REFUSED, f"{_kind(value)}{_WHAT_CAN}"


def _typed(value: Any, fields: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = import_module("cloche._types").crossing(value, fields)
    return found


def _again(value: Any) -> tuple[int, Any]:
    """A member's value is of a built-in type, or converted in its turn."""
    if type(value) in (str, int, float, bool, bytes, list, tuple, dict, type(None)):
        return PLAIN, value
    return convert(value)


def _timestamp(value: datetime) -> tuple[int, str]:
    """RFC 3339 knows offsets in whole minutes only, and local mean times have others: those go without their zone."""
    zone = value.tzinfo
    if (value.utcoffset() or timedelta()) % timedelta(minutes=1):
        value, zone = value.astimezone(UTC), None
    text = datetime.isoformat(value).replace("+00:00", "Z")
    if isinstance(zone, ZoneInfo) and _ZONE.fullmatch(f"{zone.key}]"):
        return ZONED, f"{text}[{zone.key}]"
    return TIMESTAMP, text


def duration(value: timedelta) -> str:
    """ISO 8601 as pydantic writes it: P3DT2H0.5S."""
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06}".rstrip("0") if value.microseconds else ""
    days = f"{value.days}D" if value.days else ""
    clock = "".join([f"{hours}H" * bool(hours), f"{minutes}M" * bool(minutes)])
    if seconds or fraction or not (days or clock):
        clock += f"{seconds}{fraction}S"
    return f"{sign}P{days}{'T' + clock if clock else ''}"


def _set(items: Set[Any]) -> tuple[int, Any]:
    encoded: list[tuple[bytes, Any]] = []
    for item in items:
        try:
            encoded.append((_cloche.raw(_cloche.encoded(item, "an item")), item))
        except TypeError as error:
            return REFUSED, f"is a set; {error}"
    encoded.sort(key=lambda pair: (len(pair[0]), pair[0]))
    return PLAIN, [item for _, item in encoded]


def _failure(error: BaseException) -> tuple[int, Any]:
    """An exception inside data crosses as its failure form, in which its own data is data again."""
    if any(error is other for other in _failing):
        return REFUSED, "is a cycle"
    _failing.append(error)
    try:
        return PLAIN, dict(import_module("cloche._loop").failure(error))
    finally:
        _failing.pop()


_WHAT_CAN = ", which cannot cross; what can: text, numbers, bytes, dates, lists, mappings, models"


def _kind(value: object) -> str:
    match value:
        case type():
            return f"is a class ({value.__name__})"
        case CoroutineType():
            return "is a coroutine that was not awaited"
        case GeneratorType():
            return "is a generator"
        case ModuleType():
            return "is a module"
    if isinstance(value, _FUNCTIONS):
        return "is a function"
    if hasattr(type(value), "__await__"):
        return "is a call that was not awaited (write await before it)"
    name = type(value).__name__
    return f"is {'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"
