"""Holding tenants back from the command line, and what the audit log says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import cloche

SOURCE = "export default async () => 1;\n"


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


def test_a_tenant_is_suspended_and_reinstated(store: str, tmp_path: Path) -> None:
    file = tmp_path / "one.js"
    file.write_text(SOURCE)
    version = cloche("deploy", str(file), "--tenant", "acme", "--store", store, "--json").json()["version"]
    held = cloche("tenant", "suspend", "acme", "--reason", "mines", "--store", store, "--json").json()
    assert (held["tenant"], held["code"], held["reason"]) == ("acme", None, "mines")
    refused = cloche("deploy", str(file), "--tenant", "acme", "--store", store)
    assert (refused.code, "it is suspended (mines)" in refused.err) == (5, True)
    assert (
        cloche("tenant", "quarantine", "acme", "--version", version, "--reason", "a hole", "--store", store).code == 0
    )
    assert len(cloche("tenant", "list", "--store", store, "--json").lines()) == 2
    assert cloche("tenant", "release", "acme", "--version", version, "--store", store).code == 0
    assert cloche("tenant", "reinstate", "acme", "--store", store).out == ""
    assert cloche("tenant", "reinstate", "acme", "--store", store).code == 4
    acts = [line["action"] for line in cloche("audit", "--tenant", "acme", "--store", store, "--json").lines()]
    assert acts == ["reinstated", "released", "quarantined", "suspended", "deployed"]


@pytest.mark.parametrize(
    "words",
    [
        ["suspend"],
        ["suspend", "acme"],
        ["quarantine", "acme", "--reason", "x"],
        ["reinstate", "acme", "--version", "w"],
    ],
)
def test_what_is_missing_is_said(store: str, words: list[str]) -> None:
    refused = cloche("tenant", *words, "--store", store)
    assert (refused.code, "cloche tenant" in refused.err or "--reason" in refused.err) == (2, True)
