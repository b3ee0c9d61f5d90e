"""The command line on a URL: as on a file, and no output holds the password."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from support.commands import FLOWS, MATH, Ran, cloche
from support.postgres import Server

from cloche.store.postgres.migrations import VERSION

SECRET = "s3cret-word"


@pytest.fixture
def url(server: Server) -> str:
    """As a role that may run workers and prune, and not change the schema."""
    role = f"w{uuid4().hex[:12]}"
    server.psql(f"CREATE ROLE {role} LOGIN")
    plain = server.url()
    migrated = cloche("migrate", plain, "--worker-role", role, "--prune-role", role)
    assert migrated.out.endswith(f"is of version {VERSION} now\n")
    assert cloche("migrate", plain).out.endswith("is of this version already\n")
    return plain.replace("postgres@", f"{role}:{SECRET}@")


def said(*arguments: str, code: int = 0) -> Ran:
    ran = cloche(*arguments)
    assert SECRET not in ran.out + ran.err
    assert ran.code == code, ran.err
    return ran


def test_commands_take_a_url(url: str, tmp_path: Path) -> None:
    assert said("run", MATH, "--input", '{"x": 5}', "--store", url, "--run-id", "r1").out == '{"x": 20}\n'
    assert [row["run_id"] for row in said("runs", "--store", url, "--json").lines()] == ["r1"]
    for command in ("show", "log", "replay", "verify"):
        said(command, "r1", "--store", url, "--json")
    assert "1 runs" in said("doctor", "--store", url).out
    assert said("usage", "--store", url, "--json").lines()[0]["runs"] == 1
    key, heads = str(tmp_path / "key"), str(tmp_path / "heads")
    said("sign", "--new-key", key)
    said("sign", "--key", key, "-o", heads, "--store", url)
    said("verify", "--heads", heads, "--public-key", f"{key}.pub", "--store", url)
    assert said("prune", "--older-than", "0s", "--store", url, "--json").code == 0
    assert said("runs", "--store", url).out.count("r1") == 0
    said("cancel", "none", "--store", url, code=4)


def test_what_is_to_be_done_next_is_said_without_the_password(url: str) -> None:
    ask = [f"{FLOWS}:asking", "--input", '{"x": 1}', "--store", url, "--run-id", "r2"]
    ran = said("run", *ask, code=75)
    assert "--store postgresql://" in ran.out + ran.err
    ran = said("cancel", "r2", "--store", url)
    assert "--store postgresql://" in ran.out + ran.err


def test_runs_move_between_stores_with_their_chains(url: str, tmp_path: Path) -> None:
    file, other = str(tmp_path / "r1.cloche"), str(tmp_path / "other.db")
    said("run", MATH, "--input", '{"x": 5}', "--store", other, "--run-id", "r1")
    said("export", "r1", "-o", file, "--store", other)
    said("import", "--own-code", file, "--store", url)
    said("export", "r1", "-o", f"{file}.again", "--store", url)
    assert Path(file).read_bytes() == Path(f"{file}.again").read_bytes()
    said("verify", "--store", url)


def test_backup_names_the_tools_of_the_server(url: str, tmp_path: Path) -> None:
    ran = said("backup", str(tmp_path / "copy"), "--store", url, code=2)
    assert "is backed up by PostgreSQL's own tools: pg_dump --schema=" in ran.err


def test_a_store_that_is_not_there_is_not_made_by_a_look(server: Server) -> None:
    ran = said("verify", "--store", server.url(), code=5)
    assert "there is no store at postgresql://postgres@127.0.0.1" in ran.err


def test_who_may_not_make_the_schema_is_told(server: Server) -> None:
    role = f"w{uuid4().hex[:12]}"
    server.psql(f"CREATE ROLE {role} LOGIN")
    url = server.url(user=f"{role}:{SECRET}")
    ran = said("run", MATH, "--input", '{"x": 5}', "--store", url, code=5)
    assert "Run 'cloche migrate' as the role that owns the schema" in ran.err


def test_a_worker_refuses_an_older_schema_and_says_what_to_do(url: str, server: Server) -> None:
    schema = url.partition("schema=")[2]
    server.psql(f"UPDATE {schema}.meta SET version = 1")
    ran = said("runs", "--store", url, code=5)
    assert f"is of version 1, and this cloche needs {VERSION}: run 'cloche migrate' on it" in ran.err


def test_the_schema_is_printed_for_those_who_review_it(server: Server) -> None:
    url = server.url("printed", user=f"postgres:{SECRET}")
    printed = said("migrate", url, "--print", "--worker-role", "app").out
    assert 'CREATE TABLE "printed".records (' in printed
    assert 'GRANT INSERT ON "printed".records, "printed".parts, "printed".blobs, "printed".epoch TO "app";' in printed


def test_a_file_has_no_roles_and_no_sql(tmp_path: Path) -> None:
    file = str(tmp_path / "a.db")
    assert "only a store in PostgreSQL is migrated by SQL" in said("migrate", file, "--print", code=2).err
    assert "only a store in PostgreSQL has roles" in said("migrate", file, "--worker-role", "app", code=2).err
    assert said("migrate", file).out.endswith("is of this version already\n")
