"""The shape of a workflow that somebody wrote in JavaScript, read from its words: steps, branches, loops, what runs at once.

Nothing is executed, and nothing is parsed but words, brackets and the statements that branch and repeat: what only a run knows
is not there, and a picture may lack a call. No run depends on this. TypeScript comes as what it was compiled to, line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from cloche_codegen.shapes import SHAPES_MAX, Shape, ShapeArm

_TEXT_MAX: Final = 80
_DEPTH_MAX: Final = 8  # of functions that call each other
_TOKENS_MAX: Final = 200_000
_TOKEN: Final = re.compile(
    r"""(?P<skip>[ \t\r]+|//[^\n]*|/\*.*?(?:\*/|\Z))|(?P<line>\n)"""
    r"""|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)"""
    r"""|(?P<word>\#?[A-Za-z_$][\w$]*)|(?P<number>\d[\w.]*)|(?P<sign>=>|\?\.|&&|\|\||[=!]==?|[-+*/%]=|.)""",
    re.DOTALL,
)
_REGEX: Final = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")
_BEFORE_REGEX: Final = frozenset(
    [*"(,=:[!&|?{};+-*%", "=>", "&&", "||", "==", "===", "!=", "!==", "return", "typeof", "case"]
)
_CLOSES: Final = {"(": ")", "[": "]", "{": "}"}
_USE: Final = r"""globalThis\[Symbol\.for\(["']WORKFLOW_USE_STEP["']\)\]"""
_MAKER: Final = re.compile(rf"([\w$]+)\s*=\s*{_USE}\s*[;\n]")
_STEP: Final = re.compile(rf"""([\w$]+)\s*=\s*({_USE}|[\w$]+)\(\s*["']([^"'\n]+)["']\s*\)""")
_LOOPS_OF: Final = frozenset(["map", "forEach", "flatMap", "reduce"])
_TOGETHER: Final = {"all": "gather", "allSettled": "gather", "race": "race", "any": "race"}
_WAITS: Final = {"sleep": "sleep", "createHook": "event", "createWebhook": "event", "waitForEvent": "event"}


class _Token(NamedTuple):
    text: str
    line: int
    end: int  # of an opening bracket: the index of what closes it


def javascript_shapes(source: str, name: str | None = None) -> tuple[Shape, ...]:
    """What function `name` of a module calls, in the order of its words; without a name, of the one that is the workflow.

    Raises:
        ValueError: its brackets do not close, or it is longer than what is read.
    """
    tokens = _tokens(source)
    reader = _Reader(tokens, _steps_of(source))
    main = name if name in reader.functions else _main_of(tokens, reader.functions)
    return tuple(reader.function(main, ())) if main is not None else ()


def _tokens(source: str) -> list[_Token]:
    found: list[_Token] = []
    open_at: list[int] = []
    line, at = 1, 0
    while at < len(source) and (match := _TOKEN.match(source, at)):
        text, kind = match.group(), match.lastgroup
        if text == "/" and (not found or found[-1].text in _BEFORE_REGEX) and (regex := _REGEX.match(source, at)):
            match, text = regex, regex.group()
        if kind not in ("skip", "line"):
            if text in _CLOSES:
                open_at.append(len(found))
            elif text in ")]}":
                if not open_at or _CLOSES[found[open_at[-1]].text] != text:
                    raise ValueError(f"a bracket of line {line} closes nothing")
                start = open_at.pop()
                found[start] = found[start]._replace(end=len(found))
            found.append(_Token(text, line, len(found)))
        line, at = line + text.count("\n"), match.end()
        if len(found) > _TOKENS_MAX:
            raise ValueError("it is longer than what is read of it")
    if open_at:
        raise ValueError(f"a bracket of line {found[open_at[-1]].line} is not closed")
    return found


def _steps_of(source: str) -> Mapping[str, str]:
    """Names that stand for steps: `const add = useStep("add")`, where `useStep` is what the global symbol gives."""
    makers = set(_MAKER.findall(source))
    return {name: id for name, made_by, id in _STEP.findall(source) if made_by in makers or "[" in made_by}


class _Function(NamedTuple):
    start: int  # of its body's tokens
    end: int
    is_async: bool


def _main_of(tokens: list[_Token], functions: Mapping[str, _Function]) -> str | None:
    """The one with the directive, else the default export, else the last one that is async."""
    for name, one in functions.items():
        if one.start < one.end and tokens[one.start].text[1:-1] == "use workflow":
            return name
    for at, token in enumerate(tokens[:-2]):
        if (token.text, tokens[at + 1].text) == ("export", "default"):
            named = [one.text for one in tokens[at + 2 : at + 6] if one.text in functions]
            if named:
                return named[0]
    return next(reversed([name for name, one in functions.items() if one.is_async]), None)


class _Reader:
    def __init__(self, tokens: list[_Token], steps: Mapping[str, str]) -> None:
        self._tokens = tokens
        self._steps = steps
        self._count = 0
        self.functions = dict(self._defined())

    def _defined(self) -> Iterator[tuple[str, _Function]]:
        for at, token in enumerate(self._tokens):
            if token.text == "function":
                after = at + 2 if self._text(at + 1) == "*" else at + 1
                named = self._text(after)
                args = after if named == "(" else after + 1
                body = self._end(args) + 1
                if self._text(args) == "(" and self._text(body) == "{":
                    name = "default" if named == "(" else named
                    yield name, _Function(body + 1, self._end(body), self._text(at - 1) == "async")

    def _text(self, at: int) -> str:
        return self._tokens[at].text if 0 <= at < len(self._tokens) else ""

    def _end(self, at: int) -> int:
        return self._tokens[at].end if 0 <= at < len(self._tokens) else at

    def _said(self, start: int, end: int) -> str:
        said = re.sub(
            r" ?([.()\[\],;!]) ?", r"\1", " ".join(one.text for one in self._tokens[start : min(end, start + 40)])
        )
        said = said.replace(",", ", ")
        return said if len(said) <= _TEXT_MAX else said[: _TEXT_MAX - 1] + "…"

    def function(self, name: str, above: tuple[str, ...]) -> Iterator[Shape]:
        one = self.functions[name]
        yield from self._read(one.start, one.end, (*above, name))

    def _read(self, at: int, end: int, above: tuple[str, ...]) -> Iterator[Shape]:
        while at < end and self._count <= SHAPES_MAX:
            shapes, at = self._one(at, end, above)
            yield from shapes

    def _one(self, at: int, end: int, above: tuple[str, ...]) -> tuple[tuple[Shape, ...], int]:
        """What begins at a token, and where the next thing does."""
        match self._text(at) if self._text(at - 1) not in (".", "?.") else "":
            case "if":
                return self._if(at, end, above)
            case "for" | "while" if "(" in (self._text(at + 1), self._text(at + 2)):
                return self._loop(at, end, above)
            case "try":
                return self._try(at, end, above)
            case "function":
                body = next((one for one in range(at, end) if self._text(one) == "{"), at)
                return (), self._end(body) + 1  # what is defined here runs where it is called
        return self._call(at, above)

    def _part(self, at: int, end: int) -> tuple[int, int, int]:
        """A block or a single statement: where it begins and ends, and what comes after it."""
        if self._text(at) == "{":
            return at + 1, self._end(at), self._end(at) + 1
        after = at
        while after < end and self._text(after) != ";":
            after = self._end(after) + 1
            if after < end and self._tokens[after].line > self._tokens[after - 1].line and self._text(after) != ".":
                return at, after, after
        return at, after, min(end, after + 1)

    def _arm(self, text: str, at: int, end: int, above: tuple[str, ...]) -> tuple[ShapeArm, int]:
        start, stop, after = self._part(at, end)
        return ShapeArm(text, tuple(self._read(start, stop, above))), after

    def _armed(self, kind: str, at: int, arms: list[ShapeArm]) -> tuple[Shape, ...]:
        """Arms in which nothing is called are left out, and so is the whole where none has a call."""
        found = tuple(arm for arm in arms if arm.items)
        return (self._shape(kind, kind, at, arms=found),) if found else ()

    def _if(self, at: int, end: int, above: tuple[str, ...]) -> tuple[tuple[Shape, ...], int]:
        before: list[Shape] = []
        arms: list[ShapeArm] = []
        line, word = at, "if"
        while True:
            close = self._end(at + 1)
            before += self._read(at + 2, close, above)
            arm, at = self._arm(f"{word} {self._said(at + 2, close)}", close + 1, end, above)
            arms.append(arm)
            if self._text(at) != "else":
                break
            if self._text(at + 1) != "if":
                arm, at = self._arm("else", at + 1, end, above)
                arms.append(arm)
                break
            at, word = at + 1, "else if"
        return (*before, *self._armed("if", line, arms)), at

    def _loop(self, at: int, end: int, above: tuple[str, ...]) -> tuple[tuple[Shape, ...], int]:
        opens = at + 1 if self._text(at + 1) == "(" else at + 2
        close = self._end(opens)
        before = tuple(self._read(opens + 1, close, above))
        arm, after = self._arm("", close + 1, end, above)
        text = f"{self._text(at)} {self._said(opens + 1, close)}"
        return (*before, *((self._shape("loop", "loop", at, text=text, arms=(arm,)),) if arm.items else ())), after

    def _try(self, at: int, end: int, above: tuple[str, ...]) -> tuple[tuple[Shape, ...], int]:
        line, arms = at, list[ShapeArm]()
        last: tuple[Shape, ...] = ()
        arm, at = self._arm("try", at + 1, end, above)
        arms.append(arm)
        if self._text(at) == "catch":
            arm, at = self._arm("catch", self._end(at + 1) + 1 if self._text(at + 1) == "(" else at + 1, end, above)
            arms.append(arm)
        if self._text(at) == "finally":
            arm, at = self._arm("", at + 1, end, above)
            last = arm.items
        return (*self._armed("try", line, arms), *last), at

    def _call(self, at: int, above: tuple[str, ...]) -> tuple[tuple[Shape, ...], int]:
        name, home = self._text(at), self._text(at - 2) if self._text(at - 1) == "." else ""
        if self._text(at + 1) != "(":
            return (), at + 1
        close = self._end(at + 1)
        if (home == "Promise" and name in _TOGETHER) or (home and name in _LOOPS_OF):
            inside = tuple(self._read(at + 2, close, above))
            if not inside:
                return (), close + 1
            if home == "Promise":
                kind = _TOGETHER[name]
                return (self._shape(kind, kind, at, arms=tuple(ShapeArm("", (one,)) for one in inside)),), close + 1
            return (self._shape("loop", "loop", at, text=f"each of {home}", arms=(ShapeArm("", inside),)),), close + 1
        inside = tuple(self._read(at + 2, close, above))
        return (*inside, *self._named(at, name, home, above)), close + 1

    def _named(self, at: int, name: str, home: str, above: tuple[str, ...]) -> tuple[Shape, ...]:
        first = self._text(at + 2)
        text = first[1:-1] if first[:1] in ("'", '"') else ""
        if not home and name in self._steps:
            id = self._steps[name].rpartition("//")[2]
            return (self._shape("step", id, at, place=id),)
        if home == "cloche" and name == "child":
            return (self._shape("child", text or name, at, place=text),)
        if name in _WAITS and home in ("", "cloche"):
            return (self._shape(_WAITS[name], name, at, place=name, text=text),)
        if not home and name in self.functions and name not in above and len(above) < _DEPTH_MAX:
            inside = tuple(self.function(name, above))
            return (self._shape("function", name, at, arms=(ShapeArm("", inside),)),) if inside else ()
        return ()

    def _shape(
        self, kind: str, id: str, at: int, *, place: str = "", text: str = "", arms: tuple[ShapeArm, ...] = ()
    ) -> Shape:
        self._count += 1
        return Shape(kind, id, place, text, self._tokens[at].line, arms)
