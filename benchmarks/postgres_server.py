"""A real PostgreSQL for tests, benchmarks and the demo: in a folder of its own, on loopback, as its users have it.

As root it drops to an unprivileged user, for PostgreSQL refuses root. No folder but its own is touched.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.engine_servers import NotInstalled, free_port

NONE = "there is no PostgreSQL here: install Debian's postgresql and pgbouncer"
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


class Server:
    """One server with its data. `url()` names a schema of its own in it."""

    def __init__(self, settings: dict[str, str] | None = None, *, primary: Server | None = None) -> None:
        """With `primary`, which is up, a standby of it."""
        found = binaries()
        if found is None:
            raise NotInstalled(NONE)
        self.bin = found
        self.folder = Path(tempfile.mkdtemp(prefix="cloche-postgres-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.as_user = _unprivileged()
        if self.as_user:
            os.chown(self.folder, self.as_user["user"], self.as_user["group"])
        self.data = self.folder / "data"
        if primary is None:
            how = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
            self.run("initdb", "-D", str(self.data), *how)
        else:
            where = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
            self.run("pg_basebackup", "-D", str(self.data), *where, "-R", "-X", "stream", "-c", "fast")
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
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server does not take connections"
            time.sleep(0.05)

    def process_of(self, kind: str) -> int:
        """The id of its process of this kind, as the server calls it."""
        return int(self.psql(f"SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'"))

    def wait_for_recovery(self, pid: int) -> None:
        """Wait until a process of the server is gone that was killed, and the server has recovered from that."""
        deadline = time.monotonic() + 60
        while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
            assert time.monotonic() < deadline, "the process was not ended"
            time.sleep(0.005)
        recovered = "all server processes terminated; reinitializing"
        while recovered not in (self.folder / "log").read_text():
            assert time.monotonic() < deadline, "the server does not recover"
            time.sleep(0.01)
        self.wait_until_it_answers()

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
def own_server(**settings: str) -> Iterator[Server]:
    """One for a test that stops, kills or sets it."""
    server = Server(settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()


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
