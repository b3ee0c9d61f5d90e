"""Webhooks of TypeScript workflows: on a real server, from the URL that a step was told to the request that the workflow reads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import cloche
from support.serving import Serving

PROGRAM = Path(__file__).parent / "programs" / "webhook.ts"
PATIENCE_S = 120.0
STEPS = """from pathlib import Path

def tell(order, url):
    Path(__file__).with_name(order).write_text(url)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "webhook.ts").write_text(PROGRAM.read_text())
    (tmp_path / "steps.py").write_text(STEPS)
    return tmp_path


def told(project: Path, order: str) -> str:
    """The place of the webhook, once the step has been told."""
    end = time.monotonic() + PATIENCE_S
    while not (file := project / order).exists() or not file.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    return file.read_text()


def ended(server: Serving, run_id: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE_S
    while (found := server.get(f"/v1/runs/{run_id}").json())["status"] not in ("success", "failed"):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return dict(server.get(f"/v1/runs/{run_id}/result").json())


def test_what_is_posted_to_the_url_of_a_webhook_is_the_request_that_the_workflow_reads(project: Path) -> None:
    store = str(project / "runs.db")
    with Serving(f"{project}/webhook.ts", store=store, options=["--steps", str(project / "steps.py")]) as server:
        for order in ("o-1", "o-2"):
            started = server.post("/v1/workflows/webhook/runs", {"input": [order], "run_id": order})
            assert started.status_code == 201, started.text
        places = {order: told(project, order) for order in ("o-1", "o-2")}
        assert len(set(places.values())) == 2  # each has its own

        assert server.post(places["o-1"][:-1] + "?", {"paid": True}).status_code == 404
        assert server.post(places["o-1"], {"paid": True}).status_code == 202
        assert ended(server, "o-1")["result"] == {"method": "POST", "paid": True}
        assert server.get("/v1/runs/o-2").json()["status"] == "waiting"

        assert server.post(places["o-2"], {"paid": False}).status_code == 202
        assert ended(server, "o-2")["result"] == {"method": "POST", "paid": False}
        assert server.post(places["o-2"], {"paid": True}).status_code == 404  # it waits for nothing any more
    for order in ("o-1", "o-2"):
        assert cloche("replay", order, "--store", store).code == 0
