"""JSON Schema as a validator: what a stored graph says of its values is held to, as the annotation was that it came from.

A value is taken as pydantic takes it: a number may come as text, defaults are filled in, unknown keys are left out unless
`additionalProperties` says otherwise. Keywords that are not listed here say nothing, and so do texts with a `format`: on this
side of the glass they may be dates, durations or UUIDs. A `pattern` is matched in linear time, or refused (`patterns`).

A stored schema may be a stranger's. Each of its parts is built once, and there are at most `PARTS_MAX`. pydantic tries every
alternative of a union, and in each of them those that lie below: a value that is nested k deep in a union of two costs 2^k. So
each union is charged for what it is about to look at (`Budget`). Of a list the first item that does not fit is told: a million
of them would take 0.3 GB.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from functools import lru_cache, partial
from typing import Any, Final
from weakref import WeakSet

from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import CoreSchema, SchemaError, core_schema

from cloche_codegen.patterns import PATTERNS_KB_MAX, UnusablePattern, flaw_of_pattern, size_kb

JsonSchema = Mapping[str, Any]
PARTS_MAX: Final = 5_000  # of a schema, or of all schemas of a stored graph: 0.05 s to build
# At parts of a value, by all unions of its schema: so many, and so many more for each part that the value has. A look takes
# 0.1 µs, one that finds a misfit 10 µs and 0.3 KB. A small value is compared on the event loop: this is 10 ms at most.
LOOKS_MAX: Final = 5_000
LOOKS_EACH: Final = 16
MISFITS_MAX: Final = 1_000
MISFITS_EACH: Final = 2
# Where it is done at once (`at_once`): a thousandth of a second.
LOOKS_AT_ONCE: Final = 1_000
MISFITS_AT_ONCE: Final = 100
DEFAULTS_MAX: Final = (
    4 << 20
)  # bytes of JSON that are filled in for one value: a schema may say much for each of its items
OF_JSON: Final[WeakSet[TypeAdapter[Any]]] = WeakSet()  # the adapters that were made here
_TOO_MANY_WAYS: Final = (
    "there are too many ways in which it could be meant: its schema has alternatives inside of others"
)
_DEFINITIONS: Final = "#/$defs/"


_COMPARING: Final[ContextVar[Budget | None]] = ContextVar(
    "comparing", default=None
)  # a default is asked for without a context


_AT_ONCE: Final[ContextVar[bool]] = ContextVar("at_once", default=False)


class BrokenSchema(Exception):
    """A JSON Schema that nothing can be checked with; the text says what is wrong, and where in it."""


class TooManyParts(Exception):
    """The schema has more parts than are built of one."""


class OverBudget(Exception):
    """Comparing a value with a schema would take more than values may take."""


class OverAtOnce(Exception):
    """Comparing a value takes more than is done at once: compare it again where it holds up nobody."""


@contextmanager
def at_once() -> Iterator[None]:
    """What is compared within goes through few alternatives, or raises `OverAtOnce`."""
    token = _AT_ONCE.set(True)
    try:
        yield
    finally:
        _AT_ONCE.reset(token)


class Budget:
    """What a schema may take while one value is compared: the context of the validation, which is done within it."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._sizes: dict[
            int, int
        ] = {}  # of lists and mappings, by identity: what is compared is not changed meanwhile
        self._left: int | None = None
        self._misfits = 0
        self._is_at_once = _AT_ONCE.get()
        self._defaults_left = DEFAULTS_MAX

    def __enter__(self) -> None:
        self._token = _COMPARING.set(self)

    def __exit__(self, *error: object) -> None:
        _COMPARING.reset(self._token)

    def charge_default(self, size: int) -> None:
        """
        Raises:
            OverBudget
        """
        self._defaults_left -= size
        if self._defaults_left < 0:
            raise OverBudget(f"more than {DEFAULTS_MAX >> 20} MiB of defaults would be filled in")

    def charge_misfits(self, count: int) -> None:
        """Of alternatives, none of which fitted.

        Raises:
            OverBudget, OverAtOnce
        """
        self._misfits += count
        if self._is_at_once and self._misfits > MISFITS_AT_ONCE:
            raise OverAtOnce
        if self._misfits > MISFITS_MAX + MISFITS_EACH * self._sizes.get(id(self._value), 1):
            raise OverBudget(_TOO_MANY_WAYS)

    def charge(self, value: Any, alternatives: int) -> None:
        """
        Raises:
            OverBudget, OverAtOnce
        """
        if self._left is None:  # most values meet no union
            most = LOOKS_MAX + LOOKS_EACH * self._measure()
            self._left = LOOKS_AT_ONCE if self._is_at_once else most
        self._left -= alternatives * self._sizes.get(id(value), 1)
        if self._left < 0 and self._is_at_once:
            raise OverAtOnce
        if self._left < 0:
            raise OverBudget(_TOO_MANY_WAYS)

    def _measure(self) -> int:
        """The parts of the whole value. Without recursion: it may be a stranger's."""
        inside_first: list[Any] = []
        todo: list[Any] = [self._value]
        while todo:
            one = todo.pop()
            if isinstance(one, dict | list | tuple) and id(one) not in self._sizes:
                self._sizes[id(one)] = 1
                inside_first.append(one)
                todo.extend(one.values() if isinstance(one, dict) else one)
        for one in reversed(inside_first):
            parts = one.values() if isinstance(one, dict) else one
            self._sizes[id(one)] = 1 + sum(self._sizes.get(id(part), 1) for part in parts)
        return self._sizes.get(id(self._value), 1)


def _charged(value: Any, handler: Any, info: Any, *, alternatives: int) -> Any:
    if not isinstance(budget := info.context, Budget):
        return handler(value)
    budget.charge(value, alternatives)
    try:
        return handler(value)
    except ValidationError as error:
        budget.charge_misfits(error.error_count())
        raise


def _filled(default: Any, size: int) -> Any:
    if (budget := _COMPARING.get()) is not None:
        budget.charge_default(size)
    return deepcopy(default)


class Room:
    """What the schemas of one graph may still take: parts, and kilobytes of patterns."""

    def __init__(self) -> None:
        self.parts = PARTS_MAX
        self.patterns_kb = PATTERNS_KB_MAX


def adapter_of_json(
    schema: JsonSchema, *, is_accepted: bool = False, room: Room | None = None
) -> TypeAdapter[Any] | None:
    """The validator of a JSON Schema; None if it says nothing.

    Args:
        is_accepted: runs go by it already. A pattern that cannot be used says nothing then.
        room: the schema is one of a graph that somebody else has written: it is built for this call alone, with what is left.

    Raises:
        BrokenSchema: a pattern or a bound in it cannot be used, or it is too large.
    """
    if room is not None:
        return _made(schema, is_accepted, room)
    text = json.dumps(schema, sort_keys=True)
    try:
        return _adapter(text, False)
    except BrokenSchema:
        if not is_accepted:
            raise
        return _adapter(text, True)


@lru_cache(maxsize=512)  # each may hold PATTERNS_KB_MAX
def _adapter(text: str, is_accepted: bool) -> TypeAdapter[Any] | None:
    return _made(json.loads(text), is_accepted, Room())


def _made(schema: JsonSchema, is_accepted: bool, room: Room) -> TypeAdapter[Any] | None:
    try:
        return _built(_Building(schema, is_accepted, room).whole())
    except UnusablePattern as error:
        raise BrokenSchema(f"{_place_of(error.pattern, schema)}: {error}") from error
    except TooManyParts as error:
        raise BrokenSchema(str(error)) from error
    except (SchemaError, PydanticUserError, OverflowError, RecursionError) as error:
        lines = [line.strip() for line in str(error).splitlines() if "https://" not in line]
        raise BrokenSchema(": ".join(line.removesuffix(":") for line in lines if line)) from error


def _place_of(pattern: str, document: Any) -> str:
    """Where in a document it stands first, as dotted keys."""
    todo: list[tuple[tuple[Any, ...], Any]] = [((), document)]
    while todo:
        place, found = todo.pop()
        if isinstance(found, dict) and found.get("pattern") == pattern:
            return ".".join(map(str, (*place, "pattern")))
        inside = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
        todo += reversed([((*place, key), one) for key, one in inside])
    return "pattern"


def _built(built: CoreSchema) -> TypeAdapter[Any] | None:
    if built["type"] == "any":
        return None

    class Stored:
        """What pydantic takes for a type: it asks it for its schema, with the definitions that are in it."""

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
            return built

    made: TypeAdapter[Any] = TypeAdapter(Stored)
    OF_JSON.add(made)
    return made


class _Building:
    """One document: its definitions are built once, when something refers to them, and may refer to themselves."""

    def __init__(self, document: JsonSchema, is_accepted: bool, room: Room) -> None:
        self._document = document
        self._is_accepted = is_accepted
        self._room = room
        self._definitions: dict[str, CoreSchema | None] = {}

    def whole(self) -> CoreSchema:
        built = self.of(self._document)
        definitions = [one for one in self._definitions.values() if one is not None]
        return core_schema.definitions_schema(built, definitions) if definitions else built

    def of(self, schema: Any) -> CoreSchema:
        self._room.parts -= 1
        if self._room.parts < 0:
            raise TooManyParts(f"there are more than {PARTS_MAX:,} parts")
        if not isinstance(schema, Mapping):
            return core_schema.any_schema()
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema["$ref"])
        if values := _values(schema):
            return core_schema.literal_schema(values)
        for several in (schema.get("anyOf"), schema.get("oneOf")):
            if isinstance(several, Sequence) and several:
                return self._union(several)
        every = schema.get("allOf")
        if isinstance(every, Sequence) and len(every) == 1:
            return self.of(every[0])
        kinds = schema.get("type")
        if isinstance(kinds, Sequence) and not isinstance(kinds, str) and kinds:
            texts = dict.fromkeys(kind for kind in kinds if isinstance(kind, str))  # one that is named twice is one
            return self._union([{**schema, "type": kind} for kind in texts])
        build = _KINDS.get(kinds) if isinstance(kinds, str) else None
        return build(self, schema) if build is not None else core_schema.any_schema()

    def _union(self, several: Sequence[Any]) -> CoreSchema:
        union = core_schema.union_schema([self.of(one) for one in several])
        if len(several) == 1:
            return union
        return core_schema.with_info_wrap_validator_function(partial(_charged, alternatives=len(several)), union)

    def _reference(self, name: str) -> CoreSchema:
        definitions = self._document.get("$defs")
        key = name.removeprefix(_DEFINITIONS)
        if not name.startswith(_DEFINITIONS) or not isinstance(definitions, Mapping) or key not in definitions:
            return core_schema.any_schema()
        if name not in self._definitions:
            self._definitions[name] = None  # being built: it may refer to itself
            self._definitions[name] = {**self.of(definitions[key]), "ref": name}
        return core_schema.definition_reference_schema(name)

    def text(self, schema: JsonSchema) -> CoreSchema:
        if "format" in schema or "contentMediaType" in schema:
            return core_schema.any_schema()
        bounds = _bounds(schema, int, min_length="minLength", max_length="maxLength")
        return core_schema.str_schema(**bounds, pattern=self._pattern(schema), regex_engine="rust-regex")

    def _pattern(self, schema: JsonSchema) -> str | None:
        pattern = schema.get("pattern")
        if not isinstance(pattern, str):
            return None
        flaw = flaw_of_pattern(pattern)
        if flaw is None and (size := size_kb(pattern)) <= self._room.patterns_kb:
            self._room.patterns_kb -= size
            return pattern
        if self._is_accepted:
            return None
        raise UnusablePattern(pattern, flaw or "all patterns of the schema together are too large")

    def number(self, schema: JsonSchema) -> CoreSchema:
        return core_schema.float_schema(**_bounds(schema, (int, float), **_LIMITS))

    def integer(self, schema: JsonSchema) -> CoreSchema:
        return core_schema.int_schema(**_bounds(schema, int, **_LIMITS))

    def items(self, schema: JsonSchema) -> CoreSchema:
        bounds = _bounds(schema, int, min_length="minItems", max_length="maxItems")
        first = schema.get("prefixItems")
        if isinstance(first, Sequence):
            return core_schema.tuple_schema([self.of(one) for one in first])
        return core_schema.list_schema(self.of(schema.get("items")), fail_fast=True, **bounds)

    def mapping(self, schema: JsonSchema) -> CoreSchema:
        properties, more = schema.get("properties"), schema.get("additionalProperties")
        if not isinstance(properties, Mapping) or not properties:
            mapping = core_schema.dict_schema(core_schema.str_schema(), self.of(more))
            return {**mapping, "fail_fast": True}  # where this pydantic knows it
        required = schema.get("required", ())
        fields = {str(name): self._field(one, name in required) for name, one in properties.items()}
        if more is None:
            return core_schema.typed_dict_schema(fields, extra_behavior="ignore")
        if more is False:
            return core_schema.typed_dict_schema(fields, extra_behavior="forbid")
        return core_schema.typed_dict_schema(fields, extra_behavior="allow", extras_schema=self.of(more))

    def _field(self, schema: Any, required: bool) -> core_schema.TypedDictField:
        built = self.of(schema)
        if isinstance(schema, Mapping) and "default" in schema and not required:
            default = schema["default"]
            filled = partial(_filled, default, len(json.dumps(default)))
            built = core_schema.with_default_schema(built, default_factory=filled)
        return core_schema.typed_dict_field(built, required=required)


_LIMITS: Final = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_KINDS: Final[Mapping[str, Callable[[_Building, JsonSchema], CoreSchema]]] = {
    "string": _Building.text,
    "number": _Building.number,
    "integer": _Building.integer,
    "boolean": lambda _, schema: core_schema.bool_schema(),
    "null": lambda _, schema: core_schema.none_schema(),
    "array": _Building.items,
    "object": _Building.mapping,
}


def _values(schema: JsonSchema) -> list[Any]:
    """What `enum` or `const` allows, where those are plain."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    plain = isinstance(values, list) and all(isinstance(one, str | int | bool | None) for one in values)
    return list(values) if plain else []


def _bounds(schema: JsonSchema, kind: Any, **names: str) -> dict[str, Any]:
    """The keywords that bound a value, by pydantic's names for them."""
    found = {name: schema.get(keyword) for name, keyword in names.items()}
    return {name: bound for name, bound in found.items() if isinstance(bound, kind) and not isinstance(bound, bool)}
