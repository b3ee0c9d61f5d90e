"""`cloche export --all` and `cloche import`: all that a store holds goes to another one, whatever kind each is of."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from support import golden
from support.apps import run_in_loop
from support.commands import Ran, cloche
from support.postgres import require, shared_schemas
from support.stores import key

from cloche.cli import store as cli_store
from cloche.history import Record
from cloche.history.ids import RunId
from cloche.history.values import encode
from cloche.operations import stores
from cloche.store import InboxRow, RunRow, all_records
from cloche.store.sqlite.database import VERSION
from cloche.testing.clock import START
from cloche.worker.answers import start_token, token_of
from cloche.worker.start_request import StartRequest

KINDS = ("sqlite", "postgres")
RUNS = {"plain", "nested", "failing", "talking", "asking", "answered", "canceled", "sleeping", "hearing"}


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store."""
    if request.param == "sqlite":
        yield str(tmp_path / "other.db")
        return
    require()
    with shared_schemas().lend() as made:
        yield made


@pytest.fixture
def filled(tmp_path: Path) -> str:
    """A store with runs of each kind, an event that waits for one, and requests for one that is not there yet."""
    store = str(golden.unpack(VERSION, tmp_path / "golden.db"))
    run_in_loop(fill(store))
    return store


async def fill(url: str) -> None:
    async with stores.opened(url) as store:
        for number in range(2):
            token = token_of(key("sleeping"), "event", f"k{number}")
            await store.post(key("sleeping"), "event", encode(["paid", number]), token, START, kept=True, name="paid")
        start = StartRequest("plain", {"v": 1}).pack()
        await store.post(key("new"), "start", start, start_token(key("new")), START, kept=True)
        await store.post(key("new"), "event", encode(["go", 1]), token_of(key("new"), "event", "k"), START, name="go")


async def all_of(url: str) -> tuple[list[RunRow], dict[RunId, list[Record]], list[InboxRow]]:
    """What can be told of a store, without the numbers that it gives."""
    async with stores.opened(url) as store:
        rows = await store.runs()
        records = {row.key.run: await all_records(store, row.key) for row in rows}
        return rows, records, [replace(row, id=0) for row in await store.requests()]


def done(*arguments: str, code: int = 0) -> Ran:
    ran = cloche(*arguments)
    assert ran.code == code, ran.err
    return ran


@pytest.mark.parametrize("url", KINDS, indirect=True)
def test_everything_goes_there_and_back(filled: str, url: str, tmp_path: Path) -> None:
    there, back, last = str(tmp_path / "there"), str(tmp_path / "back"), str(tmp_path / "last.db")
    assert done("export", "--all", "-o", there, "--store", filled).out == f"{len(RUNS)} runs exported, each verified\n"
    assert done("import", "--own-code", there, "--store", url).out == f"{len(RUNS)} runs imported, each verified\n"
    done("export", "--all", "-o", back, "--store", url)
    assert Path(back).read_bytes().count(b"blobs/") == Path(there).read_bytes().count(b"blobs/")
    done("import", "--own-code", back, "--store", last)
    rows, records, requests = run_in_loop(all_of(filled))
    assert set(records) == RUNS
    for elsewhere in (url, last):
        found, same_records, same_requests = run_in_loop(all_of(elsewhere))
        assert [(row.key, row.status, row.wake_at, row.head_hash) for row in found] == [
            (row.key, row.status, row.wake_at, row.head_hash) for row in rows
        ]
        assert same_records == records
        assert [row.token for row in same_requests] == [row.token for row in requests]
        assert same_requests == requests
        verified = done("verify", "--store", elsewhere).out
        assert f"of {len(RUNS)} runs are what was written" in verified


@pytest.mark.parametrize("url", KINDS, indirect=True)
def test_an_import_that_was_interrupted_is_made_again(filled: str, url: str, tmp_path: Path) -> None:
    file = str(tmp_path / "all")
    done("export", "--all", "-o", file, "--store", filled)
    done("export", "plain", "-o", f"{file}.one", "--store", filled)
    done("import", "--own-code", f"{file}.one", "--store", url)
    for _ in range(2):
        assert done("import", "--own-code", file, "--store", url, "--json").json() == {
            "runs": len(RUNS),
            "is_complete": True,
        }
    assert len(run_in_loop(all_of(url))[2]) == 4


def test_long_work_says_how_far_it_is(filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_store, "PROGRESS_EVERY_S", 0.0)
    said = [f"{number} of {len(RUNS)} runs" for number in range(1, len(RUNS) + 1)]
    assert done("export", "--all", "-o", str(tmp_path / "all"), "--store", filled).err.splitlines() == said
    ran = done("import", "--own-code", str(tmp_path / "all"), "--store", str(tmp_path / "other.db"))
    assert ran.err.splitlines() == said


def test_code_that_is_not_known_is_held_to_the_strict_policy(filled: str, tmp_path: Path) -> None:
    file, other = str(tmp_path / "all"), str(tmp_path / "other.db")
    done("export", "--all", "-o", file, "--store", filled)
    ran = done("import", file, "--store", other, code=2)
    assert ran.out == "0 runs imported, each verified\n"
    assert ran.err.count("was promised fuel_per_load") == len(RUNS)  # the first of the bounds that are wider
    assert done("import", "--any-limits", file, "--store", other).out == f"{len(RUNS)} runs imported, each verified\n"


def test_one_tenant_is_exported_alone(filled: str, tmp_path: Path) -> None:
    file = str(tmp_path / "all")
    assert done("export", "--all", "--tenant", "acme", "-o", file, "--store", filled, "--json").json()["runs"] == 0
    assert done("import", file, "--store", str(tmp_path / "other.db")).out == "0 runs imported, each verified\n"


def test_a_run_that_is_refused_keeps_no_other_one_back(filled: str, tmp_path: Path) -> None:
    file, other = str(tmp_path / "all"), str(tmp_path / "other.db")
    done("export", "--all", "-o", file, "--store", filled)
    broken = repacked(Path(file).read_bytes(), {"runs/3": lambda data: data[:-1] + bytes([data[-1] ^ 1])})
    Path(file).write_bytes(broken)
    ran = done("import", "--own-code", file, "--store", other, code=2)
    assert f"{len(RUNS) - 1} runs imported" in ran.out
    assert "its closing digest does not fit" in ran.err


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("deflated", "was packed again by another program"),
        ("no blobs", "this file of many runs cannot be read"),
        ("cut off", "this file of many runs cannot be read"),
        ("starts", "a request in this file is none that could have been made for its run"),
    ],
)
def test_a_file_that_is_none_is_refused(filled: str, tmp_path: Path, what: str, said: str) -> None:
    file = tmp_path / "all"
    done("export", "--all", "-o", str(file), "--store", filled)
    data = file.read_bytes()
    match what:
        case "deflated":
            data = repacked(data, {}, compression=ZIP_DEFLATED)
        case "no blobs":
            data = repacked(data, {}, without="blobs/")
        case "starts":
            data = repacked(data, {"starts": lambda data: data.replace(b"start", b"steal")})
        case _:
            data = data[:1000] + data[1001:]
    file.write_bytes(data)
    assert said in done("import", str(file), "--store", str(tmp_path / "other.db"), code=2).err


def repacked(data: bytes, changes: dict[str, object], *, compression: int = 0, without: str = "-") -> bytes:
    out = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as given, ZipFile(out, "w", compression) as made:
        for name in itertools.filterfalse(lambda name: name.startswith(without), given.namelist()):
            change = changes.get(name, lambda data: data)
            assert callable(change)
            made.writestr(name, change(given.read(name)))
    return out.getvalue()


def test_one_run_or_all(tmp_path: Path) -> None:
    assert "name one run, or give --all" in done("export", "-o", str(tmp_path / "x"), code=2).err
    assert "name one run, or give --all" in done("export", "r", "--all", "-o", str(tmp_path / "x"), code=2).err
