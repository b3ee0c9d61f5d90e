"""The examples for foreign engines: one file with a workflow, on four engines."""

from __future__ import annotations

import asyncio
import importlib
import os
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


def printed(name: str, **environment: str) -> str:
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
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


def test_on_restate(tmp_path: Path) -> None:
    pytest.importorskip("restate", reason="restate-sdk is not installed: make engines")
    import httpx

    async def paid(ingress: str, admin: str, port: int) -> Any:
        async with httpx.AsyncClient(base_url=ingress, timeout=30) as client:
            deployed = await client.post(f"{admin}/deployments", json={"uri": f"http://127.0.0.1:{port}"})
            assert deployed.status_code == 201, deployed.text
            running = asyncio.create_task(client.post("/order/order-17/run", json={"input": {"items": 2}}))
            await client.post("/order/order-17/event", json={"name": "paid", "payload": {"amount": 50}})
            return (await running).json()

    with restate(tmp_path) as server:
        port = free_port()
        command = [sys.executable, str(EXAMPLES / "on_restate.py")]
        service = Server(command, tmp_path / "service.log", {"PORT": str(port)})
        service.start()
        try:
            wait_for_port(port)
            assert asyncio.run(paid(server.ingress, server.admin, port)) == PAID
        finally:
            service.kill()


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
