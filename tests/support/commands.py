"""The command line as a user has it: in a process of its own, or in this one where that proves the same."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cloche.cli import main

PATIENCE_S = 60.0
FLOWS = str(Path(__file__).parent / "flows.py")
MATH = f"{FLOWS}:math"


@dataclass(frozen=True)
class Ran:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON object that was printed."""
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """The JSON values that were printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def cloche(*arguments: str, given: str | bytes | None = None) -> Ran:
    """Run a command in this process."""
    ran = CliRunner().invoke(main, list(arguments), input=given)
    return Ran(ran.exit_code, ran.stdout, ran.stderr)


def process(*arguments: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    line = [sys.executable, "-m", "cloche.cli", *arguments]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(child: subprocess.Popen[str], given: str | None = None) -> Ran:
    """Wait for it."""
    out, err = child.communicate(given, timeout=PATIENCE_S)
    return Ran(child.returncode, out, err)
