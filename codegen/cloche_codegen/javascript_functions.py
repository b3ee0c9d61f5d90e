"""Data and simple Python functions as expressions of JavaScript.

What Python means by an operator is in `guest/js/prelude/python.js`, whose functions are called here by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cloche_codegen.conditions.values import number_text, quote
from cloche_codegen.names import shown

_SAFE_INTEGER_MAX: Final = 2**53 - 1
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_ARITHMETIC: Final = {"+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod"}
_TESTS: Final = {
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "in": "isIn", "not in": "notIn", "is": "is",
    "is not": "isNot",
}  # fmt: skip


def expression(made: Any) -> str:
    """A function of the subset, see `conditions.functions.subset`, over the names data, context and steps."""
    match made:
        case ["literal", float() as value] if value.is_integer():
            return _call("float", literal(value))
        case ["literal", value]:
            return literal(value)
        case ["list" | "tuple" | "set", items]:
            return f"[{', '.join(map(expression, items))}]"
        case ["dict", fields]:
            return f"({js_object((key, expression(one)) for key, one in fields)})"
        case ["data"]:
            return "data"
        case ["context", name]:
            return f"context.{name}"
        case ["step", id]:
            return _call("item", "steps", js_text(id))
        case ["result", id]:
            return f"(steps[{js_text(id)}] ?? null)"
        case ["attribute", of, name]:
            return _call("attribute", expression(of), js_text(name))
        case ["and" | "or" as name, [first, *rest]]:
            return _call(name, expression(first), *(f"() => {expression(one)}" for one in rest))
        case ["not", one]:
            return f"!python.truth({expression(one)})"
        case ["if", test, then, otherwise]:
            return f"(python.truth({expression(test)}) ? {expression(then)} : {expression(otherwise)})"
        case ["compare", first, rest]:
            return _compared(first, rest)
        case ["-" | "+" as sign, one]:
            return _call("neg" if sign == "-" else "pos", expression(one))
        case [sign, left, right] if sign in _ARITHMETIC:
            return _call(_ARITHMETIC[sign], expression(left), expression(right))
        case ["item" | "len" as name, *parts]:
            return _call(name, *map(expression, parts))
        case _:
            raise ValueError(f"{made!r} is no expression")


def _compared(first: Any, rest: Any) -> str:
    tests = [_TESTS[name] + ("Set" if right[0] == "set" else "") for name, right in rest]
    if len(rest) == 1:
        return _call(tests[0], expression(first), expression(rest[0][1]))
    links = (f"python.{test}, () => {expression(right)}" for test, (_, right) in zip(tests, rest, strict=True))
    return _call("chain", expression(first), *links)


def _call(name: str, *arguments: str) -> str:
    return f"python.{name}({', '.join(arguments)})"


def literal(value: object) -> str:
    """Plain data as a JavaScript expression. An integer beyond 2^53 is a BigInt, as it would be after crossing."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if abs(value) <= _SAFE_INTEGER_MAX else f"{value}n"
        case float():
            return "-0" if value == 0 and str(value).startswith("-") else number_text(value)
        case str():
            return js_text(value)
        case Mapping():
            return js_object((key, literal(one)) for key, one in value.items())
        case list() | tuple():
            return "[" + ", ".join(map(literal, value)) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON value")


def js_text(value: str) -> str:
    """A text, quoted, with nothing in it that could not be seen."""
    return shown(quote(value))


def js_object(fields: Iterable[tuple[str, str]]) -> str:
    """An object literal; `fields` are keys and the JavaScript of their values."""
    inside = ", ".join(f"{js_key(key)}: {text}" for key, text in fields)
    return f"{{ {inside} }}" if inside else "{}"


def js_key(key: str) -> str:
    """A text as the key of an object literal."""
    if key == "__proto__":
        return '["__proto__"]'  # written plainly it would set the prototype
    return key if _IDENTIFIER.fullmatch(key) else js_text(key)
