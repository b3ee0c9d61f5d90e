"""Texts of Python cut out and moved without changing what they say: lines stay lines, texts in quotes stay as they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cloche_codegen.conditions.functions.source import FunctionNode, Written


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement in a file: lines from 1, columns in UTF-8 bytes. Line ends that it takes away are put back."""

    line: int
    column: int
    end_line: int
    end_column: int
    text: str

    @classmethod
    def of(cls, node: ast.expr, text: str) -> Edit:
        """The replacement of a whole node by `text`."""
        return cls(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0, text)


def bare(source: Written) -> Iterator[Edit]:
    """Annotations of a function and of those inside it, taken away: what they name is not there."""
    for inner in ast.walk(source.node):
        if isinstance(inner, ast.arg) and inner.annotation is not None:
            start = inner.col_offset + len(inner.arg.encode())
            last = inner.annotation
            yield Edit(inner.lineno, start, last.end_lineno or 0, last.end_col_offset or 0, "")
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.returns is not None:
            yield _without_returns(inner.returns, source)


def _without_returns(returns: ast.expr, source: Written) -> Edit:
    """From the arrow, which is the last one before the annotation, and the blanks before it."""
    line, column = returns.lineno, returns.col_offset
    while (found := _bytes(source.lines[line - 1])[:column].rfind(b"->")) < 0:
        line -= 1
        column = len(_bytes(source.lines[line - 1]))
    found = len(_bytes(source.lines[line - 1])[:found].rstrip())
    return Edit(line, found, returns.end_lineno or 0, returns.end_col_offset or 0, "")


def cut_out(source: Written, edits: Iterable[Edit], name: str) -> str:
    """The definition of a function or class, at the left margin, as many lines as in the file; no line end last.

    A function stands under `name`, and without its decorators.
    """
    node, first = source.node, source.first_line
    lines = [_bytes(line) for line in source.lines[first - 1 : node.end_lineno]]
    whole = b"".join(lines)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    pieces: list[bytes] = []
    done = node.col_offset
    for edit in sorted([*edits, *_margin(source, lines)], key=lambda one: (one.line, one.column)):
        start, stop = starts[edit.line - first] + edit.column, starts[edit.end_line - first] + edit.end_column
        if start < done:  # within a piece that is replaced as a whole
            continue
        pieces += [
            whole[done:start],
            edit.text.encode("utf-8", "surrogatepass"),
            b"\n" * whole.count(b"\n", start, stop),
        ]
        done = stop
    pieces.append(whole[done : starts[len(lines) - 1] + (node.end_col_offset or 0)])
    return _named(node, b"".join(pieces).decode("utf-8", "surrogatepass"), name)


def _margin(source: Written, lines: list[bytes]) -> Iterator[Edit]:
    """What a def is indented by, taken away from each of its lines that does not begin inside of a text."""
    node, first = source.node, source.first_line
    if isinstance(node, ast.Lambda):
        return
    inside = _lines_in_texts(node)
    for index, line in enumerate(lines[1:], 1):
        if first + index not in inside:
            blank = len(line) - len(line.lstrip(b" \t"))
            yield Edit(first + index, 0, first + index, min(blank, node.col_offset), "")


def _named(node: FunctionNode | ast.ClassDef, text: str, name: str) -> str:
    if isinstance(node, ast.Lambda):
        return f"{name} = ({text})" if "\n" in text else f"{name} = {text}"
    if node.name == name or isinstance(node, ast.ClassDef):
        return text
    return re.sub(rf"def(\s+){re.escape(node.name)}\b", lambda found: f"def{found[1]}{name}", text, count=1)


def indented(text: str, margin: str) -> str:
    """A text of whole statements, each line but those that begin inside of a text in quotes moved right by `margin`."""
    inside = _lines_in_texts(ast.parse(text))
    lines = text.split("\n")
    return "\n".join(margin + line if line and number not in inside else line for number, line in enumerate(lines, 1))


def _lines_in_texts(node: ast.AST) -> set[int]:
    """The lines that begin inside of a text of several lines."""
    return {
        line
        for one in ast.walk(node)
        if isinstance(one, ast.Constant | ast.JoinedStr) and (one.end_lineno or 0) > one.lineno
        if isinstance(one, ast.JoinedStr) or isinstance(one.value, str | bytes)
        for line in range(one.lineno + 1, (one.end_lineno or 0) + 1)
    }


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def placed(source: str, name: str, under: str) -> str:
    """The source of a function as a part of a larger module: statements that define it `under` another name there.

    What it needs stays its own. `under` must be a free name; `_under` is taken as well.
    """
    if source.startswith(f"{name} = lambda ") and source.count("\n") == 1:
        return f"{under} = {source[len(name) + 3 :]}"
    inside = indented(source, "    ")
    return f"def _{under}():\n{inside}    return {name}\n\n\n{under} = _{under}()\n"
