"""What a Python function gives, as far as its source says so: the schema of the value that it returns, for checks at commit.

Only what is written out is known: a mapping with its keys, a text, a number. A function with several `return` says nothing, and
neither does a name, a call or an operator, which an object may answer as it likes.
"""

from __future__ import annotations

import ast

from cloche_codegen.schemas import JsonSchema

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", type(None): "null"}


def schema_of_function(source: str, name: str) -> JsonSchema | None:
    """Of what the function `name`, the last one that `source` defines under it, returns; None: it does not say."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a stored graph may hold any text
        return None
    for node in reversed(body):
        match node:
            case ast.FunctionDef(name=found) if found == name and not node.decorator_list:
                return _of_body(node)
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Lambda(body=given)) if found == name:
                return _of(given)
    return None


def schema_of_value(value: object) -> JsonSchema | None:
    """Of a plain value that is written down."""
    kind = _KINDS.get(type(value))
    return {"type": kind} if kind else None


def _of_body(function: ast.FunctionDef) -> JsonSchema | None:
    """Of the one `return`, where it is the last line and nothing but plain lines stands before it."""
    *before, last = function.body
    plain = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Pass, ast.Import, ast.ImportFrom)
    is_generator = any(isinstance(one, ast.Yield | ast.YieldFrom) for line in function.body for one in ast.walk(line))
    if is_generator or not all(isinstance(line, plain) for line in before):
        return None
    return _of(last.value) if isinstance(last, ast.Return) and last.value is not None else None


def _of(node: ast.expr) -> JsonSchema | None:
    match node:
        case ast.Constant(value=value):
            return schema_of_value(value)
        case ast.JoinedStr():
            return {"type": "string"}
        case ast.List() | ast.ListComp():
            return {"type": "array"}
        case ast.Dict(keys=keys, values=values):
            names = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            if len(names) < len(keys):
                return {"type": "object"}
            fields = {name: _of(value) or {} for name, value in zip(names, values, strict=True)}
            return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return None
