"""A server that does not let us in, or does not keep what it acknowledges, is refused, with what to do and without secrets."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from support.postgres import Server, free_port

from cloche.errors import ClocheError, StoreRefused, StoreUnavailable, UsageError
from cloche.store.postgres import connection
from cloche.store.postgres.address import Address
from cloche.store.postgres.connection import greet

PASSWORD = "hidden-99"


def refusal(url: str) -> ClocheError:
    with pytest.raises(ClocheError) as refused:
        asyncio.run(greet(Address.parse(url)))
    error: BaseException | None = refused.value
    while error is not None:  # nothing that a traceback prints has it either
        assert PASSWORD not in str(error)
        error = error.__cause__
    return refused.value


def test_a_wrong_password_is_refused(server: Server) -> None:
    server.psql("DROP ROLE IF EXISTS by_password; CREATE ROLE by_password LOGIN PASSWORD 'right'")
    error = refusal(server.url("s", user=f"by_password:{PASSWORD}"))
    assert isinstance(error, StoreRefused)
    assert error.message == (
        f"the store postgresql://by_password@127.0.0.1:{server.port}/postgres?schema=s: the user name or the password is wrong "
        '(password authentication failed for user "by_password")'
    )
    asyncio.run(greet(Address.parse(server.url(user="by_password:right"))))


def test_a_database_that_is_not_there_is_named(server: Server) -> None:
    error = refusal(server.url(database="nowhere"))
    assert isinstance(error, StoreRefused)
    assert 'there is no such database: create it (database "nowhere" does not exist)' in error.message


def test_a_role_without_the_database_is_refused(server: Server) -> None:
    name = f"d{uuid4().hex[:12]}"
    server.psql(f"CREATE ROLE {name} LOGIN")
    server.psql(f"CREATE DATABASE {name}")
    server.psql(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    error = refusal(server.url(user=name, database=name))
    assert isinstance(error, StoreRefused)
    assert "the role may not use the database: grant it CONNECT" in error.message


def test_tls_that_is_demanded_must_be_there(server: Server) -> None:
    error = refusal(server.url(user=f"postgres:{PASSWORD}", sslmode="require"))
    assert isinstance(error, StoreRefused)
    assert "the URL demands TLS (sslmode), and the server has none" in error.message


def test_tls_that_the_server_demands_is_named(server: Server) -> None:
    error = refusal(server.url(user="by_tls"))
    assert isinstance(error, StoreRefused)
    assert "the server does not let this user in from here, or not without TLS" in error.message


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"sslmode": "perhaps"}, "the URL of the store is not right: `sslmode` parameter must be one of"),
        (
            {"sslmode": "verify-full", "sslrootcert": "/nowhere/root.crt"},
            "a file of TLS that the URL of the store names",
        ),
    ],
)
def test_a_tls_setting_that_is_none_is_refused(server: Server, more: dict[str, str], said: str) -> None:
    error = refusal(server.url(user=f"postgres:{PASSWORD}", **more))
    assert isinstance(error, UsageError)
    assert said in error.message


def test_a_server_that_is_not_there_may_come() -> None:
    error = refusal(f"postgresql://app:{PASSWORD}@127.0.0.1:{free_port()}/shop")
    assert isinstance(error, StoreUnavailable)
    assert "cannot be reached" in error.message
    assert error.retryable


def test_a_server_without_room_is_waited_for(server: Server) -> None:
    name = f"c{uuid4().hex[:12]}"
    server.psql(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 0")
    error = refusal(server.url(user=name))
    assert isinstance(error, StoreUnavailable)
    assert "takes nobody now: too many connections" in error.message


@pytest.mark.parametrize(
    ("setting", "accepted", "said"),
    [
        (
            "synchronous_commit = off",
            "async-commit",
            "synchronous_commit is off: what it acknowledged is lost when it ends",
        ),
    ],
)
def test_a_server_that_may_lose_is_refused_unless_accepted(
    server: Server, setting: str, accepted: str, said: str
) -> None:
    name = f"l{uuid4().hex[:12]}"
    server.psql(f"CREATE ROLE {name} LOGIN; ALTER ROLE {name} SET {setting}")
    error = refusal(server.url(user=name))
    assert isinstance(error, StoreRefused)
    assert f"is refused: {said} (accept={accepted} in the URL takes it as it is)" in error.message
    asyncio.run(greet(Address.parse(server.url(user=name, accept=accepted))))


def test_fsync_off_is_refused_unless_accepted(server: Server) -> None:
    server.psql("ALTER SYSTEM SET fsync = off")
    try:
        server.reload("fsync", "off")
        error = refusal(server.url())
        assert isinstance(error, StoreRefused)
        assert "fsync is off: what it acknowledged is lost with the power (accept=fsync-off in the URL" in error.message
        asyncio.run(greet(Address.parse(server.url(accept="fsync-off"))))
    finally:
        server.psql("ALTER SYSTEM RESET fsync")
        server.reload("fsync", "on")


def test_another_encoding_is_refused(server: Server) -> None:
    name = f"e{uuid4().hex[:12]}"
    server.psql(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    error = refusal(server.url(database=name))
    assert isinstance(error, StoreRefused)
    assert "the database has another encoding than UTF8: create one with ENCODING 'UTF8'" in error.message


def test_an_old_server_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "POSTGRES_REQUIRED", 99)
    error = refusal(server.url())
    assert isinstance(error, StoreRefused)
    assert error.message.endswith("is refused: PostgreSQL 99 or newer is needed: upgrade the server")


def test_a_direct_connection_is_known(server: Server) -> None:
    assert not asyncio.run(greet(Address.parse(server.url()))).is_pooled
