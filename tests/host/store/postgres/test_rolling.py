"""Upgrades without downtime: schema n serves workers of version n - 1 and n.

Two tests of one promise. The first needs the history of this repository: it builds the wheel of the last commit with the schema
before, and has a worker of it and one of today at work on one store. A clone without history cannot have that wheel, and says
so. The second needs nothing: the statements that a release makes are kept beside the golden stores, and each is planned on
today's schema, with its rights looked at, by a role that was granted them by that release.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from support.apps import in_loop, until
from support.commands import cloche
from support.postgres import Server
from support.stores import Log, key

from cloche import Client
from cloche.history import Kind
from cloche.store.postgres import PostgresStore, migrations
from cloche.store.postgres.address import Address
from cloche.store.postgres.statements import SQL, in_schema

ROOT = Path(__file__).parents[4]
HISTORIES = ROOT / "tests" / "histories"
SERVED = range(migrations.SERVES[migrations.VERSION], migrations.VERSION)
FLOW = """
import asyncio
from cloche import create_step, create_workflow
from cloche.store.postgres.migrations import VERSION

async def version(data):
    await asyncio.sleep(0.02)
    return VERSION

step = create_step(id="version", execute=version)
workflow = create_workflow(id="rolling").then(step).commit()
listening = create_workflow(id="listening").wait_for_event("go").then(step).commit()
"""


def git(*arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.strip() if ran.returncode == 0 else ""


def is_of_the_version_before(commit: str) -> bool:
    """Whether its last migration is the one before today's last, and is what it is today."""
    ours, new = (f"host/cloche/store/postgres/sql/migrations/{migrations.VERSION - back:04}.sql" for back in (1, 0))
    there = git("rev-parse", "--verify", "--quiet", f"{commit}:{ours}")
    return there == git("rev-parse", f"HEAD:{ours}") and not git("rev-parse", "--verify", "--quiet", f"{commit}:{new}")


@pytest.fixture(scope="module")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is in the wheel of the last commit before this version of the schema."""
    before = next((commit for commit in git("rev-list", "HEAD").split() if is_of_the_version_before(commit)), None)
    if before is None:
        pytest.skip("this clone has no history, so there is no wheel of the release before: see test_kept_statements")
    tree, installed = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("installed")
    archive = subprocess.run(["git", "archive", before], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    built = "guest/cloche_guest/built"  # is built again only if its sources were others
    shutil.copytree(ROOT / built, tree / built, dirs_exist_ok=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tree / "dist"), str(tree)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = (tree / "dist").glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(installed), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return installed


@contextmanager
def worker(url: str, flow: Path, code: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process; of the release whose packages are in the folder `code`."""
    path = [str(code)] if code else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    targets = [f"{flow}:workflow", f"{flow}:listening"]
    command = [sys.executable, "-m", "cloche.cli", "worker", *targets, "--store", url]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def versions(client: Client, count: int = 8) -> list[int]:
    """Of the workers that did the steps of some runs."""
    runs = [await client.start("rolling", None) for _ in range(count)]
    return [(await run.result()).unwrap() for run in runs]


@in_loop
async def test_workers_of_two_releases_share_a_store(server: Server, release_before: Path, tmp_path: Path) -> None:
    url, flow, seen = server.url(), tmp_path / "flow.py", set[int]()
    old, new = migrations.VERSION - 1, migrations.VERSION
    flow.write_text(FLOW)
    environment = {**os.environ, "PYTHONPATH": str(release_before)}
    migrate = [sys.executable, "-m", "cloche.cli", "migrate", url]
    made = await asyncio.to_thread(subprocess.run, migrate, env=environment, capture_output=True, text=True, check=True)
    assert made.stdout.endswith(f"is of version {old} now\n")
    with worker(url, flow, release_before) as first:
        migrated = await asyncio.to_thread(cloche, "migrate", url)  # under its feet
        assert migrated.out.endswith(f"is of version {new} now\n")
        async with Client(url) as client:
            assert set(await versions(client)) == {old}
            listening = [await client.start("listening", None, run_id=f"l{number}") for number in range(6)]
            for run in listening:
                await until(run.status, lambda status: status == "waiting")
            with worker(url, flow) as second:
                while seen != {old, new}:  # each takes its share
                    seen |= set(await versions(client))
                for run in listening[:3]:
                    await client.send_event(run.id, "go", 1)
                assert {(await run.result()).unwrap() for run in listening[:3]} <= {old, new}
                first.kill()  # what it had is taken over
                assert new in await versions(client)
                second.terminate()
                await asyncio.to_thread(second.wait)
                with worker(url, flow, release_before):  # and back
                    for run in listening[3:]:
                        await client.send_event(run.id, "go", 1)
                    assert {(await run.result()).unwrap() for run in listening[3:]} == {old}
            for run in listening:
                assert sum(record.kind is Kind.STEP_COMPLETED for record in await run.history()) == 1
    assert (await asyncio.to_thread(cloche, "verify", "--store", url)).code == 0


@pytest.mark.parametrize("version", SERVED)
def test_kept_statements_of_a_version_that_is_served_are_served(server: Server, version: int) -> None:
    """On a store that it made, and for a role that it granted its rights."""
    kept = json.loads((HISTORIES / f"postgres-{version}.json").read_text())
    schema, role = f"s{uuid4().hex[:12]}", f"r{uuid4().hex[:12]}"
    scripts = [(SQL / "migrations" / f"{number:04}.sql").read_text() for number in range(1, version + 1)]
    meta = f"INSERT INTO cloche.meta (version, serves) VALUES ({version}, {migrations.SERVES[version]})"
    grants = [grant.replace("{role}", role) for grant in kept["grants"]]
    made = [f'CREATE SCHEMA "{schema}"; CREATE ROLE {role} LOGIN', *scripts, meta, *grants]
    server.psql(";\n".join(in_schema(script.rstrip("; \n"), schema) for script in made))
    assert cloche("migrate", server.url(schema)).code == 0
    for number, text in enumerate(kept["statements"]):
        nothing = ", ".join(["NULL"] * max([0, *map(int, re.findall(r"\$(\d+)", text))]))
        execute = f"EXPLAIN EXECUTE p{number}({nothing})" if nothing else f"EXPLAIN EXECUTE p{number}"
        server.psql(f"PREPARE p{number} AS {in_schema(text, schema)}; {execute}", user=role)
    assert len(kept["statements"]) > 70  # all that the suites of stores make


@in_loop
async def test_rights_of_the_version_before_are_enough_for_a_new_worker(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to grant anything anew before the workers are replaced."""
    kept = json.loads((HISTORIES / f"postgres-{migrations.VERSION - 1}.json").read_text())
    schema, role = f"s{uuid4().hex[:12]}", f"r{uuid4().hex[:12]}"
    url = server.url(schema)
    with monkeypatch.context() as before:
        before.setattr(migrations, "VERSION", migrations.VERSION - 1)
        await migrations.migrate(Address.parse(url))
    grants = [in_schema(grant.replace("{role}", role).rstrip("; \n"), schema) for grant in kept["grants"]]
    server.psql(";\n".join([f"CREATE ROLE {role} LOGIN", *grants]))
    assert await migrations.migrate(Address.parse(url)) == [migrations.VERSION]
    store = await PostgresStore.open(server.url(schema, user=role))
    await store.leases.join("w")
    assert await store.leases.heartbeat("w")
    mark = (await store.news(None)).mark
    log = Log(key())
    assert await store.commit([replace(log.begin(), marks={"tag plan": "pro"})]) == [None]
    assert not (await store.news(mark)).is_any
    assert [row.is_dead for row in await store.leases.workers()] == [False]
    await store.close()
