"""Restate: its server (one node, its defaults) and its Python SDK, on loopback.

Replay: the service's process dies behind the last step, the server sends the journal to the next one; the walk over it is timed
in the handler. The retry interval is 50 ms (500 by default), which is outside of what is timed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import aiohttp
from rows import row, sizes

HOME, DATA = Path(os.environ["RIVAL_HOME"]), Path(os.environ["RIVAL_DATA"])
SERVER = HOME / "node_modules/@restatedev/restate-server-linux-x64/bin/restate-server"
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((LOOPBACK, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def serve(port: int) -> subprocess.Popen:
    child = subprocess.Popen([sys.executable, str(Path(__file__).with_name("restate_service.py")), str(port)])
    wait_for(port)
    return child


def start_server(ingress: int, admin: int) -> subprocess.Popen:
    settings = {
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
        "RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL": "50ms",
    }
    places = ["--base-dir", str(DATA / "restate"), "--bind-ip", LOOPBACK, "--bind-port", str(free_port())]
    network = ["--listen-mode", "tcp", "--advertised-host", LOOPBACK, "--no-logo"]
    return subprocess.Popen([str(SERVER), *places, *network], env={**os.environ, **settings}, stdout=subprocess.DEVNULL)


class Bench:
    """Calls of the service, through the server."""

    def __init__(self, http: aiohttp.ClientSession, ingress: int, admin: int) -> None:
        self._http = http
        self._url, self._admin = f"http://{LOOPBACK}:{ingress}/Bench", f"http://{LOOPBACK}:{admin}/deployments"

    async def register(self, port: int) -> None:
        for _ in range(200):
            try:
                async with self._http.post(self._admin, json={"uri": f"http://{LOOPBACK}:{port}"}) as answer:
                    if answer.status in (200, 201):
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.25)
        raise SystemExit("the server did not take the service")

    async def call(self, handler: str, argument: object):
        async with self._http.post(f"{self._url}/{handler}", json=argument) as answer:
            body = await answer.json(content_type=None)
            if answer.status != 200:
                raise RuntimeError(f"{answer.status} {body}")
            return body


async def durable(bench: Bench) -> None:
    for _ in range(20):
        try:
            await bench.call("sequential", 3)
            break
        except RuntimeError:  # it has just been registered
            await asyncio.sleep(0.5)
    for count in sizes(10, 100, 1_000):
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            assert await bench.call("sequential", count) == count
            times.append(time.perf_counter() - begin)
        row("durable step", "RocksDB, fsync", count, times)


async def replays(bench: Bench, service: subprocess.Popen, port: int) -> subprocess.Popen:
    for count in sizes(10, 100, 1_000):
        times = []
        for _ in range(3):
            flag = DATA / uuid.uuid4().hex
            flag.touch()
            answer = asyncio.create_task(bench.call("dying", [count, str(flag)]))
            while service.poll() is None:
                await asyncio.sleep(0.01)
            service = await asyncio.to_thread(serve, port)
            said = await answer
            assert (said["result"], said["executed"]) == (count, 0), said
            times.append(said["walk"])
        row("replay", "journal from the server, in handler", count, times)
    return service


async def main() -> None:
    ingress, admin, port = free_port(), free_port(), free_port()
    server, service = start_server(ingress, admin), serve(port)
    try:
        limits = aiohttp.ClientTimeout(170)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limits) as http:
            bench = Bench(http, ingress, admin)
            await bench.register(port)
            await durable(bench)
            service = await replays(bench, service, port)
    finally:
        for child in (service, server):
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


asyncio.run(main())
