"""What HTTP adds: a run that is read, beside the framework's own hello-world; a start, beside one in the process."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.engine_servers import NotInstalled
from benchmarks.figures import Figure, Scale

HELLO = """
import sys, uvicorn
from fastapi import FastAPI

app = FastAPI()

@app.get("/hello/{name}")
async def hello(name: str) -> dict[str, str]:
    return {"hello": name}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
FLOW = """
from cloche import create_workflow, step

@step(id="inc")
async def inc(x: int) -> int:
    return x + 1

workflow = create_workflow(id="one").then(inc).commit()
"""
WAITS = """
from cloche import create_workflow

workflow = create_workflow(id="waits").wait_for_event("never").commit()
"""
# Starts a run for each line that it reads; says how many µs that took, and the id.
ROOT = Path(__file__).parents[1]
ASKS = """
import sys

sys.path.insert(0, sys.argv[2])
from benchmarks.serving import Line, timed_start

line = Line(int(sys.argv[1]))
for _ in sys.stdin:
    print(*timed_start(line), flush=True)
"""
STREAMS_MAX = 32  # of one principal
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
BLOCK = 100  # requests to one server before the other has its turn: what the machine does meanwhile hits both


class Line:
    """One connection that is kept, with as little between as Python has."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self._more = f"authorization: Bearer {token}\r\n".encode() if token else b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, place: str, body: bytes = b"") -> bytes:
        """The body of the answer."""
        self.begin(method, place, body)
        top, _, rest = self.until(b"\r\n\r\n").partition(b"\r\n\r\n")
        found = _LENGTH.search(top)
        assert top.startswith(b"HTTP/1.1 2"), top
        assert found is not None
        while len(rest) < int(found[1]):
            rest += self._more_of(rest)
        return rest

    def begin(self, method: str, place: str, body: bytes = b"") -> None:
        """Send a request."""
        kind = b"content-type: application/json\r\n" if body else b""
        head = f"{method} {place} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n".encode()
        self._socket.sendall(head + self._more + kind + b"\r\n" + body)

    def until(self, text: bytes) -> bytes:
        """Read until this has come; all that was read."""
        data = b""
        while text not in data:
            data += self._more_of(data)
        return data

    def _more_of(self, data: bytes) -> bytes:
        more = self._socket.recv(65536)
        assert more, data  # else the server has closed the connection
        return more

    def close(self) -> None:
        self._socket.close()


def http_get_run(scale: Scale) -> Iterator[Figure]:
    """GET of a run that has ended, on a file; both servers are processes of their own."""
    with tempfile.TemporaryDirectory(dir=".") as folder, _served(Path(folder)) as cloche, _hello() as hello:
        cloche.ask("POST", "/v1/workflows/one/runs", json.dumps({"input": 1, "run_id": "r1"}).encode())
        ours, theirs = _interleaved(
            lambda: cloche.ask("GET", "/v1/runs/r1"), lambda: hello.ask("GET", "/hello/r1"), min(scale.most, 5000)
        )
        goal = 2 * theirs
        yield Figure("GET of a run, p50", ours, "µs", "FastAPI's hello-world", theirs, goal)


def http_start(scale: Scale) -> Iterator[Figure]:
    """A durable start over HTTP, and one in the process that serves, of the same store. They take turns, and each begins when
    the run before is over: what the worker does then for that one is no part of either."""
    count = min(scale.most, 500)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        ours, theirs = asyncio.run(_starts(Path(folder), count))
    yield Figure("durable start over HTTP, p50", ours / 1000, "ms", "in process", theirs / 1000, theirs / 1000 + 0.5)


def http_first_answer(_: Scale) -> Iterator[Figure]:
    """`cloche serve` as a fresh process, until it has answered."""

    def begun() -> float:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=".") as folder, _served(Path(folder)) as cloche:
            cloche.ask("GET", "/healthz")
            return time.perf_counter() - began

    yield Figure("cloche serve, first answer", statistics.median(begun() for _ in range(5)), "s", "its goal", 1.5, 1.5)


def http_streams(scale: Scale) -> Iterator[Figure]:
    """Streams of a run that waits, open at once, of as many principals as that needs: what the server takes then."""
    count = min(scale.most, 10_000)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 200:
        raise NotInstalled(f"{count:,} sockets need a higher limit of open files than {hard:,}: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        tokens = asyncio.run(_tokens(folder / "runs.db", -(-count // STREAMS_MAX)))
        with _process(folder, WAITS) as (process, port):
            line = Line(port, tokens[0])
            line.ask("POST", "/v1/workflows/waits/runs", b'{"run_id": "r1"}')
            before = _resident_bytes(process.pid)
            lines = list[Line]()
            for first in range(0, count, 100):  # as many as may wait to be accepted; each is asked something at once
                lines += [Line(port, tokens[number // STREAMS_MAX]) for number in range(first, min(first + 100, count))]
                for one in lines[first : first + 100]:
                    one.begin("GET", "/v1/runs/r1/events?until=ended&bodies=none")
                for one in lines[first : first + 100]:
                    one.until(b"event: record")
            after = _resident_bytes(process.pid)
            line.close()
            line = Line(port, tokens[0])  # the first is closed when it was idle for some seconds
            assert line.ask("GET", "/v1/runs/r1")
            for one in [line, *lines]:
                one.close()
    each = (after - before) / count / 1024
    yield Figure("a stream that is open", each, "KiB", "its goal", 400e6 / 10_000 / 1024, 400e6 / 10_000 / 1024)
    yield Figure(f"the server with {count:,} of them", after / 1e6, "MB", "its goal", 400, 400)


async def _tokens(store: Path, count: int) -> list[str]:
    from cloche.operations import stores, tokens

    async with stores.opened(store, must_exist=False) as found:
        of_all = {"tenant": None, "role": "operator", "label": "", "now": stores.now()}
        return [(await tokens.create(found, **of_all)).text for _ in range(count)]  # type: ignore[arg-type]


def _resident_bytes(pid: int) -> int:
    [kib] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kib) * 1024


async def _starts(folder: Path, count: int) -> tuple[float, float]:
    """The medians in µs: over HTTP, asked by a process of its own, and in this one."""
    from cloche import Cloche, create_workflow, http, step
    from cloche.http.server import Server

    @step(id="inc")
    async def inc(x: int) -> int:
        return x + 1

    taken: tuple[list[float], list[float]] = ([], [])
    workflow = create_workflow(id="one").then(inc).commit()
    async with Cloche(folder / "runs.db", workflows=[workflow]) as app:
        server = Server("127.0.0.1", 0)
        serving = asyncio.create_task(server.run(http.app(app, auth=http.local, requests_per_s=1e6, burst=10**6)))
        asking = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ASKS, str(server.port), str(ROOT), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert asking.stdin is not None
        assert asking.stdout is not None
        for _ in range(count):
            asking.stdin.write(b"\n")
            took, run_id = (await asking.stdout.readline()).decode().split()
            taken[0].append(float(took))
            await (await app.get(run_id)).result()
            began = time.perf_counter()
            run = await app.start("one", 1)
            taken[1].append((time.perf_counter() - began) * 1e6)
            await run.result()
        asking.stdin.close()
        await asking.wait()
        server.end()
        await serving
    return statistics.median(taken[0]), statistics.median(taken[1])


def timed_start(line: Line) -> tuple[float, str]:
    """Start a run; how many µs that took, and its id."""
    began = time.perf_counter()
    answer = line.ask("POST", "/v1/workflows/one/runs", b'{"input": 1}')
    return (time.perf_counter() - began) * 1e6, json.loads(answer)["id"]


def _interleaved(ours: object, theirs: object, count: int) -> tuple[float, float]:
    """The medians of both in µs, taken in turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(count // BLOCK, 1)):
        for times, work in zip(taken, (ours, theirs), strict=True):
            times += [_timed(work) for _ in range(BLOCK)]
    return statistics.median(taken[0]), statistics.median(taken[1])


def _timed(work: object) -> float:
    assert callable(work)
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6


@contextmanager
def _served(folder: Path) -> Iterator[Line]:
    with _process(folder, FLOW) as (_, port):
        yield from _line(port)


@contextmanager
def _process(folder: Path, flow: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    (folder / "flow.py").write_text(flow)
    arguments = ["serve", f"{folder / 'flow.py'}:workflow", "--store", str(folder / "runs.db"), "--port", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cloche.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    with _ended(process):
        url = json.loads(process.stdout.readline())["url"]
        yield process, int(url.rpartition(":")[2])


@contextmanager
def _hello() -> Iterator[Line]:
    from benchmarks.engine_servers import free_port

    port = free_port()
    with _ended(subprocess.Popen([sys.executable, "-c", HELLO, str(port)])):
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield from _line(port)


def _line(port: int) -> Iterator[Line]:
    line = Line(port)
    try:
        yield line
    finally:
        line.close()


@contextmanager
def _ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()
