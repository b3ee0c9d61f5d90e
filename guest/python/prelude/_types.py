"""Values built by the descriptions of their types (`guest/ABI.md`), and written where they need help.

The descriptions stand in the workflow's source. What reads by them is made when the source is loaded, so that it is part of the
image and costs a run nothing. The host has held each value against its annotation before: here only what it is made of is
looked at. Twin of the host's `steps/reading.py`, which leaves classes to pydantic.
"""

from __future__ import annotations

import dataclasses
import re
from collections import namedtuple
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import GenericAlias, NoneType, UnionType
from typing import Any, Final
from uuid import UUID

from _cloche import Data

from ._models import Model
from ._scalars import CLASSES, SCALARS, Type, fits, spread

Read = Callable[[Any], Any]
NAME: Final = "_cloche_types"  # under which the descriptions of classes stand in a source
_new: Final[Any] = object.__new__
_kinds: dict[str, type] = {}  # the classes themselves
_names: dict[type, str] = {}
_readers: dict[str, Read] = {}
_pending: list[tuple[list[Any], Type, Any]] = []
_odd: set[type] = set()  # classes with mappings whose keys are no texts


def typed(returns: Type = None, takes: Any = None) -> list[Any] | None:
    """[what reads a value, what writes arguments], each None where there is nothing to do; filled once all is loaded."""
    if returns is None and takes is None:
        return None
    cell: list[Any] = [None, None]
    _pending.append((cell, returns, takes))
    return cell


def resolve(names: dict[str, Any]) -> None:
    """The module is loaded: its classes are there now."""
    descriptions = names.get(NAME)
    if isinstance(descriptions, dict):
        CLASSES.update(descriptions)
        for name, described in CLASSES.items():
            found = names.get(name) if described.get("defined") else None
            _bind(name, found if isinstance(found, type) else _stand_in(name, described))
        for name, described in CLASSES.items():
            if _has_odd_keys(described):
                _odd.add(_kinds[name])
    for cell, returns, takes in _pending:
        cell[0] = None if returns is None else reader(returns)
        cell[1] = _writer(takes) if takes and any(map(_has_odd_keys, takes.values())) else None
    _pending.clear()


def _bind(name: str, kind: type) -> None:
    _kinds[name], _names[kind] = kind, name
    if issubclass(kind, Model):
        kind.__described__ = CLASSES[name]


def _stand_in(name: str, described: dict[str, Any]) -> Any:
    """A class of the same name and fields, for one whose source is not here."""
    fields = described.get("fields", {})
    match described["kind"]:
        case "model":
            return type(name, (Model,), {"__module__": "workflow"})
        case "dataclass":
            made: list[Any] = [(field, object) for field in fields]
            return dataclasses.make_dataclass(name, made, namespace={"__module__": "workflow"})
        case "namedtuple":
            return namedtuple(name, list(fields), module="workflow")
        case "enum":
            base = {"str": StrEnum, "int": IntEnum}.get(described.get("base", ""), Enum)
            made = [(member, _hashable(value)) for member, value in described["members"].items()]
            return base(name, made, module="workflow")
    return type(name, (Data,), {"__module__": "workflow"})


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def reader(type_: Type) -> Read | None:
    """What makes a value of its wire form; None where it is the value already."""
    if isinstance(type_, str):
        return SCALARS.get(type_)
    match type_["kind"]:
        case "list":
            return _list(reader(type_["items"]))
        case "set" | "frozenset" as kind:
            return _collected(set if kind == "set" else frozenset, reader(type_["items"]))
        case "tuple":
            return _tuple(type_["items"], type_.get("rest"))
        case "dict":
            return _dict(_key_reader(type_["keys"]), reader(type_["values"]))
        case "union":
            return _union(type_["arms"])
        case "class":
            return _class(type_["name"])
    return None


def _list(item: Read | None) -> Read | None:
    return None if item is None else lambda value: [item(one) for one in value]


def _collected(made: Any, item: Read | None) -> Read:
    if item is None:
        return made  # type: ignore[no-any-return]
    read = item
    return lambda value: made(map(read, value))


def _tuple(items: list[Type], rest: int | None) -> Read:
    readers = [reader(one) for one in items]
    if not any(readers):
        return tuple
    if rest is not None and len(items) == 1:
        return _collected(tuple, readers[0])

    def tuple_(value: Any) -> Any:
        used = readers if rest is None else spread(readers, rest, len(value))
        return tuple([one if read is None else read(one) for one, read in zip(value, used, strict=True)])

    return tuple_


def _dict(key: Read | None, value: Read | None) -> Read | None:
    if key is None and value is None:
        return None

    def dict_(given: Any) -> Any:
        pairs = dict.items(given)
        if key is None:
            return Data({name: value(one) for name, one in pairs}) if value else given
        return {key(name): one if value is None else value(one) for name, one in pairs}

    return dict_


def _key_reader(type_: Type) -> Read | None:
    """Of a key, which crossed as text."""
    if type_ in ("int", "float"):
        return int if type_ == "int" else float
    if isinstance(type_, dict) and type_["kind"] == "class" and CLASSES[type_["name"]]["kind"] == "enum":
        member = _class(type_["name"])
        by_text = {str(value): value for value in CLASSES[type_["name"]]["members"].values()}
        return lambda key: member(by_text.get(key, key))
    if isinstance(type_, dict) and type_["kind"] == "union":
        arms = [(one, _key_reader(one)) for one in type_["arms"]]
        return lambda key: next((read(key) for one, read in arms if read and _is_key(one, key)), key)
    return reader(type_)


def _is_key(type_: Type, key: str) -> bool:
    return bool(re.fullmatch(r"-?\d+", key)) if type_ == "int" else fits(type_, key, exactly=True)


def _union(arms: list[Type]) -> Read | None:
    readers = [(arm, reader(arm)) for arm in arms]
    if not any(read for _, read in readers):
        return None
    if len(arms) == 2 and "none" in arms:
        read = readers[0][1] or readers[1][1]
        assert read is not None
        return lambda value: None if value is None else read(value)

    def union(value: Any) -> Any:
        for exactly in (True, False):
            for arm, read in readers:
                if fits(arm, value, exactly=exactly):
                    return value if read is None else read(value)
        raise TypeError(f"a value of the type {type(value).__name__} is of none of the types that it may have")

    return union


# ── classes ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _class(name: str) -> Read:
    if name not in _readers:
        _readers[name] = lambda value: _readers[name](value)  # it may be within itself
        _readers[name] = _class_reader(name)
    return _readers[name]


def _class_reader(name: str) -> Read:
    described, kind = CLASSES[name], _kinds[name]
    match described["kind"]:
        case "enum":
            return _enum(kind, described["members"])
        case "namedtuple":
            return _named_tuple(kind, described["fields"])
        case "typeddict":
            return _typed_dict(described["fields"])
    if "root" in described:
        return _root(kind, reader(described["root"]))
    return _fields(name, kind, described)


def _enum(kind: Any, members: dict[str, Any]) -> Read:
    by_value = {_hashable(value): kind[member] for member, value in members.items() if member in kind.__members__}

    def enum(value: Any) -> Any:
        try:
            return by_value[value]
        except (KeyError, TypeError):
            found = by_value.get(_hashable(value))
            return kind(value) if found is None else found  # flags are sums of their members

    return enum


def _named_tuple(kind: Any, fields: dict[str, Any]) -> Read:
    readers = [reader(one.get("type", "any")) for one in fields.values()]

    def named_tuple(value: Any) -> Any:
        return kind(*[one if read is None else read(one) for one, read in zip(value, readers, strict=False)])

    return named_tuple


def _typed_dict(fields: dict[str, Any]) -> Read:
    readers = [(name, read) for name, one in fields.items() if (read := reader(one.get("type", "any"))) is not None]

    def typed_dict(value: Any) -> Any:
        for name, read in readers:
            if name in value:
                value[name] = read(value[name])
        return value

    return typed_dict


def _root(kind: Any, read: Read | None) -> Read:
    def root(value: Any) -> Any:
        made = _new(kind)
        made.__dict__["root"] = value if read is None else read(value)
        return made

    return root


def _fields(name: str, kind: type, described: dict[str, Any]) -> Read:
    """A function that is written for this class: an object is made, and its fields are set, as nothing else is done with them.

    They are set past the author's `__init__`, which made the object once already.
    """
    fields = described["fields"]
    has_dict = getattr(kind, "__dictoffset__", 0) != 0
    scope: dict[str, Any] = {
        "new": _new,
        "kind": kind,
        "put": object.__setattr__,
        "slow": _slowly(name, kind, described),
    }
    lines = ["def read(value):", "    made = new(kind)"]
    if has_dict:
        lines.append("    into = made.__dict__")
    lines.append("    try:")
    for index, (field, one) in enumerate(fields.items()):
        read = scope[f"read_{index}"] = reader(one.get("type", "any"))
        item = f"value[{one.get('key', field)!r}]"
        item = item if read is None else f"read_{index}({item})"
        lines.append(f"        into[{field!r}] = {item}" if has_dict else f"        put(made, {field!r}, {item})")
    lines += [
        "        pass",
        "    except (KeyError, TypeError, ValueError, ArithmeticError):",
        "        return slow(value)",
    ]
    if described.get("extra") == "allow":
        lines += ["    return slow(value)"]
    lines.append("    return made")
    exec("\n".join(lines), scope)
    read_one: Read = scope["read"]
    return read_one


def _slowly(name: str, kind: type, described: dict[str, Any]) -> Read:
    """As the function that is written for a class: with defaults for what is missing, and the place of what does not fit."""
    fields = described["fields"]

    def slow(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} cannot be made of a {type(value).__name__}")
        given = dict(dict.items(value)) if isinstance(value, dict) else dict(value)
        made = _new(kind)
        for field, one in fields.items():
            key = one.get("key", field)
            if key in given:
                found = _within(f"{name}.{field}", one, given.pop(key))
            else:
                found = _default_of(kind, field)
                if found is _NOTHING:
                    raise TypeError(f"{name} has no field {field!r} in what was given for it")
            object.__setattr__(made, field, found)
        if described.get("extra") == "allow":
            for key in given.keys() - {*described.get("computed", ())}:
                made.__dict__[key] = given[key]
        return made

    return slow


def _within(place: str, field: dict[str, Any], value: Any) -> Any:
    read = reader(field.get("type", "any"))
    try:
        return value if read is None else read(value)
    except Exception as error:
        raise TypeError(f"{place}: {error or type(error).__name__}") from None


_NOTHING: Final = object()


def _default_of(kind: Any, field: str) -> Any:
    if issubclass(kind, Model):
        return kind.__default__(field, _NOTHING)
    for one in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        if one.name == field and one.default is not dataclasses.MISSING:
            return one.default
        if one.name == field and one.default_factory is not dataclasses.MISSING:
            return one.default_factory()
    return _NOTHING


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _has_odd_keys(one: Any) -> bool:
    """Whether a mapping of a description has keys that are no texts."""
    if isinstance(one, list):
        return any(map(_has_odd_keys, one))
    if not isinstance(one, dict):
        return False
    is_odd = one.get("kind") == "dict" and one["keys"] not in ("str", "any")
    return is_odd or any(_has_odd_keys(inner) for key, inner in one.items() if key != "members")


def _writer(takes: dict[str, Type]) -> Callable[[tuple[Any, ...], dict[str, Any] | None], tuple[Any, Any]]:
    def write(arguments: tuple[Any, ...], keywords: dict[str, Any] | None) -> tuple[Any, Any]:
        return tuple(map(with_text_keys, arguments)), keywords and {
            name: with_text_keys(one) for name, one in keywords.items()
        }

    return write


def with_text_keys(value: Any) -> Any:
    """`value` with the keys of its mappings as texts: numbers, UUIDs, dates, members of enums. Others are left, to be
    refused by their place."""
    if isinstance(value, dict):
        made = {_key_text(key): with_text_keys(one) for key, one in dict.items(value)}
        return made if len(made) == len(value) else value
    return [with_text_keys(one) for one in value] if type(value) in (list, tuple) else value


def _key_text(key: Any) -> Any:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, bool) or not isinstance(key, (int, date, time, UUID, Decimal)):
        return key
    return key.isoformat() if isinstance(key, (date, time)) else str(key)


def crossing(value: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an object of a class, as they cross."""
    return {name: with_text_keys(one) for name, one in fields.items()} if type(value) in _odd else fields


# ── annotations of the workflow's own ───────────────────────────────────────────────────────────────────────────────
_BUILT_IN: Final[dict[Any, str]] = {
    Decimal: "decimal", date: "date", time: "time", datetime: "datetime", timedelta: "timedelta", UUID: "uuid", bool: "bool",
    int: "int", float: "float", str: "str", bytes: "bytes", NoneType: "none", None: "none", dict: "any", list: "any",
    object: "any", Any: "any",
}  # fmt: skip


def of_annotation(annotation: Any) -> Type:
    """The description of an annotation that stands in a call, such as `schema=list[Payment]`.

    Raises:
        TypeError: it names a class that was not there when the workflow was committed.
    """
    if isinstance(annotation, type) and annotation in _names and not isinstance(annotation, GenericAlias):
        return {"kind": "class", "name": _names[annotation]}
    if isinstance(annotation, UnionType):
        return {"kind": "union", "arms": [of_annotation(one) for one in annotation.__args__]}
    if isinstance(annotation, GenericAlias):
        arguments = [of_annotation(one) for one in annotation.__args__ if one is not ...]
        match annotation.__origin__.__name__:
            case "list" | "set" | "frozenset" as kind:
                return {"kind": kind, "items": arguments[0]}
            case "dict":
                return {"kind": "dict", "keys": arguments[0], "values": arguments[1]}
            case "tuple":
                return {"kind": "tuple", "items": arguments, **({"rest": 0} if ... in annotation.__args__ else {})}
    if annotation in _BUILT_IN:
        return _BUILT_IN[annotation]
    raise TypeError(f"{annotation!r} is no type that is known here: name it in the call, as schema=Payment")
