"""Patterns of JSON Schemas: only those that are matched in time linear in the text, and only so much of them.

A backtracking engine takes for ever over `^(a+)+$` and thirty letters, and nothing else runs meanwhile. Rust's engine does not,
but it writes repetitions out: `(\\w{10}){10}` takes 5 MB, and a schema may have thousands of such.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

PATTERNS_KB_MAX: Final = 8 << 10  # of one document
_SHOWN_CHARS: Final = 100
_TOKEN: Final = re.compile(r"\\[pP](?:\{[^}]*\}|.)|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d*),?(\d*)\}|.", re.DOTALL)
_LARGE: Final = re.compile(r"\\[pPwW]|\[:")  # classes of Unicode, each with hundreds of ranges
_MIDDLING: Final = re.compile(r"\\[dDsS]")
_VERBOSE: Final = re.compile(r"\(\?[A-Za-z]*x")  # where blanks and comments may stand before a repetition


class UnusablePattern(Exception):
    """A pattern that is not matched. The text says which one, and why."""

    def __init__(self, pattern: str, why: str) -> None:
        shown = pattern if len(pattern) <= _SHOWN_CHARS else f"{pattern[:_SHOWN_CHARS]}…"
        super().__init__(f"the pattern {shown!r} cannot be used: {why}")
        self.pattern = pattern


@lru_cache(maxsize=4096)
def flaw_of_pattern(pattern: str) -> str | None:
    """Why the linear engine does not take a pattern; None if it does."""
    if _VERBOSE.search(pattern):
        return "the flag x is not known here"
    if len(pattern) > PATTERNS_KB_MAX or size_kb(pattern) > PATTERNS_KB_MAX:
        return "it is too large, with its repetitions written out"
    try:
        SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except (SchemaError, UnicodeError) as error:
        return str(error).rpartition("rror: ")[2].strip()  # of lines that draw where it is, the last
    return None


def size_kb(pattern: str) -> int:
    """About how much memory the engine takes for it, at most: what is repeated `{n}` times counts n times."""
    groups, last = [0], 0
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text == "(":
            groups.append(0)
            last = 0
        elif text == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif token.lastindex and any(token.groups()):
            times = max(int(count[:9]) for count in token.groups() if count)
            groups[-1] += last * (times - 1) if times else 0
            last *= max(times, 1)
        elif text not in ("?", "*", "+"):
            last = _atom_kb(text)
            groups[-1] += last
    return sum(groups)


def _atom_kb(text: str) -> int:
    """The figures are measured, and rounded up. A lone `]` may end a class in a class, which is not read here."""
    if _LARGE.search(text) or text == "]":
        return 40
    if _MIDDLING.search(text):
        return 8
    return 1 + len(text) // 4
