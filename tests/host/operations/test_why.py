"""Why a run does not move: `why.txt` has for each situation the reason, and what moves it, as a command, a call and a request.

Each command and each call is made as it is printed, on a copy of the store. `CLOCHE_GOLDEN=write` writes the table anew.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shlex
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support import situations as alone
from support import situations_with_others as others
from support.apps import AppOn, Journal, ManualWorld, in_loop
from support.commands import cloche as command
from support.commands import ended, process
from support.situations import Scene, data_on_its_way, flow_of, is_tried_again, retried, suspended_with_a_label

from cloche import Client, Cloche, Policy
from cloche.errors import NotFound
from cloche.operations.why import Why
from cloche.store import MemoryStore, open_store

TABLE = Path(__file__).with_name("why.txt")
FLOWS = Path(__file__).with_name("flows_to_upgrade.py")
HELPERS = {"flow_of", "fails", "has_asked", "in_loop", "until"}
SITUATIONS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    name: found
    for module in (alone, others)
    for name, found in vars(module).items()
    if asyncio.iscoroutinefunction(found)
    and found.__module__ == module.__name__
    and name not in HELPERS
    and name[0] != "_"
}
RUNS = {"of_another_tenant": "r 1", "a_retry_waits_for_a_permit": "r1 › r1", "a_retry_that_nobody_has_begun": "r1 › r1"}


def scene_on(app: Any, journal: Journal, file: Path = Path()) -> Scene:
    return Scene(app, journal, asyncio.Event(), file, app._running.services.world)


def told(name: str, why: Why) -> str:
    """As the table has it: without digests, which change with the guest."""
    lines = [f"{name}", f"  {why.kind}: {why.sentence}"]
    if why.step is not None:
        attempt = f", attempt {why.attempt} of {why.attempts_max or '?'}" if why.attempt else ""
        lines.append(f"  at {why.step}{attempt}")
    if why.last_error is not None:
        lines.append(f"  last error {why.last_error['name']}: {why.last_error['message']}")
    lines += [
        f"  asks {one.event or one.step}: {one.payload!r} {dict(one.schema) if one.schema else ''}".rstrip()
        for one in why.asked
    ]
    for one in why.actions:
        lines.append(f"  * {one.description}")
        lines += [f"      {line}" for line in (one.command, one.call) if line]
        lines += [f"      {one.method} {one.href}"] if one.method else []
    return re.sub(r"@[0-9a-f]{16}", "@…", "\n".join(lines))


def table() -> dict[str, str]:
    text = TABLE.read_text("utf-8") if TABLE.exists() else ""
    return {entry.split("\n", 1)[0]: entry for entry in text.strip().split("\n\n")}


@pytest.mark.parametrize("name", SITUATIONS)
@in_loop
async def test_each_situation_has_its_reason_and_what_moves_it(name: str, journal: Journal, tmp_path: Path) -> None:
    file, situation = tmp_path / "runs.db", SITUATIONS[name]
    policy = Policy(concurrent_runs=1) if name == "queued" else Policy()
    store = await open_store(file)
    async with AppOn(store, world=ManualWorld(), policy=policy, drain_timeout_s=0) as app:
        scene = scene_on(app, journal, file)
        await situation(scene)
        tenant, run = "acme & co" if name == "of_another_tenant" else "default", RUNS.get(name, "r1")
        async with Client(file, world=scene.world) as client:
            why = await client.tenant(tenant).why(run)
            assert await (await client.tenant(tenant).get(run)).why() == why
        assert why.since is not None
        expected = told(name, why)
        if os.environ.get("CLOCHE_GOLDEN") == "write":
            rows = {**table(), name: expected}
            TABLE.write_text("\n\n".join(rows[one] for one in SITUATIONS if one in rows) + "\n")
        assert expected == table()[name]
        await scene.more.aclose()
        await scene.leave()
    await store.close()
    assert [one.description for one in why.actions if not one.command] == [
        one.description for one in why.actions if one.name == "start-remote-worker"
    ]
    for number, action in enumerate(one for one in why.actions if one.command):
        copy = tmp_path / f"{number}.db"
        shutil.copy(file, copy)
        await typed(action.command, copy)
    await called([action.call for action in why.actions if "start-" not in action.name], file, tmp_path)


async def typed(line: str, store: Path) -> None:
    """A command as somebody pastes it, with what only they know."""
    known = {"JSON": '{"ok": true}', "TARGET": f"{FLOWS}:{'inner' if '›' in line else 'w'}"}
    words = [known.get(word, word) for word in shlex.split(line)[1:]] + ["--store", str(store)]
    if words[0] == "worker":  # which has signals of its own
        ran = await asyncio.to_thread(ended, process(*words, "--once"))
    else:
        ran = await asyncio.to_thread(command, *words)
    # The target has less than the run was begun with: a worker leaves it open, and an upgrade is refused.
    assert ran.code in {"worker": (0, 75), "upgrade": (0, 3)}.get(words[0], (0,)), (line, ran.out, ran.err)


async def called(calls: list[str], file: Path, folder: Path) -> None:
    """Each call of the program's as it stands there, on a copy of its own."""
    for number, call in enumerate(calls):
        copy = folder / f"call-{number}.db"
        shutil.copy(file, copy)
        code = compile(call.replace("…", "{'ok': True}"), "<call>", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if "app." in call:
            continue
        async with Client(copy) as client:
            await eval(code, {"client": client})


@in_loop
async def test_a_retry_says_attempt_error_and_when(journal: Journal) -> None:
    world = ManualWorld()
    async with AppOn(MemoryStore(), world=world) as app:
        await is_tried_again(scene_on(app, journal))
        found = await app.why("r1")
        assert (found.attempt, found.last_error) == (1, {"name": "ValueError", "message": "down"})
        assert found.until is not None
        assert found.until > world.now()


@in_loop
async def test_what_was_asked_and_what_is_on_its_way_are_said(journal: Journal) -> None:
    async with AppOn(MemoryStore(), world=ManualWorld()) as app:
        await data_on_its_way(scene_on(app, journal))
        assert (await app.why("r1")).on_its_way == ["data for ask"]
    async with AppOn(MemoryStore(), world=ManualWorld()) as app:
        await suspended_with_a_label(scene_on(app, journal))
        [asked] = (await app.why("r1")).asked
        assert (asked.payload, asked.labels) == ({"q": 1}, ("boss",))


@in_loop
async def test_lineage_is_said_both_ways(journal: Journal) -> None:
    async with AppOn(MemoryStore()) as app:
        await retried(scene_on(app, journal))
        assert (await app.why("r1")).retried_as == ["r1\x1fr1"]
        assert (await app.why("r1 › r1")).retry_of == "r1"
        with pytest.raises(NotFound):
            await app.why("r2")


@in_loop
async def test_runs_that_wait_for_a_worker_say_which(tmp_path: Path, journal: Journal) -> None:
    file = tmp_path / "runs.db"
    flow = flow_of(journal.inc())
    async with Client(file) as client:
        await client.start("w", {"v": 1}, run_id="r1")
        nobody = await client.why("r1")
        assert (nobody.kind, nobody.worker, nobody.actions[0].command) == ("no-worker", "w", "cloche worker TARGET")
        async with Cloche(file, workflows=[flow]) as app:
            await (await app.get("r1")).result()
        assert (await client.why("r1")).kind == "ended"


@pytest.mark.parametrize(
    "situation", ["waits_for_a_permit", "waits_for_a_permit_to_begin", "remote_that_nobody_takes", "held_back"]
)
@in_loop
async def test_the_sentence_of_a_view_says_the_same(situation: str, journal: Journal) -> None:
    async with AppOn(MemoryStore(), world=ManualWorld(), drain_timeout_s=0) as app:
        scene = scene_on(app, journal)
        await SITUATIONS[situation](scene)
        found = await app.why("r1")
        assert (await app.view("r1")).why.endswith(f": {found.sentence}")
        await scene.leave()
