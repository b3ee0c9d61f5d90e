"""Code strings: one JavaScript expression, kept in its place.

The text of a stored graph is not trusted. What keeps it harmless is the glass it runs under; what this module adds is
that the text stays an *expression*: `1); evil(` or a comment that swallows the closing parenthesis must not become
code somewhere else, because then the source map, the comments and the reader would be lied to. The check reads the
text as a JavaScript lexer does (strings, templates, comments, regular expressions, brackets) and refuses what it
cannot read with certainty. Whether the expression itself is well formed is found when the guest loads it.
Source: ECMA-262 section 12 (lexical grammar), module goal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# What a code string can name. Only names that occur in the text are handed to it.
SCOPE: Final = (
    "inputData",
    "initData",
    "state",
    "requestContext",
    "stepResults",
    "getStepResult",
    "getInitData",
    "iterationCount",
)
# Identifiers, keywords, private names. Everything beyond ASCII that is no space counts: JavaScript allows marks in
# identifiers that Python does not call word characters, and taking them for an operator would mislead about a slash.
_WORD = re.compile(r"#?(?:[\w$]|[^\x00-\x7f\s\ufeff])+")
_NUMBER = re.compile(r"(?:0[xXoObB][\w]+|\d[\d_]*\.?[\d_]*(?:[eE][+-]?\d[\d_]*)?|\.\d[\d_]*(?:[eE][+-]?\d[\d_]*)?)n?")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_LINE_ENDS = "\n\r\u2028\u2029"
# A slash after one of these begins a regular expression; after any other word it divides.
_BEFORE_REGEX = frozenset(
    {"return", "typeof", "instanceof", "in", "new", "delete", "void", "throw", "case", "do", "else"}
)
# After these it depends on the code around, which a lexer does not know: ask for parentheses instead of guessing.
_UNCERTAIN = frozenset(
    "yield await of async let get set static extends default break continue debugger".split()  # noqa: SIM905
)
_STATEMENT_HEADS = frozenset({"if", "while", "for", "await", "with", "catch", "switch"})  # `for await (`


@dataclass(frozen=True, slots=True)
class Code:
    """A JavaScript expression, marked as such where a plain text would mean something else. See `code`."""

    text: str


def code(text: str) -> Code:
    """A JavaScript expression for a condition, map, duration or concurrency: `code("inputData.n * 2")`.

    It sees `inputData, initData, state, requestContext, stepResults, getStepResult(id), getInitData()` and, in the
    condition of a loop, `iterationCount`. It must not change what it sees.
    """
    return Code(text)


class BrokenCode(ValueError):
    """The text cannot be one expression; the message says where and why."""


def names_in(text: str) -> tuple[str, ...]:
    """The names of SCOPE that occur in the text (also in its comments: too many do no harm), in SCOPE order."""
    words = set(re.findall(r"[\w$]+", text))
    return tuple(name for name in SCOPE if name in words)


_STATIC = re.compile(
    r"""\bstepResults\s*(?:\?\.|\.)\s*(?P<dot>[A-Za-z_$][\w$]*)"""
    r"""|\bstepResults\s*\[\s*(?P<key>"[^"\\\n]*"|'[^'\\\n]*')\s*\]"""
    r"""|\bgetStepResult\s*\(\s*(?P<call>"[^"\\\n]*"|'[^'\\\n]*')\s*\)"""
)
_MENTION = re.compile(r"\b(?:stepResults|getStepResult)\b")


def steps_in(text: str) -> frozenset[str] | None:
    """The step ids a text names, or None when it computes one and so may ask for any."""
    found = list(_STATIC.finditer(text))
    if len(found) != len(_MENTION.findall(text)):
        return None
    return frozenset(m["dot"] or (m["key"] or m["call"])[1:-1] for m in found)


def check(text: str) -> None:
    """Make sure that `(` text newline `)` is one parenthesised expression or a syntax error, and nothing else.

    Raises:
        BrokenCode: It is empty, unbalanced, unterminated, a statement, or uses a slash that could be read two ways.
    """
    if not text.strip():
        raise BrokenCode("it is empty")
    _Lexer(text).run()


class _Lexer:
    """One pass over the text. `open` holds the brackets not yet closed; a backquote stands for an open template."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.open: list[tuple[str, bool]] = []  # bracket, and whether a statement keyword stood before it
        self.before = ""  # the last significant token
        self.after_dot = False  # a keyword after a dot is a property name
        self.closed_head = False  # the last `)` closed `if (…)` and its like
        self.tokens = 0

    def run(self) -> None:
        while self.at < len(self.text):
            self._next()
        if self.open:
            raise self._broken(f"{self.open[-1][0]!r} is never closed")
        if self.tokens == 0:
            raise BrokenCode("it has nothing but comments")

    def _next(self) -> None:
        text, here = self.text, self.text[self.at]
        if here.isspace() or here == "\ufeff":
            self.at += 1
        elif text.startswith("//", self.at):
            while self.at < len(text) and text[self.at] not in _LINE_ENDS:
                self.at += 1
        elif text.startswith("/*", self.at):
            end = text.find("*/", self.at + 2)
            if end < 0:
                raise self._broken("a comment is never closed")
            self.at = end + 2
        elif here in "\"'":
            self._string(here)
        elif here == "`":
            self.at += 1
            self._template()
        elif here == "/":
            self._slash()
        elif number := _NUMBER.match(text, self.at):
            self.at = number.end()
            self._token("0")
        elif word := _WORD.match(text, self.at):
            self.at = word.end()
            self._token(word[0])
        else:
            self._punctuation(here)

    def _token(self, token: str) -> None:
        self.after_dot = self.before in (".", "?.")
        self.before = token
        self.tokens += 1

    def _punctuation(self, here: str) -> None:
        if here == "\\":
            raise self._broken("a backslash outside a text; write the character itself")
        if here == ";" and not self.open:
            raise self._broken("';' ends a statement; a code string is one expression")
        for long in ("++", "--", "?.", "=>"):
            if self.text.startswith(long, self.at):
                here = long
                break
        if here in ("(", "[", "{"):
            self.open.append((here, not self.after_dot and self.before in _STATEMENT_HEADS))
        elif here in _PAIRS:
            self._close(here)
            return
        self.at += len(here)
        self._token(here)

    def _close(self, here: str) -> None:
        if not self.open or self.open[-1][0] not in (_PAIRS[here], "${" if here == "}" else ""):
            raise self._broken(f"{here!r} closes nothing")
        bracket, head = self.open.pop()
        self.at += 1
        self._token(here)
        self.closed_head = head
        if bracket == "${":
            self._template()

    def _string(self, quote: str) -> None:
        start = self.at
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] not in (quote, "\n", "\r"):
            self.at += 2 if self.text[self.at] == "\\" else 1
        if self.at >= len(self.text) or self.text[self.at] != quote:
            self.at = start
            raise self._broken("a text is never closed")
        self.at += 1
        self._token('""')

    def _template(self) -> None:
        """From after a backquote or a closing brace to the next `${` or the end of the template."""
        while self.at < len(self.text):
            if self.text[self.at] == "`":
                self.at += 1
                self._token("``")
                return
            if self.text.startswith("${", self.at):
                self.at += 2
                self.open.append(("${", False))
                self._token("${")
                return
            self.at += 2 if self.text[self.at] == "\\" else 1
        raise self._broken("a template is never closed")

    def _slash(self) -> None:
        before = self.before
        is_name = before == "" or self.after_dot
        if before == "}" or (before in _UNCERTAIN and not is_name) or (before == ")" and self.closed_head):
            raise self._broken("'/' here may divide or begin a regular expression; put parentheses around it")
        operand = before and (before[-1] in ')]"`' or before in ("++", "--") or bool(_WORD.fullmatch(before)))
        if operand and (self.after_dot or before not in _BEFORE_REGEX):
            self.at += 1
            self._token("/")
        else:
            self._regex()

    def _regex(self) -> None:
        start, in_class = self.at, False
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] not in _LINE_ENDS:
            here = self.text[self.at]
            if here == "\\":
                self.at += 1
                if self.at < len(self.text) and self.text[self.at] in _LINE_ENDS:
                    break
            elif here == "[":
                in_class = True
            elif here == "]":
                in_class = False
            elif here == "/" and not in_class:
                self.at += 1
                self._token('""')
                return
            self.at += 1
        self.at = start
        raise self._broken("a regular expression is never closed")

    def _broken(self, why: str) -> BrokenCode:
        line = self.text.count("\n", 0, self.at) + 1
        column = self.at - self.text.rfind("\n", 0, self.at)
        return BrokenCode(f"line {line}, column {column}: {why}")
