"""What an author may write for a condition, a value, a duration or a date, turned into graph data.

Nothing is decided silently: what cannot be data becomes a problem with the node, and for a Python function the file
and line, so that `commit()` can tell everything at once. A plain text is a JavaScript code string, except as a field
of a `map`, where it could as well be meant literally or as a template: there it has to be said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from cloche_codegen.conditions.code import Code
from cloche_codegen.conditions.expressions import Expression, Path
from cloche_codegen.conditions.functions.refusals import NotUnderGlass
from cloche_codegen.conditions.functions.subset import expression_of
from cloche_codegen.conditions.functions.take import taken
from cloche_codegen.conditions.predicates import (
    Compare,
    Junction,
    Member,
    Negation,
    Patch,
    PredicateBox,
    Presence,
    Truth,
)
from cloche_codegen.errors import Problem
from cloche_codegen.graph import (
    CodeText,
    Condition,
    FunctionText,
    LiteralValue,
    ObjectValue,
    PathValue,
    PredicateTest,
    StepValue,
    TemplateValue,
    Value,
)
from cloche_codegen.host_closures import HostClosures
from cloche_codegen.paths import ROOTS

M = TypeVar("M", bound=BaseModel)
_PREDICATES: Final = (Compare, Member, Presence, Truth, Junction, Negation, Patch)
_SUGAR: Final = {
    "==": "eq", "===": "eq", "!=": "ne", "!==": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte",
    "not_in": "notIn", "not_exists": "notExists",
}  # fmt: skip
_NEVER: Final = PredicateTest(predicate=Junction(op="or", args=()))
_ALWAYS: Final = PredicateTest(predicate=Junction(op="and", args=()))
_CONCURRENCY_MAX: Final = 2**53 - 1  # "as many as there are items": the largest integer every engine writes alike


class Problems(list[Problem]):
    """What has been found so far, in the order of the graph; and the host closures, where they are allowed."""

    def __init__(self, closures: HostClosures | None = None) -> None:
        super().__init__()
        self.closures = closures or HostClosures()

    def add(self, code: str, path: str, message: str) -> None:
        """Note a problem; `path` is the place in the graph, `workflow/node…`."""
        self.append(Problem(code, path, message))

    def build(self, model: type[M], path: str, /, **fields: Any) -> M | None:
        """A model out of fields, or None and a problem for each field that does not fit."""
        try:
            return model(**fields)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                where = ".".join(str(part) for part in detail["loc"])
                self.add("bad_value", path, f"{where or model.__name__}: {detail['msg']}")
            return None


def condition_of(given: object, path: str, problems: Problems) -> Condition:
    """A condition: predicate, expression, code string, `{"field", "op", "value"}`, or a bool."""
    match given:
        case bool():
            return _ALWAYS if given else _NEVER
        case str():
            return CodeText(code=given)
        case Code():
            return CodeText(code=given.text)
        case PredicateTest() | CodeText() | FunctionText():
            return given
        case Expression():
            return PredicateTest(predicate=given.predicate())
        case Mapping():
            return _predicate_of(given, path, problems)
        case _ if isinstance(given, _PREDICATES):
            return PredicateTest(predicate=given)
        case _ if callable(given):
            return _function_of(given, path, "condition", problems, _condition_closure) or _NEVER
        case _:
            kind = type(given).__name__
            problems.add("bad_condition", path, f"a condition cannot be {kind}; {_CONDITION_ADVICE}")
    return _NEVER


def _predicate_of(given: Mapping[str, Any], path: str, problems: Problems) -> Condition:
    data: Any = given
    if set(given) == {"predicate"}:
        data = given["predicate"]
    elif "field" in given:
        data = _sugar(given, path, problems)
    if data is None:
        return _NEVER
    box = problems.build(PredicateBox, path, predicate=data)
    return _NEVER if box is None else PredicateTest(predicate=box.predicate)


def _sugar(given: Mapping[str, Any], path: str, problems: Problems) -> dict[str, Any] | None:
    """`{"field": "score", "op": ">", "value": 80}`; a field that begins at no root is one of the input."""
    unknown = sorted(set(given) - {"field", "op", "value"})
    field, op = given.get("field"), given.get("op", "truthy")
    if unknown or not isinstance(field, str) or not isinstance(op, str):
        problems.add("bad_condition", path, 'a short condition is {"field": text, "op": text, "value": literal}')
        return None
    place = field if field.partition(".")[0] in ROOTS else f"inputData.{field}"
    op = _SUGAR.get(op, op)
    if op in ("exists", "notExists"):
        return {op: {"path": place}}
    if op in ("truthy", "falsy"):
        return {op: {"value": {"path": place}}}
    if op in ("in", "notIn"):
        return {op: {"value": {"path": place}, "set": given.get("value")}}
    return {op: {"left": {"path": place}, "right": {"literal": given.get("value")}}}


def output_of(given: object, path: str, problems: Problems) -> Value:
    """What a `map` makes: fields, or one value for the whole."""
    if isinstance(given, Mapping):
        return ObjectValue(fields={str(key): _field(one, f"{path}.{key}", problems) for key, one in given.items()})
    return value_of(given, path, "map", problems)


def _field(given: object, path: str, problems: Problems) -> Value:
    if isinstance(given, Mapping):
        return _declared(given, path, problems)
    if isinstance(given, str):
        problems.add(
            "ambiguous_text",
            path,
            f'a plain text says too little here; write {{"value": …}}, {{"template": …}}, path({given!r}) or '
            f"code({given!r})",
        )
        return LiteralValue(value=given)
    return value_of(given, path, "map", problems)


_ALIASES: Final = {"initData": "init_data", "requestContextPath": "request_context_path"}


def _declared(given: Mapping[str, Any], path: str, problems: Problems) -> Value:
    """A field as data: one of value, template, step + path, init_data + path, request_context_path, path, fn."""
    entry = {_ALIASES.get(key, key): one for key, one in given.items()}
    below = entry.get("path", ".")
    match set(entry):
        case keys if keys == {"value"}:
            return problems.build(LiteralValue, path, value=entry["value"]) or LiteralValue(value=None)
        case keys if keys == {"template"}:
            return problems.build(TemplateValue, path, template=entry["template"]) or LiteralValue(value=None)
        case keys if keys == {"fn"}:
            return value_of(entry["fn"], path, "map", problems)
        case keys if keys == {"request_context_path"}:
            return PathValue(path=f"requestContext.{entry['request_context_path']}")
        case keys if keys == {"path"}:
            text = below.path_text if isinstance(below, Path) else below
            return problems.build(PathValue, path, path=text) or LiteralValue(value=None)
        case keys if keys in ({"step"}, {"step", "path"}):
            steps = entry["step"] if isinstance(entry["step"], list | tuple) else (entry["step"],)
            ids = tuple(getattr(one, "id", one) for one in steps)
            return problems.build(StepValue, path, steps=ids, path=below) or LiteralValue(value=None)
        case keys if keys in ({"init_data"}, {"init_data", "path"}):
            return PathValue(path="initData" if below in ("", ".") else f"initData.{below}")
    problems.add(
        "bad_value",
        path,
        f"a field is one of value, template, step + path, init_data + path, request_context_path, path or fn, "
        f"not {' + '.join(sorted(map(str, given))) or 'nothing'}",
    )
    return LiteralValue(value=None)


def value_of(given: object, path: str, what: str, problems: Problems) -> Value:
    """A computed value: expression or path, code string, literal. `what` names its use in messages."""
    match given:
        case str():
            return CodeText(code=given)
        case Code():
            return CodeText(code=given.text)
        case Path():
            return PathValue(path=given.path_text)
        case Expression():
            return PredicateTest(predicate=given.predicate())
        case LiteralValue() | TemplateValue() | PathValue() | StepValue() | PredicateTest():
            return given
        case CodeText() | FunctionText() | ObjectValue():
            return given
        case None | bool() | int() | float() | list():
            return problems.build(LiteralValue, path, value=given) or LiteralValue(value=None)
        case Mapping():
            return _declared(given, path, problems)
        case _ if callable(given):
            return _function_of(given, path, what, problems, _value_closure) or LiteralValue(value=None)
        case _:
            problems.add("bad_value", path, f"{what}: {type(given).__name__} cannot be stored in a graph")
    return LiteralValue(value=None)


_UNITS: Final = {
    "ms msec msecs millisecond milliseconds": 0.001,
    "s sec secs second seconds": 1,
    "m min mins minute minutes": 60,
    "h hr hrs hour hours": 3_600,
    "d day days": 86_400,
    "w week weeks": 604_800,
}
_SECONDS: Final = {name: seconds for names, seconds in _UNITS.items() for name in names.split()}
_DURATION_CHARS_MAX: Final = 200  # to look through a text takes as long as its length by itself
_WORDS: Final = re.compile(
    r"\s*(?!(?:await|new|typeof|void)\s)\w+(\s+\w+)+\s*"
)  # words alone are no expression of JavaScript
_PART: Final = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(sorted(_SECONDS, key=len, reverse=True))})\b", re.IGNORECASE)


def duration_of(given: object, path: str, problems: Problems) -> tuple[int | None, Value | None]:
    """Milliseconds, or a value that will give seconds. Negative is no wait; a part of a millisecond is a whole one.

    A text is a duration (`3 days`, `1h 30m`), else a code string.
    """
    if isinstance(given, str) and (seconds := seconds_in(given)) is not None:
        given = seconds
    if isinstance(given, timedelta):
        given = given.total_seconds()
    if isinstance(given, int | float) and not isinstance(given, bool):
        if not math.isfinite(given) or given > 8.64e12:  # what a date of JavaScript can hold, in seconds
            problems.add("bad_value", path, f"a sleep of {given} seconds has no end that can be written down")
            return 0, None
        # Rounded first: 0.1 + 0.2 s are 300 ms although the float is a hair more.
        return max(0, math.ceil(round(given * 1000, 6))), None
    if isinstance(given, bool) or given is None:
        problems.add(
            "bad_value", path, f"a duration is seconds, a timedelta, an expression or a code string, not {given}"
        )
        return 0, None
    if isinstance(given, str) and _WORDS.fullmatch(given):
        advice = "write seconds as a number, a timedelta, or '3 days', '1h 30m'; a code string is JavaScript that gives seconds"
        problems.add("bad_value", path, f"{given!r} is no duration: {advice}")
        return 0, None
    return None, value_of(given, path, "duration", problems)


def seconds_in(text: str) -> float | None:
    """The seconds of a duration as people write it: `3 days`, `1h 30m`, `250ms`. None if it is none."""
    parts = _PART.findall(text) if len(text) <= _DURATION_CHARS_MAX else []
    if not parts or _PART.sub("", text).strip(" ,"):
        return None
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)


def date_of(given: object, path: str, problems: Problems) -> tuple[datetime | None, Value | None]:
    """An aware datetime, or a value that will give one."""
    if isinstance(given, datetime):
        if given.tzinfo is None:
            problems.add(
                "naive_datetime",
                path,
                f"{given.isoformat()} has no time zone; write datetime(..., tzinfo=timezone.utc) or .astimezone()",
            )
            return None, LiteralValue(value=0)
        return given, None
    if isinstance(given, int | float | bool) or given is None:
        problems.add(
            "bad_value", path, f"sleep_until takes an aware datetime, an expression or a code string, not {given}"
        )
        return None, LiteralValue(value=0)
    return None, value_of(given, path, "date", problems)


def concurrency_of(given: object, path: str, problems: Problems) -> int | Value:
    """At least 1: what is no number from 1 counts as 1, a fraction is cut off. Or a value that will give a number."""
    if given is None or isinstance(given, bool):
        return 1
    if isinstance(given, int | float):
        if math.isnan(given) or given < 1:
            return 1
        return _CONCURRENCY_MAX if given > _CONCURRENCY_MAX else math.floor(given)
    return value_of(given, path, "concurrency", problems)


_CONDITION_ADVICE: Final = (
    'write a function (lambda data: data.score > 80), an expression (path("inputData.score") > 80), a predicate '
    '({"gt": {"left": {"path": "inputData.score"}, "right": {"literal": 80}}}) or a JavaScript code string '
    '("inputData.score > 80")'
)


_Closed = TypeVar("_Closed", PredicateTest, PathValue)


def _function_of(
    given: Any, path: str, what: str, problems: Problems, closure: Callable[[HostClosures, Any, str], _Closed]
) -> FunctionText | _Closed | None:
    """A Python function as source; else a host closure, where that is allowed, or a problem that says what is in its way."""
    try:
        found = taken(given)
    except NotUnderGlass as error:
        if problems.closures.allowed:
            return closure(problems.closures, given, path)
        problems.add("python_function", path, f"the {what} is a Python function that cannot go under glass: {error}")
        return None
    expression = expression_of(found.source, found.name, found.parameters)
    fields = {"name": found.name, "source": found.source, "parameters": found.parameters, "expression": expression}
    return problems.build(FunctionText, path, **fields)


def _condition_closure(closures: HostClosures, given: Any, path: str) -> PredicateTest:
    return closures.condition(given, path)


def _value_closure(closures: HostClosures, given: Any, path: str) -> PathValue:
    return closures.value(given, path)
