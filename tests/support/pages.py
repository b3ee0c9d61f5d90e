"""Pages of the documentation, executed: a ```python, ```js or ```ts block is a file, a ```console block is commands and output.

A block that is a file begins with its name (`# flow.py`, `// flow.js`); a later block of that name takes its place. In a
console block each `$ ` line is a command, the lines after it are its output, standard error included. `…` stands for any text
in a line, a line of `…` for any lines. A command that ends with ` &` is left running, once it has printed what the page shows
of it. A ```text block is an illustration.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 300.0
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_OF_THIS_MACHINE = re.compile(  # its first run compiles; a loaded one is slow: no page shows that
    r"^(?:info: compiling guest |info: guest \w+ is compiled: |(?:warning: )?the event loop has stood still ).*\n",
    re.MULTILINE,
)
_NAMES = {
    "python": re.compile(r"# ([\w.-]+\.py)\n"),
    "js": re.compile(r"// ([\w.-]+\.m?js)\n"),
    "ts": re.compile(r"// ([\w.-]+\.ts)\n"),
}


@dataclass(frozen=True)
class File:
    """A block that is a file."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line of a console block, and what the page says that it prints."""

    line: str
    output: str

    @property
    def stays(self) -> bool:
        """Whether it is left running, as a server is."""
        return self.line.endswith(" &")

    def prints(self, said: str) -> bool:
        """Whether `said` is what the page shows."""
        shown = [re.escape(line).replace("…", ".*") for line in self.output.splitlines()]
        pattern = "".join("(?:.*\n)*" if line == ".*" else f"{line}\n" for line in shown)
        return re.fullmatch(pattern, said if said.endswith("\n") or not said else said + "\n") is not None


def parts(text: str) -> Iterator[File | Command]:
    """What a page shows, in its order.

    Raises:
        ValueError: a block is neither a named file nor commands nor `text`, so that nothing would execute it.
    """
    if text.count("```") != 2 * len(_FENCE.findall(text)):
        raise ValueError("a block that nothing executes: it is not closed, or does not begin with its line")
    for language, block in _FENCE.findall(text):
        if language in _NAMES and (named := _NAMES[language].match(block)):
            yield File(named[1], block)
        elif language == "console" and block.startswith("$ "):
            for one in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, output = one.partition("\n")
                yield Command(line, output)
        elif language != "text":
            raise ValueError(f"a block of {language or 'no language'} that nothing executes: {block[:60]!r}")


class Reader:
    """Somebody who follows a page to the letter, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[subprocess.Popen[str]] = []

    def perform(self, part: File | Command) -> str | None:
        """Write the file, or run the command and compare: None, or what differs from the page."""
        if isinstance(part, File):
            (self._directory / part.name).write_text(part.text)
            return None
        said = self._said_at_first(part) if part.stays else self._said(part)
        return None if part.prints(said) else f"$ {part.line}\nprinted\n{said}\nand the page says\n{part.output}"

    def end(self) -> None:
        """End what was left running, as Ctrl-C does."""
        for process in self._running:
            os.killpg(process.pid, signal.SIGINT)
        for process in self._running:
            process.communicate(timeout=PATIENCE_S)

    def _said(self, command: Command) -> str:
        process = self._begun(command.line)
        try:
            return _OF_THIS_MACHINE.sub("", process.communicate(timeout=PATIENCE_S)[0])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise

    def _said_at_first(self, command: Command) -> str:
        """As many lines as the page shows of it."""
        process = self._begun(f"exec {command.line.removesuffix(' &')}")
        self._running.append(process)
        assert process.stdout is not None
        lines = (line for line in process.stdout if not _OF_THIS_MACHINE.fullmatch(line))
        return "".join(next(lines, "") for _ in command.output.splitlines())

    def _begun(self, line: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        more = {"PATH": path, "PYTHONPATH": str(self._directory), "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            ["bash", "-c", line],
            cwd=self._directory,
            env={**os.environ, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_obey_ctrl_c,
        )


def _obey_ctrl_c() -> None:
    """A shell that was begun in the background ignores it, and so would all that it begins."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def reader(directory: Path) -> Iterator[Reader]:
    """A reader, at whose end nothing of theirs is left running."""
    one = Reader(directory)
    try:
        yield one
    finally:
        one.end()
