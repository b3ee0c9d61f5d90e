"""What scalars are made of, and whether a wire form looks like one of a type: how unions are told apart."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any, Final
from uuid import UUID, SafeUUID

from _cloche import duration

Type = Any  # a name, or a mapping with a "kind"
CLASSES: Final[dict[str, dict[str, Any]]] = {}  # the descriptions of classes, by name
_new: Final[Any] = object.__new__

_set_int: Final[Any] = vars(UUID)["int"].__set__
_set_safe: Final[Any] = vars(UUID)["is_safe"].__set__
_UNKNOWN: Final = SafeUUID.unknown


def _uuid(text: str) -> UUID:
    """A third of the time that `UUID(text)` takes, which looks at what the host has looked at."""
    if len(text) != 36:
        return UUID(text)
    made = _new(UUID)
    _set_int(made, int(text.replace("-", ""), 16))
    _set_safe(made, _UNKNOWN)
    return made  # type: ignore[no-any-return]


def _datetime(value: Any) -> Any:
    """One with an offset crossed as itself."""
    return value if type(value) is datetime else datetime.fromisoformat(value)


SCALARS: Final[dict[str, Any]] = {
    "decimal": Decimal,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "datetime": _datetime,
    "timedelta": duration,
    "uuid": _uuid,
}
_EXACT: Final = {"bool": bool, "int": int, "float": float, "str": str, "bytes": bytes, "none": NoneType}


def fits(type_: Type, value: Any, *, exactly: bool) -> bool:
    """Whether a wire form looks like one of this type. `exactly`: an integer is no float, and a mapping has no key too many."""
    if isinstance(type_, str):
        return _fits_scalar(type_, value, exactly)
    match type_["kind"]:
        case "list" | "set" | "frozenset":
            return isinstance(value, list) and all(fits(type_["items"], one, exactly=exactly) for one in value)
        case "tuple":
            return isinstance(value, list) and _fits_tuple(type_, value, exactly)
        case "dict":
            return isinstance(value, dict) and all(
                fits(type_["values"], one, exactly=exactly) for one in dict.values(value)
            )
        case "union":
            return any(fits(arm, value, exactly=exactly) for arm in type_["arms"])
        case "literal":
            return any(one == value and type(one) is type(value) for one in type_["values"])
    return _fits_class(CLASSES[type_["name"]], value, exactly)


def _fits_scalar(type_: str, value: Any, exactly: bool) -> bool:
    if type_ in _EXACT:
        return type(value) is _EXACT[type_] or (type_ == "float" and not exactly and type(value) is int)
    if type_ == "datetime" and isinstance(value, datetime):
        return True
    parse = SCALARS.get(type_)
    if parse is None:
        return True
    if (
        not isinstance(value, str)
        or (type_ == "uuid" and len(value) != 36)
        or (type_ == "datetime" and len(value) < 16)
    ):
        return False
    try:
        parse(value)
    except (ValueError, InvalidOperation):
        return False
    return True


def _fits_tuple(type_: dict[str, Any], value: list[Any], exactly: bool) -> bool:
    items = type_["items"] if "rest" not in type_ else spread(type_["items"], type_["rest"], len(value))
    return len(items) == len(value) and all(
        fits(item, one, exactly=exactly) for item, one in zip(items, value, strict=True)
    )


def _fits_class(described: dict[str, Any], value: Any, exactly: bool) -> bool:
    if described["kind"] == "enum":
        return any(one == value and type(one) is type(value) for one in described["members"].values())
    if "root" in described:
        return fits(described["root"], value, exactly=exactly)
    fields = described["fields"]
    if described["kind"] == "namedtuple":
        is_one = isinstance(value, list) and len(value) == len(fields)
        given = dict(zip(fields, value, strict=False)) if is_one else {}
    else:
        is_one, given = isinstance(value, dict), value
    if not is_one:
        return False
    keys = {one.get("key", name): one for name, one in fields.items()}
    if exactly and not dict.keys(given) <= {*keys, *described.get("computed", ())}:
        return False
    return all(
        fits(one.get("type", "any"), given[key], exactly=exactly) if key in given else one.get("optional", False)
        for key, one in keys.items()
    )


def spread(items: list[Any], rest: int, count: int) -> list[Any]:
    return items[:rest] + [items[rest]] * max(count - len(items) + 1, 0) + items[rest + 1 :]
