"""Starts over HTTP, of a server that is killed: what was answered is there, and what is asked again is the same run."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import httpx
import pytest
import support.counting
from support.serving import Serving

RUNS, KILLS, ITEMS = 16, 4, 20  # a run takes longer than its start: a killed server has begun what it has not answered


@pytest.mark.parametrize("seed", range(2))
def test_a_start_is_one_run_whenever_the_server_is_killed(tmp_path: Path, seed: int) -> None:
    """`kill -9` in the midst of starts, each under a key of its client's, who asks again until there is an answer."""
    chance = random.Random(seed)
    store, target = str(tmp_path / "runs.db"), f"{Path(support.counting.__file__)}:counting"
    ids: dict[int, str] = {}  # by number, of those that were answered
    port = 0
    for _ in range(KILLS):
        with Serving(target, store=store, port=port) as server:
            port = server.port
            _start_until_killed(server, ids, chance.randrange(1, RUNS // KILLS))
    with Serving(target, store=store, port=port) as server:
        _start_all(server, ids, threading.Event(), RUNS)
        listed = server.get("/v1/runs?limit=1000").json()["runs"]
    assert sorted(ids) == list(range(RUNS))
    assert sorted(one["id"] for one in listed) == sorted(ids.values())
    assert {one["status"] for one in listed} == {"success"}


def _start_until_killed(server: Serving, ids: dict[int, str], most: int) -> None:
    """Kill it when so many more were answered and the next one has begun: its client does not know of it."""
    enough = threading.Event()
    asking = threading.Thread(target=_start_all, args=(server, ids, enough, len(ids) + most))
    asking.start()
    assert enough.wait(60)
    while not server.get("/v1/runs?status=running").json()["runs"]:
        assert asking.is_alive()
    server.kill()
    asking.join(60)
    assert not asking.is_alive()


def _start_all(server: Serving, ids: dict[int, str], enough: threading.Event, most: int) -> None:
    """Those that have no answer yet, one after another, until the server is gone."""
    for number in range(RUNS):
        if number in ids:
            continue
        try:
            headers = {"Idempotency-Key": f"k{number}", "Prefer": "wait=30"}
            answer = server.post("/v1/workflows/counting/runs", {"input": [number] * ITEMS}, **headers)
        except httpx.TransportError:
            return
        assert answer.status_code in (200, 201), answer.text
        assert answer.json()["result"] == [number] * ITEMS
        ids[number] = answer.json()["run_id"]
        if len(ids) >= most:
            enough.set()
