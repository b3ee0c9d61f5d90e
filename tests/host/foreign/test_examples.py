"""The examples for foreign engines: one file with a workflow, on four engines."""

from __future__ import annotations

import ast
import asyncio
import importlib
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from support.foreign_servers import Server, restate, temporal

from benchmarks.engine_servers import free_port, wait_for_port

EXAMPLES = Path(__file__).parents[3] / "host" / "examples" / "engines"
PAID = "paid 50 EUR"


AT_THE_END = (
    "Python runtime state: finalizing"  # where Temporal's SDK may abort a process that is through with its work
)


def printed(name: str, **environment: str) -> str:
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=60, check=False
    )
    assert done.returncode == 0 or ("temporal" in name and AT_THE_END in done.stderr), done.stderr
    return done.stdout


def test_every_example_has_its_test() -> None:
    names = {file.name for file in EXAMPLES.glob("*.py")}
    assert names == {"flow.py", "on_cloche.py", "on_inngest.py", "on_restate.py", "on_temporal.py"}


def test_on_cloche() -> None:
    assert printed("on_cloche.py") == PAID + "\n"


def test_on_temporal(tmp_path: Path) -> None:
    pytest.importorskip("temporalio", reason="temporalio is not installed: make engines")
    with temporal(tmp_path) as server:
        assert printed("on_temporal.py", TEMPORAL_ADDRESS=server.address) == PAID + "\n"


def commands_of(name: str, **places: str) -> list[list[str]]:
    """The `curl` commands in an example's docstring, for other ports than theirs."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text())) or ""
    for place, other in places.items():
        text = text.replace(f"127.0.0.1:{place[1:]}", other.removeprefix("http://"))
    return [
        ["curl", "-sS", *shlex.split(line.rstrip(" &"))[1:]] for line in text.splitlines() if line.startswith("curl ")
    ]


def test_on_restate(tmp_path: Path) -> None:
    """Its commands are run as they stand there: the deployment, the run in the background, the event."""
    pytest.importorskip("restate", reason="restate-sdk is not installed: make engines")
    with restate(tmp_path) as server:
        port = free_port()
        command = [sys.executable, str(EXAMPLES / "on_restate.py")]
        service = Server(command, tmp_path / "service.log", {"PORT": str(port)})
        service.start()
        places = {"_9070": server.admin, "_8080": server.ingress, "_9080": f"127.0.0.1:{port}"}
        deploys, starts, pays = commands_of("on_restate.py", **places)
        try:
            wait_for_port(port)
            subprocess.run(deploys, check=True, timeout=30, stdout=subprocess.DEVNULL)
            with subprocess.Popen(starts, stdout=subprocess.PIPE, text=True) as running:
                subprocess.run(pays, check=True, timeout=30)
                assert running.communicate(timeout=30)[0] == f'"{PAID}"'
        finally:
            service.kill()


def test_the_server_of_the_inngest_example(tmp_path: Path) -> None:
    """`hypercorn on_inngest:app` serves the functions."""
    import httpx

    [served] = re.findall(r"`(hypercorn on_inngest:app)`", (EXAMPLES / "on_inngest.py").read_text())
    port = free_port()
    command = [sys.executable, "-m", *served.split(), "--bind", f"127.0.0.1:{port}"]
    server = Server(command, tmp_path / "inngest.log", {"PYTHONPATH": str(EXAMPLES), "INNGEST_DEV": "1"})
    server.start()
    try:
        wait_for_port(port)
        assert httpx.get(f"http://127.0.0.1:{port}/api/inngest").json()["function_count"] == 1
    finally:
        server.stop()


def test_on_inngest(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("inngest.fast_api", reason="inngest is not installed: make engines")
    from support.inngest_executor import Executor

    monkeypatch.syspath_prepend(str(EXAMPLES))
    executor = Executor(importlib.import_module("on_inngest").app, "orders", {"order": 3})

    async def paid() -> tuple[str, Any]:
        run = executor.start("order", {"input": {"items": 2}, "run_id": "order-17"})
        await executor.until(run, is_waiting=True)
        executor.send("cloche/message", {"run": "order-17", "to": "event/paid", "payload": {"amount": 50}})
        await executor.until(run)
        return run.status, run.output

    assert asyncio.run(paid()) == ("Completed", PAID)
