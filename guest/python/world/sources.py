"""Compiling sources.

CPython's tokenizer copies the rest of the text at each replacement field of an f-string when the text is all in memory, so a
source with many of them costs the square of its size. Large ones are therefore compiled in pieces, each some whole statements
of the top level.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from types import CodeType
from typing import Any

PIECE_CHARS = 12_000
# Where a statement may begin, unless the line is within a text or brackets: then the piece before it does not compile.
_BEGINS = re.compile(r"^(?:def |class |async def |@|import |from |[A-Za-z_][A-Za-z_0-9]* = )", re.MULTILINE)
_FIELDS = re.compile(r"\b[rR]?[fF][rR]?['\"]")
_FUTURE = 0x1FE0000  # the flags of `from __future__ import …`
_ANNOTATED = {"__annotate__", "__conditional_annotations__"}


def compiled(source: str, file: str, level: int = 0) -> list[CodeType]:
    """The code of a module: to be run one after the other in the same namespace.

    Raises:
        SyntaxError: of the whole.
    """
    if len(source) > 2 * PIECE_CHARS and _FIELDS.search(source):
        try:
            return _in_pieces(source, file, level)
        except SyntaxError:
            pass  # one of the places was none, or the source is wrong: then the whole says where
    return [compile(source, file, "exec", dont_inherit=True, optimize=level)]


def _in_pieces(source: str, file: str, level: int) -> list[CodeType]:
    made: list[CodeType] = []
    flags = annotated = 0
    for line, piece in _pieces(source):
        code = compile("\n" * line + piece, file, "exec", flags, dont_inherit=True, optimize=level)
        flags |= code.co_flags & _FUTURE
        annotated += not _ANNOTATED.isdisjoint(code.co_names)
        made.append(code)
    if annotated > 1:  # a module has one function that makes its annotations
        raise SyntaxError("annotated at its top level")
    return made


def _pieces(source: str) -> Iterator[tuple[int, str]]:
    """(how many lines are before it, text)"""
    start = line = 0
    decorated = False
    for found in _BEGINS.finditer(source):
        at = found.start()
        if at - start >= PIECE_CHARS and not decorated:
            piece = source[start:at]
            yield line, piece
            line += piece.count("\n")
            start = at
        decorated = found[0] == "@"
    yield line, source[start:]


def run(source: str, file: str, names: dict[str, Any], level: int = 0) -> None:
    """Compile and run a module.

    Raises:
        SyntaxError, and what the code raises.
    """
    for code in compiled(source, file, level):
        exec(code, names)


def show(file: str, source: str) -> None:
    """Tracebacks and `inspect` have its lines; those of the store's modules come from there."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
