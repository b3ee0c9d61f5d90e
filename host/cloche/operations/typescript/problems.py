"""What is wrong with a source, by file, line and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cloche.errors import CompileError

TOLD_MAX = 20  # problems that a message has
_TEXTS = (("file", 300), ("message", 1000), ("text", 200))  # and how long each may be


@dataclass(frozen=True, slots=True)
class CompileProblem:
    """`line` and `column` are in `file`, counted from 1; `text` is that line."""

    file: str
    line: int
    column: int
    message: str
    text: str = ""

    @classmethod
    def of(cls, data: Any) -> CompileProblem:
        """From what the compiler gave, which a stranger's text may have led astray: so it is cut to what it should be."""
        get = data.get if isinstance(data, dict) else {}.get
        line, column = (value if type(value := get(name)) is int and value > 0 else 1 for name in ("line", "column"))
        file, message, text = (str(get(name) or "")[:most] for name, most in _TEXTS)
        return cls(file or "?", line, column, message, text)

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: {self.message}"
        if not self.text.strip() or self.column > len(self.text) + 1:
            return where
        before = "".join("\t" if char == "\t" else " " for char in self.text[: self.column - 1])
        return f"{where}\n    {self.text.rstrip()}\n    {before}^"

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check_problems(entry: str, problems: Sequence[CompileProblem]) -> None:
    """
    Raises:
        CompileError: there are some: its message has the first of them, and its fact `problems` has all.
    """
    if not problems:
        return
    told = "\n".join(map(str, problems[:TOLD_MAX]))
    more = f"\n… and {len(problems) - TOLD_MAX} more" if len(problems) > TOLD_MAX else ""
    first = problems[0]
    raise CompileError(
        f"{entry} cannot be compiled:\n{told}{more}",
        file=first.file,
        line=first.line,
        column=first.column,
        problems=[one.to_data() for one in problems],
    )
