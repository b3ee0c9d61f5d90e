"""Where an optional part is not installed, whoever asks for what needs it is told which one to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CLI = "from cloche.cli import main; main({})"
ASKED = {
    "fastapi": ("server", "import cloche.http"),
    "uvicorn": ("server", CLI.format(["serve", "--port", "0"])),
    "watchfiles": ("server", CLI.format(["dev", "--port", "0"])),
    "asyncpg": ("postgres", CLI.format(["runs", "--store", "postgresql://127.0.0.1:1/none"])),
    "httpx": ("remote", CLI.format(["runs", "--store", "http://127.0.0.1:1"])),
    "cryptography": ("sign", CLI.format(["sign", "--new-key", "key.pem"])),
}


@pytest.mark.parametrize("module", ASKED)
def test_a_part_that_is_missing_is_named(module: str, tmp_path: Path) -> None:
    extra, code = ASKED[module]
    without = f"import sys; sys.modules[{module!r}] = None\n{code}"
    ran = subprocess.run([sys.executable, "-c", without], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode != 0
    assert f"pip install 'cloche[{extra}]'" in ran.stderr
    assert "fault in cloche" not in ran.stderr
    assert list(tmp_path.iterdir()) == []  # nothing was begun
