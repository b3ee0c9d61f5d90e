"""A function's source read back, whoever wrote it: its shape is checked, and what it asks of its context is found.

The text of a stored graph is not trusted; what keeps it harmless is the glass it runs under. What is made sure of here is that
the text only *defines*: imports of what is inside the guest, names for data, classes, and functions, the last of them the one
meant.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from cloche_codegen.conditions.functions.captures import WORKFLOW_MODULES
from cloche_codegen.conditions.functions.source import FunctionNode

SOURCE_SIZE_MAX: Final = 1024 * 1024
CONTEXT: Final = ("input_data", "init_data", "state", "request_context", "iteration_count")


class BrokenFunction(ValueError):
    """The source is not that of a function; the message says why."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A source taken apart: the function, the parameters it is called with, and the data that stands above it.

    `others` are the names that stand for anything else: imports and helper functions.
    """

    node: FunctionNode
    parameters: tuple[str, ...]
    constants: dict[str, ast.expr]
    others: frozenset[str]


@dataclass(frozen=True, slots=True)
class ContextUse:
    """What a function asks of its context: names of CONTEXT, and ids of steps (None: any may be asked for)."""

    names: frozenset[str]
    steps: frozenset[str] | None


@lru_cache(512)
def opened(source: str, name: str, parameters: int, bundled: frozenset[str] = frozenset()) -> Opened:
    """The parts of a source whose last statement defines the function `name` of so many `parameters`. It may import what is
    inside the guest, and the modules that are `bundled` with it.

    Raises:
        BrokenFunction: It does something else.
    """
    body = _parsed(source)
    constants: dict[str, ast.expr] = {}
    others: set[str] = set()
    for statement in body[:-1]:
        for defined, value in _defined(statement, others, bundled):
            if value is None:
                others.add(defined)
            else:
                constants[defined] = value
    last = body[-1]
    if isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef) and last.name == name and not last.decorator_list:
        node: FunctionNode = last
    elif isinstance(last, ast.Assign) and _target(last) == name and isinstance(last.value, ast.Lambda):
        node = last.value
    else:
        raise BrokenFunction(f"its last statement does not define {name}")
    arguments = node.args
    names = tuple(one.arg for one in [*arguments.posonlyargs, *arguments.args])[:parameters]
    if len(names) < parameters and arguments.vararg is None:
        raise BrokenFunction(f"{name} does not take {parameters} arguments")
    return Opened(node, names, constants, frozenset(others))


def _parsed(source: str) -> list[ast.stmt]:
    if len(source) > SOURCE_SIZE_MAX:
        raise BrokenFunction(f"it has {len(source):,} characters; at most {SOURCE_SIZE_MAX:,} are allowed")
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BrokenFunction(f"this version of Python cannot read it: {error}") from None
    if not body:
        raise BrokenFunction("it is empty")
    return body


def _defined(statement: ast.stmt, others: set[str], bundled: frozenset[str]) -> Iterator[tuple[str, ast.expr | None]]:
    """The names a statement defines, with the data they stand for. `others` are those that stand above for anything else."""
    match statement:
        case ast.Import(names=names) if all(_is_inside(one.name, bundled) for one in names):
            yield from (((one.asname or one.name.partition(".")[0]), None) for one in names)
        case ast.ImportFrom(module=str() as module, names=names, level=0) if _is_inside(module, bundled):
            yield from ((one.asname or one.name, None) for one in names)
        case ast.FunctionDef(name=name, decorator_list=[]) | ast.AsyncFunctionDef(name=name, decorator_list=[]):
            yield name, None
        case ast.ClassDef(name=name):
            yield name, None
        case ast.Assign(value=ast.Lambda(), targets=[ast.Name(id=name)]):
            yield name, None
        case ast.Assign(value=value, targets=[ast.Name(id=name)]) if _is_data(value):
            yield name, value
        case ast.Assign(value=value, targets=[ast.Name(id=name)]) if _is_data(value, others):
            yield name, None  # members of enums
        case _:
            raise BrokenFunction(f"line {statement.lineno} is no import, no data and no definition")


def _target(statement: ast.Assign) -> str | None:
    match statement.targets:
        case [ast.Name(id=name)]:
            return name
    return None


def _is_inside(module: str, bundled: frozenset[str]) -> bool:
    return module in WORKFLOW_MODULES or module == "cloche" or module in bundled


_DATA: Final = (
    ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp, ast.USub, ast.Sub, ast.Load, ast.Call,
    ast.Name, ast.Attribute, ast.keyword,
)  # fmt: skip
_MAKERS: Final = ("_datetime", "_decimal", "set", "frozenset", "_step", "_child")
TYPES: Final = "_cloche_types"  # under which the descriptions of classes stand in a native workflow


def _is_data(value: ast.expr, known: Collection[str] = ()) -> bool:
    """Whether an expression only writes data down, as `captures.frozen` does; `known` names may be in it."""
    return all(isinstance(one, _DATA) for one in ast.walk(value)) and all(
        one.id in _MAKERS or one.id in known for one in ast.walk(value) if isinstance(one, ast.Name)
    )


@lru_cache(512)
def context_use(source: str, name: str) -> ContextUse:
    """What a function of two parameters asks of the second one; everything, if it hands it on."""
    found = opened(source, name, 2)
    context = found.parameters[1] if len(found.parameters) == 2 else ""
    names: set[str] = set()
    steps: set[str] | None = set()
    body = found.node.body if isinstance(found.node.body, list) else [found.node.body]
    parents = {id(child): node for one in body for node in ast.walk(one) for child in ast.iter_child_nodes(node)}
    uses = [node for one in body for node in ast.walk(one) if isinstance(node, ast.Name) and node.id == context]
    if not context:
        return ContextUse(frozenset(CONTEXT), None)
    for use in uses:
        above = parents.get(id(use))
        if not isinstance(above, ast.Attribute):
            return ContextUse(frozenset(CONTEXT), None)
        if above.attr in ("steps", "get_step_result"):
            asked = _step_asked(above, parents)
            steps = None if asked is None or steps is None else steps | {asked}
        else:
            names.add("init_data" if above.attr == "get_init_data" else above.attr)
    return ContextUse(frozenset(names), None if steps is None else frozenset(steps))


def _step_asked(node: ast.Attribute, parents: dict[int, ast.AST]) -> str | None:
    """The id in `ctx.steps["id"]` or `ctx.get_step_result("id")`; None if it is computed."""
    match parents.get(id(node)):
        case ast.Subscript(slice=ast.Constant(value=str() as asked)) if node.attr == "steps":
            return asked
        case ast.Call(args=[ast.Constant(value=str() as asked)], keywords=[]) if node.attr == "get_step_result":
            return asked
    return None


def named(found: Opened, maker: Literal["_step", "_child"]) -> list[str]:
    """The ids of the steps or child workflows that stand above a native workflow: `name = _step("id")`."""
    values = found.constants.values()
    calls = [
        one for one in values if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == maker
    ]
    ids = [one.args[0] for one in calls if one.args]
    return [one.value for one in ids if isinstance(one, ast.Constant) and isinstance(one.value, str)]
