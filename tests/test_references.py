"""Code and documents refer to nothing that is not in this repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
# Texts that stand outside, as they would be cited: by name in capitals, or as a file.
OUTSIDE = re.compile(r"\b(?:DESIGN|STYLE|HOUSE|API)(?:\.md\b|,? (?:section|chapter|point|§))")
KINDS = {".py", ".pyi", ".md", ".c", ".h", ".js", ".toml", ".sql", ".txt", ".sh", ".json", ".yml", ""}


def references(text: str) -> list[str]:
    return [found[0] for found in OUTSIDE.finditer(text)]


def test_nothing_outside_is_referred_to() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    files = [REPOSITORY / name for name in listed.splitlines() if Path(name).suffix in KINDS]
    found = {
        str(file.relative_to(REPOSITORY)): seen
        for file in files
        if file.is_file() and file != Path(__file__) and (seen := references(file.read_text("utf-8", "replace")))
    }
    assert found == {}
    assert REPOSITORY / "ARCHITECTURE.md" in files


def test_a_reference_is_seen_in_any_form() -> None:
    assert references("see DESIGN section 5, STYLE.md and HOUSE §3") == ["DESIGN section", "STYLE.md", "HOUSE §"]
    assert references("the API of the host, guest/ABI.md section 2, a house") == []
