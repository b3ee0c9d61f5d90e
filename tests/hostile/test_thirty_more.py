"""Thirty programs more: what a platform passes on for a tenant, and what a tenant's code asks for, in forms that nobody means.

Each is refused in words of cloche's own, in a message that a person can read, or ends its own run; and the next one is served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, javascript, python
from support.apps import AppOn, Journal, in_loop
from support.guests import needs_python

from cloche import Grant, Limits, Policy
from cloche.errors import ClocheError
from cloche.store import SqliteStore

HALF = "\ud800"
LONG = "x" * 3_000_000
MESSAGE_MAX = 5_000  # characters
WAITS = javascript("return await cloche.waitForEvent('w', 'go', 0);")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def within_itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


ASKED: dict[str, Callable[[Any, Any], Awaitable[object]]] = {
    "a tag of half a character": lambda m, app: m.start("ok", 1, tags={"a": HALF}),
    "tags without end": lambda m, app: m.start("ok", 1, tags={str(n): "x" for n in range(50_000)}),
    "a tag that is no text": lambda m, app: m.start("ok", 1, tags={1: 2}),
    "an input within itself": lambda m, app: m.start("ok", within_itself()),
    "an input that is deep": lambda m, app: m.start("ok", nested(50_000)),
    "a context within itself": lambda m, app: m.start("ok", 1, request_context={"a": within_itself()}),
    "a state that is a list": lambda m, app: m.start("ok", 1, initial_state=[1]),
    "a run id that is a list": lambda m, app: m.start("ok", 1, run_id=[1]),
    "a run id of megabytes": lambda m, app: m.start("ok", 1, run_id=LONG),
    "a run id of many ends": lambda m, app: m.get("r" + " › 1" * 500_000),
    "a workflow's name of megabytes": lambda m, app: m.start(LONG, 1),
    "a workflow's name of half a character": lambda m, app: m.start("w" + HALF, 1),
    "an event's name of megabytes": lambda m, app: m.send_event("r", LONG, 1),
    "an event within itself": lambda m, app: m.send_event("r", "e", within_itself()),
    "a key of half a character": lambda m, app: m.send_event("r", "e", 1, idempotency_key=HALF),
    "data to resume with that is deep": lambda m, app: m.resume("r", resume_data=nested(5_000)),
    "a tenant of megabytes": lambda m, app: app.tenant(LONG).list(),
    "code that is bytes": lambda m, app: m.deploy(b"x", workflow="w", language="python"),
    "a workflow that is a number": lambda m, app: m.deploy("x", workflow=5, language="python"),
    "a graph that is deep": lambda m, app: m.deploy("[" * 100_000),
    "a graph that is a number": lambda m, app: m.deploy("9" * 900_000),
    "files that are a list": lambda m, app: m.deploy(files=[1], workflow="w"),
    "files by number": lambda m, app: m.deploy(files={5: "a"}, workflow="w"),
    "a file above the folder": lambda m, app: m.deploy(files={"../x.py": "a", "main.py": "x"}, workflow="w"),
    "a wheel that is none": lambda m, app: m.deploy(
        files={"a.whl": b"PK\3\4" + b"x" * 99, "main.py": "x"}, workflow="w"
    ),
    "a file to import that is text": lambda m, app: app.import_("x" * 1_000),
    "code to evaluate that is bytes": lambda m, app: m.evaluate(b"async def main(): pass"),
    "a step to evaluate with that is a number": lambda m, app: m.evaluate("async def main(): pass", steps=[5]),
    "a version that is a number": lambda m, app: m.withdraw(5),
    "a fork at half a character": lambda m, app: m.fork("r", at=HALF),
}
LOOKS: dict[str, Callable[[Any, Any], Awaitable[object]]] = {
    "text that is half a character": lambda m, app: m.find(text=HALF),
    "a workflow that is half a character": lambda m, app: m.find(workflow=HALF),
    "whoever deploys speaks to the terminal": lambda m, app: m.deploy(
        WAITS, workflow="ok", language="javascript", by=HALF + "\x1b[2J" + LONG
    ),
}


def app_on(mode: Mode, path: Path) -> AppOn:
    policies = {"mallory": Policy.strict(steps=[Grant(step="echo")])}
    steps = [Journal().step("echo")]
    return AppOn(SqliteStore(path), engine=ENGINES[mode](Limits()), policy=Policy(), policies=policies, steps=steps)


@pytest.mark.parametrize("name", ASKED)
def test_what_nobody_means_is_refused_in_words(mode: Mode, name: str, tmp_path: Path) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db") as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(WAITS, workflow="ok", language="javascript")
            await mallory.start("ok", 1, run_id="r")
            with pytest.raises(ClocheError) as refused:
                await ASKED[name](mallory, app)
            assert len(refused.value.message) < MESSAGE_MAX
            refused.value.message.encode()
            assert [row.key.run for row in await mallory.list()] == ["r"]

    live()


@pytest.mark.parametrize("name", LOOKS)
def test_what_is_only_odd_is_answered(mode: Mode, name: str, tmp_path: Path) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db") as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(WAITS, workflow="ok", language="javascript")
            with suppress(ClocheError):
                await LOOKS[name](mallory, app)
            told = await app.store.audit_log()
            assert all(len(entry.actor) <= 200 and entry.actor.isprintable() for entry in told)

    live()


CODE = {
    "an id that spins": ("await cloche.child('c', { toString() { for (;;); } }, 1)", {"TypeError", "FuelExhausted"}),
    "an event's name of megabytes": (
        "await cloche.waitForEvent('w', 'x'.repeat(1e6), 0)",
        {"LimitExceeded", "FuelExhausted", "TypeError", "Error", "RangeError"},
    ),
    "a result whose keys spin": ("return new Proxy({}, { ownKeys() { for (;;); } })", {"TypeError", "FuelExhausted"}),
    "an error without a text": ("return { get a() { throw { toString() { throw 1 } } } }", {"Error"}),
    "an array of four billion": ("const a = []; a[4294967294] = 1; return a", {"FuelExhausted", "MemoryExhausted"}),
}


@pytest.mark.parametrize("name", CODE)
def test_code_that_asks_so_ends_its_own_run(mode: Mode, name: str, tmp_path: Path) -> None:
    body, ends = CODE[name]

    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db") as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(javascript(body), workflow="w", language="javascript")
            result = await (await mallory.start("w", 1, run_id="r1")).result()
            assert (result.status, result.error and result.error.name in ends) == ("failed", True)
            assert (await mallory.replay("r1")).ok

    live()


IN_PYTHON = {
    "a deadline without end": ("cloche.set_deadline(float('inf'))", "ValueError"),
    "a deadline before time": ("cloche.set_deadline(-10**400)", "ValueError"),
    "fewer successes than none": ("await gather(step('echo')(1), min_successes=-5)", "ValueError"),
    "a race of nobody": ("await race()", "ValueError"),
    "a sleep of no time": ("await cloche.sleep(float('nan'))", "ValueError"),
    "a sleep whose name turns around": ("await cloche.sleep(1, name='\\u202e')", "ValueError"),
    "a heart that beats backwards": ("await cloche.wait_for_event('e', heartbeat=-1)", "ValueError"),
    "tags without end": ("cloche.set_tags(**{f't{n}': 'x' for n in range(999)})", "ValueError"),
    "a tag of half a character": ("cloche.set_tags(a='\\ud800')", "ValueError"),
}


@pytest.mark.parametrize("name", IN_PYTHON)
def test_python_that_asks_so_ends_its_own_run(name: str, tmp_path: Path) -> None:
    needs_python()
    body, error = IN_PYTHON[name]

    @in_loop
    async def live() -> None:
        async with app_on("in-process", tmp_path / "store.db") as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(python(body), workflow="w", language="python")
            result = await (await mallory.start("w", 1, run_id="r1")).result()
            assert (result.status, result.error and result.error.name) == ("failed", error)
            assert (await mallory.replay("r1")).ok

    live()
