"""What a native workflow calls, read from its source: for outlines and pictures. Nothing is executed.

The order is that of the source. What stands in a loop or an `if` is shown below its line, because only a run knows how often it
is called. A call through a variable (`f = step; await f()`) is not found: a picture may lack it, and no run depends on this.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cloche_codegen.graph import NativeText

_WORDS: Final = {
    "sleep": "sleep",
    "sleep_until": "sleep until",
    "wait_for_event": "wait for event",
    "start_child": "start workflow",
    "gather": "gather",
    "race": "race",
}
_KINDS: Final = {"_step": "step", "_child": "workflow"}
_TEXT_MAX: Final = 60
_DEPTH_MAX: Final = 8  # of functions that call each other


@dataclass(frozen=True, slots=True)
class Line:
    """`depth`: how many lines it stands below, from 0. A line that is no call says what the calls below it stand in."""

    depth: int
    text: str
    is_call: bool


def calls_of(native: NativeText) -> list[Line]:
    """The calls of steps, workflows, timers and events, with the loops, conditions and functions that they stand in."""
    module = ast.parse(native.source)
    reader = _Reader(module)
    return list(reader.function(native.name, 0, ()))


class _Reader:
    def __init__(self, module: ast.Module) -> None:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        self._functions = {node.name: node for node in module.body if isinstance(node, kinds)}
        self._named = dict(_bound(module))

    def function(self, name: str, depth: int, above: tuple[str, ...]) -> Iterator[Line]:
        yield from self._block(self._functions[name].body, depth, (*above, name))

    def _block(self, body: list[ast.stmt], depth: int, above: tuple[str, ...]) -> Iterator[Line]:
        for statement in body:
            yield from self._statement(statement, depth, above)

    def _statement(self, node: ast.stmt, depth: int, above: tuple[str, ...]) -> Iterator[Line]:
        match node:
            case ast.For() | ast.AsyncFor():
                yield from self._calls(node.iter, depth, above)
                yield from self._below(f"for {_said(node.target)} in {_said(node.iter)}", node.body, depth, above)
                yield from self._below("else", node.orelse, depth, above)
            case ast.While() | ast.If():
                word = "while" if isinstance(node, ast.While) else "if"
                yield from self._calls(node.test, depth, above)
                yield from self._below(f"{word} {_said(node.test)}", node.body, depth, above)
                yield from self._below("else", node.orelse, depth, above)
            case ast.Try() | ast.TryStar():
                yield from self._below("try", node.body, depth, above)
                for handler in node.handlers:
                    caught = f" {_said(handler.type)}" if handler.type else ""
                    yield from self._below(f"except{caught}", handler.body, depth, above)
                yield from self._below("else", node.orelse, depth, above)
                yield from self._below("finally", node.finalbody, depth, above)
            case ast.With() | ast.AsyncWith():
                yield from self._below(f"with {', '.join(map(_said, node.items))}", node.body, depth, above)
            case ast.Match():
                for case in node.cases:
                    yield from self._below(f"case {_said(case.pattern)}", case.body, depth, above)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield from self._below(f"function {node.name}", node.body, depth, above)
            case _:
                yield from self._calls(node, depth, above)

    def _below(self, text: str, body: list[ast.stmt], depth: int, above: tuple[str, ...]) -> Iterator[Line]:
        inside = list(self._block(body, depth + 1, above))
        if inside:
            yield Line(depth, text, is_call=False)
            yield from inside

    def _calls(self, node: ast.AST, depth: int, above: tuple[str, ...]) -> Iterator[Line]:
        if not isinstance(node, ast.Call):
            for child in ast.iter_child_nodes(node):
                yield from self._calls(child, depth, above)
            return
        said = self._call(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if said is not None:
            yield Line(depth, said, is_call=True)
        elif name in self._functions and name not in above and len(above) < _DEPTH_MAX:
            inside = list(self.function(name, depth + 1, above))
            if inside:
                yield Line(depth, f"function {name}", is_call=False)
                yield from inside
        for child in ast.iter_child_nodes(node):
            yield from self._calls(child, depth + (name in ("gather", "race")), above)

    def _call(self, node: ast.Call) -> str | None:
        """`step reserve`, `sleep seconds=1` …; None for another call."""
        match node.func:
            case ast.Name(id=name) if name in self._named:
                return self._named[name]
            case ast.Name(id=name) if name in _WORDS:
                given = [_said(one) for one in (*node.args, *node.keywords)] if name not in ("gather", "race") else []
                return " ".join([_WORDS[name], _cut(", ".join(given))]).rstrip()
            case ast.Call(func=ast.Name(id="step"), args=[ast.Constant(value=str(id)), *_]):
                return f"step {id}"
        return None


def _bound(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that stand for steps and workflows: `reserve = _step('reserve', …)`."""
    for node in module.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id=kind), args=[ast.Constant(value=str(id)), *_]),
            ) if kind in _KINDS:
                yield name, f"{_KINDS[kind]} {id}"


def _said(node: ast.AST) -> str:
    return _cut(" ".join(ast.unparse(node).split()))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
