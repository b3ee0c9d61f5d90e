"""The part of Python that is also made into JavaScript: one expression of comparisons, and/or/not, arithmetic, attributes and
keys, literals, `len`, `in` and `… if … else …`, as data.

An expression is a list that begins with what it is:

    ["literal", value]  ["list", [e, …]]  ["tuple", [e, …]]  ["set", [e, …]]  ["dict", [[key, e], …]]
    ["data"]  ["context", name]  ["step", id]  ["result", id]  ["attribute", e, name]  ["item", e, key]
    ["and", [e, …]]  ["or", [e, …]]  ["not", e]  ["-", e]  ["+", e]  ["if", test, then, otherwise]  ["len", e]
    ["compare", first, [[operator, e], …]]  ["+" | "-" | "*" | "/" | "//" | "%", left, right]

Tuples and sets stand only to the right of `in`: nothing that crosses the glass is one. What is not here is not in the subset:
method calls above all, and names that some data has in Python anyway (`data.items` could be the method).
"""

from __future__ import annotations

import ast
from typing import Any, Final

from cloche_codegen.conditions.functions.reading import CONTEXT, BrokenFunction, Opened, opened

Expression = list[Any]
_DEPTH_MAX: Final = 50
SIZE_MAX: Final = (
    50_000  # parts, and 8 characters of a text count as one: each mention of a constant writes it out again
)
_OPERATORS: Final = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}
_COMPARISONS: Final = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in",
    ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
# What data that crosses has as attributes of its own in Python (mappings, texts, numbers, dates …): written down, because a
# stored graph must mean the same under every version of Python.
_OF_DATA: Final = frozenset([
    "append", "as_integer_ratio", "astimezone", "bit_count", "bit_length", "capitalize", "casefold", "center",
    "clear", "combine", "conjugate", "copy", "count", "ctime", "date", "day", "decode", "denominator", "dst",
    "encode", "endswith", "expandtabs", "extend", "find", "fold", "format", "format_map", "from_bytes", "from_number",
    "fromhex", "fromisocalendar", "fromisoformat", "fromkeys", "fromordinal", "fromtimestamp", "get", "hex", "hour",
    "imag", "index", "insert", "is_integer", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier",
    "islower", "isnumeric", "isocalendar", "isoformat", "isoweekday", "isprintable", "isspace", "istitle", "isupper",
    "items", "join", "keys", "ljust", "lower", "lstrip", "maketrans", "max", "microsecond", "min", "minute", "month",
    "now", "numerator", "partition", "pop", "popitem", "real", "remove", "removeprefix", "removesuffix", "replace",
    "resolution", "reverse", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "second", "setdefault",
    "sort", "split", "splitlines", "startswith", "strftime", "strip", "strptime", "swapcase", "time", "timestamp",
    "timetuple", "timetz", "title", "to_bytes", "today", "toordinal", "translate", "tzinfo", "tzname", "update",
    "upper", "utcfromtimestamp", "utcnow", "utcoffset", "utctimetuple", "values", "weekday", "year", "zfill",
])  # fmt: skip


class _Outside(Exception):
    """It is not in the subset."""


def expression_of(source: str, name: str, parameters: int) -> Expression | None:
    """The function as data, or None if it is outside of the subset."""
    try:
        found = opened(source, name, parameters)
        return _Reader(found).read(_returned(found), 0)
    except (_Outside, BrokenFunction):
        return None


def _returned(found: Opened) -> ast.expr:
    node, arguments = found.node, found.node.args
    if len(found.parameters) != len([*arguments.posonlyargs, *arguments.args]) or arguments.kwonlyargs:
        raise _Outside
    if isinstance(node, ast.Lambda):
        return node.body
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    match body:
        case [ast.Return(value=ast.expr() as value)] if isinstance(node, ast.FunctionDef):
            return value
    raise _Outside


class _Reader:
    def __init__(self, found: Opened) -> None:
        self.data = found.parameters[0] if found.parameters else None
        self.context = found.parameters[1] if len(found.parameters) > 1 else None
        self.constants = found.constants
        self.shadows = {*found.parameters, *found.constants, *found.others}
        self.left = SIZE_MAX

    def read(self, node: ast.expr, depth: int, *, as_members: bool = False) -> Expression:
        self.left -= 1 + (len(node.value) // 8 if isinstance(node, ast.Constant) and isinstance(node.value, str) else 0)
        if depth > _DEPTH_MAX or self.left < 0:
            raise _Outside
        depth += 1
        match node:
            case ast.Constant():
                return _literal(node.value)
            case ast.Name(id=name):
                return self._name(name, depth, as_members)
            case ast.List() | ast.Tuple() | ast.Set():
                return self._members(node, depth, as_members)
            case ast.Dict(keys=keys, values=values):
                return ["dict", [[_key(k), self.read(v, depth)] for k, v in zip(keys, values, strict=True)]]
            case ast.Attribute() | ast.Subscript() | ast.Call():
                return self._access(node, depth)
            case ast.BoolOp(op=op, values=values):
                return ["and" if isinstance(op, ast.And) else "or", [self.read(one, depth) for one in values]]
            case ast.UnaryOp():
                return self._unary(node, depth)
            case ast.BinOp(op=op) if type(op) in _OPERATORS:
                return [_OPERATORS[type(op)], self.read(node.left, depth), self.read(node.right, depth)]
            case ast.Compare():
                return self._compare(node, depth)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return ["if", self.read(test, depth), self.read(body, depth), self.read(orelse, depth)]
        raise _Outside

    def _name(self, name: str, depth: int, as_members: bool) -> Expression:
        if name == self.data:
            return ["data"]
        if name == self.context or name not in self.constants:
            raise _Outside
        return self.read(self.constants[name], depth, as_members=as_members)

    def _members(self, node: ast.List | ast.Tuple | ast.Set, depth: int, as_members: bool) -> Expression:
        kind = {ast.List: "list", ast.Tuple: "tuple", ast.Set: "set"}[type(node)]
        if kind != "list" and not as_members:
            raise _Outside
        items = [self.read(one, depth) for one in node.elts]
        if kind == "set" and any(item[0] != "literal" for item in items):
            raise _Outside
        return [kind, items]

    def _access(self, node: ast.Attribute | ast.Subscript | ast.Call, depth: int) -> Expression:
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name == self.context:
                if attr in CONTEXT:
                    return ["context", attr]
            case ast.Attribute(value=value, attr=attr) if attr not in _OF_DATA and not attr.startswith("__"):
                return ["attribute", self.read(value, depth), attr]
            case ast.Subscript(
                value=ast.Attribute(value=ast.Name(id=name), attr="steps"), slice=ast.Constant(value=str() as id)
            ) if name == self.context:
                return ["step", id]
            case ast.Subscript(value=value, slice=key) if not isinstance(key, ast.Slice):
                return ["item", self.read(value, depth), self.read(key, depth)]
            case ast.Call(func=ast.Name(id="len"), args=[one], keywords=[]) if "len" not in self.shadows:
                return ["len", self.read(one, depth, as_members=True)]
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="get_step_result"),
                args=[ast.Constant(value=str() as id)],
                keywords=[],
            ) if name == self.context:
                return ["result", id]
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="get_init_data"), args=[], keywords=[]):
                if name == self.context:
                    return ["context", "init_data"]
        raise _Outside

    def _unary(self, node: ast.UnaryOp, depth: int) -> Expression:
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return _literal(-value)
            case ast.UnaryOp(op=ast.Not()):
                return ["not", self.read(node.operand, depth)]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op):
                return ["-" if isinstance(op, ast.USub) else "+", self.read(node.operand, depth)]
        raise _Outside

    def _compare(self, node: ast.Compare, depth: int) -> Expression:
        rest = []
        for op, right in zip(node.ops, node.comparators, strict=True):
            name = _COMPARISONS[type(op)]
            if name in ("is", "is not") and not (isinstance(right, ast.Constant) and right.value is None):
                raise _Outside
            members = name in ("in", "not in") and len(node.ops) == 1
            rest.append([name, self.read(right, depth, as_members=members)])
        return ["compare", self.read(node.left, depth), rest]


def _literal(value: object) -> Expression:
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and abs(value) < float("inf")):
        return ["literal", value]
    raise _Outside


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise _Outside
