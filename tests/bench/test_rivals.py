"""The driver of `benchmarks/rivals`: what is not there is skipped and says why; what a script says is passed on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.rivals import running
from benchmarks.rivals.catalogue import RIVALS, Rival


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is installed, and scratch directories are made here."""
    monkeypatch.setattr(running, "HOMES", tmp_path / "homes")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "homes"


@pytest.mark.parametrize("name", [name for name in RIVALS if name != "cloche"])
def test_a_rival_that_is_not_installed_is_skipped_and_says_how_to_install_it(name: str) -> None:
    assert running.absent(RIVALS[name]) == f"it is not installed: python -m benchmarks.rivals --install {name}"


def test_every_rival_has_its_script_and_pinned_versions() -> None:
    for rival in RIVALS.values():
        assert (running.HERE / "scripts" / rival.script).exists()
        assert all("==" in one for one in rival.python)
        assert all("@" in one[1:] for one in rival.node)


def test_a_package_that_is_not_what_is_pinned_is_refused(homes: Path) -> None:
    rival = RIVALS["vercel5"]
    lock = homes / "vercel5" / "node_modules" / ".package-lock.json"
    lock.parent.mkdir(parents=True)
    names = [f"node_modules/{one.rpartition('@')[0]}" for one in rival.node]
    packages = {name: {"integrity": pinned} for name, pinned in zip(names, rival.integrity, strict=True)}
    lock.write_text(json.dumps({"packages": packages}))
    running.check_integrity(rival)

    packages["node_modules/@workflow/core"]["integrity"] = "sha512-other"
    lock.write_text(json.dumps({"packages": packages}))
    with pytest.raises(
        ValueError, match=r"vercel5: @workflow/core@5\.0\.0-beta\.55 is not what is pinned: sha512-other"
    ):
        running.check_integrity(rival)


def test_what_a_script_prints_is_read_as_it_prints_it() -> None:
    cloche = RIVALS["cloche"]
    rows = list(running.measure(cloche, 10))
    assert [(row["what"], row["size"]) for row in rows] == [
        ("replay", 10), ("replay", 10), ("parallel replay", 10), ("durable step", 10),
    ]  # fmt: skip
    assert all(row["us_per_step"] > 0 for row in rows)


def test_a_script_that_fails_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "broken.py").write_text(
        "print('{\"what\": \"replay\"}')\nraise SystemExit('no such service')\n"
    )
    monkeypatch.setattr(running, "HERE", tmp_path)
    rows = list(running.measure(Rival("broken", "broken.py", "none"), 10))
    assert rows[0] == {"what": "replay"}
    assert rows[1]["failed"].endswith("no such service")
