"""No silence: what takes long, or finds nothing, says so on standard error, and standard output stays what programs read."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import FLOWS, MATH, cloche

from cloche import Client, RunStatus


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


@pytest.mark.parametrize(
    "command", ["runs", "usage", "audit", "verify", "prune", "tenant list", "token list", "check " + MATH]
)
def test_a_store_that_is_not_there_is_an_error(command: str, store: str) -> None:
    ran = cloche(*command.split(), "--store", store)
    assert (ran.code, ran.out) == (5, "")
    assert f"there is no store at {store}" in ran.err
    assert not Path(store).exists()


EMPTY = {
    "runs": "there are no runs of tenant default",
    "usage": "nobody has used anything",
    "audit": "nothing was done yet",
    "tenant list": "nothing is held back",
    "token list": "the store has no tokens",
    f"check {MATH}": "no open runs",
    f"upgrade {MATH} --all": "nothing to move",
    f"worker {MATH} --once": "nothing to do",
}


@pytest.mark.parametrize("command", EMPTY)
def test_empty_lists_say_that_they_are_empty(command: str, store: str) -> None:
    asyncio.run(_made(store))
    ran = cloche(*command.split(), "--store", store)
    assert (ran.code, ran.out.strip() if command != f"check {MATH}" else "") == (0, "")
    assert EMPTY[command] in ran.err


async def _made(store: str) -> None:
    async with Client(store):
        pass


def test_unknown_statuses_are_refused_with_those_there_are(one_run: str) -> None:
    ran = cloche("runs", "--status", "done", "--store", one_run)
    assert ran.code == 2
    assert all(f"'{status}'" in ran.err for status in RunStatus)


COLD = """
import asyncio, logging, sys
from cloche import Cloche
sys.path.insert(0, FOLDER)
from flows import math

compiled = []

class Seen(logging.Handler):
    def emit(self, record):
        if "is compiled" in record.getMessage():
            compiled.append(int(record.created * 1000))

logging.getLogger("cloche.sandbox").setLevel(logging.INFO)
logging.getLogger("cloche.sandbox").addHandler(Seen())

async def main():
    async with Cloche("memory:", workflows=[math]) as app:
        run = await app.start(math, {"x": 5})
        await run.result()
        [moment] = compiled
        print(all(record.time >= moment for record in await run.history()))

asyncio.run(main())
"""


def test_what_compiling_takes_is_no_time_of_a_run(tmp_path: Path) -> None:
    program = COLD.replace("FOLDER", repr(str(Path(FLOWS).parent)))
    environment = {**os.environ, "CLOCHE_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env=environment)
    assert ran.stdout == "True\n", ran.stderr


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
