"""Runs that stand in every way, on a server of their own, for the tests of the dashboard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.serving import PATIENCE_S, Serving

FLOWS = str(Path(__file__).with_name("dashboard_flows.py"))
WORKFLOWS = ("fulfil", "stock_sync", "payment", "dunning", "month_report", "greet", "hostile", "refusing")
LINES = ("monitor arm", "desk lamp", "usb hub", "headset stand")


def targets() -> list[str]:
    return [f"{FLOWS}:{name}" for name in WORKFLOWS]


def order(number: int) -> dict[str, Any]:
    return {"order": f"A-{number}", "customer": "Chidi Okafor", "lines": list(LINES[: 1 + number % 4]), "country": "PL"}


def start(server: Serving, workflow: str, id: str, input: Any, **more: Any) -> None:
    headers = more.pop("headers", {})
    body = {"input": input, "run_id": id, **more}
    answer = server.post(f"/v1/workflows/{workflow}/runs", body, **headers)
    assert answer.status_code == 201, answer.text


def begin_all(server: Serving) -> None:
    """Five that ask, six that have ended well, four that failed, one at work, five that wait."""
    for number in range(1015, 1026):
        start(server, "fulfil", f"A-{number}", order(number), tags={"customer": "acme" if number % 2 else "globex"})
    for day in (25, 26, 28):
        start(server, "stock-sync", f"sync-2026-11-{day}", {"file": "stock.csv"})
    start(server, "stock-sync", "sync-2026-11-27", {"file": "stock.csv", "bad": True})
    for number in range(3):
        start(server, "refusing", f"ref-{number}", "the carrier said no")
    for number in (310, 311):
        start(server, "payment", f"pay-{number}", {"n": number})
    for number in (71, 72, 73):
        start(server, "dunning", f"dun-{number}", {"n": number})
    start(server, "month-report", "rep-2026-10", {})
    until(lambda: counts(server).get("suspended") == 11)
    for number in range(1017, 1023):
        answer = server.post(f"/v1/runs/A-{number}/resume", {"data": {"approved": True}})
        assert answer.status_code in (200, 202), answer.text
    until(lambda: counts(server) == {"suspended": 5, "failed": 4, "running": 1, "waiting": 5, "success": 9})


def counts(server: Serving, **headers: str) -> dict[str, int]:
    statuses = server.get("/v1/summary", **headers).json()["statuses"]
    return {status: one["count"] for status, one in statuses.items()}


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
