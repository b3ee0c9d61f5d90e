"""What checkers see of steps, workflows and runs: a file of lines that must pass, and one of lines that must be refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "typing"
MYPY = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "--hide-error-context")


def refused(file: str, cache: Path) -> set[int]:
    """The numbers of the lines that mypy --strict refuses."""
    command = [*MYPY, f"--cache-dir={cache}", "--follow-imports=silent", file]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {int(line) for line in re.findall(rf"^{file}:(\d+): error", done.stdout, re.MULTILINE)}


def marked(file: str, checker: str) -> set[int]:
    lines = (FOLDER / file).read_text("utf-8").splitlines()
    ends = ("# refused", f"# refused by {checker}")
    return {number for number, line in enumerate(lines, 1) if line.endswith(ends)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.parametrize("file", ["passes.py", "fails.py"])
def test_mypy_refuses_what_is_marked_and_no_more(file: str, cache: Path) -> None:
    assert refused(file, cache) == marked(file, "mypy")


@pytest.mark.parametrize("file", ["passes.py", "fails.py"])
def test_pyright_refuses_what_is_marked_and_no_more(file: str) -> None:
    """With basedpyright: pyright in a wheel, with its Node. `pyrightconfig.json` has pyright's strict mode."""
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, file]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = {int(line) for line in re.findall(rf"{file}:(\d+):\d+ - error", done.stdout)}
    assert found == marked(file, "pyright"), done.stdout
