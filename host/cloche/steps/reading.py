"""Wire forms read as what their annotation says, before pydantic looks at them.

pydantic reads most of them alone, and then nothing is done here. It needs help where its JSON mode would do better than the
Python objects that crossed: in a strict model, in a union of what looks alike, for keys that are no texts, and where a value
was written under another name than it is looked for. What does not look like its type is left, for pydantic to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from cloche_codegen.types import Type, Types

Read: TypeAlias = "Callable[[Any], Any]"
# How an adapter's values are read, and whether there is a mapping in them whose keys are no texts. Nothing here keeps an
# adapter: those of a tenant's graphs go with their contracts.
_known: WeakKeyDictionary[TypeAdapter[Any], tuple[Read | None, bool]] = WeakKeyDictionary()


def read(adapter: TypeAdapter[Any], value: Any) -> Any:
    """`value`, which crossed or may be anything else, as pydantic can take it for what `adapter` validates."""
    reader, _ = _known.get(adapter) or _learn(adapter)
    return value if reader is None else reader(value)


def keys_are_odd(adapter: TypeAdapter[Any]) -> bool:
    """Whether what `adapter` validates has mappings whose keys are no texts: those cross as texts."""
    return (_known.get(adapter) or _learn(adapter))[1]


def _learn(adapter: TypeAdapter[Any]) -> tuple[Read | None, bool]:
    from cloche_codegen.types import Types, has_odd_keys

    types = Types()
    described = types.of(adapter)
    reader = None if types.is_plain else _Readers(types).of(described)
    _known[adapter] = reader, has_odd_keys(types, described)
    return _known[adapter]


class _Readers:
    """Functions that read the types of one description; None where there is nothing to read."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._classes: dict[str, Read | None] = {}

    def of(self, type_: Type) -> Read | None:
        if isinstance(type_, str):
            return _SCALARS.get(type_)
        match type_["kind"]:
            case "list":
                return self._items(type_["items"])
            case "set" | "frozenset" as kind:
                return self._set(set if kind == "set" else frozenset, self._items(type_["items"]))
            case "tuple":
                return self._tuple(type_)
            case "dict":
                return self._dict(type_)
            case "union":
                return self._union(type_["arms"])
            case "class":
                return self._class(type_["name"])
        return None

    def _items(self, type_: Type) -> Read | None:
        item = self.of(type_)
        if item is None:
            return None
        return lambda value: [item(one) for one in value] if isinstance(value, list) else value

    def _set(self, made: Callable[[Any], Any], items: Read | None) -> Read:
        def set_(value: Any) -> Any:
            read = value if items is None else items(value)
            try:
                return made(read) if isinstance(read, list) else value
            except TypeError:  # a model is a mapping yet
                return read

        return set_

    def _tuple(self, type_: dict[str, Any]) -> Read | None:
        items, rest = type_["items"], type_.get("rest")

        def tuple_(value: Any) -> Any:
            if not isinstance(value, list):
                return value
            readers = [self.of(one) for one in spread(items, rest, len(value))]
            if len(readers) != len(value):
                return tuple(value)
            return tuple([one if reader is None else reader(one) for one, reader in zip(value, readers, strict=True)])

        return tuple_

    def _dict(self, type_: dict[str, Any]) -> Read | None:
        keys, values = self._key(type_["keys"]), self.of(type_["values"])
        if keys is None and values is None:
            return None

        def dict_(value: Any) -> Any:
            if not isinstance(value, Mapping):
                return value
            return {
                key if keys is None else keys(key): one if values is None else values(one) for key, one in value.items()
            }

        return dict_

    def _key(self, type_: Type) -> Read | None:
        """Of a key, which crossed as text."""
        if type_ in ("int", "float"):
            return _tried(int if type_ == "int" else float)
        if isinstance(type_, dict) and type_["kind"] == "union":
            arms = [one for one in map(self._key, type_["arms"]) if one is not None]
            return lambda key: next((made for arm in arms if (made := arm(key)) is not key), key)
        if isinstance(type_, dict) and type_["kind"] == "class" and self._described(type_)["kind"] == "enum":
            by_text = {str(value): value for value in self._described(type_)["members"].values()}
            member = self._enum(type_["name"])
            return lambda key: member(by_text.get(key, key))
        return self.of(type_)

    def _described(self, type_: dict[str, Any]) -> dict[str, Any]:
        return self._types.classes[type_["name"]]

    def _union(self, arms: list[Type]) -> Read | None:
        readers = [(arm, self.of(arm)) for arm in arms]

        def union(value: Any) -> Any:
            for exactly in (True, False):
                for arm, reader in readers:
                    if fits(self._types.classes, arm, value, exactly=exactly):
                        return value if reader is None else reader(value)
            return value

        return union

    # ── classes ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _class(self, name: str) -> Read | None:
        if name not in self._classes:
            self._classes[name] = lambda value: reader(value)  # it may be within itself
            reader = self._made_class(name)
            self._classes[name] = reader
        return self._classes[name]

    def _made_class(self, name: str) -> Read:
        described = self._types.classes[name]
        if described["kind"] == "enum":
            return self._enum(name)
        if described["kind"] == "namedtuple":
            return self._named_tuple(described)
        if "root" in described:
            return self.of(described["root"]) or _same
        return self._fields(name, described)

    def _enum(self, name: str) -> Read:
        kind: Any = self._types.objects[name]
        described = self._types.classes[name]["members"]
        members = [(value, kind[member]) for member, value in described.items()]

        def enum(value: Any) -> Any:
            for wire, member in members:
                if wire == value and type(wire) is type(value):
                    return member
            return value

        return enum

    def _named_tuple(self, described: dict[str, Any]) -> Read:
        readers = [self.of(one.get("type", "any")) for one in described["fields"].values()]

        def named_tuple(value: Any) -> Any:
            if not isinstance(value, list) or len(value) > len(readers):
                return value
            return [
                one if reader is None else reader(one) for one, reader in zip(value, readers, strict=False)
            ]  # pydantic names what is missing

        return named_tuple

    def _fields(self, name: str, described: dict[str, Any]) -> Read:
        plan = [
            (key := one.get("key", field), _target(key, one.get("from", [field])), self.of(one.get("type", "any")))
            for field, one in described["fields"].items()
        ]
        keys, computed = {key for key, _, _ in plan}, frozenset(described.get("computed", ()))
        finish = _rebuilt(self._types.objects[name]) if described.get("partial") else _same

        def fields(value: Any) -> Any:
            if not isinstance(value, Mapping):
                return value
            made: dict[str, Any] = {key: one for key, one in value.items() if key not in keys and key not in computed}
            for key, target, reader in plan:
                if key in value:
                    item = value[key]
                    _put(made, target, item if reader is None else reader(item))
            return finish(made)

        return fields


def _same(value: Any) -> Any:
    return value


def _target(key: str, accepted: list[Any]) -> Any:
    """Where pydantic finds what crossed under `key`: there, else under the first name or path that it looks at."""
    return key if key in accepted else accepted[0]


def _put(made: dict[str, Any], target: Any, value: Any) -> None:
    if isinstance(target, str):
        made.setdefault(target, value)
        return
    inner: Any = made
    for place, following in zip(target, [*target[1:], None], strict=True):
        empty: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(place, str):
            inner = inner.setdefault(place, empty)
        else:
            inner.extend([None] * (place + 1 - len(inner)))
            inner[place] = empty if inner[place] is None else inner[place]
            inner = inner[place]


def _rebuilt(kind: type) -> Read:
    """An object of a dataclass that cannot be made anew, for it was made of more than its fields: its fields are set."""
    from dataclasses import fields, is_dataclass

    from pydantic import TypeAdapter, ValidationError

    types: dict[str, Any] = {one.name: one.type for one in fields(kind)} if is_dataclass(kind) else {}

    def rebuilt(made: dict[str, Any]) -> Any:
        if not types.keys() <= made.keys():
            return made
        found: Any = object.__new__(kind)
        for name, annotation in types.items():
            value = made[name]
            if not isinstance(annotation, str):
                try:
                    value = TypeAdapter(annotation).validate_python(value)
                except ValidationError:
                    return made
            object.__setattr__(found, name, value)
        return found

    return rebuilt


# ── scalars ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _tried(parse: Callable[[str], Any]) -> Read:
    """`parse` of a text; what is none, or cannot be parsed, stays."""

    def tried(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except (ValueError, ArithmeticError):
            return value

    return tried


def _datetime(text: str) -> datetime:
    if len(text) < 16:
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _timedelta(text: str) -> timedelta:
    from pydantic import TypeAdapter

    if "P" not in text[:2]:
        raise ValueError(text)
    return TypeAdapter(timedelta).validate_python(text)


def _uuid(text: str) -> UUID:
    if len(text) != 36:
        raise ValueError(text)
    return UUID(text)


PARSE: Final[Mapping[str, Callable[[str], Any]]] = {
    "decimal": Decimal,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "datetime": _datetime,
    "timedelta": _timedelta,
    "uuid": _uuid,
}
_SCALARS: Final = {name: _tried(parse) for name, parse in PARSE.items()}
_EXACT: Final = {"bool": bool, "int": int, "float": float, "str": str, "bytes": bytes, "none": type(None)}


def spread(items: list[Type], rest: int | None, count: int) -> list[Type]:
    """The types of `count` items of a tuple whose item at `rest` may be there any number of times."""
    if rest is None:
        return items
    more = count - len(items) + 1
    return items[:rest] + [items[rest]] * max(more, 0) + items[rest + 1 :]


def fits(classes: Mapping[str, Any], type_: Type, value: Any, *, exactly: bool) -> bool:
    """Whether a wire form looks like one of this type. `exactly`: an integer is no float, and a mapping has no key too many."""
    if isinstance(type_, str):
        return _fits_scalar(type_, value, exactly=exactly)

    def each(of: Type, items: Any) -> bool:
        return all(fits(classes, of, one, exactly=exactly) for one in items)

    match type_["kind"]:
        case "list" | "set" | "frozenset":
            return isinstance(value, list) and each(type_["items"], value)
        case "tuple":
            if not isinstance(value, list):
                return False
            items = spread(type_["items"], type_.get("rest"), len(value))
            return len(items) == len(value) and all(map(each, items, ([one] for one in value)))
        case "dict":
            return isinstance(value, Mapping) and each(type_["values"], value.values())
        case "union":
            return any(each(arm, [value]) for arm in type_["arms"])
        case "literal":
            return any(one == value and type(one) is type(value) for one in type_["values"])
    return _fits_class(classes, classes[type_["name"]], value, exactly=exactly)


def _fits_scalar(type_: str, value: Any, *, exactly: bool) -> bool:
    if type_ in _EXACT:
        return type(value) is _EXACT[type_] or (type_ == "float" and not exactly and type(value) is int)
    if type_ == "datetime" and isinstance(value, datetime):
        return True
    parse = PARSE.get(type_)
    if parse is None:
        return True
    return isinstance(value, str) and _SCALARS[type_](value) is not value


def _fits_class(classes: Mapping[str, Any], described: dict[str, Any], value: Any, *, exactly: bool) -> bool:
    if described["kind"] == "enum":
        return any(one == value and type(one) is type(value) for one in described["members"].values())
    if "root" in described:
        return fits(classes, described["root"], value, exactly=exactly)
    fields = described["fields"]
    if described["kind"] == "namedtuple":
        is_one = isinstance(value, list) and len(value) == len(fields)
        named = dict(zip((one.get("key", name) for name, one in fields.items()), value, strict=False)) if is_one else {}
    else:
        is_one, named = isinstance(value, Mapping), value
    if not is_one:
        return False
    known = set(described.get("computed", ()))
    for name, one in fields.items():
        # As it crossed, or as a caller of pydantic's would write it.
        names = [one.get("key", name), *(place for place in one.get("from", ()) if isinstance(place, str))]
        found = next((key for key in names if key in named), None)
        known.update(names)
        if (
            not one.get("optional")
            if found is None
            else not fits(classes, one.get("type", "any"), named[found], exactly=exactly)
        ):
            return False
    return not exactly or named.keys() <= known
