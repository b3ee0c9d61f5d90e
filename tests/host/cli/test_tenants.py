"""Tenants on the command line: code they bring, runs of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import MATH, cloche

ADDS = 'export default async (input) => await globalThis[Symbol.for("WORKFLOW_USE_STEP")]("double")(input);\n'


@pytest.fixture
def adds(tmp_path: Path) -> str:
    (tmp_path / "adds.js").write_text(ADDS)
    return str(tmp_path / "adds.js")


def test_a_file_is_deployed_for_a_tenant_and_the_same_file_is_the_same_version(store: str, adds: str) -> None:
    first = cloche("deploy", adds, "--tenant", "acme", "--store", store, "--json")
    again = cloche("deploy", adds, "--tenant", "acme", "--store", store, "--json")
    assert (first.code, first.json()) == (0, again.json())
    assert (first.json()["tenant"], first.json()["workflow"]) == ("acme", "adds")
    assert first.json()["version"] == f"adds@{first.json()['digest'][:16]}"
    said = cloche("deploy", adds, "--tenant", "umbra", "--workflow", "other", "--store", store)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("✓ other@")


def test_what_does_not_load_is_refused_with_its_line(store: str, tmp_path: Path) -> None:
    (tmp_path / "broken.js").write_text("export default async () => 1;\nlet = ;\n")
    said = cloche("deploy", str(tmp_path / "broken.js"), "--tenant", "acme", "--store", store)
    assert (said.code, said.out) == (2, "")
    assert "workflow 'broken' of tenant acme cannot be deployed: line 2: " in said.err
    (tmp_path / "notes.txt").write_text("")
    assert cloche("deploy", str(tmp_path / "notes.txt"), "--tenant", "acme", "--store", store).code == 2
    assert cloche("deploy", str(tmp_path / "gone.js"), "--tenant", "acme", "--store", store).code == 2


def test_runs_are_listed_and_found_by_their_tenant(store: str) -> None:
    cloche("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", "r1", "--tenant", "acme")
    assert [len(cloche("runs", "--store", store, "--json", *of).lines()) for of in ([], ["--tenant", "acme"])] == [0, 1]
    gone = cloche("show", "r1", "--store", store)
    assert (gone.code, gone.err) == (4, "error: there is no run r1 in this store; 'cloche runs' lists what there is\n")
    other = cloche("show", "r1", "--store", store, "--tenant", "umbra")
    never = cloche("show", "r2", "--store", store, "--tenant", "umbra")
    assert (other.code, other.err) == (4, never.err.replace("r2", "r1"))
    assert "of tenant umbra" in other.err
