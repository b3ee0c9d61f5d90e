"""What is said to move a run does move it: each command, each call and each button, of each reason for which a run rests."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import pytest
from support.apps import in_loop
from support.commands import cloche
from support.served import asker

from cloche import Client, Cloche, StepContext, create_step, create_workflow, http, start_child, workflow
from cloche.history import TenantId
from cloche.operations.moves import Action

ANSWER = {"add": 1}


def _ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"question": "?"})
    return data


def _fail(data: Any) -> Any:
    raise ValueError("down")


def flow(id: str, *steps: Any) -> Any:
    made = create_workflow(id=id)
    for one in steps:
        made = made.then(one)
    return made.commit()


ask, fails = create_step(id="ask", execute=_ask), create_step(id="fails", execute=_fail)
again = create_step(id="again", execute=_fail, retry_config={"attempts": 3, "delay_s": 3600})
one, two = create_step(id="one", execute=_ask), create_step(id="two", execute=_ask)
asks = flow("asks", ask)
waits = create_workflow(id="waits").wait_for_event("paid").commit()


@workflow(id="middle")
async def middle(data: Any) -> Any:
    return await start_child("asks", data)


@workflow(id="outer")
async def outer(data: Any) -> Any:
    return await start_child("middle", data)


@workflow(id="awaiting")
async def awaiting(data: Any) -> Any:
    return await start_child("waits", data)


FLOWS = [
    asks,
    waits,
    middle,
    outer,
    awaiting,
    flow("fails", fails),
    flow("again", again),
    create_workflow(id="both").parallel([one, two]).commit(),
    flow("nests", flow("inner", ask)),
    create_workflow(id="sleeps").sleep(86_400).commit(),
    create_workflow(id="entries").then(create_step(id="a", execute=lambda data: data)).sleep(86_400).commit(),
]


async def canceled(app: Cloche) -> None:
    await (await app.start("asks", 1, run_id="r1")).result()
    await app.cancel("r1")


async def paused(app: Cloche) -> None:
    await (await app.start("entries", 1, run_id="r1", per_step=True)).result()


async def held(app: Cloche) -> None:
    await (await app.start("asks", 1, run_id="r1")).result()
    await app.tenant("default").suspend("an audit")


async def in_quarantine(app: Cloche) -> None:
    version = await app.deploy("default", waits.graph)
    await app.start(version, run_id="r1")
    await said(app, "event")
    await app.tenant("default").quarantine(version, "a hole")


def of(id: str) -> Callable[[Cloche], Awaitable[None]]:
    async def begin(app: Cloche) -> None:
        await app.start(id, 1, run_id="r1")

    return begin


# How the run comes there, the kind of its reason, and the actions that are said to move it; those that need a TARGET, or a
# worker, are tried elsewhere.
SITUATIONS: dict[str, tuple[Callable[[Cloche], Awaitable[None]], str, list[str]]] = {
    "suspended": (of("asks"), "suspended", ["resume", "cancel"]),
    "two suspended": (of("both"), "suspended", ["resume", "resume", "cancel"]),
    "suspended in a nested workflow": (of("nests"), "suspended", ["resume", "cancel"]),
    "an event": (of("waits"), "event", ["event", "cancel"]),
    "a child": (of("middle"), "child", ["resume", "cancel"]),
    "a child of a child": (of("outer"), "child", ["resume", "cancel"]),
    "a child that waits for an event": (of("awaiting"), "child", ["event", "cancel"]),
    "asleep": (of("sleeps"), "timer", ["cancel"]),
    "to be tried again": (of("again"), "retry", ["cancel"]),
    "paused": (paused, "paused", ["resume", "cancel"]),
    "failed": (of("fails"), "ended", ["retry", "delete"]),
    "canceled": (canceled, "ended", ["retry", "delete"]),
    "held back": (held, "held", ["reinstate"]),
    "in quarantine": (in_quarantine, "held", ["release"]),
}
CASES = [(name, number) for name, (_, _, actions) in SITUATIONS.items() for number in range(len(actions))]


async def said(app: Cloche, kind: str, expected: Sequence[str] = ()) -> Sequence[Action]:
    """What is said to move the run, once it stands there for this reason."""
    async with asyncio.timeout(30):
        while True:
            reason = await app.why("r1")
            actions = [one for one in reason.actions if not expected or one.name in expected]
            if reason.kind == kind and (not expected or [one.name for one in actions] == list(expected)):
                return actions
            await asyncio.sleep(0.01)


async def state(store: str) -> list[Any]:
    """All that an action can change: runs, requests that wait for a worker, and what is held back."""
    async with Client(store) as client:
        found = client.connection.store
        asked = [
            (row.kind, row.key.run) for row in await found.requests()
        ]  # first: they go in the commit that moves a run
        rows = await client.list(all_tenants=True, limit=None)
        return [
            [(row.id, row.status, row.head_seq) for row in rows],
            asked,
            len(await found.holds(TenantId("default"))),
        ]


async def worked(store: str, asked: list[Any]) -> list[Any]:
    """How it stands when a worker has done what it was asked for."""
    async with Cloche(store, workflows=FLOWS), asyncio.timeout(30):
        while (now := await state(store)) == asked or now[1]:  # noqa: ASYNC110 - it is the store that is asked
            await asyncio.sleep(0.02)
    return now


def by_command(action: Action, store: str) -> None:
    words = [json.dumps(ANSWER) if word == "JSON" else word for word in shlex.split(action.command)[1:]]
    done = cloche(*words, "--store", store)
    assert done.code == 0, done.err


async def by_call(action: Action, store: str) -> None:
    call = action.call.removeprefix("await ").replace("…", repr(ANSWER))
    async with Client(store) as client:
        await eval(call, {"client": client})


async def by_button(action: Action, store: str) -> None:
    async with Client(store) as client, asker(http.app(client, auth=http.local)) as sent:
        place = urljoin(f"/v1/runs/{quote('r1', safe='')}/", action.href).rstrip("/")
        body = {"resume": {"data": ANSWER}, "event": {"payload": ANSWER}}.get(action.name)
        if body is not None and "step=" in action.call:  # of several steps the one that the button is for
            body = {**body, "step": action.call.split("step='")[1].split("'")[0]}  # type: ignore[dict-item]
        answer = await sent.request(action.method, place, json=body)
        assert answer.status_code < 300, answer.text


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Sequence[Action]]]:
    """The store of each situation, at rest, with what is said to move the run."""
    folder, made = tmp_path_factory.mktemp("scenes"), dict[str, tuple[Path, Sequence[Action]]]()

    async def make(name: str) -> tuple[Path, Sequence[Action]]:
        begin, kind, expected = SITUATIONS[name]
        file = folder / f"{len(made)}.db"
        async with Cloche(str(file), workflows=FLOWS) as app:
            await begin(app)
            return file, await said(app, kind, expected)

    def of(name: str) -> tuple[Path, Sequence[Action]]:
        if name not in made:
            made[name] = asyncio.run(make(name))
        return made[name]

    return of


@pytest.mark.parametrize("way", ["command", "call", "button"])
@pytest.mark.parametrize(("name", "number"), CASES, ids=[f"{name}-{number}" for name, number in CASES])
def test_what_is_said_to_move_a_run_moves_it(scenes: Any, tmp_path: Path, name: str, number: int, way: str) -> None:
    file, actions = scenes(name)
    action = actions[number]
    if way == "button" and not action.method:
        assert action.name in ("reinstate", "release")  # HTTP has none: an operator does it where the store is
        return
    store = str(tmp_path / "scene.db")
    shutil.copy(file, store)
    before = asyncio.run(state(store))
    if way == "command":
        by_command(action, store)
    elif way == "call":
        in_loop(by_call)(action, store)
    else:
        in_loop(by_button)(action, store)
    asked = asyncio.run(state(store))
    assert asked != before
    if asked[1]:  # it is a request, which a worker does
        assert asyncio.run(worked(store, asked))[0] != before[0]
