"""Thirty programs more, of calls and files that came after the first ones: numbers without end, names, what packages say.

Each is refused in words of cloche's own, in few of them, or answered, and nobody else waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hostile.platform import Mode, javascript
from hostile.test_thirty_more import HALF, LONG, MESSAGE_MAX, WAITS, app_on
from support.apps import in_loop

from cloche.errors import ClocheError, DeployRefused, LimitExceeded
from cloche.operations.schedules import UPCOMING_MAX
from cloche.operations.typescript import deploying
from cloche.text import MESSAGE_CHARS_MAX, QUOTED_CHARS_MAX, brief, quoted

BEYOND = 2**70  # what no database counts to
ENDLESS = 10**5_000  # what Python does not write down
MANY = javascript("await Promise.all([...Array(900).keys()].map((i) => step('echo')(i)));")


def of_run(name: str, *given: Any, **named: Any) -> Callable[[Any, Any], Awaitable[object]]:
    async def asked(mallory: Any, app: Any) -> object:
        found: object = await getattr(await mallory.get("r"), name)(*given, **named)
        return found

    return asked


def streamed(since: Any) -> Callable[[Any, Any], Awaitable[object]]:
    async def asked(mallory: Any, app: Any) -> object:
        return [record async for record in (await mallory.get("r")).stream(since)]

    return asked


def scheduled(**times: Any) -> Callable[[Any, Any], Awaitable[object]]:
    return lambda mallory, app: mallory.schedules.put("s", "ok", **times)


async def looked_ahead(mallory: Any, app: Any) -> object:
    await mallory.schedules.put("s", "ok", every=60)
    return await mallory.schedules.upcoming("s", -1)


async def forked(mallory: Any, app: Any) -> object:
    await mallory.deploy(MANY, workflow="many", language="javascript")
    await mallory.start("many", 1, run_id="many")
    try:
        return await mallory.fork("many", at="none")
    finally:
        await mallory.cancel("many")
        await (await mallory.get("many")).result()
        await mallory.delete("many")


def brought(files: Any, main: Any = "flow.ts") -> Callable[[Any, Any], Awaitable[object]]:
    return lambda mallory, app: mallory.deploy(files=files, main=main, workflow="z")


ASKED: dict[str, Callable[[Any, Any], Awaitable[object]]] = {
    "a deadline of digits": lambda m, app: m.start("ok", 1, deadline="1" * 40_000),
    "a deadline of megabytes": lambda m, app: m.start("ok", 1, deadline=LONG),
    "a deadline without end": lambda m, app: m.start("ok", 1, deadline=ENDLESS),
    "a run id without end": lambda m, app: m.start("ok", 1, run_id=ENDLESS),
    "records beyond all counts": of_run("records", BEYOND),
    "more records than there are numbers": of_run("records", 0, BEYOND),
    "fewer records than none": of_run("records", 0, -7),
    "a history beyond all counts": of_run("history", BEYOND),
    "a stream from beyond": streamed(BEYOND),
    "a stream from a text": streamed("abc"),
    "more runs than there are numbers": lambda m, app: m.list(limit=BEYOND),
    "runs of after all time": lambda m, app: m.find(since=BEYOND),
    "runs of before all time": lambda m, app: m.find(since=datetime.min),
    "runs by what they do not have": lambda m, app: m.bulk("cancel", where={"nope": 1}, dry_run=True),
    "many runs, and an action of megabytes": lambda m, app: m.bulk(LONG),
    "versions of half a character": lambda m, app: m.versions(HALF),
    "an item without end": lambda m, app: m.resume("r", step="x", foreach_index=ENDLESS, resume_data=1),
    "a label of megabytes": lambda m, app: m.resume("r", label=LONG, resume_data=1),
    "a step of a hundred thousand parts": lambda m, app: m.resume("r", step=["a"] * 100_000, resume_data=1),
    "an error without a message": lambda m, app: m.send_event("r", "e", error={"name": 1}),
    "a place to fork at that is none of many": forked,
    "a schedule without end": scheduled(every=ENDLESS),
    "a schedule that catches up without end": scheduled(every=60, catch_up_max=ENDLESS),
    "a schedule of megabytes of cron": scheduled(cron="* " * 1_000_000),
    "a schedule that overlaps by megabytes": scheduled(every=60, overlap=LONG),
    "a look ahead by less than nothing": looked_ahead,
    "a schedule's name of megabytes": lambda m, app: m.schedules.get(LONG),
    "files that are numbers": brought({"flow.ts": 5}),
    "files that are a list": brought([1]),
    "a main file that is a number": brought({"flow.ts": "x"}, 5),
    "a path of megabytes": brought({"a/" * 50_000 + "x.ts": "", "flow.ts": "x"}),
    "files of half a character": brought({"flow.ts": HALF}),
    "more files than anybody has": brought(dict.fromkeys(map(str, range(deploying.FILES_MAX)), "") | {"flow.ts": ""}),
    "more bytes than anybody has": brought({"flow.ts": "", "big": bytes(deploying.BYTES_MAX)}),
}  # fmt: skip


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
            assert [row.key.run for row in await mallory.list()] == ["r"]

    live()


# ---- what the packages of a project say -------------------------------------------------------------------------------

FLOW = "export async function z(n: number) { 'use workflow'; return n; }\n"


def importing(name: str) -> str:
    return f"import {{ x }} from {json.dumps(name)};\n{FLOW.replace('return n', 'return n + x')}"


def doubling(folders: int) -> dict[str, str]:
    """Each folder leads to the next one twice, and the last one nowhere: so many are two to the power of that."""
    told = {
        f"p{n}/package.json": json.dumps({"module": f"../p{n + 1}", "main": f"../p{n + 1}"}) for n in range(folders)
    }
    return {"flow.ts": importing("./p0"), **told}


IN_PACKAGE = {"flow.ts": importing("p"), "node_modules/p/package.json": '{"main": "i.js"}'}
FILES: dict[str, tuple[dict[str, str], str]] = {
    "a comment that begins again and again": (
        {"flow.ts": importing("p"), "tsconfig.json": "/* " * 150_000}, "cannot be used in a workflow",
    ),
    "a text that is escaped and does not end": (
        {"flow.ts": importing("p"), "tsconfig.json": '"' + '\\"' * 150_000 + "\\"}, "cannot be used in a workflow",
    ),
    "a folder that is described by itself": (
        {"flow.ts": importing("./p"), "p/package.json": '{"main": "."}'}, "leads from one to the next",
    ),
    "folders that lead on twice each": (doubling(40), "looks at files and names"),
    "a name that stands for ninety thousand": (
        {
            "flow.ts": "".join(f"import 'a{n}';\n" for n in range(9)) + FLOW,
            "tsconfig.json": json.dumps({"compilerOptions": {"paths": {"*": ["./*"] * 90_000}}}),
        },
        "looks at files and names",
    ),
    "exports in each other": (
        {
            "flow.ts": importing("p/q"),
            "node_modules/p/package.json": '{"exports": {"./q": ' + "[" * 900 + '"x"' + "]" * 900 + "}}",
        },
        "cannot be used in a workflow",
    ),
    "a name of half a megabyte": ({"flow.ts": importing("p" * 500_000)}, "flow.ts:1:1"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_packages_say_is_looked_through_in_bounds(mode: Mode, name: str, tmp_path: Path) -> None:
    """All of it is read in the host's process: one text held up everybody, for hours."""
    files, why = FILES[name]

    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db") as app:
            mallory = app.tenant("mallory")
            with pytest.raises(DeployRefused) as refused:
                await mallory.deploy(files=files, main="flow.ts", workflow="z")
            assert why in refused.value.message
            assert len(refused.value.message) <= MESSAGE_CHARS_MAX
            await mallory.deploy(files={"flow.ts": FLOW}, main="flow.ts", workflow="z")
            assert (await (await mallory.start("z", 3)).result()).unwrap() == 3

    live()


def test_a_module_of_blank_lines_is_read_once(mode: Mode, tmp_path: Path) -> None:
    """Whether it is a module was looked for anew from each of its lines, through all that follow."""
    files = {**IN_PACKAGE, "node_modules/p/i.js": "\n" * 120_000 + "exports.x = 4;"}

    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db") as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(files=files, main="flow.ts", workflow="z")
            assert (await (await mallory.start("z", 3)).result()).unwrap() == 7

    live()


# ---- what is not bounded by being refused -----------------------------------------------------------------------------


def test_a_schedule_gives_its_runs_no_more_than_a_start_does(mode: Mode, tmp_path: Path) -> None:
    """Sixteen megabytes were kept, of a tenant whose runs take one."""

    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db") as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(WAITS, workflow="ok", language="javascript")
            with pytest.raises(LimitExceeded, match="payload_bytes"):
                await mallory.schedules.put("s", "ok", every=60, input=LONG)
            assert await mallory.schedules.list() == []

    live()


def test_no_more_instants_are_told_than_anybody_reads(mode: Mode, tmp_path: Path) -> None:
    """A thousand million of them took all memory."""

    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db") as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(WAITS, workflow="ok", language="javascript")
            await mallory.schedules.put("s", "ok", every=60)
            assert len(await mallory.schedules.upcoming("s", 10**9)) == UPCOMING_MAX

    live()


def test_no_message_is_longer_than_people_read() -> None:
    told = ClocheError(f"{LONG}: do this next")
    assert len(told.message) <= MESSAGE_CHARS_MAX
    assert told.message.startswith("xxx")
    assert told.message.endswith("do this next")
    assert ClocheError(told.message).message == told.message
    assert brief("x" * MESSAGE_CHARS_MAX) == "x" * MESSAGE_CHARS_MAX
    assert quoted({"a": "\x1b"}) == r"{'a': '\x1b'}"
    assert len(quoted(LONG)) <= QUOTED_CHARS_MAX
    assert quoted(ENDLESS) == "one of type int that is too large to be written down"
