"""What `docs/operations/http.md` says is done, as it says it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.serving import PATIENCE_S, Serving

from benchmarks.engine_servers import free_port

PAGE = (Path(__file__).parents[3] / "docs/operations/http.md").read_text()
BLOCKS = {
    block.splitlines()[0].removeprefix("# "): block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, block in BLOCKS.items():
        (tmp_path / name).write_text(block)
    return tmp_path


def _commands(program: str) -> list[str]:
    return re.findall(rf"^\$ ({program} .*)$", PAGE, re.MULTILINE)


def test_the_first_server_answers_the_requests_of_the_page(folder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    with Serving(str(folder / "orders.py:workflow"), store=str(folder / "orders.db")) as server:
        answers = []
        for line in _commands("curl"):
            command = shlex.split(line.replace("http://127.0.0.1:4700", server.url))
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
            answers.append(done.stdout)
        started, run, log, stream = answers
        assert json.loads(started)["result"] == 42
        assert json.loads(run)["status"] == "success"
        assert json.loads(log)["records"][0]["kind"] == "run_created"
        assert stream.rstrip().endswith('data: {"status": "success"}')
        follow = folder / "follow.py"
        follow.write_text(follow.read_text().replace("http://127.0.0.1:4700", server.url))
        done = subprocess.run([sys.executable, str(follow)], capture_output=True, text=True, timeout=PATIENCE_S)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "8"), done.stderr
        listed = _cloche(folder, "runs", "--store", server.url)
        assert "order-17" in listed


def test_the_tokens_of_the_page_are_made(folder: Path) -> None:
    made, listed = [_cloche(folder, *shlex.split(line)[1:]) for line in _commands("cloche token")]
    assert made.startswith("clk_")
    assert "operator" in listed


def _cloche(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "cloche.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_mounted_app_of_the_page_knows_its_users(folder: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "mounted:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=folder)
    try:
        transport = httpx.HTTPTransport(retries=12)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/cloche", transport=transport, timeout=PATIENCE_S) as ask:
            body = {"input": 21, "run_id": "r1"}
            headers = {"X-User": "ann", "Prefer": "wait=20"}
            assert ask.post("/v1/workflows/orders/runs", json=body, headers=headers).json()["result"] == 42
            assert ask.get("/v1/runs/r1").status_code == 401
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) is not None
