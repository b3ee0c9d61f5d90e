"""What the pages of foreign engines show runs as it stands there, with the workflow of the examples."""

from __future__ import annotations

import ast
import asyncio
import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.foreign_servers import restate, served_on, temporal

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "engines").glob("*.md"))
PAID = "paid 50 EUR"


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def shown(block: str, **given: Any) -> dict[str, Any]:
    """The names that a block defines, and what its last line makes under `_`; it is given what it leaves to its reader."""
    tree = ast.parse(block)
    *_, last = tree.body
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], last.value)
    exec(compile(ast.fix_missing_locations(tree), "page", "exec"), given)
    return given


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "host" / "examples" / "engines"))
    return importlib.import_module("flow").workflow


def test_every_block_of_the_pages_is_run_here() -> None:
    found = {page.name: len(re.findall(r"^```\w+", page.read_text(), re.MULTILINE)) for page in PAGES}
    assert found == {"README.md": 0, "inngest.md": 1, "restate.md": 1, "temporal.md": 1}


def test_the_worker_of_a_page_runs_on_temporal(tmp_path: Path, order: Any) -> None:
    from temporalio.client import Client

    [block] = blocks("docs/engines/temporal.md")

    async def paid(address: str) -> Any:
        client = await Client.connect(address)
        async with shown(block, client=client, workflow=order)["_"]:
            run = await client.start_workflow("order", {"items": 2}, id="order-17", task_queue="orders")
            await run.signal("event", args=["paid", {"amount": 50}])
            return await run.result()

    with temporal(tmp_path) as server:
        assert asyncio.run(paid(server.address)) == PAID


def test_the_app_of_a_page_runs_on_restate(tmp_path: Path, order: Any) -> None:
    import httpx

    [block] = blocks("docs/engines/restate.md")

    async def paid(ingress: str, admin: str) -> Any:
        async with (
            served_on(shown(block, workflow=order)["app"]) as port,
            httpx.AsyncClient(base_url=ingress, timeout=30) as client,
        ):
            await client.post(f"{admin}/deployments", json={"uri": f"http://127.0.0.1:{port}"})
            running = asyncio.create_task(client.post("/order/order-17/run", json={"input": {"items": 2}}))
            await client.post("/order/order-17/event", json={"name": "paid", "payload": {"amount": 50}})
            return (await running).json()

    with restate(tmp_path) as server:
        assert asyncio.run(paid(server.ingress, server.admin)) == PAID


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_functions_of_a_page_run_on_inngest(order: Any) -> None:
    import fastapi
    import inngest
    from support.inngest_executor import Executor

    [block] = blocks("docs/engines/inngest.md")
    app = fastapi.FastAPI()
    shown(block, app=app, client=inngest.Inngest(app_id="orders", is_production=False), workflow=order)

    async def paid() -> Any:
        executor = Executor(app, "orders", {"order": 3})
        run = executor.start("order", {"input": {"items": 2}, "run_id": "order-17"})
        await executor.until(run, is_waiting=True)
        executor.send("cloche/message", {"run": "order-17", "to": "event/paid", "payload": {"amount": 50}})
        await executor.until(run)
        return run.output

    assert asyncio.run(paid()) == PAID


def test_the_extras_of_the_pages_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for page in [*PAGES, ROOT / "README.md"] for name in re.findall(r"cloche\[(\w+)\]", page.read_text())}
    assert {"inngest", "restate", "temporal"} <= named <= set(extras)
