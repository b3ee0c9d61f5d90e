"""Tenants on the command line: code they bring, runs of their own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import MATH, cloche
from support.guests import needs_python

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
    assert (said.code, "it calls step 'double', which strangers may not" in said.err) == (0, True)
    assert "policies={'umbra': Policy.strict(steps=[Grant(step=\"double\")])}" in said.err
    assert first.json()["not_granted"] == ["double"]
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


def test_usage_is_told_by_tenant_and_by_run(store: str) -> None:
    assert cloche("usage", "--store", store).code == 5  # there is no such store yet
    for tenant, run in (("acme", "r1"), ("acme", "r2"), ("umbra", "r1")):
        cloche("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", run, "--tenant", tenant)
    acme, umbra = cloche("usage", "--store", store, "--json").lines()
    assert (acme["tenant"], acme["runs"], umbra["tenant"], umbra["runs"]) == ("acme", 2, "umbra", 1)
    assert acme["fuel"] == 2 * umbra["fuel"] > 0
    one = cloche("usage", "r1", "--tenant", "acme", "--store", store, "--json").json()
    assert (one["run_id"], one["fuel"], one["steps"]) == ("r1", umbra["fuel"], umbra["steps"])
    assert one["meter"].startswith("wasmtime ")
    assert cloche("usage", "--tenant", "acme", "--store", store, "--json").lines() == [acme]
    assert cloche("usage", "r9", "--tenant", "acme", "--store", store).code == 4
    said = cloche("usage", "--tenant", "umbra", "--store", store).out
    assert said.startswith(f"umbra  1 runs  {umbra['steps']} steps  {umbra['events']} events  {umbra['fuel']:,} fuel")


def test_replay_tells_a_bill_that_was_changed(one_run: str) -> None:
    replayed = cloche("replay", "r1", "--store", one_run, "--json").json()
    assert replayed["fuel"] == replayed["fuel_recorded"] > 0
    with closing(sqlite3.connect(one_run)) as db, db:
        db.execute("UPDATE runs SET fuel = fuel + 1")
    said = cloche("replay", "r1", "--store", one_run)
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("✗ fuel: the commands are those recorded, and they burnt ")


def test_a_folder_of_python_is_deployed(tmp_path: Path) -> None:
    needs_python()
    folder = tmp_path / "order"
    (folder / "shop").mkdir(parents=True)
    (folder / "main.py").write_text(
        "from cloche import workflow\nimport shop\n@workflow\nasync def w(data):\n    return shop.A\n"
    )
    (folder / "shop" / "__init__.py").write_text("A = 1\n")
    store = str(tmp_path / "p.db")

    first = cloche("deploy", str(folder), "--tenant", "acme", "--store", store, "--json").json()
    (folder / "shop" / "__init__.py").write_text("A = 2\n")
    second = cloche("deploy", str(folder), "--tenant", "acme", "--store", store, "--json").json()
    refused = cloche("deploy", str(folder), "--main", "none.py", "--tenant", "acme", "--store", store)

    assert (first["workflow"], second["workflow"]) == ("order", "order")
    assert first["digest"] != second["digest"]
    assert refused.code != 0
    assert "the main file none.py is not among the files" in refused.err
