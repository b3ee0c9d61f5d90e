"""What the documents say is so."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.guests import needs_python

ROOT = Path(__file__).parents[2]


def _cloche(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cloche.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_first_workflow_of_the_tour_runs_as_it_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tour.md").read_text(), re.DOTALL)
    [first] = [block for block in blocks if block.startswith("# math_workflow.py")]
    (tmp_path / "math_workflow.py").write_text(first)
    done = _cloche("run", "math_workflow.py:workflow", "--input", '{"x": 5}', cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, '{"x": 20}\n'), done.stderr


EXPORTED = """
import pytest
from math_workflow import workflow
from cloche.testing import TestApp, VirtualTime

@pytest.fixture
def exported():
    async def exported():
        async with TestApp(workflow) as app:
            run = await app.start(workflow, {"x": 5})
            await run.result()
            return await app.export(run.id)
    return VirtualTime().run(exported())
"""


def test_the_tests_of_the_tour_pass(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tour.md").read_text(), re.DOTALL)
    [first] = [block for block in blocks if block.startswith("# math_workflow.py")]
    [tests] = [block for block in blocks if "cloche.testing" in block]
    files = {
        "math_workflow.py": first,
        "test_math.py": tests,
        "conftest.py": EXPORTED,
        "pytest.ini": "[pytest]\npythonpath=.",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cloche", "-p", "cloche.testing.plugin"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_native_workflow_of_the_tour_runs_as_it_says(tmp_path: Path) -> None:
    needs_python()
    text = (ROOT / "docs" / "tour.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks[0].startswith("# onboard.py")
    (tmp_path / "onboard.py").write_text(blocks[0])
    [[given, printed]] = re.findall(r"\$ cloche run onboard.py:onboard --input '(.*)'\n(.*)\n", text)
    done = _cloche("run", "onboard.py:onboard", "--input", given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, printed + "\n"), done.stderr


def test_the_page_on_failures_says_what_its_program_prints(tmp_path: Path) -> None:
    needs_python()
    text = (ROOT / "docs" / "failures.md").read_text()
    program, graph = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    steps = "import cloche\ncharge, try_later, give_up = (cloche.step(id=id)(lambda data: data) for id in 'abc')\n"
    exec(steps + graph.rstrip() + ".commit()", {"__name__": "page"})
    (tmp_path / "shop.py").write_text(program)
    runs = re.findall(r"\$ cloche run shop.py:shop --input (.*)\n(.*)\n", text)
    done = [_cloche("run", "shop.py:shop", "--input", given, cwd=tmp_path) for given, _ in runs]
    assert [ran.stdout for ran in done] == [f"{printed}\n" for _, printed in runs], [ran.stderr for ran in done]


STRANGER = """
import asyncio
from tenants import order
source = '''export default async (data) => await globalThis[Symbol.for("WORKFLOW_USE_STEP")]("mail")(data.to);'''
print(asyncio.run(order(source, {"to": "ann"})))
open("order.js", "w").write(source)
"""


def test_the_platform_of_the_tour_runs_and_its_commands_end_well(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tour.md").read_text()
    [block] = [
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if block.startswith("# tenants.py")
    ]
    (tmp_path / "tenants.py").write_text(block)
    (tmp_path / "stranger.py").write_text(STRANGER)
    done = subprocess.run([sys.executable, "stranger.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "mail to ann\n"), done.stderr
    lines = re.findall(r"\$ cloche (.* --store platform.db)", text)
    printed = {line.split()[0]: _cloche(*line.split(), cwd=tmp_path) for line in lines}
    assert {name: ran.returncode for name, ran in printed.items()} == {"doctor": 0, "deploy": 0, "usage": 0}
    assert "fuel_per_event=50,000,000, concurrent_runs=10, queued_runs=1,000, steps=[mail]" in printed["doctor"].stdout
    assert "1 runs  1 steps" in printed["usage"].stdout


def test_every_command_that_the_changelog_names_is_there(tmp_path: Path) -> None:
    [line] = re.findall(r"`cloche (run, [^`]*)`", (ROOT / "CHANGELOG.md").read_text())
    shown = _cloche("--help", cwd=tmp_path).stdout
    listed = re.findall(r"^  ([a-z]+)  ", shown[shown.index("--help") :], re.MULTILINE)
    assert sorted(listed) == sorted(line.split(", "))


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
    assert page.name != "ARCHITECTURE.md" or len(named) >= 40


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


def test_the_page_of_what_crosses_runs_as_it_says(tmp_path: Path) -> None:
    needs_python()
    text = (ROOT / "docs" / "concepts" / "what-crosses-the-glass.md").read_text()
    [program] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "shop.py").write_text(program)
    [[given, printed]] = re.findall(r"\$ cloche run shop.py:shop --input '(.*)'\n(.*)\n", text)
    done = _cloche("run", "shop.py:shop", "--input", given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, printed + "\n"), done.stderr
