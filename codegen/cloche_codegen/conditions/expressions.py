"""Conditions written as Python expressions that build a predicate: `path("inputData.score") > 80`, `wf.input.score > 80`.

Nothing is computed here. Comparison operators, `&`, `|`, `~`, `.in_()`, `.exists()` note what is asked; the predicate
is data in the graph. `and`, `or`, `not`, `if` and chained comparisons would ask Python for a truth value that exists
only at run time: they raise and say what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NoReturn, cast

from cloche_codegen.conditions.predicates import (
    Compare,
    Junction,
    LiteralOperand,
    Member,
    Negation,
    Patch,
    PathOperand,
    Predicate,
    Presence,
    Scalar,
    Truth,
    bare_path,
)
from cloche_codegen.errors import GraphError, UnknownReference

_Op = Literal["eq", "ne", "lt", "lte", "gt", "gte"]


class Expression:
    """Something a condition can be made of. Use `&`, `|` and `~`, with parentheses around each comparison."""

    __hash__: ClassVar[None]  # type: ignore[assignment]  # `==` builds a condition, so equality cannot hash

    def predicate(self) -> Predicate:
        """The condition as data."""
        raise GraphError.one("bad_condition", "expression", "this expression is not a condition")

    def __and__(self, other: object) -> Condition:
        return _join("and", self, other)

    def __rand__(self, other: object) -> Condition:
        return _join("and", other, self)

    def __or__(self, other: object) -> Condition:
        return _join("or", self, other)

    def __ror__(self, other: object) -> Condition:
        return _join("or", other, self)

    def __invert__(self) -> Condition:
        return Condition(Negation(op="not", arg=self.predicate()))

    def __bool__(self) -> NoReturn:
        raise GraphError.one(
            "expression_as_bool",
            "expression",
            "an expression has no truth value while the workflow is built; write & for and, | for or, ~ for not, "
            "put each comparison in parentheses, and write a < b < c as (a < b) & (b < c)",
        )


class Condition(Expression):
    """A finished condition: a predicate that can be joined with others."""

    def __init__(self, predicate: Predicate) -> None:
        self._predicate = predicate

    def predicate(self) -> Predicate:
        """The test as data."""
        return self._predicate

    def __repr__(self) -> str:
        return f"Condition({self._predicate.model_dump(mode='json')!r})"

    def __eq__(self, other: object) -> bool:  # a condition is compared as data; only paths build comparisons
        return isinstance(other, Condition) and self._predicate == other._predicate

    __hash__ = None


class Path(Expression):
    """A place where a value will be found. Attributes and keys go deeper; operators build conditions.

    Attribute names of this class (`exists`, `in_`, …) are reached as keys: `wf.input["exists"]`.
    """

    def __init__(self, text: str, model: object = None) -> None:
        self._text = text
        self._model = model

    @property
    def path_text(self) -> str:
        """The dotted path, as predicates and templates write it."""
        return self._text

    def __getattr__(self, name: str) -> Path:
        if name.startswith(("__", "_repr_", "_ipython_")):
            raise AttributeError(name)  # probes of copy, pickle and notebooks are not fields
        return self._child(name)

    def __getitem__(self, key: str | int) -> Path:
        if isinstance(key, int) and key < 0:
            raise GraphError.one("bad_path", self._text, f"index {key}: a path counts from the beginning only")
        if not isinstance(key, str | int) or (isinstance(key, str) and (not key or "." in key)):
            raise GraphError.one("bad_path", self._text, f"key {key!r}: a key is a text without dots, or an index")
        return self._child(str(key))

    def _child(self, name: str) -> Path:
        fields = getattr(self._model, "model_fields", None)
        if fields is None:
            return Path(f"{self._text}.{name}")
        if name not in fields:
            known = ", ".join(fields) or "none"
            raise UnknownReference.one(
                "unknown_reference", f"{self._text}.{name}", f"the model has no field {name!r}; it has: {known}"
            )
        return Path(f"{self._text}.{name}", fields[name].annotation)

    def predicate(self) -> Predicate:
        """A path as a test: whether what is there is true, as the language of the guest takes it."""
        return Truth(op="truthy", value=PathOperand(path=self._text))

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare("eq", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare("ne", other)

    def __lt__(self, other: object) -> Condition:
        return self._compare("lt", other)

    def __le__(self, other: object) -> Condition:
        return self._compare("lte", other)

    def __gt__(self, other: object) -> Condition:
        return self._compare("gt", other)

    def __ge__(self, other: object) -> Condition:
        return self._compare("gte", other)

    __hash__ = None

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be iterated: its value exists only at run time; use foreach")

    def in_(self, items: Iterable[Scalar] | Path) -> Condition:
        """Whether the value equals one of `items` (literals, or a path to a list)."""
        return Condition(Member(op="in", value=PathOperand(path=self._text), set=_set_of(items)))

    def not_in(self, items: Iterable[Scalar] | Path) -> Condition:
        """Whether the value equals none of `items`; true when it is missing."""
        return Condition(Member(op="notIn", value=PathOperand(path=self._text), set=_set_of(items)))

    def exists(self) -> Condition:
        """Whether there is a value, null included."""
        return Condition(Presence(op="exists", path=self._text))

    def not_exists(self) -> Condition:
        """Whether there is no value."""
        return Condition(Presence(op="notExists", path=self._text))

    def truthy(self) -> Condition:
        """Whether JavaScript takes the value as true (empty lists and objects are)."""
        return Condition(Truth(op="truthy", value=PathOperand(path=self._text)))

    def falsy(self) -> Condition:
        """Whether JavaScript takes the value as false, or it is missing."""
        return Condition(Truth(op="falsy", value=PathOperand(path=self._text)))

    def _compare(self, op: _Op, other: object) -> Condition:
        return Condition(Compare(op=op, left=PathOperand(path=self._text), right=_operand(other)))

    def __repr__(self) -> str:
        return f"path({self._text!r})"


class _Steps:
    """`wf.steps["id"]`: the result of a step of this workflow that precedes."""

    def __getitem__(self, key: object) -> Path:
        return Path(f"stepResults.{getattr(key, 'id', key)}", getattr(key, "output_schema", None))


class Refs:
    """Where the values of a workflow are found: `input` (of the node), `init` (of the run), `state`, `steps`."""

    def __init__(self, model: object = None, *, init: object = None, state: object = None) -> None:
        self.input = Path("inputData", model)
        self.init = Path("initData", init)
        self.state = Path("state", state)
        self.context = Path("requestContext")
        self.iteration_count = Path("iterationCount")
        self.steps = _Steps()


def refs(model: object = None, *, init: object = None, state: object = None) -> Refs:
    """Names for the values of a workflow. With a pydantic model the field names are checked while building.

    Args:
        model: what flows into the node whose condition is written; `init` and `state` likewise for those two.
    """
    return Refs(model, init=init, state=state)


def path(text: str) -> Path:
    """A path given as text: `path("inputData.score") > 80`. Roots are listed in `predicates`."""
    return Path(bare_path(text))


def patched(id: str) -> Condition:
    """False in open runs that had already passed this point when this code was deployed, true in all others.

    `.choose([(patched("new-tax"), new_step)], otherwise=old_step)` changes a workflow under its open runs: `cloche upgrade`.
    """
    return Condition(Patch(op="patched", id=id))


def _operand(value: object) -> PathOperand | LiteralOperand:
    if isinstance(value, Path):
        return PathOperand(path=value.path_text)
    if value is None or isinstance(value, bool | int | float | str):
        return LiteralOperand(literal=value)
    raise GraphError.one(
        "bad_condition",
        "expression",
        f"{type(value).__name__} cannot be compared in a condition; a literal is text, number, bool or None",
    )


def _set_of(items: Iterable[Scalar] | Path) -> tuple[Scalar, ...] | PathOperand:
    if isinstance(items, Path):
        return PathOperand(path=items.path_text)
    return tuple(cast(LiteralOperand, _operand(item)).literal for item in items)


def _join(op: Literal["and", "or"], left: object, right: object) -> Condition:
    """Joined flat, so that a long chain of `&` is one junction and no deep tree."""
    args: list[Any] = []
    for side in (left, right):
        if not isinstance(side, Expression):
            raise GraphError.one(
                "bad_condition",
                "expression",
                f"& and | join conditions, not {type(side).__name__}; put each comparison in parentheses",
            )
        found = side.predicate()
        args.extend(found.args if isinstance(found, Junction) and found.op == op else (found,))
    return Condition(Junction(op=op, args=tuple(args)))
