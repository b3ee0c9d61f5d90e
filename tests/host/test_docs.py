"""What the documents say is so."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _cloche(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cloche.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_every_command_that_the_changelog_names_is_there(tmp_path: Path) -> None:
    [line] = re.findall(r"`cloche (run, [^`]*)`", (ROOT / "CHANGELOG.md").read_text())
    shown = _cloche("--help", cwd=tmp_path).stdout
    listed = re.findall(r"^  ([a-z]+)  ", shown[shown.index("--help") :], re.MULTILINE)
    assert sorted(listed) == sorted(re.split(r",\s+", line))


MAPS = [ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs" / "design").glob("*.md"))]
HOMES = (ROOT, ROOT / "host" / "cloche")
LAYERS = "client|operations|worker|run|steps|engines|sandbox|store|tenancy|history"


@pytest.mark.parametrize("page", MAPS, ids=lambda page: page.stem)
def test_what_a_map_names_is_there(page: Path) -> None:
    """Files, what is defined in them (`file.py:Class.method`), and modules by their dotted names."""
    text = page.read_text()
    named = re.findall(r"`([\w-]+/[\w./-]*\w)(?::([\w.]+))?`", text)
    named += [_place(name) for name in re.findall(rf"`((?:{LAYERS})(?:\.\w+)+)`", text)]
    assert [f"{file}:{name}" for file, name in named if not _is_there(file, name)] == []
    assert page.name != "ARCHITECTURE.md" or len(named) >= 25


def _place(dotted: str) -> tuple[str, str]:
    """`run.limits` or `history.values.check` as a file and what is defined in it."""
    parts = dotted.split(".")
    for count in range(len(parts), 1, -1):
        file = f"{'/'.join(parts[:count])}.py"
        if (ROOT / "host/cloche" / file).exists():
            return file, ".".join(parts[count:])
    return f"{'/'.join(parts)}.py", ""


def _is_there(file: str, name: str) -> bool:
    found = next((home / file for home in HOMES if (home / file).exists()), None)
    if found is None or not name:
        return found is not None or (ROOT / "host/cloche" / file).with_suffix("").is_dir()
    body: list[ast.stmt] = ast.parse(found.read_text()).body
    for part in name.split("."):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        node = next((one for one in body if isinstance(one, kinds) and one.name == part), None)
        if node is None:
            return False
        body = node.body
    return True
