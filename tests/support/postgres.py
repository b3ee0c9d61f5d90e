"""The real PostgreSQL that tests share, emptied after each, and a real pooler before it."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks.engine_servers import free_port
from benchmarks.postgres_server import NONE as SKIPPED
from benchmarks.postgres_server import Server, binaries, own_server

__all__ = ["Server", "free_port", "own_server", "pgbouncer", "require", "shared_schemas", "shared_server"]


def require(program: str = "initdb") -> None:
    """Skip the test where `program` of PostgreSQL, or pgbouncer, is not here; fail it where CLOCHE_REQUIRE_POSTGRES is set."""
    is_here = shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin") if program == "pgbouncer" else binaries()
    if not is_here:
        assert not os.environ.get("CLOCHE_REQUIRE_POSTGRES"), SKIPPED
        pytest.skip(SKIPPED)


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
            f"WHERE schemaname = '{name}' AND tablename NOT IN ('meta', 'departures')"
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


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
