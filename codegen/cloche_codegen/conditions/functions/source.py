"""Where a Python function is written: its text, as the interpreter that made it read it.

A code object holds the lines and columns of its parts. The text at hand (a file, a notebook cell, what was typed into a
REPL; all as `linecache` has them) is compiled once more, and the function is the one whose code object is equal, columns
included. So several lambdas on one line are told apart, and a file that was changed since it was imported is noticed.
"""

from __future__ import annotations
import __future__

import ast
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Final, TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_FUTURES: Final = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})


class NoSource(Exception):
    """The text of the function cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """A piece of source, to be shown: lines from 1, columns in UTF-8 bytes from 0, as `ast` counts them."""

    file: str
    line: int
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True, slots=True)
class Written:
    """A function or class as it is written. `lines` are those of the whole file, `node` its place in them."""

    file: str
    lines: tuple[str, ...]
    node: FunctionNode | ast.ClassDef

    @property
    def first_line(self) -> int:
        """Of what goes along: a class has its decorators with it, a function goes without."""
        decorators = self.node.decorator_list if isinstance(self.node, ast.ClassDef) else []
        return decorators[0].lineno if decorators else self.node.lineno

    @property
    def arguments(self) -> ast.arguments:
        """Of a function."""
        assert not isinstance(self.node, ast.ClassDef)
        return self.node.args

    def place(self, node: ast.AST | None = None) -> Place:
        """Where `node` is written, or the function or class itself."""
        return place_of(self.file, node or self.node)

    def underlined(self, place: Place) -> str:
        """The line of a place with marks under it."""
        return underlined(self.lines, place)


def place_of(file: str, node: ast.AST) -> Place:
    """Where a node of `file` is written, from its first character to its last."""
    line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    return Place(file, line, column, getattr(node, "end_lineno", line), getattr(node, "end_col_offset", column))


def underlined(lines: tuple[str, ...], place: Place) -> str:
    """The line of `place`, and below it as many ^ as the place has characters there; empty if there is no such line."""
    if not 0 < place.line <= len(lines):
        return ""
    text = lines[place.line - 1].rstrip("\n")
    raw = text.encode("utf-8", "surrogatepass")
    start = len(raw) - len(raw.lstrip()) if place.column is None else place.column
    end = place.end_column if place.end_line == place.line and place.end_column is not None else len(raw)
    before = raw[:start].decode("utf-8", "replace")
    width = max(1, len(raw[start:end].decode("utf-8", "replace")))
    pad = "".join("\t" if character == "\t" else " " for character in before)
    return f"    {text}\n    {pad}{'^' * width}"


def written(function: FunctionType) -> Written:
    """The source of a function.

    Raises:
        NoSource: There is none, or it is not the one the function was made from.
    """
    code = function.__code__
    for attempt in ("as cached", "as it is now"):
        if attempt == "as it is now":
            linecache.checkcache(code.co_filename)
        text = "".join(linecache.getlines(code.co_filename, function.__globals__))
        if text and (found := _index(text, code.co_flags & _FUTURES).get(code)):
            return Written(code.co_filename, found.lines, found.node)
    if not text:
        raise NoSource(_no_text(code))
    raise NoSource(
        "what is written there now is not the code that runs: the file was changed since it was imported, or something "
        "rewrites code on import; start the program again, or move the function to a module of its own"
    )


def _no_text(code: CodeType) -> str:
    if code.co_filename == "<stdin>":
        return "this REPL keeps no source: write the function in a file or a notebook, or use the REPL of Python 3.13"
    return f"the source {code.co_filename!r} cannot be read: write the function in a file, not in a text given to exec"


@dataclass(frozen=True, slots=True)
class _Found:
    lines: tuple[str, ...]
    node: FunctionNode


@lru_cache(64)
def _index(text: str, futures: int) -> dict[CodeType, _Found]:
    """The functions of a text by their code; empty if it is no Python."""
    flags = futures | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # which notebooks do
    try:
        tree = compile(text, "<source>", "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        code = compile(text, "<source>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return {}
    lines = tuple(line + "\n" for line in text.split("\n"))  # not splitlines: a form feed ends no line of Python's
    nodes: dict[int, list[FunctionNode]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes.setdefault(_first_line(node), []).append(node)
    found: dict[CodeType, _Found] = {}
    for inner in _inside(code):
        fitting = [node for node in nodes.get(inner.co_firstlineno, []) if _fits(inner, node)]
        if fitting:
            found[inner] = _Found(lines, max(fitting, key=_start))  # the innermost of those around it
    return found


def _inside(code: CodeType) -> Iterator[CodeType]:
    todo = [code]
    while todo:
        one = todo.pop()
        inner = [constant for constant in one.co_consts if isinstance(constant, CodeType)]
        yield from inner
        todo.extend(inner)


def _first_line(node: FunctionNode) -> int:
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return decorators[0].lineno if decorators else node.lineno


def _start(node: FunctionNode) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _fits(code: CodeType, node: FunctionNode) -> bool:
    """Whether a code object is of this node, or of one inside it that begins on the same line."""
    if not isinstance(node, ast.Lambda):
        return code.co_name == node.name
    if code.co_name != "<lambda>":
        return False
    places = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    start = (node.body.lineno, node.body.col_offset)
    end = (node.body.end_lineno, node.body.end_col_offset)
    return all(start <= (p[0], p[2]) and (p[1], p[3]) <= end for p in places)
