"""Pages of the documentation, executed: a ```python block is a file, a ```console block is commands and what they print.

A python block begins with its file's name (`# flow.py`); a later block of that name takes its place. In a console block each
`$ ` line is a command, the lines after it are its output, standard error included. `…` stands for any text in a line, a line
of `…` for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 300.0
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# ([\w.-]+\.py)\n")


@dataclass(frozen=True)
class File:
    """A python block."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line of a console block, and what the page says that it prints."""

    line: str
    output: str

    def prints(self, said: str) -> bool:
        """Whether `said` is what the page shows."""
        shown = [re.escape(line).replace("…", ".*") for line in self.output.splitlines()]
        pattern = "".join("(?:.*\n)*" if line == ".*" else f"{line}\n" for line in shown)
        return re.fullmatch(pattern, said if said.endswith("\n") or not said else said + "\n") is not None


def parts(text: str) -> Iterator[File | Command]:
    """What a page shows, in its order.

    Raises:
        ValueError: a block is neither a named file nor commands, so that nothing would execute it.
    """
    for language, block in _FENCE.findall(text):
        if language == "python" and (named := _NAME.match(block)):
            yield File(named[1], block)
        elif language == "console" and block.startswith("$ "):
            for one in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, output = one.partition("\n")
                yield Command(line, output)
        elif language != "text":  # an illustration
            raise ValueError(f"a block of {language or 'no language'} that nothing executes: {block[:60]!r}")


def perform(part: File | Command, directory: Path) -> str | None:
    """Write the file, or run the command and compare: None, or what differs from the page."""
    if isinstance(part, File):
        (directory / part.name).write_text(part.text)
        return None
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(directory), "COLUMNS": "120"}
    ran = subprocess.run(
        ["bash", "-c", part.line],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
    )
    return (
        None if part.prints(ran.stdout) else f"$ {part.line}\nprinted\n{ran.stdout}\nand the page says\n{part.output}"
    )
