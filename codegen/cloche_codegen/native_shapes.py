"""The shape of a workflow that is a Python function, read from its source: steps, branches, loops, what runs at once.

Nothing is executed. What only a run knows (a call through a variable, which arm is taken, how often) is not there: a picture
may lack a call, and no run depends on this. The source may be a stranger's: then it is read in a process of its tenant.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final

from cloche_codegen.shapes import SHAPES_MAX, Shape, ShapeArm

_TEXT_MAX: Final = 80
_DEPTH_MAX: Final = 8  # of functions that call each other
_MADE: Final = {"_step": "step", "_child": "child", "step": "step"}
_LIBRARY: Final = frozenset({"cloche", "asyncio"})
_Statements = Sequence[ast.stmt]


def native_shapes(source: str, name: str | None = None) -> tuple[Shape, ...]:
    """What function `name` of a module calls, in the order of its source; without a name, of the one that is a workflow.

    Raises:
        SyntaxError: it is no Python.
    """
    module = ast.parse(source)
    reader = _Reader(module)
    main = name if name in reader.functions else _main_of(reader.functions)
    return tuple(reader.function(main, "", ())) if main is not None else ()


def _main_of(functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef]) -> str | None:
    """That which is marked as a workflow, else the last one that is async."""
    marked = [name for name, one in functions.items() if any("workflow" in ast.unparse(d) for d in one.decorator_list)]
    awaiting = [name for name, one in functions.items() if isinstance(one, ast.AsyncFunctionDef)]
    return (marked or awaiting or [None])[-1]  # type: ignore[list-item]


class _Reader:
    def __init__(self, module: ast.Module) -> None:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        self.functions = {node.name: node for node in module.body if isinstance(node, kinds)}
        self._made = dict(_bound(module))
        self._count = 0

    def function(self, name: str, at: str, above: tuple[str, ...]) -> Iterator[Shape]:
        yield from self._block(self.functions[name].body, at, (*above, name))

    def _block(self, body: _Statements, at: str, above: tuple[str, ...]) -> Iterator[Shape]:
        for statement in body:
            if self._count > SHAPES_MAX:
                return
            yield from self._statement(statement, at, above)

    def _statement(self, node: ast.stmt, at: str, above: tuple[str, ...]) -> Iterator[Shape]:
        match node:
            case ast.For() | ast.AsyncFor():
                yield from self._calls(node.iter, at, above)
                yield from self._framed("loop", node, f"for {_said(node.target)} in {_said(node.iter)}", at, above)
            case ast.While():
                yield from self._calls(node.test, at, above)
                yield from self._framed("loop", node, f"while {_said(node.test)}", at, above)
            case ast.If():
                yield from self._if(node, at, above)
            case ast.Try() | ast.TryStar():
                yield from self._try(node, at, above)
            case ast.With() | ast.AsyncWith():
                yield from self._with(node, at, above)
            case ast.Match():
                arms = [(f"case {_said(case.pattern)}", case.body) for case in node.cases]
                yield from self._armed("if", node, f"match {_said(node.subject)}", arms, at, above)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return  # what is defined here runs where it is called
            case _:
                yield from self._calls(node, at, above)

    def _framed(
        self, kind: str, node: ast.For | ast.AsyncFor | ast.While, text: str, at: str, above: tuple[str, ...]
    ) -> Iterator[Shape]:
        inside = tuple(self._block([*node.body, *node.orelse], at, above))
        if inside:
            yield self._shape(kind, kind, node, text=text, arms=(ShapeArm("", inside),))

    def _if(self, node: ast.If, at: str, above: tuple[str, ...]) -> Iterator[Shape]:
        yield from self._calls(node.test, at, above)
        arms: list[tuple[str, _Statements]] = [(f"if {_said(node.test)}", node.body)]
        rest = node.orelse
        while len(rest) == 1 and isinstance(rest[0], ast.If):
            arms.append((f"elif {_said(rest[0].test)}", rest[0].body))
            rest = rest[0].orelse
        yield from self._armed("if", node, "", [*arms, ("else", rest)], at, above)

    def _try(self, node: ast.Try | ast.TryStar, at: str, above: tuple[str, ...]) -> Iterator[Shape]:
        caught = [(f"except {_said(one.type)}" if one.type else "except", one.body) for one in node.handlers]
        arms: list[tuple[str, _Statements]] = [("try", [*node.body, *node.orelse]), *caught]
        yield from self._armed("try", node, "", arms, at, above)
        yield from self._block(node.finalbody, at, above)

    def _armed(
        self,
        kind: str,
        node: ast.stmt,
        text: str,
        arms: Sequence[tuple[str, _Statements]],
        at: str,
        above: tuple[str, ...],
    ) -> Iterator[Shape]:
        """Arms in which nothing is called are left out, and so is the whole where none has a call."""
        found = [ShapeArm(said, tuple(self._block(body, at, above))) for said, body in arms]
        if any(arm.items for arm in found):
            yield self._shape(kind, kind, node, text=text, arms=tuple(arm for arm in found if arm.items))

    def _with(self, node: ast.With | ast.AsyncWith, at: str, above: tuple[str, ...]) -> Iterator[Shape]:
        for item in node.items:
            match item.context_expr:
                case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]) if _word(func) == "scope":
                    inside = tuple(self._block(node.body, f"{at}{name}/", above))
                    if inside:
                        yield self._shape("scope", name, node, place=at + name, arms=(ShapeArm("", inside),))
                    return
            yield from self._calls(item.context_expr, at, above)
        yield from self._block(node.body, at, above)

    def _calls(self, node: ast.AST, at: str, above: tuple[str, ...]) -> Iterator[Shape]:
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            yield from self._comprehension(node, at, above)
            return
        if not isinstance(node, ast.Call):
            for child in ast.iter_child_nodes(node):
                yield from self._calls(child, at, above)
            return
        word = _word(node.func)
        inside = tuple(shape for one in _given(node) for shape in self._calls(one, at, above))
        if word in ("gather", "race"):
            if inside:
                arms = tuple(ShapeArm("", (one,)) for one in inside)
                yield self._shape(word, word, node, text=_options(node), arms=arms)
            return
        yield from inside
        yield from self._call(node, word, at, above)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, at: str, above: tuple[str, ...]
    ) -> Iterator[Shape]:
        first = node.generators[0]
        yield from self._calls(first.iter, at, above)
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        inside = tuple(shape for part in parts for shape in self._calls(part, at, above))
        if inside:
            text = f"for {_said(first.target)} in {_said(first.iter)}"
            yield self._shape("loop", "loop", node, text=text, arms=(ShapeArm("", inside),))

    def _call(self, node: ast.Call, word: str, at: str, above: tuple[str, ...]) -> Iterator[Shape]:
        match node.func:
            case ast.Name(id=name) if name in self._made:
                kind, id = self._made[name]
                yield self._shape(kind, id, node, place=at + id)
            case ast.Call(func=inner, args=[ast.Constant(value=str(id)), *_]) if _word(inner) == "step":
                yield self._shape("step", id, node, place=at + id)
            case ast.Name(id=name) if name in self.functions and name not in above and len(above) < _DEPTH_MAX:
                inside = tuple(self.function(name, at, above))
                if inside:
                    yield self._shape("function", name, node, arms=(ShapeArm("", inside),))
            case _ if word in ("sleep", "sleep_until"):
                name = _text_of(node, "name") or word
                yield self._shape("sleep", name, node, place=at + name, text=_options(node))
            case _ if word in ("wait_for_event", "create_hook"):
                name = _first_text(node) or _text_of(node, "name") or "event"
                yield self._shape("event", name, node, place=at + name, text=_options(node))
            case _ if word == "start_child":
                name = _first_text(node) or (_said(node.args[0]) if node.args else "child")
                yield self._shape("child", name, node, place=at + (_text_of(node, "name") or name))

    def _shape(
        self,
        kind: str,
        id: str,
        node: ast.AST,
        *,
        place: str = "",
        text: str = "",
        arms: tuple[ShapeArm, ...] = (),
    ) -> Shape:
        self._count += 1
        return Shape(kind, id, place, text, getattr(node, "lineno", None), arms)


def _bound(module: ast.Module) -> Iterator[tuple[str, tuple[str, str]]]:
    """Names that stand for steps and workflows: `reserve = _step('reserve', …)`."""
    for node in module.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=func, args=[ast.Constant(value=str(id)), *_]),
            ) if _word(func) in _MADE:
                yield name, (_MADE[_word(func)], id)


def _word(func: ast.expr) -> str:
    """The name of what is called: `sleep`, also as `cloche.sleep`."""
    match func:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=home), attr=name) if home in _LIBRARY:
            return name
    return ""


def _given(node: ast.Call) -> Iterator[ast.AST]:
    yield from node.args
    yield from (keyword.value for keyword in node.keywords)
    if isinstance(node.func, ast.Attribute):
        yield node.func.value


def _options(node: ast.Call) -> str:
    said = [_said(one) for one in node.args if not isinstance(one, ast.Starred | ast.Call)]
    said += [
        f"{one.arg}={_said(one.value)}" for one in node.keywords if one.arg and not isinstance(one.value, ast.Call)
    ]
    return (
        _cut(", ".join(said))
        if _word(node.func) not in ("gather", "race")
        else _cut(", ".join(f"{one.arg} {_said(one.value)}" for one in node.keywords if one.arg in ("limit", "settle")))
    )


def _first_text(node: ast.Call) -> str | None:
    match node.args:
        case [ast.Constant(value=str(text)), *_]:
            return text
    return None


def _text_of(node: ast.Call, name: str) -> str | None:
    for one in node.keywords:
        if one.arg == name and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str):
            return one.value.value
    return None


def _said(node: ast.AST) -> str:
    return _cut(" ".join(ast.unparse(node).split()))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
