"""The protocol of remote steps, as a worker in any language can be held against it: a real server, and the worker as a process.

The worker is a command that is given the URL of the server, and performs five steps: `echo` returns its input; `refuse` fails
with `PermissionError: not here`; `write` writes 0, 1 and 2 while it runs, and returns "written"; `wait` and `wait-once` return
"waited" when the file `input.until` is there, or when they are told to abort: then they make `input.until` + ".aborted". When
they begin they make `input.until` + ".begun". At SIGTERM it ends what it has begun, and then itself.
`CLOCHE_STEP_WORKER="command …"` names another one than the two that come with cloche.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.serving import Serving

SUPPORT = Path(__file__).parents[2] / "support"
FLOWS = str(SUPPORT / "remote_flows.py")
TARGETS = [f"{FLOWS}:{name}" for name in ("echo", "refuse", "write", "wait", "wait_once")]
PATIENCE_S = 60.0
Started = Callable[[str], "subprocess.Popen[bytes]"]


def _python() -> list[str]:
    return [sys.executable, str(SUPPORT / "step_worker.py")]


def _node() -> list[str]:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not on the path: the worker in JavaScript was not tried")
    return [found, str(SUPPORT / "step_worker.mjs")]


def _named() -> list[str]:
    return shlex.split(os.environ["CLOCHE_STEP_WORKER"])


WORKERS: dict[str, Callable[[], list[str]]] = {"python": _python, "node": _node}
if "CLOCHE_STEP_WORKER" in os.environ:
    WORKERS["named"] = _named


@pytest.fixture(params=WORKERS)
def command(request: pytest.FixtureRequest) -> list[str]:
    return WORKERS[request.param]()


@contextmanager
def working(command: list[str], url: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*command, url], env={**os.environ})
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def start(server: Serving, flow: str, value: Any, wait_s: int = 0) -> Any:
    headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
    return server.post(f"/v1/workflows/{flow}/runs", {"input": value, "run_id": "r1"}, **headers).json()


def until(ask: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ask():
        assert time.monotonic() < deadline, "this never came true"
        time.sleep(0.02)


def ended(server: Serving) -> Any:
    until(lambda: server.get("/v1/runs/r1").json()["status"] in ("success", "failed", "canceled"))
    return server.get("/v1/runs/r1/result").json()


def is_taken(server: Serving) -> bool:
    return "is performed by" in server.get("/v1/runs/r1/why").json()["sentence"]


def kinds(server: Serving) -> list[str]:
    return [one["kind"] for one in server.get("/v1/runs/r1/log").json()["records"]]


def test_it_performs_a_step_and_gives_its_output(command: list[str], tmp_path: Path) -> None:
    with Serving(*TARGETS, store=str(tmp_path / "s.db")) as server, working(command, server.url):
        value = {"text": "grüße", "numbers": [1, 2.5, None, True], "deep": {"a": {}}}
        assert start(server, "echo", value, wait_s=30)["result"] == value


def test_its_failures_are_failures_of_the_step(command: list[str], tmp_path: Path) -> None:
    with Serving(*TARGETS, store=str(tmp_path / "s.db")) as server, working(command, server.url):
        start(server, "refuse", None)
        error = ended(server)["error"]
        assert (error["name"], error["message"]) == ("PermissionError", "not here")
        assert kinds(server).count("attempt_sent") == 2  # it has one retry


def test_what_it_writes_meanwhile_is_recorded_in_order(command: list[str], tmp_path: Path) -> None:
    with Serving(*TARGETS, store=str(tmp_path / "s.db")) as server, working(command, server.url):
        start(server, "write", None)
        assert ended(server)["result"] == "written"
        assert kinds(server).count("step_wrote") == 3


def test_it_lives_longer_than_it_may_be_silent(command: list[str], tmp_path: Path) -> None:
    """Its heartbeats keep the attempt: nobody else is given it."""
    until_file = tmp_path / "go"
    with Serving(*TARGETS, store=str(tmp_path / "s.db")) as server, working(command, server.url):
        start(server, "wait", {"until": str(until_file)})
        until(lambda: is_taken(server))
        time.sleep(3.0)  # longer than `SILENCE_S`, however slow the machine is
        until_file.touch()
        assert ended(server)["result"] == "waited"
        assert kinds(server).count("attempt_sent") == 1


def test_it_hears_that_its_run_was_canceled(command: list[str], tmp_path: Path) -> None:
    until_file = tmp_path / "go"
    with Serving(*TARGETS, store=str(tmp_path / "s.db")) as server, working(command, server.url):
        start(server, "wait", {"until": str(until_file)})
        until(lambda: is_taken(server))
        server.post("/v1/runs/r1/cancel")
        until(Path(f"{until_file}.aborted").exists)
        assert ended(server)["status"] == "canceled"


def test_asked_to_end_it_ends_what_it_has_begun(command: list[str], tmp_path: Path) -> None:
    until_file = tmp_path / "go"
    with Serving(*TARGETS, store=str(tmp_path / "s.db")) as server, working(command, server.url) as worker:
        start(server, "wait", {"until": str(until_file)})
        until(Path(f"{until_file}.begun").exists)  # it is taken before it has come there
        worker.terminate()
        until_file.touch()
        assert worker.wait(PATIENCE_S) == 0
        assert ended(server)["result"] == "waited"


def test_when_it_is_killed_another_one_performs_the_step(command: list[str], tmp_path: Path) -> None:
    until_file = tmp_path / "go"
    with Serving(*TARGETS, store=str(tmp_path / "s.db")) as server:
        with working(command, server.url) as first:
            start(server, "wait", {"until": str(until_file)})
            until(lambda: is_taken(server))
            first.kill()
            until(lambda: kinds(server).count("attempt_sent") == 2)
        until_file.touch()
        with working(command, server.url):
            assert ended(server)["result"] == "waited"


def test_when_it_is_killed_in_what_is_at_most_once_nobody_repeats_it(command: list[str], tmp_path: Path) -> None:
    """It has said that it begins: that it did is known, and its end is not."""
    with Serving(*TARGETS, store=str(tmp_path / "s.db")) as server, working(command, server.url) as worker:
        start(server, "wait-once", {"until": str(tmp_path / "go")})
        until(lambda: is_taken(server))
        time.sleep(1.0)  # it says that it begins, and goes on
        worker.kill()
        assert ended(server)["error"]["name"] == "UnknownOutcome"


def test_it_goes_on_with_a_server_that_was_killed(command: list[str], tmp_path: Path) -> None:
    """The server is the worker that owns the run too: another process takes both up, and the end counts once."""
    until_file, store = tmp_path / "go", str(tmp_path / "s.db")
    with Serving(*TARGETS, store=store) as server, working(command, server.url):
        start(server, "wait", {"until": str(until_file)})
        until(lambda: is_taken(server))
        server.kill()
        until_file.touch()
        with Serving(*TARGETS, store=store, port=server.port) as again:
            assert ended(again)["result"] == "waited"
            assert kinds(again).count("step_completed") == 1
