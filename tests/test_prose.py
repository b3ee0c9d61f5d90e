"""Prose in Markdown breaks at 100 characters: a line is read at once, and a change to it is a small one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
CHARS_MAX = 100
_WHOLE = re.compile(r"`[^`]*`|!?\[[^\]]*\]\([^)]*\)")  # code and links are not broken


def too_long(text: str) -> Iterator[int]:
    """The numbers of the lines of prose that could be shorter. Code, tables and headings are as long as they have to be."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        marks = re.match(r"\s*(`{3,}|~{3,})", line)
        if fence or marks:
            fence = (fence if line.strip() != fence else "") if fence else marks[1] if marks else ""
        elif len(line) > CHARS_MAX and not line.startswith(("|", "#", "<", "    ")):
            words = _WHOLE.sub("_", re.sub(r"^\s*([*+-]|\d+\.)\s+", "", line)).split()
            if len(words) > 1:
                yield number


def test_prose_breaks_at_a_hundred_characters() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = [REPOSITORY / name for name in listed.stdout.splitlines()]
    found = {str(file.relative_to(REPOSITORY)): list(too_long(file.read_text())) for file in files if file.is_file()}
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert REPOSITORY / "README.md" in files


def test_only_prose_is_counted() -> None:
    long = "word " * 30
    assert list(too_long(f"{long}\n\n* {long}\n")) == [1, 3]
    assert list(too_long(f"# {long}\n| {long} |\n```text\n{long}\n```\n    {long}\n`{long}`\n[{long}](there)\n")) == []
