"""The protocol of remote steps, as a worker in any language can be held against it: a real server, and the worker as a process.

The worker is a command that is given the URL of the server, and performs five steps: `echo` returns its input; `refuse` fails
with `PermissionError: not here`; `write` writes 0, 1 and 2 while it runs, and returns "written"; `wait` and `wait-once` return
"waited" when the file `input.until` is there, or when they are told to abort: then they make `input.until` + ".aborted". When
they begin they make `input.until` + ".begun". At SIGTERM it ends what it has begun, and then itself. It polls; or where there
is `CLOCHE_PUSH_PORT` it takes pushes on that port of this machine, signed with `CLOCHE_PUSH_SECRET`.
`CLOCHE_STEP_WORKER="command …"` names another one than those that come with cloche.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.commands import cloche
from support.serving import Serving

from cloche.steps.node import WORKER

SUPPORT = Path(__file__).parents[2] / "support"
FLOWS = str(SUPPORT / "remote_flows.py")
STEPS = ("echo", "refuse", "write", "wait", "wait-once")
TARGETS = [f"{FLOWS}:{step.replace('-', '_')}" for step in STEPS]
PATIENCE_S = 60.0


def _python() -> list[str]:
    return [sys.executable, str(SUPPORT / "step_worker.py")]


def _node() -> list[str]:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not on the path: the worker in JavaScript was not tried")
    return [found, str(SUPPORT / "step_worker.mjs")]


def _node_file() -> list[str]:
    """The worker that performs the functions of a file, as it also does beside a worker of cloche's."""
    return [_node()[0], str(WORKER), str(SUPPORT / "protocol_steps.mjs")]


def _named() -> list[str]:
    return shlex.split(os.environ["CLOCHE_STEP_WORKER"])


WORKERS: dict[str, Callable[[], list[str]]] = {"python": _python, "node": _node, "node's file": _node_file}
if "CLOCHE_STEP_WORKER" in os.environ:
    WORKERS["named"] = _named


@dataclass(frozen=True)
class Worker:
    """A command, and whether it polls, or is pushed to on `port` with `secret`."""

    command: list[str]
    port: int | None = None
    secret: str = ""


@pytest.fixture(params=[(name, way) for name in WORKERS for way in ("polls", "is pushed to")], ids=" ".join)
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Worker:
    name, way = request.param
    command = WORKERS[name]()
    if way == "polls":
        return Worker(command)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    steps = [part for step in STEPS for part in ("--steps", step)]
    url, store = f"http://127.0.0.1:{port}/steps", str(tmp_path / "s.db")
    secret = cloche("webhook", "put", "performer", "--to", url, *steps, "--store", store).out.strip()
    return Worker(command, port, secret)


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[Serving]:
    with Serving(*TARGETS, store=str(folder / "s.db"), port=port, options=["--webhooks-to-loopback"]) as server:
        yield server


@contextmanager
def working(worker: Worker, url: str) -> Iterator[subprocess.Popen[bytes]]:
    more = {"CLOCHE_PUSH_PORT": str(worker.port), "CLOCHE_PUSH_SECRET": worker.secret} if worker.port else {}
    process = subprocess.Popen([*worker.command, url], env={**os.environ, **more})
    try:
        if worker.port:
            until(lambda: _listens(worker.port))
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def _listens(port: int | None) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port or 0), 1).close()
    except OSError:
        return False
    return True


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


def is_pushed_again(server: Serving) -> bool:
    """Whoever pushes has seen that the connection broke: it is the same attempt still."""
    return "is pushed to its receiver again" in server.get("/v1/runs/r1/why").json()["sentence"]


def kinds(server: Serving) -> list[str]:
    return [one["kind"] for one in server.get("/v1/runs/r1/log").json()["records"]]


def test_it_performs_a_step_and_gives_its_output(worker: Worker, tmp_path: Path) -> None:
    with serving(tmp_path) as server, working(worker, server.url):
        value = {"text": "grüße", "numbers": [1, 2.5, None, True], "deep": {"a": {}}}
        assert start(server, "echo", value, wait_s=30)["result"] == value


def test_its_failures_are_failures_of_the_step(worker: Worker, tmp_path: Path) -> None:
    with serving(tmp_path) as server, working(worker, server.url):
        start(server, "refuse", None)
        error = ended(server)["error"]
        assert (error["name"], error["message"]) == ("PermissionError", "not here")
        assert kinds(server).count("attempt_sent") == 2  # it has one retry


def test_what_it_writes_meanwhile_is_recorded_in_order(worker: Worker, tmp_path: Path) -> None:
    with serving(tmp_path) as server, working(worker, server.url):
        start(server, "write", None)
        assert ended(server)["result"] == "written"
        assert kinds(server).count("step_wrote") == 3


def test_it_lives_longer_than_it_may_be_silent(worker: Worker, tmp_path: Path) -> None:
    """Its heartbeats keep the attempt: nobody else is given it."""
    until_file = tmp_path / "go"
    with serving(tmp_path) as server, working(worker, server.url):
        start(server, "wait", {"until": str(until_file)})
        until(lambda: is_taken(server))
        time.sleep(3.0)  # longer than `SILENCE_S`, however slow the machine is
        until_file.touch()
        assert ended(server)["result"] == "waited"
        assert kinds(server).count("attempt_sent") == 1


def test_it_hears_that_its_run_was_canceled(worker: Worker, tmp_path: Path) -> None:
    until_file = tmp_path / "go"
    with serving(tmp_path) as server, working(worker, server.url):
        start(server, "wait", {"until": str(until_file)})
        until(lambda: is_taken(server))
        server.post("/v1/runs/r1/cancel")
        until(Path(f"{until_file}.aborted").exists)
        assert ended(server)["status"] == "canceled"


def test_asked_to_end_it_ends_what_it_has_begun(worker: Worker, tmp_path: Path) -> None:
    until_file = tmp_path / "go"
    with serving(tmp_path) as server, working(worker, server.url) as process:
        start(server, "wait", {"until": str(until_file)})
        until(Path(f"{until_file}.begun").exists)  # it is taken before it has come there
        process.terminate()
        until_file.touch()
        assert process.wait(PATIENCE_S) == 0
        assert ended(server)["result"] == "waited"


def test_when_it_is_killed_another_one_performs_the_step(worker: Worker, tmp_path: Path) -> None:
    until_file = tmp_path / "go"
    with serving(tmp_path) as server:
        with working(worker, server.url) as first:
            start(server, "wait", {"until": str(until_file)})
            until(lambda: is_taken(server))
            first.kill()
            until(lambda: kinds(server).count("attempt_sent") == 2 or is_pushed_again(server))
        until_file.touch()
        with working(worker, server.url):
            assert ended(server)["result"] == "waited"


def test_when_it_is_killed_in_what_is_at_most_once_nobody_repeats_it(worker: Worker, tmp_path: Path) -> None:
    """It has said that it begins: that it did is known, and its end is not."""
    with serving(tmp_path) as server, working(worker, server.url) as process:
        start(server, "wait-once", {"until": str(tmp_path / "go")})
        until(lambda: is_taken(server))
        time.sleep(1.0)  # it says that it begins, and goes on
        process.kill()
        assert ended(server)["error"]["name"] == "UnknownOutcome"


def test_it_goes_on_with_a_server_that_was_killed(worker: Worker, tmp_path: Path) -> None:
    """The server is the worker that owns the run too: another process takes both up, and the end counts once."""
    until_file = tmp_path / "go"
    with serving(tmp_path) as server, working(worker, server.url):
        start(server, "wait", {"until": str(until_file)})
        until(lambda: is_taken(server))
        server.kill()
        until_file.touch()
        with serving(tmp_path, server.port) as again:
            assert ended(again)["result"] == "waited"
            assert kinds(again).count("step_completed") == 1
