"""The files of a store are what the process thinks they are, or nothing more is acknowledged."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.apps import Journal, in_loop
from support.histories import at
from support.stores import closed_after, key

from cloche import Cloche, create_workflow
from cloche.errors import DamagedStore, StoreFailed, StoreUnavailable
from cloche.store import SqliteStore
from cloche.store.sqlite.files import _life_in_lock

FILES = ("", "-wal", "-shm")
POST = """
import asyncio, os, sys
from cloche.history.ids import DEFAULT_TENANT, RunId, RunKey
from cloche.store import SqliteStore

store = SqliteStore(sys.argv[1])
exec(sys.argv[2])

async def post():
    for number in range(5):
        await store.post(RunKey(DEFAULT_TENANT, RunId("r")), "event", b"", f"after {number}", 1)
        print(f"after {number}", flush=True)

asyncio.run(post())
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    with suppress(StoreFailed):
        asyncio.run(store.close())


async def _post(store: SqliteStore, token: str) -> None:
    await store.post(key("r"), "event", b"", token, at(1))


def _killed(path: Path, before: str = "") -> set[str]:
    """The tokens that a process acknowledged before it was killed. `before` is what it does first."""
    done = subprocess.run([sys.executable, "-c", POST, str(path), before], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return {line for line in done.stdout.splitlines() if line.startswith("after")}


async def _there(path: Path) -> set[str]:
    async with closed_after(SqliteStore(path)) as store:
        return {f"after {number}" for number in range(5) if await store.request(f"after {number}")}


OPEN = "from cloche.store import SqliteStore; import asyncio, sys; asyncio.run(SqliteStore(sys.argv[1]).close())"
LOOK = f"subprocess.run([sys.executable, '-c', {OPEN!r}, path], check=True)  # another process comes and ends"
COPIES = {
    "the file is copied": "shutil.copyfile(path, path + '.copy')",
    "the folder is copied": "shutil.copytree(os.path.dirname(path), os.path.dirname(path) + '-copy')",
    "the files are read": "[open(path + rest, 'rb').read() for rest in ('', '-wal', '-shm')]",
    "another connection is closed": "asyncio.run(SqliteStore(path).close())",
    "another library's lock is dropped": "os.close(os.dup(os.open(path, os.O_RDWR))); os.close(os.open(path, os.O_RDWR))",
}


@pytest.mark.skipif(sys.platform != "linux", reason="locks of open files are Linux's")
@pytest.mark.parametrize("how", COPIES)
@in_loop
async def test_a_copy_made_by_the_process_costs_no_commit(path: Path, how: str) -> None:
    """SQLite's own locks go with the close; the next process to end would delete the write-ahead log."""
    before = f"import shutil, subprocess; path = sys.argv[1]; {COPIES[how]}; {LOOK}"
    acknowledged = _killed(path, before)
    assert len(acknowledged) == 5
    assert await _there(path) == acknowledged


def _removed(path: Path) -> None:
    path.unlink()


def _renamed(path: Path) -> None:
    path.rename(path.with_name(f"old-{path.name}"))


def _replaced(path: Path) -> None:
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


@pytest.mark.parametrize("what", FILES[:2])
@pytest.mark.parametrize("happens", [_removed, _renamed, _replaced])
@in_loop
async def test_nothing_is_acknowledged_into_a_file_that_is_gone(
    path: Path, store: SqliteStore, what: str, happens: Callable[[Path], None]
) -> None:
    await _post(store, "before")
    happens(Path(f"{path}{what}"))
    with pytest.raises(
        StoreFailed, match=f"{path.name}{what} was (removed or renamed|replaced) while the store was open"
    ):
        await _post(store, "after")
    with pytest.raises(StoreFailed, match="while the store was open"):  # from now on, whatever is asked
        await store.runs()


@pytest.mark.parametrize("happens", [_removed, _renamed])
@in_loop
async def test_no_run_is_acknowledged_into_files_that_are_gone(
    path: Path, journal: Journal, happens: Callable[[Path], None]
) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    async with Cloche(path, workflows=[workflow]) as app:
        await (await app.start("w", {"v": 1}, run_id="before")).result()
        for file in FILES:
            happens(Path(f"{path}{file}"))
        with pytest.raises(StoreFailed, match="while the store was open"):
            await app.start("w", {"v": 1}, run_id="after")
    async with Cloche(path, workflows=[workflow]) as app:
        assert [row.key.run for row in await app.list()] == []
        assert (await (await app.start("w", {"v": 1}, run_id="after")).result()).status == "success"


@in_loop
async def test_a_new_store_can_begin_where_one_was_removed(path: Path, store: SqliteStore) -> None:
    await _post(store, "before")
    for file in FILES:
        Path(f"{path}{file}").unlink()
    async with closed_after(SqliteStore(path)) as new:
        await _post(new, "after")
    async with closed_after(SqliteStore(path)) as new:
        assert [await new.request("before"), await new.request("after") is not None] == [None, True]


@pytest.mark.parametrize("moved", [False, True])
@in_loop
async def test_a_write_ahead_log_that_is_missing_after_a_crash_is_told(path: Path, *, moved: bool) -> None:
    """Also when part of it was moved into the file before more was acknowledged."""
    checkpoint = "store._database.connection.execute('PRAGMA wal_checkpoint(PASSIVE)')" if moved else ""
    before = f"asyncio.run(store.post(RunKey(DEFAULT_TENANT, RunId('r')), 'event', b'', 'before', 1)); {checkpoint}"
    acknowledged = _killed(path, before)
    kept = Path(f"{path}-wal").rename(path.with_name("kept"))
    Path(f"{path}-shm").unlink()
    with pytest.raises(DamagedStore, match=r"lacks commits that were acknowledged: its write-ahead log, runs.db-wal"):
        SqliteStore(path)
    with suppress(FileNotFoundError):
        Path(f"{path}-wal").unlink()
    kept.rename(f"{path}-wal")
    assert await _there(path) == acknowledged


@in_loop
async def test_a_write_ahead_log_without_its_file_is_not_deleted(path: Path) -> None:
    _killed(path)
    kept = path.rename(path.with_name("kept"))
    with pytest.raises(DamagedStore, match="put the file back beside it"):
        SqliteStore(path)
    kept.rename(path)
    assert len(await _there(path)) == 5


@in_loop
async def test_an_older_copy_in_the_place_of_a_store_is_told(path: Path) -> None:
    async with closed_after(SqliteStore(path)) as store:
        await _post(store, "before")
    shutil.copyfile(path, path.with_name("old"))
    async with closed_after(SqliteStore(path)) as store:
        await _post(store, "after")
    path.with_name("old").rename(path)
    with pytest.raises(DamagedStore, match=r"remove runs.db.lock to open what is here"):
        SqliteStore(path)
    Path(f"{path}.lock").unlink()
    await SqliteStore(path).close()


@in_loop
async def test_another_program_may_open_a_store_after_a_crash(path: Path) -> None:
    """It moves everything into the file and deletes the write-ahead log: nothing is missing."""
    acknowledged = _killed(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("SELECT count(*) FROM inbox").fetchall()
    assert not Path(f"{path}-wal").exists()
    assert await _there(path) == acknowledged


@in_loop
async def test_a_commit_writes_no_more_than_before(path: Path, store: SqliteStore) -> None:
    """The life grows when the log begins anew, or was moved into the file; not with each commit."""
    lives = []
    for number in range(50):
        await _post(store, f"{number}")
        lives.append(_life_in_lock(path))
    assert lives == [1] * 50
    store._database.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    await _post(store, "next")
    assert _life_in_lock(path) == 2


@in_loop
async def test_a_promise_waits_for_another_process_beside_the_loop(path: Path) -> None:
    """What was committed is acknowledged when its life is promised, also if somebody takes the file between the two."""
    async with closed_after(SqliteStore(path)) as store:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with closing(other):
            held: list[str] = []
            await _post(store, "first")
            assert _life_in_lock(path) == 1
            store._database.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            check = store._database._files.check_inodes

            def between() -> None:
                check()
                if not held:
                    held.append("once")
                    other.execute("BEGIN IMMEDIATE")

            store._database._files.check_inodes = between  # type: ignore[method-assign]
            posting = asyncio.ensure_future(_post(store, "second"))
            await asyncio.sleep(0.05)
            assert not posting.done()
            assert _life_in_lock(path) == 1
            other.execute("COMMIT")
            await posting
            assert _life_in_lock(path) == 2


@in_loop
async def test_a_store_behind_a_link_is_one_store(path: Path) -> None:
    path.with_name("link").symlink_to(path)
    async with closed_after(SqliteStore(path)) as store, closed_after(SqliteStore(path.with_name("link"))) as other:
        await store.leases.join("one")
        await other.leases.join("two")
        seen = [one for one in await store.leases.workers() if one.id == "two"] + [
            one for one in await other.leases.workers() if one.id == "one"
        ]
        assert [worker.is_dead for worker in seen] == [False, False]


@in_loop
async def test_a_store_with_two_names_is_refused(path: Path) -> None:
    await SqliteStore(path).close()
    os.link(path, path.with_name("second"))
    with pytest.raises(StoreUnavailable, match=r"has 2 names \(hard links\)"):
        SqliteStore(path.with_name("second"))
