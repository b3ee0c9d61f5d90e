"""A real PostgreSQL for tests: begun when the first one asks for it, in a folder of its own, on loopback, as its users have it.

As root it drops to an unprivileged user, for PostgreSQL refuses root. No folder but its own is touched.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

SKIPPED = "there is no PostgreSQL here: install Debian's postgresql and pgbouncer"
# Who is let in: one by password alone, one by TLS alone (which there is none of), all others as they say.
ACCESS = """local all all trust
host all by_password 127.0.0.1/32 scram-sha-256
hostssl all by_tls 127.0.0.1/32 trust
host all by_tls 127.0.0.1/32 reject
host all,replication all 127.0.0.1/32 trust
"""


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; None if there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    found = shutil.which("initdb")
    folders = [*([Path(found).resolve().parent] if found else []), *reversed(debian)]
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def require(program: str = "initdb") -> None:
    """Skip the test where `program` of PostgreSQL, or pgbouncer, is not here; fail it where CLOCHE_REQUIRE_POSTGRES is set."""
    is_here = shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin") if program == "pgbouncer" else binaries()
    if not is_here:
        assert not os.environ.get("CLOCHE_REQUIRE_POSTGRES"), SKIPPED
        pytest.skip(SKIPPED)


class Server:
    """One server with its data. `url()` names a schema of its own in it."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        found = binaries()
        assert found is not None, SKIPPED
        self.bin = found
        self.folder = Path(tempfile.mkdtemp(prefix="cloche-postgres-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.as_user = _unprivileged()
        if self.as_user:
            os.chown(self.folder, self.as_user["user"], self.as_user["group"])
        self.data = self.folder / "data"
        self.run(
            "initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N"
        )
        self.settings = {"listen_addresses": "127.0.0.1", "shared_buffers": "64MB", "max_connections": "200"}
        self.settings |= {"unix_socket_directories": str(self.folder), "log_line_prefix": "%m [%p] "} | (settings or {})
        (self.data / "pg_hba.conf").write_text(ACCESS)

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the server's says."""
        done = subprocess.run(
            [self.bin / program, *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            timeout=120,
            **self.as_user,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return str(done.stdout)

    def start(self) -> None:
        settings = [f"-c{name}={value}" for name, value in {**self.settings, "port": str(self.port)}.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", str(self.data), *settings],
                stdout=log,
                stderr=log,
                cwd="/",
                **self.as_user,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server does not take connections"
            time.sleep(0.05)

    def _answers(self) -> bool:
        isready = subprocess.run(
            [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False, cwd="/", timeout=20
        )
        return isready.returncode == 0

    def reload(self, name: str, value: str) -> None:
        """Read the settings again, until new sessions have this one."""
        self.psql("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 20
        while self.psql(f"SHOW {name}") != value:
            assert time.monotonic() < deadline, f"{name} is not {value}"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut does: no process of it says anything any more."""
        assert self.process is not None
        children = _children(self.process.pid)
        for pid in (self.process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for pid in children:
            while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
                time.sleep(0.005)
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # fast shutdown: sessions are ended
            self.process.wait(60)
            self.process = None

    def remove(self) -> None:
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, schema: str | None = None, *, user: str = "postgres", database: str = "postgres", **more: str) -> str:
        query = "&".join(
            f"{name}={value}" for name, value in {"schema": schema or f"t{uuid4().hex[:12]}", **more}.items()
        )
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?{query}"

    def psql(self, sql: str, *, user: str = "postgres", database: str = "postgres") -> str:
        """What psql prints of `sql`, unaligned. Fails where a statement fails."""
        return self.run("psql", *self._psql(sql, user, database)).strip()

    def refusal(self, sql: str, *, user: str = "postgres", database: str = "postgres") -> str:
        """What the server says to a statement that fails."""
        done = subprocess.run(
            [self.bin / "psql", *self._psql(sql, user, database)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd="/",
        )
        assert done.returncode != 0, f"it was not refused: {sql}"
        return done.stderr

    def _psql(self, sql: str, user: str, database: str) -> list[str]:
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", database]
        return [*address, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]


@contextmanager
def pgbouncer(server: Server) -> Iterator[int]:
    """The port of a pooler before the server, in transaction mode: each transaction has whatever session is free."""
    folder, port = Path(tempfile.mkdtemp(prefix="cloche-pgbouncer-")), free_port()
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": 3,
        "logfile": folder / "log",
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    address = f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres"
    (folder / "pgbouncer.ini").write_text("\n".join([f"[databases]\npostgres = {address}\n[pgbouncer]", *lines, ""]))
    if server.as_user:
        os.chown(folder, server.as_user["user"], server.as_user["group"])
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    assert program is not None, SKIPPED
    process = subprocess.Popen(
        [program, "-q", str(folder / "pgbouncer.ini")], cwd="/", stderr=subprocess.DEVNULL, **server.as_user
    )
    try:
        deadline = time.monotonic() + 20
        while not _listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "pgbouncer does not listen"
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


class Schemas:
    """Schemas of a server that are used again, emptied: making one takes half a second, emptying it ten milliseconds."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._free: list[str] = []

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The URL of an empty store."""
        name = self._free.pop() if self._free else f"t{uuid4().hex[:12]}"
        yield self._server.url(name)
        tables = self._server.psql(
            f"SELECT string_agg('DELETE FROM {name}.' || tablename, ';') FROM pg_tables "
            f"WHERE schemaname = '{name}' AND tablename <> 'meta'"
        )
        self._server.psql(f"SET session_replication_role = replica; {tables}")  # without triggers
        self._free.append(name)


@lru_cache(maxsize=1)
def shared_schemas() -> Schemas:
    return Schemas(shared_server())


@lru_cache(maxsize=1)
def shared_server() -> Server:
    """The one of this process, that lives as long as it does: for tests that do not break it."""
    server = Server()
    atexit.register(server.remove)
    server.start()
    return server


@contextmanager
def own_server(**settings: str) -> Iterator[Server]:
    """One for a test that stops, kills or sets it."""
    server = Server(settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise AssertionError("there is no user that PostgreSQL may run as")


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
