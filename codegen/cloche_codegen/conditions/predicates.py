"""Conditions as data: the predicate grammar, and the one table of what each operator means.

    eq ne lt lte gt gte {left, right} · in notIn {value, set} · exists notExists {path} · truthy falsy {value}
    and or {args} · not {arg} · patched {id}
    operands: {"path": "inputData.score"} or {"literal": text | number | bool | null}

A path begins at `inputData`, `initData`, `state`, `requestContext`, `stepResults.<id>` or, in the condition of a loop,
`iterationCount`; it may be written inside `${}`. What a missing path answers is part of the table: false for every
comparison (`ne` too) and `in`, true for `notIn`, `notExists` and `falsy`. Source: Mastra's stored predicates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, assert_never

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_serializer,
    model_validator,
)

from cloche_codegen.conditions.values import MISSING, order, same, truthy

Scalar: TypeAlias = bool | int | float | str | None


class Frozen(BaseModel):
    """The base of all graph data: immutable, and an unknown key is an error and not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PathOperand(Frozen):
    """A value found at run time, by a dotted path."""

    path: str

    @model_validator(mode="after")
    def _bare(self) -> PathOperand:
        return self.model_copy(update={"path": bare_path(self.path)}) if self.path.startswith("${") else self


class LiteralOperand(Frozen):
    """A value that is written down."""

    literal: Scalar

    @model_serializer
    def _wire(self) -> dict[str, Any]:
        return {"literal": self.literal}  # also when it is null, where a stored graph leaves out what is not set


def _operand_tag(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else vars(value) if isinstance(value, BaseModel) else ()
    return "a literal" if "literal" in keys else "a path"


Operand: TypeAlias = Annotated[
    Annotated[PathOperand, Tag("a path")] | Annotated[LiteralOperand, Tag("a literal")], Discriminator(_operand_tag)
]


class _Wired(Frozen):
    """A predicate whose wire form is `{op: {fields}}` while its Python form is flat."""

    ops: ClassVar[frozenset[str]]
    op: str

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and len(value) == 1:
            ((op, fields),) = value.items()
            if op in cls.ops and isinstance(fields, Mapping) and "op" not in fields:
                return {"op": op, **fields}
        return value

    @model_serializer
    def _wire(self) -> dict[str, Any]:
        return {self.op: {name: _plain(getattr(self, name)) for name in type(self).model_fields if name != "op"}}


def _plain(value: Any) -> Any:
    """A field of a predicate as plain data."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


class Compare(_Wired):
    """`left op right` by JavaScript's strict equality, or its order of numbers and of texts."""

    ops = frozenset({"eq", "ne", "lt", "lte", "gt", "gte"})
    op: Literal["eq", "ne", "lt", "lte", "gt", "gte"]
    left: Operand
    right: Operand


class Member(_Wired):
    """Whether a value equals one of a set: literals, or a list found by a path."""

    ops = frozenset({"in", "notIn"})
    op: Literal["in", "notIn"]
    value: Operand
    set: tuple[Scalar, ...] | PathOperand

    @model_validator(mode="before")
    @classmethod
    def _literals(cls, value: Any) -> Any:
        fields = next(iter(value.values())) if isinstance(value, Mapping) and len(value) == 1 else value
        if isinstance(fields, Mapping) and isinstance(fields.get("set"), Mapping) and "literal" in fields["set"]:
            op = next(iter(value)) if fields is not value else value.get("op")
            return {"op": op, **{k: v for k, v in fields.items() if k != "op"}, "set": fields["set"]["literal"]}
        return value


class Presence(_Wired):
    """Whether a path leads to something; null is something, the result of a step that gave null is not."""

    ops = frozenset({"exists", "notExists"})
    op: Literal["exists", "notExists"]
    path: str


class Truth(_Wired):
    """Whether JavaScript takes the value as true."""

    ops = frozenset({"truthy", "falsy"})
    op: Literal["truthy", "falsy"]
    value: Operand


class Junction(_Wired):
    """All of `args`, or any of them; of none: true for `and`, false for `or`."""

    ops = frozenset({"and", "or"})
    op: Literal["and", "or"]
    args: tuple[Predicate, ...]


class Negation(_Wired):
    """The opposite of `arg`."""

    ops = frozenset({"not"})
    op: Literal["not"]
    arg: Predicate


class Patch(_Wired):
    """Whether the run takes the way added under this name: false if it had passed
    this point before that was deployed (`guest/ABI.md`).
    """

    ops = frozenset({"patched"})
    op: Literal["patched"]
    id: str = Field(min_length=1, max_length=200)


def _predicate_tag(value: Any) -> str | None:
    if isinstance(value, _Wired):
        return type(value).__name__
    if not isinstance(value, Mapping):
        return None
    op = value.get("op") if "op" in value else next(iter(value), None) if len(value) == 1 else None
    return _KINDS.get(op) if isinstance(op, str) else None


Predicate: TypeAlias = Annotated[
    Annotated[Compare, Tag("Compare")]
    | Annotated[Member, Tag("Member")]
    | Annotated[Presence, Tag("Presence")]
    | Annotated[Truth, Tag("Truth")]
    | Annotated[Junction, Tag("Junction")]
    | Annotated[Negation, Tag("Negation")]
    | Annotated[Patch, Tag("Patch")],
    Discriminator(
        _predicate_tag,
        custom_error_type="predicate",
        custom_error_message=(
            "A predicate is an object of one key out of eq, ne, lt, lte, gt, gte, in, notIn, exists, notExists, "
            "truthy, falsy, and, or, not, patched"
        ),
    ),
]
_KINDS: Final = {
    op: kind.__name__ for kind in (Compare, Member, Presence, Truth, Junction, Negation, Patch) for op in kind.ops
}
PREDICATE_KINDS: Final = frozenset(_KINDS.values())
Junction.model_rebuild()
Negation.model_rebuild()


class PredicateBox(Frozen):
    """A predicate to be read from plain data: `PredicateBox(predicate={...}).predicate`."""

    predicate: Predicate = Field()


def _ordered(test: Callable[[int], bool]) -> Callable[[object, object], bool]:
    def meaning(left: object, right: object) -> bool:
        found = order(left, right)
        return found is not None and test(found)

    return meaning


def _among(value: object, items: object) -> bool:
    listed = isinstance(items, Sequence) and not isinstance(items, str | bytes)
    return listed and value is not MISSING and any(same(value, item) for item in items)  # type: ignore[attr-defined]


# The table. Every engine answers by it: the JavaScript guest through the helpers of the same names in its prelude, and
# one test walks both. Operands arrive evaluated, MISSING where a path led nowhere.
MEANING: Final[Mapping[str, Callable[..., bool]]] = {
    "eq": lambda left, right: left is not MISSING and right is not MISSING and same(left, right),
    "ne": lambda left, right: left is not MISSING and right is not MISSING and not same(left, right),
    "lt": _ordered(lambda found: found < 0),
    "lte": _ordered(lambda found: found <= 0),
    "gt": _ordered(lambda found: found > 0),
    "gte": _ordered(lambda found: found >= 0),
    "in": _among,
    "notIn": lambda value, items: not _among(value, items),
    "exists": lambda value: value is not MISSING,
    "notExists": lambda value: value is MISSING,
    "truthy": truthy,
    "falsy": lambda value: not truthy(value),
}


def evaluate(predicate: Predicate, look_up: Callable[[str], object]) -> bool:
    """Answer `predicate`; `look_up` gives the value at a path, or MISSING, for a result that is null too.

    `and` and `or` stop at the first answer that decides, left to right.
    """

    def value_of(operand: PathOperand | LiteralOperand) -> object:
        return look_up(operand.path) if isinstance(operand, PathOperand) else operand.literal

    match predicate:
        case Compare():
            return MEANING[predicate.op](value_of(predicate.left), value_of(predicate.right))
        case Member():
            items = look_up(predicate.set.path) if isinstance(predicate.set, PathOperand) else predicate.set
            return MEANING[predicate.op](value_of(predicate.value), items)
        case Presence():
            return MEANING[predicate.op](look_up(predicate.path))
        case Truth():
            return MEANING[predicate.op](value_of(predicate.value))
        case Junction():
            decide = all if predicate.op == "and" else any
            return decide(evaluate(arg, look_up) for arg in predicate.args)
        case Negation():
            return not evaluate(predicate.arg, look_up)
        case Patch():
            return True  # in a run that began with it
        case _:
            assert_never(predicate)


def paths_of(predicate: Predicate) -> Iterator[str]:
    """Every path a predicate reads, in reading order."""
    match predicate:
        case Compare():
            yield from (side.path for side in (predicate.left, predicate.right) if isinstance(side, PathOperand))
        case Member():
            yield from (side.path for side in (predicate.value, predicate.set) if isinstance(side, PathOperand))
        case Presence():
            yield bare_path(predicate.path)
        case Truth():
            yield from (side.path for side in (predicate.value,) if isinstance(side, PathOperand))
        case Junction():
            for arg in predicate.args:
                yield from paths_of(arg)
        case Negation():
            yield from paths_of(predicate.arg)
        case Patch():
            return
        case _:
            assert_never(predicate)


def bare_path(path: str) -> str:
    """`inputData.x` of either `inputData.x` or `${inputData.x}`."""
    return path[2:-1] if path.startswith("${") and path.endswith("}") else path
