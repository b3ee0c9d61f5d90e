"""Wrong input of every kind: the exit code says which kind, the message what and where, and never is there a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import FLOWS, MATH, Ran, cloche
from support.stores import closed_after

from cloche import Cloche, Policy, create_workflow
from cloche.store import InboxRow, SqliteStore

FAILED, USAGE, NOT_FOUND, STORE = 1, 2, 4, 5


def refused(ran: Ran, code: int, *said: str) -> None:
    assert (ran.code, ran.out) == (code, ""), ran
    assert "Traceback" not in ran.err
    assert "fault in cloche itself" not in ran.err
    for words in said:
        assert words in ran.err, ran.err


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere.py:math", "there is no file nowhere.py"),
        ("/", "there is no file /"),
        ("", "'' names no file or module: give path/to/file.py:name"),
        (":x", "':x' names no file or module"),
        ("..:x", "a relative import"),
        ("no_such_module:math", "No module named 'no_such_module'; give a file as path/to/file.py:name"),
        ("json:math", "json has no 'math'; it defines no workflow"),
        ("json", "json does not say which workflow; it defines no workflow"),
        (
            f"{FLOWS}:nothing",
            "has no 'nothing'; its workflows are: asking, asleep, changed_math, endless, escaping, failing, math",
        ),
        (FLOWS, "does not say which workflow; its workflows are:"),
        (f"{FLOWS}:not_a_workflow", "is a module, not a workflow"),
        (f"{FLOWS}:double", "is a Step, not a workflow"),
        (f"{FLOWS}:open_ended", "is not committed: end it with .commit()"),
        ("nowhere.json", "nowhere.json cannot be read: No such file"),
        ("x" * 5000 + ".py:y", "raised while it was imported"),
        ("x" * 5000 + ".json", "cannot be read: File name too long"),
    ],
)
def test_a_target_that_is_none(store: str, target: str, said: str) -> None:
    for command in (["run", target, "--store", store], ["worker", target, "--store", store], ["codegen", target]):
        refused(cloche(*command), USAGE, said)
    assert not Path(store).exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.py", "1 / 0", "raised while it was imported: ZeroDivisionError: division by zero"),
        ("a.py", "def (", "raised while it was imported: SyntaxError"),
        ("a.py", "import sys; sys.exit(0)", "raised while it was imported: SystemExit"),
        ("a.py", "import no_such_thing", "No module named 'no_such_thing'"),
        ("a.py", "\x00", "raised while it was imported"),
        ("a.json", "", "graph"),
        ("a.json", "{", "graph"),
        ("a.json", "[]", "graph"),
        ("a.json", "{}", "graph"),
        ("a.json", '{"format": 1, "id": "w", "nodes": []}', "w"),
        ("a.json", "[" * 100_000, "graph"),
    ],
)
def test_a_file_that_does_not_give_a_workflow(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    refused(cloche("codegen", f"{tmp_path / name}{':w' if name.endswith('.py') else ''}"), USAGE, said)


def test_a_graph_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    refused(cloche("codegen", str(tmp_path / "a.json")), USAGE)


def test_a_graph_whose_steps_are_nowhere(tmp_path: Path) -> None:
    (tmp_path / "math.json").write_text(cloche("graph", MATH, "--json").out)
    refused(cloche("codegen", str(tmp_path / "math.json")), USAGE, "double", "add-ten")
    refused(
        cloche("codegen", str(tmp_path / "math.json"), "--steps", "nowhere.py"), USAGE, "there is no file nowhere.py"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "--input is not JSON"),
        ("{", "--input is not JSON"),
        ("{'x': 1}", "--input is not JSON"),
        ("[" * 100_000, "--input is not JSON"),
        ("9" * 5000, "--input is not JSON"),
        ("@nowhere.json", "the input file nowhere.json cannot be read: No such file"),
        ("@", "cannot be read"),
        ("@/", "the input file / cannot be read: Is a directory"),
        ("null", "the input of workflow 'math' does not fit its schema"),
        ('{"x": "many"}', "x: Input should be a valid integer"),
        ('{"x": 1.5}', "x: Input should be a valid integer"),
        ("{}", "x: Field required"),
        ("NaN", "does not fit its schema"),
    ],
)
def test_an_input_that_is_wrong_starts_nothing(store: str, given: str, said: str) -> None:
    refused(cloche("run", MATH, "--input", given, "--store", store), USAGE, said)
    assert not Path(store).exists() or cloche("runs", "--store", store, "--json").out == ""


def test_an_input_that_is_not_utf_8_is_not_guessed_at(store: str, tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"x": "\xe9"}')
    refused(cloche("run", MATH, "--input", f"@{tmp_path / 'latin.json'}", "--store", store), USAGE, "is not JSON")
    refused(
        cloche("run", MATH, "--input", "-", "--store", store, given=b'{"x": "\xff"}'),
        USAGE,
        "standard input is not JSON",
    )
    refused(cloche("run", MATH, "--input", "-", "--store", store, given=b""), USAGE, "standard input is not JSON")


@pytest.mark.parametrize("name", ["", " go", "x" * 201, "go\x07"])
def test_an_event_that_nothing_can_wait_for(waiting: str, name: str) -> None:
    refused(cloche("event", "r1", name, "--store", waiting), USAGE, "is not 1 to 200 characters of text")
    assert cloche("event", "r1", name, "--store", waiting, "--json").json()["error"]["code"] == "invalid-input"
    assert asyncio.run(inbox_of(waiting)) == []


def test_an_event_that_is_too_large_for_its_run(waiting: str) -> None:
    large = json.dumps("x" * Policy().payload_bytes)
    refused(cloche("event", "r1", "go", "--data", "-", "--store", waiting, given=large), FAILED, "payload_bytes")
    ran = cloche("event", "r1", "go", "--data", "-", "--store", waiting, "--json", given=large)
    assert (ran.json()["error"]["code"], asyncio.run(inbox_of(waiting))) == ("limit-exceeded", [])


@pytest.fixture
def waiting(store: str) -> str:
    """The store, with run r1 in it, which waits for an event."""
    workflow = create_workflow(id="w").wait_for_event("go").commit()

    async def start() -> None:
        async with Cloche(store, workflows=[workflow]) as app:
            await app.start(workflow, run_id="r1")

    asyncio.run(start())
    return store


async def inbox_of(store: str) -> list[InboxRow]:
    async with closed_after(SqliteStore(store)) as found:
        return await found.requests()


READERS = (["show", "r2"], ["log", "r2"], ["replay", "r2"], ["verify", "r2"], ["export", "r2", "-o", "-"])


@pytest.mark.parametrize("command", READERS, ids=lambda command: command[0])
def test_a_run_that_is_not_there(one_run: str, command: list[str]) -> None:
    refused(cloche(*command, "--store", one_run), NOT_FOUND, "there is no run r2 in this store; 'cloche runs' lists")
    told = cloche(*command, "--store", one_run, "--json")
    assert (told.code, told.json()["error"]["code"]) == (NOT_FOUND, "not-found")
    refused(cloche(command[0], "r1", *command[2:], "--store", one_run, "--tenant", "other"), NOT_FOUND)


@pytest.mark.parametrize("command", READERS, ids=lambda command: command[0])
@pytest.mark.parametrize("id", ["", " ", "a\nb", "\x1b[2J", "x" * 201, "\udcff"])
def test_a_run_id_that_can_be_none(one_run: str, command: list[str], id: str) -> None:
    if command[0] == "verify" and id == "":
        pytest.skip("no run: the whole store")
    refused(cloche(command[0], id, *command[2:], "--store", one_run), USAGE, "run id")


def foreign(tmp_path: Path) -> Path:
    file = tmp_path / "foreign.db"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE customers (name)")
    return file


def not_sqlite(tmp_path: Path) -> Path:
    file = tmp_path / "notes.txt"
    file.write_text("Dear diary, today I was mistaken for a database. " * 40)
    return file


def newer(tmp_path: Path) -> Path:
    file = tmp_path / "newer.db"
    cloche("worker", MATH, "--store", str(file), "--once")
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 999")
    return file


def damaged(tmp_path: Path) -> Path:
    file = tmp_path / "damaged.db"
    cloche("run", MATH, "--input", '{"x": 1}', "--store", str(file), "--run-id", "r1")
    data = bytearray(file.read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 8] = b"\xff" * 8
    file.write_bytes(data)
    return file


def directory(tmp_path: Path) -> Path:
    return tmp_path


def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "no" / "such" / "place.db"


STORES = (foreign, not_sqlite, newer, damaged, directory, nowhere)
EVERY_COMMAND = (
    ["run", MATH, "--input", '{"x": 5}'],
    ["worker", MATH, "--once"],
    ["show", "r1"],
    ["log", "r1"],
    ["replay", "r1"],
    ["export", "r1", "-o", "-"],
)


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command[0])
@pytest.mark.parametrize("make", STORES, ids=lambda make: make.__name__)
def test_a_store_that_is_none(tmp_path: Path, command: list[str], make: object) -> None:
    assert callable(make)
    place: Path = make(tmp_path)
    before = place.read_bytes() if place.is_file() else b""
    ran = cloche(*command, "--store", str(place))
    refused(ran, STORE, str(place))
    assert (place.read_bytes() if place.is_file() else b"") == before  # it belongs to somebody


def test_a_damaged_store_is_found_by_verify(tmp_path: Path) -> None:
    ran = cloche("verify", "--store", str(damaged(tmp_path)))
    assert (ran.code in (3, 5), "Traceback" in ran.err, ran.err != "") == (True, False, True)


def test_a_file_to_import_that_is_none(store: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "noise").write_bytes(os.urandom(5000))
    for name, said in (
        ("nowhere", "cannot be read"),
        ("empty", "not a whole"),
        ("noise", "not a whole"),
        (".", "cannot"),
    ):
        refused(cloche("import", str(tmp_path / name), "--store", store), USAGE, said)
    assert cloche("runs", "--store", store).out == ""


def test_a_file_to_export_to_that_cannot_be_written(one_run: str, tmp_path: Path) -> None:
    refused(
        cloche("export", "r1", "-o", str(tmp_path / "no" / "place"), "--store", one_run), USAGE, "cannot be written"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["run", "a", "b"],
        ["runs", "--limit", "0"],
        ["runs", "--limit", "x"],
        ["show"],
        ["--wrong"],
    ],
)
def test_words_that_the_command_line_does_not_know(arguments: list[str]) -> None:
    refused(cloche(*arguments), USAGE, "Usage:")


def test_bytes_that_are_no_text_on_the_command_line(one_run: str) -> None:
    ran = subprocess.run(
        [sys.executable.encode(), b"-m", b"cloche.cli", b"show", b"\xff\xfe", b"--store", one_run.encode()],
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, b"Traceback" in ran.stderr) == (2, b"", False)


def test_errors_are_objects_for_programs(store: str) -> None:
    ran = cloche("run", MATH, "--input", '{"x": "many"}', "--store", store, "--json")
    assert (ran.code, ran.err) == (USAGE, "")
    assert ran.json()["error"]["code"] == "invalid-input"
    assert "x: Input should be a valid integer" in ran.json()["error"]["message"]
