"""What somebody may have meant by a name that is not there."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from cloche_codegen.conditions.functions.refusals import NotUnderGlass, refused
from cloche_codegen.conditions.functions.source import Written


def nearest(name: str, names: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name, sorted(set(names) - {name}), 1, 0.7)), None)


def _of_the_file(source: Written) -> Iterator[str]:
    """What the lines at the left margin define, assign and import."""
    for node in ast.parse("\n".join(source.lines)).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (one.asname or one.name.partition(".")[0] for one in names)
            case ast.Assign(targets=targets):
                yield from (one.id for one in targets if isinstance(one, ast.Name))


def undefined(name: str, node: ast.AST, source: Written, known: Iterable[str]) -> NotUnderGlass:
    """The refusal of a name that is defined nowhere. `known` are names that the workflow has beside those of the function."""
    whole = list(ast.walk(source.node))
    own = {one.id for one in whole if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    own |= {one.arg for one in whole if isinstance(one, ast.arg)}
    advice = "define it above the function, or before the workflow is committed"
    if near := nearest(name, [*own, *known, *_of_the_file(source), *dir(builtins)]):
        advice = f"did you mean {near}? Else {advice}"
    return refused(source, node, f"it uses {name}, which is not defined", advice)
