"""What a value is beside its wire form: the one description of an annotation, as JSON.

An annotation is described once, from the schema that pydantic makes of it. The description is a part of a native workflow's
source, and so of its image and its digest: the Python guest builds values by it. The host reads what comes back by it
(`cloche.steps.reading`) before pydantic looks at it. `guest/ABI.md` has its grammar.

What cannot be described is `any`: it stays as it crosses. So does what a serializer of the author's makes: its form is its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter

from cloche_codegen.json_schemas import OF_JSON

Type: TypeAlias = "str | dict[str, Any]"
Schema: TypeAlias = Mapping[str, Any]
ANY: Final = "any"
_SCALARS: Final = frozenset([
    "none", "bool", "int", "float", "str", "bytes", "decimal", "date", "time", "datetime", "timedelta", "uuid",
])  # fmt: skip
TEXTS: Final = ("decimal", "date", "time", "datetime", "timedelta", "uuid")  # these cross as texts
_LISTS: Final = {"list": "list", "deque": "list", "set": "set", "frozenset": "frozenset"}
_DICTS: Final = ("dict", "ordered-dict", "counter")
# What stands around the schema of the same wire form, by the key under which that is.
_AROUND: Final = {
    "default": "schema", "nullable": "schema", "function-before": "schema", "function-after": "schema",
    "function-wrap": "schema", "custom-error": "schema", "lax-or-strict": "strict_schema", "json-or-python": "json_schema",
    "dataclass-exact": "schema",
}  # fmt: skip
_UNLIKE: Final = ("function-plain", "function-wrap", "format", "to-string")  # serializers that choose a form


class Types:
    """The descriptions of some annotations, with the classes they name.

    `classes` are the descriptions of classes by name, `objects` the classes themselves. `is_plain` says that pydantic needs no
    help to read any of them back from its wire form.
    """

    def __init__(self) -> None:
        self.classes: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, type] = {}
        self.is_plain = True
        self._names: dict[type, str] = {}

    def of(self, adapter: TypeAdapter[Any] | None) -> Type:
        """The description of what an adapter validates; `any` for none, and for a JSON Schema, which names no types.
        A stranger's may have as many parts as its author likes."""
        return ANY if adapter is None or adapter in OF_JSON else _Walk(self, {}, []).of(adapter.core_schema)

    def used_by(self, types: Iterable[Type]) -> dict[str, dict[str, Any]]:
        """The classes that these descriptions name, and those that they name, in the order of their names."""
        found: dict[str, dict[str, Any]] = {}
        todo = [name for one in types for name in _named_in(one)]
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = self.classes[name]
                todo += _named_in(found[name])
        return dict(sorted(found.items()))

    def _name_of(self, kind: type) -> tuple[str, bool]:
        """What a class is called in descriptions, and whether it is new."""
        known = self._names.get(kind)
        if known is not None:
            return known, False
        stem = name = re.sub(r"\W+", "_", kind.__name__).strip("_") or "Unnamed"
        number = 2
        while name in self.classes:
            name, number = f"{stem}_{number}", number + 1
        self._names[kind] = name
        self.objects[name] = kind
        self.classes[name] = {}
        return name, True


def _named_in(one: Any) -> Iterator[str]:
    match one:
        case {"kind": "class", "name": str() as name}:
            yield name
        case dict():
            for inner in one.values():
                yield from _named_in(inner)
        case list():
            for inner in one:
                yield from _named_in(inner)


def is_more(described: Type) -> bool:
    """Whether a value of this type is more than its wire form: a text is not, a Decimal is."""
    if isinstance(described, str):
        return described in TEXTS
    match described["kind"]:
        case "list":
            return is_more(described["items"])
        case "dict":
            return described["keys"] not in ("str", ANY) or is_more(described["values"])
        case "union":
            return any(map(is_more, described["arms"]))
    return bool(described["kind"] != "literal")


def has_odd_keys(types: Types, described: Type) -> bool:
    """Whether there is a mapping in it whose keys are no texts."""
    return any(_odd(one) for one in [described, *types.used_by([described]).values()])


def _odd(one: Any) -> bool:
    if isinstance(one, list):
        return any(map(_odd, one))
    if not isinstance(one, dict):
        return False
    is_odd: bool = one.get("kind") == "dict" and one["keys"] not in ("str", ANY)
    return is_odd or any(_odd(inner) for key, inner in one.items() if key != "members")


@dataclass(slots=True)
class _Walk:
    """One schema of pydantic, walked from its root."""

    types: Types
    definitions: dict[str, Schema]
    walking: list[str]  # the definitions that are being walked: one may be within itself

    def of(self, schema: Schema) -> Type:
        kind = schema["type"]
        if schema.get("strict"):
            self.types.is_plain = False
        serializer = schema.get("serialization") or {}
        # One that holds a schema is pydantic's own, for a container: the form stays that of its items.
        if (
            serializer.get("type") in _UNLIKE
            and "schema" not in serializer
            and "json" not in serializer.get("when_used", "")
        ):
            return ANY
        if kind in _SCALARS:
            return str(kind)
        if kind in _LISTS:
            return {"kind": _LISTS[kind], "items": self._within(schema, "items_schema")}
        if kind in _DICTS:
            return self._dict(schema)
        if kind in _AROUND:
            return self._around(schema, kind)
        walk = getattr(self, "_" + kind.replace("-", "_"), None)
        found: Type = ANY if walk is None else walk(schema)
        return found

    def _within(self, schema: Schema, key: str) -> Type:
        return self.of(schema[key]) if key in schema else ANY

    def _around(self, schema: Schema, kind: str) -> Type:
        inner = self.of(schema[_AROUND[kind]])
        return _union([inner, "none"]) if kind == "nullable" else inner

    # ── containers ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _dict(self, schema: Schema) -> Type:
        keys, values = self._within(schema, "keys_schema"), self._within(schema, "values_schema")
        if keys not in ("str", ANY):
            self.types.is_plain = False
        return {"kind": "dict", "keys": keys, "values": values}

    def _tuple(self, schema: Schema) -> Type:
        made: dict[str, Any] = {"kind": "tuple", "items": [self.of(one) for one in schema["items_schema"]]}
        if "variadic_item_index" in schema:
            made["rest"] = schema["variadic_item_index"]
        return made

    def _union(self, schema: Schema) -> Type:
        choices = schema["choices"]
        arms = [self.of(one[0] if isinstance(one, tuple) else one) for one in choices]
        self.types.is_plain = False
        return _union(arms)

    def _tagged_union(self, schema: Schema) -> Type:
        return _union([self.of(one) for one in schema["choices"].values() if isinstance(one, dict)])

    def _chain(self, schema: Schema) -> Type:
        return self.of(schema["steps"][-1])

    def _literal(self, schema: Schema) -> Type:
        values = schema["expected"]
        kinds = {type(one) for one in values}
        if len(kinds) == 1 and isinstance(values[0], Enum):
            return self._enum({"cls": type(values[0]), "members": list(type(values[0]))})
        return ANY if any(wire_of(one) is _NO_WIRE for one in values) else {"kind": "literal", "values": list(values)}

    # ── definitions ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _definitions(self, schema: Schema) -> Type:
        known = {one["ref"]: one for one in schema["definitions"]}
        self.definitions.update(known)
        return self.of(schema["schema"])

    def _definition_ref(self, schema: Schema) -> Type:
        ref = schema["schema_ref"]
        target = self.definitions.get(ref)
        if target is None:
            return ANY
        if ref in self.walking:
            while target["type"] in _AROUND:
                target = target[_AROUND[target["type"]]]
            known = self.types._names.get(target.get("cls"))  # type: ignore[arg-type]
            return ANY if known is None else {"kind": "class", "name": known}
        self.walking.append(ref)
        found = self.of(target)
        self.walking.pop()
        return found

    # ── classes ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _class(self, kind: type, described: Any) -> Type:
        name, is_new = self.types._name_of(kind)
        if is_new:
            self.types.classes[name].update(described())
        return {"kind": "class", "name": name}

    def _enum(self, schema: Schema) -> Type:
        members = {one.name: wire_of(one.value) for one in schema["members"]}
        if any(value is _NO_WIRE for value in members.values()):
            return ANY
        base = next((one.__name__ for one in (str, int, float) if issubclass(schema["cls"], one)), None)
        return self._class(
            schema["cls"], lambda: {"kind": "enum", "members": members, **({"base": base} if base else {})}
        )

    def _model(self, schema: Schema) -> Type:
        if (schema.get("config") or {}).get("strict"):
            self.types.is_plain = False
        inner = schema["schema"]
        while inner["type"] in _AROUND:
            if (inner.get("serialization") or {}).get("type") in _UNLIKE:
                return ANY
            inner = inner[_AROUND[inner["type"]]]
        if (inner.get("serialization") or {}).get("type") in _UNLIKE:
            return ANY
        if schema.get("root_model"):
            return self._class(schema["cls"], lambda: {"kind": "model", "root": self.of(inner), "fields": {}})
        if inner["type"] == "definition-ref":
            inner = self.definitions[inner["schema_ref"]]
        return self._class(schema["cls"], lambda: self._fields_of_model(schema, inner))

    def _fields_of_model(self, schema: Schema, inner: Schema) -> dict[str, Any]:
        config = schema.get("config") or {}
        by_name = config.get("validate_by_name") or config.get("populate_by_name") or False
        by_alias = config.get("validate_by_alias", True)
        fields = {
            name: self._field(name, one, by_name=by_name, by_alias=by_alias)
            for name, one in inner["fields"].items()
            if not one.get("serialization_exclude")
        }
        made: dict[str, Any] = {"kind": "model", "fields": fields}
        if computed := [one.get("alias") or one["property_name"] for one in inner.get("computed_fields") or ()]:
            made["computed"] = computed
            self.types.is_plain = False
        if (extra := config.get("extra_fields_behavior")) in ("allow", "forbid"):
            made["extra"] = extra
        if getattr(schema["cls"], "model_config", {}).get("frozen"):
            made["frozen"] = True
        return made

    def _field(
        self, name: str, field: Schema, *, by_name: bool, by_alias: bool, key: str | None = None
    ) -> dict[str, Any]:
        """`key` is under what it crosses, `from` where pydantic looks for it: names, or paths of names and indexes."""
        made: dict[str, Any] = {}
        if (described := self.of(field["schema"])) != ANY:
            made["type"] = described
        key = key or field.get("serialization_alias") or name
        wanted = _places(field.get("validation_alias")) if by_alias else []
        accepted = [*wanted, *([name] if by_name or not wanted else [])]
        if key != name:
            made["key"] = key
        if accepted != [name]:
            made["from"] = accepted
        if key not in accepted:
            self.types.is_plain = False
        if _has_default(field):
            made["optional"] = True
        return made

    def _dataclass(self, schema: Schema) -> Type:
        if (schema.get("config") or {}).get("strict"):
            self.types.is_plain = False
        inner = schema["schema"]
        while inner["type"] in _AROUND:
            inner = inner[_AROUND[inner["type"]]]
        return self._class(schema["cls"], lambda: self._fields_of_dataclass(inner))

    def _fields_of_dataclass(self, inner: Schema) -> dict[str, Any]:
        fields = [one for one in inner["fields"] if not one.get("init_only")]
        made: dict[str, Any] = {
            "kind": "dataclass",
            "fields": {
                one["name"]: self._field(one["name"], one, by_name=False, by_alias=True, key=one["name"])
                for one in fields
            },
        }
        if len(fields) < len(inner["fields"]) or any(one.get("init") is False for one in fields):
            made["partial"] = True  # it cannot be made anew of its fields
            self.types.is_plain = False
        return made

    def _named_tuple(self, schema: Schema) -> Type:
        return self._tuple_class(schema["cls"], schema["fields"])

    def _call(self, schema: Schema) -> Type:
        """What pydantic made of a named tuple before it had a schema of its own for them."""
        kind = schema.get("function")
        if not isinstance(kind, type) or not issubclass(kind, tuple):
            return ANY
        return self._tuple_class(kind, schema["arguments_schema"]["arguments_schema"])

    def _tuple_class(self, kind: type, fields: list[Schema]) -> Type:
        def described() -> dict[str, Any]:
            found = {one["name"]: self._field(one["name"], one, by_name=True, by_alias=False) for one in fields}
            return {"kind": "namedtuple", "fields": found}

        return self._class(kind, described)

    def _typed_dict(self, schema: Schema) -> Type:
        kind = schema.get("cls")
        if not isinstance(kind, type):
            return ANY

        def described() -> dict[str, Any]:
            found = {
                name: {
                    **self._field(name, one, by_name=False, by_alias=True, key=name),
                    **({} if one.get("required", True) else {"optional": True}),
                }
                for name, one in schema["fields"].items()
            }
            return {"kind": "typeddict", "fields": found}

        return self._class(kind, described)


def _has_default(field: Schema) -> bool:
    inner = field["schema"]
    while inner["type"] in ("function-before", "function-after", "function-wrap"):
        inner = inner["schema"]
    return str(inner["type"]) == "default"


def _places(alias: Any) -> list[Any]:
    """Where an alias looks: a name is a text, a path a list."""
    if alias is None:
        return []
    if isinstance(alias, str):
        return [alias]
    paths = alias if alias and isinstance(alias[0], list) else [alias]
    return [one[0] if len(one) == 1 else list(one) for one in paths]


def _union(arms: list[Type]) -> Type:
    flat: list[Type] = []
    for arm in arms:
        inside = arm["arms"] if isinstance(arm, dict) and arm["kind"] == "union" else [arm]
        flat += [one for one in inside if one not in flat]
    return ANY if ANY in flat else flat[0] if len(flat) == 1 else {"kind": "union", "arms": flat}


_NO_WIRE: Final = object()


def wire_of(value: Any) -> Any:
    """A value of an enum or literal as it crosses and can stand in JSON; else a mark that it cannot."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _NO_WIRE
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and not isinstance(value, Enum):
        return int(value)
    if isinstance(value, str) and not isinstance(value, Enum):
        return str(value)
    if isinstance(value, tuple | list):
        items = [wire_of(one) for one in value]
        return _NO_WIRE if any(one is _NO_WIRE for one in items) else items
    return _NO_WIRE


# ── what looks alike ────────────────────────────────────────────────────────────────────────────────────────────────
def lookalikes(types: Types, described: Type) -> list[tuple[Type, Type]]:
    """Arms of unions that look alike on the wire: a text before what crosses as text takes all of it."""
    found: list[tuple[Type, Type]] = []
    todo: list[Any] = [described, *types.used_by([described]).values()]
    while todo:
        one = todo.pop()
        todo += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        if isinstance(one, dict) and one.get("kind") == "union" and "str" in one["arms"]:
            later = one["arms"][one["arms"].index("str") + 1 :]
            found += [("str", arm) for arm in later if arm in TEXTS]
    return found
