"""Schemas of steps and workflows: any annotation pydantic understands, or JSON Schema, read three-valued.

An annotation gives a `TypeAdapter` (to validate and revive values) and a JSON Schema (for the stored graph). A JSON
Schema from a stored or imported graph gives an adapter that validates, and revives nothing. `fits` answers whether what
one step declares to give can be what the next declares to take: no only when it is provable, None when the schemas do not
say.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, NotRequired, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError
from typing_extensions import TypedDict, is_typeddict

from cloche_codegen.errors import GraphError
from cloche_codegen.json_schemas import BrokenSchema, Room, adapter_of_json

JsonSchema = dict[str, Any]
Mode = Literal["validation", "serialization"]
# Property names of this schema are aliases, so a missing one proves nothing: the value may come under its other name.
_ALIASED: Final = "x-cloche-aliased"
_WORDS: Final = frozenset([  # of JSON Schema
    "type", "properties", "required", "items", "prefixItems", "enum", "const", "anyOf", "oneOf", "allOf", "not", "if",
    "then", "else", "additionalProperties", "title", "description", "default", "examples", "format", "pattern", "minimum",
    "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems",
    "uniqueItems", "contains", "minContains", "maxContains", "minProperties", "maxProperties", "propertyNames",
    "patternProperties", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties",
    "definitions", "discriminator", "readOnly", "writeOnly", "deprecated", "nullable", "contentEncoding",
    "contentMediaType", "contentSchema", "additionalItems", "dependencies",
])  # fmt: skip


def adapter_of(schema: object, what: str) -> TypeAdapter[Any] | None:
    """The adapter of an annotation or a JSON Schema; None where it says nothing (not given, Any, object).

    Raises:
        GraphError: pydantic has no schema for it, or a JSON Schema cannot be used; `what` names the step or workflow in the
            message.
    """
    if schema is None or schema is Any or schema is object or schema is inspect.Parameter.empty:
        return None
    if isinstance(schema, Mapping):  # where names are aliases, it does not say under which of them a value comes
        return None if schema.get(_ALIASED) else _adapter_of_json(schema, what)
    if isinstance(schema, TypeAdapter):
        return schema
    try:
        return _adapter(schema)
    except TypeError:  # an annotation that cannot be hashed, such as Annotated[..., []]
        return _make(schema, what)
    except _NoAdapter as error:
        raise _unusable(schema, what, error.__cause__) from error


def state_adapter_of(schema: object) -> TypeAdapter[Any] | None:
    """Of some keys of a state, each as the schema of the whole has it; None where that is no class with fields."""
    try:
        return _state_adapter(schema)
    except TypeError:  # it cannot be hashed
        return None


@lru_cache(maxsize=4096)
def _state_adapter(schema: Any) -> TypeAdapter[Any] | None:
    types = _field_types(schema)
    if types is None:
        return None
    is_closed = issubclass(schema, BaseModel) and schema.model_config.get("extra") == "forbid"
    extra: Any = "forbid" if is_closed else "allow"
    make: Any = TypedDict  # the names are known at run time only
    made = make(f"State_{schema.__name__}", {name: NotRequired[kind] for name, kind in types.items()})
    made.__pydantic_config__ = {"extra": extra, "arbitrary_types_allowed": True}
    return TypeAdapter(made)


def fields_of(schema: object) -> dict[str, TypeAdapter[Any] | None]:
    """The adapters of the fields of a class, by all names that they have; none where it is no class with fields."""
    return {name: adapter_of(one, name) for name, one in (_field_types(schema) or {}).items()}


def _field_types(schema: object) -> dict[str, Any] | None:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return {
            key: Annotated[(one.annotation, *one.metadata)] if one.metadata else one.annotation
            for name, one in schema.model_fields.items()
            for key in (name, one.serialization_alias or one.alias or name)
        }
    if isinstance(schema, type) and (is_dataclass(schema) or is_typeddict(schema)):
        hints = get_type_hints(schema, include_extras=True)
        return {name: one for name, one in hints.items() if get_origin(one) is not ClassVar}
    return None


def accepted_adapter(schema: JsonSchema | None, room: Room | None = None) -> TypeAdapter[Any] | None:
    """As `adapter_of`, of a stored graph that runs go by already: what can no longer be checked of it says nothing."""
    try:
        return None if schema is None or schema.get(_ALIASED) else adapter_of_json(schema, is_accepted=True, room=room)
    except BrokenSchema:
        return None


def adapter_or_flaw(schema: JsonSchema | None, room: Room) -> tuple[TypeAdapter[Any] | None, str | None]:
    """The adapter of a schema of a stored graph, and why there is none where nothing can be checked with it."""
    try:
        return None if schema is None or schema.get(_ALIASED) else adapter_of_json(schema, room=room), None
    except BrokenSchema as error:
        return None, f"its JSON Schema cannot be used: {error}"


def _adapter_of_json(schema: Mapping[str, Any], what: str) -> TypeAdapter[Any] | None:
    if schema and not any(str(key).startswith(("$", "x-")) or key in _WORDS for key in schema):
        advice = 'write {"type": "object", "properties": {…}}, or give a type or a pydantic model'
        raise GraphError.one("bad_schema", what, f"{dict(schema)!r} has no word of JSON Schema: {advice}")
    try:
        return adapter_of_json(schema)
    except BrokenSchema as error:
        raise GraphError.one("bad_schema", what, f"its JSON Schema cannot be used: {error}") from error


class _NoAdapter(Exception):
    pass


@lru_cache(maxsize=4096)
def _adapter(schema: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(schema)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise _NoAdapter from error


def _make(schema: Any, what: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(schema)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise _unusable(schema, what, error) from error


def _unusable(schema: object, what: str, error: BaseException | None) -> GraphError:
    reason = str(error).partition("\n")[0]
    return GraphError.one(
        "bad_schema",
        what,
        f"pydantic has no schema for {schema!r}: {reason}; annotate with a pydantic model or a plain type, or pass "
        "input_schema= and output_schema=",
    )


_CONSTANT: Final = (list, dict, set, frozenset, tuple, str, bytes, int, float, bool)


@lru_cache(maxsize=4096)
@lru_cache(maxsize=4096)
def draws(adapter: TypeAdapter[Any]) -> bool:
    """Whether validating may give something else each time: a `default_factory` that is no constructor of an empty value."""
    waiting: list[Any] = [adapter.core_schema]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            factory = one.get("default_factory")
            if factory is not None and factory not in _CONSTANT:
                return True
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return False


def json_schema_of(schema: object, mode: Mode, what: str) -> JsonSchema | None:
    """The JSON Schema of an annotation, of what goes in (`validation`) or comes out (`serialization`); None if unknown."""
    adapter = adapter_of(schema, what)
    if isinstance(schema, Mapping):
        return dict(schema)
    return None if adapter is None else _json_schema(adapter, mode)


@lru_cache(maxsize=4096)
def _json_schema(adapter: TypeAdapter[Any], mode: Mode) -> JsonSchema | None:
    try:
        schema = adapter.json_schema(mode=mode)
        if schema != adapter.json_schema(mode=mode, by_alias=False):
            schema[_ALIASED] = True
        return schema
    except PydanticInvalidForJsonSchema:
        return None


# What pydantic takes for each JSON type in its lax mode. A text may become a number, a number never becomes a text.
_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"string"}),
    "integer": frozenset({"integer", "number", "string", "boolean"}),
    "number": frozenset({"integer", "number", "string", "boolean"}),
    "boolean": frozenset({"boolean", "integer", "number", "string"}),
    "array": frozenset({"array"}),
    "object": frozenset({"object"}),
    "null": frozenset({"null"}),
}
_DEPTH_MAX: Final = 12  # deeper than people nest models; a recursive model answers "unknown" there


PAIRS_MAX: Final = 1_000_000  # of places in two schemas, compared for one graph: a second


class Pairs:
    """How many pairs of places may still be compared. Where none is left, nothing is claimed: unions are free to be large."""

    def __init__(self) -> None:
        self.left = PAIRS_MAX


def misfit(gives: JsonSchema | None, takes: JsonSchema | None, pairs: Pairs | None = None) -> str | None:
    """Why what `gives` describes can never be what `takes` asks for, or None: it may, or the schemas do not say.

    The text begins with the place in the value (`.items[].price`), empty for the whole. `pairs` are shared by all calls of
    one graph.
    """
    if gives is None or takes is None:
        return None
    found = _Comparison(gives, takes, pairs or Pairs()).misfit(gives, takes, 0)
    return None if found is None else found.text()


class _Reason(NamedTuple):
    """Why two places misfit: where, from the pair that was compared downwards, and what is there."""

    place: str
    why: str  # to follow the place
    is_kind: bool  # whether `why` is about the value itself, which has a name where the place is empty

    def below(self, place: str) -> _Reason:
        return self._replace(place=place + self.place)

    def text(self) -> str:
        return f"{self.place or 'the value'}{self.why}" if self.is_kind else f"{self.place}{self.why}"


class _Comparison:
    """Of two documents. What is known of a pair of places is remembered: unions of unions ask again and again."""

    def __init__(self, gives: JsonSchema, takes: JsonSchema, pairs: Pairs) -> None:
        self._roots = gives, takes
        self._aliased = bool(gives.get(_ALIASED) or takes.get(_ALIASED))
        self._pairs = pairs
        self._known: dict[tuple[int, int, int], _Reason | None] = {}  # by identity of both places, and depth
        self._alternatives: dict[int, tuple[Any, list[Any]]] = {}  # by identity of the place, which is kept with them

    def misfit(self, gives: Any, takes: Any, depth: int) -> _Reason | None:
        gives, takes = _resolve(gives, self._roots[0]), _resolve(takes, self._roots[1])
        if depth > _DEPTH_MAX or gives is None or takes is None:
            return None
        key = id(gives), id(takes), depth
        if key not in self._known:
            if self._pairs.left <= 0:
                return None
            self._pairs.left -= 1
            self._known[key] = self._compared(gives, takes, depth)
        return self._known[key]

    def _compared(self, gives: Any, takes: Any, depth: int) -> _Reason | None:
        if alternatives := self._alternatives_of(gives):
            return self._none_fits([(one, takes) for one in alternatives], depth)
        if alternatives := self._alternatives_of(takes):
            return self._none_fits([(gives, one) for one in alternatives], depth)
        given, taken = gives.get("type"), takes.get("type")
        if not isinstance(given, str) or not isinstance(taken, str) or taken not in _TAKES:
            return None
        allowed = _TAKES[taken]
        if taken == "string" and ("format" in takes or "contentMediaType" in takes):
            allowed = allowed | {"integer", "number"}  # dates and durations are taken from numbers too
        if given not in allowed:
            return _Reason("", f" is {given}, not {taken}", True)
        if taken == "object":
            return self._objects(gives, takes, depth)
        if taken == "array":
            found = self.misfit(gives.get("items"), takes.get("items"), depth + 1)
            return None if found is None else found.below("[]")
        return None

    def _none_fits(self, pairs: list[tuple[Any, Any]], depth: int) -> _Reason | None:
        """A union on either side misfits only when each of its alternatives does; the first reason is given."""
        first = None
        for gives, takes in pairs:
            reason = self.misfit(gives, takes, depth + 1)
            if reason is None:
                return None
            first = first or reason
        return first

    def _objects(self, gives: Any, takes: Any, depth: int) -> _Reason | None:
        given, taken = gives.get("properties"), takes.get("properties")
        if self._aliased or not isinstance(given, Mapping) or not isinstance(taken, Mapping):
            return None
        closed = gives.get("additionalProperties", False) is False and "patternProperties" not in gives
        for name in takes.get("required", ()):
            if name not in given and closed:
                return _Reason(f".{name}", " is required and never given", False)
        for name, wanted in taken.items():
            if name in given and (reason := self.misfit(given[name], wanted, depth + 1)):
                return reason.below(f".{name}")
        if takes.get("additionalProperties") is False and "patternProperties" not in takes:
            for name in gives.get("required", ()):  # a computed field crosses, and is dropped where it is taken
                if name not in taken and name in given and not dict(given[name]).get("readOnly"):
                    return _Reason(f".{name}", " is given and not taken", False)
        return None

    def _alternatives_of(self, schema: Any) -> list[Any]:
        known = self._alternatives.get(id(schema))
        if known is None:
            known = self._alternatives[id(schema)] = schema, _alternatives(schema)
        return known[1]


def _alternatives(schema: Any) -> list[Any]:
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return list(schema[key])
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else []


def _resolve(schema: Any, root: JsonSchema) -> Any:
    """Follow `$ref` inside the document; None where the schema says nothing that is understood here."""
    for _ in range(_DEPTH_MAX):
        if not isinstance(schema, Mapping) or not schema:
            return None
        reference = schema.get("$ref")
        if reference is None:
            return None if "allOf" in schema or "not" in schema else schema
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        target: Any = root
        for key in reference[2:].split("/"):
            target = target.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        schema = target
    return None


def never_a_list(schema: JsonSchema | None, pairs: Pairs | None = None) -> str | None:
    """Why a value of this schema is provably no list, or None."""
    return misfit(schema, {"type": "array"}, pairs) if schema else None


def items_of(schema: JsonSchema | None) -> JsonSchema | None:
    """The schema of a list's items, with the definitions it may refer to; None if unknown."""
    resolved = _resolve(schema, schema) if schema else None
    items = resolved.get("items") if isinstance(resolved, Mapping) else None
    if not isinstance(items, Mapping) or schema is None:
        return None
    return {**items, **{key: schema[key] for key in ("$defs", _ALIASED) if key in schema}}
