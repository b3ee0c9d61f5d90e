"""Stores for the command line: a fresh one, and one with a finished run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import MATH, cloche


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


@pytest.fixture
def one_run(store: str) -> str:
    """The store, with run r1 of math in it."""
    ran = cloche("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", "r1")
    assert (ran.code, ran.out) == (0, '{"x": 20}\n')
    return store
