"""No silence: what takes long, or finds nothing, says so on standard error, and standard output stays what programs read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import MATH, cloche


def _in_fresh_cache(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "cloche.cli", *arguments]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=300, env={**os.environ, "CLOCHE_CACHE": str(cache)}
    )


def test_warm_compiles_what_is_not_compiled_and_says_so(tmp_path: Path) -> None:
    first = _in_fresh_cache(tmp_path / "cache", "warm")
    assert first.returncode == 0
    assert "compiling the javascript guest" in first.stderr
    assert "javascript guest: compiled in" in first.stdout
    second = _in_fresh_cache(tmp_path / "cache", "warm")
    assert "javascript guest: compiled already" in second.stdout
    assert second.stderr == ""


def test_a_run_says_that_it_compiles(tmp_path: Path, store: str) -> None:
    ran = _in_fresh_cache(tmp_path / "cache", "run", MATH, "--input", '{"x": 5}', "--store", store)
    assert (ran.returncode, ran.stdout) == (0, '{"x": 20}\n')
    assert "compiling guest" in ran.stderr


def test_warm_fails_where_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands where the cache would be")
    ran = _in_fresh_cache(tmp_path / "cache", "warm")
    assert ran.returncode == 2
    assert "cannot be kept" in ran.stderr
    assert "CLOCHE_CACHE" in ran.stderr


def test_empty_lists_say_that_they_are_empty(store: str) -> None:
    ran = cloche("runs", "--store", store)
    assert (ran.code, ran.out) == (0, "")
    assert "no store" in ran.err


def test_a_list_without_matches_says_so(one_run: str) -> None:
    ran = cloche("runs", "--status", "failed", "--store", one_run)
    assert (ran.code, ran.out) == (0, "")
    assert "there are no such runs of tenant default" in ran.err
    assert "no open runs" in cloche("check", MATH, "--store", one_run).err
    assert "--older-than" in cloche("prune", "--store", one_run).err


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_worker_says_what_it_waits_for(one_run: str, end: signal.Signals) -> None:
    line = [sys.executable, "-m", "cloche.cli", "worker", MATH, "--store", one_run]
    worker = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert worker.stderr is not None
    try:
        said = next(text for text in worker.stderr if text.startswith("idle: "))
        assert "waiting for starts, events and resumes" in said
    finally:
        worker.send_signal(end)
        worker.communicate(timeout=60)
