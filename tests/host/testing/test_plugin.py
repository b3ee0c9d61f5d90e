"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

TESTS = """
import asyncio
import pytest
from cloche import DirectEngine, create_step, create_workflow

waits = (
    create_workflow(id="waits", execution_engine=DirectEngine())
    .then(create_step(id="ask", execute=lambda data: data))
    .sleep(30 * 86_400)
    .commit()
)

async def test_a_month(cloche_app, cloche_clock):
    from cloche.testing import double
    ask = double("ask", returns={"v": 7})
    app = await cloche_app(waits, doubles=[ask])
    before = cloche_clock.now()
    result = await (await app.start(waits, {"v": 1})).result()
    assert result.unwrap() == {"v": 7}
    assert cloche_clock.now() - before >= 30 * 86_400_000
    assert ask.inputs == [{"v": 1}]

async def test_another_process(cloche_app):
    first = await cloche_app(waits)
    await first.start(waits, {"v": 1}, run_id="r1")
    await first.vanish()
    second = await cloche_app(waits)
    assert (await (await second.get("r1")).result()).unwrap() == {"v": 1}

@pytest.mark.parametrize("days", [1, 400])
def test_without_async(cloche_clock, days):
    cloche_clock.run(asyncio.sleep(days * 86_400))
    assert cloche_clock.passed_s == days * 86_400

async def test_that_fails(cloche_app):
    assert await cloche_app(waits) is None
"""


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cloche", "-p", "cloche.testing.plugin", "-q"]
    environment = {**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_fixtures_and_async_tests_work_without_another_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_waits.py").write_text(TESTS)
    said = pytest_in(tmp_path)
    assert "1 failed, 4 passed" in said.stdout, said.stdout + said.stderr
    assert "test_that_fails" in said.stdout


LOADED = """
import sys

def test_what_is_loaded():
    heavy = ("cloche", "cloche_codegen", "pydantic", "wasmtime", "cbor2")
    loaded = {name for name in sys.modules if name.partition(".")[0] in heavy}
    assert loaded == {"cloche", "cloche.testing", "cloche.testing.plugin"}
"""


def test_nothing_of_cloche_is_loaded_unless_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_loaded.py").write_text(LOADED)
    said = pytest_in(tmp_path)
    assert "1 passed" in said.stdout, said.stdout + said.stderr


def test_users_get_it_with_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"cloche": "cloche.testing.plugin"}
