"""What checkers see of steps, workflows and runs: a file of lines that must pass, and one of lines that must be refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "typing"
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


# Programs as newcomers write them. What they have of this repository's own tools is not theirs.
EXAMPLES = sorted(
    [*(ROOT / "host" / "examples").glob("*.py"), *(ROOT / "host" / "examples" / "tutorials").glob("*.py")]
)


def test_both_checkers_pass_every_example(cache: Path, tmp_path: Path) -> None:
    """They are checked as a user's own: `cloche` is a package that is installed."""
    files = [str(file) for file in EXAMPLES]
    assert len(files) >= 20
    mypy = [*MYPY, f"--cache-dir={cache}", "--follow-imports=silent", "--explicit-package-bases", *files]
    pyright = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    config = json.loads((FOLDER / "pyrightconfig.json").read_text("utf-8")) | {"include": files}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config), "utf-8")
    for command, folder in ((mypy, FOLDER), (pyright, tmp_path)):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        found = [line for line in done.stdout.splitlines() if "error" in line and "0 errors" not in line]
        assert found == [], done.stdout
        assert done.returncode == 0, done.stderr
