"""What comes from outside: failures in place of events, signs of life, hooks with tokens; and deadlines and tags of a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel
from support.apps import in_loop, until
from support.guests import needs_python

import cloche
from cloche import (
    Client,
    Cloche,
    DirectEngine,
    Failure,
    HeartbeatTimeout,
    HookConflict,
    Kind,
    NotFound,
    RunView,
    SandboxEngine,
    UsageError,
    create_hook,
    create_workflow,
    set_deadline,
    set_tags,
    sleep,
    step,
    wait_for_event,
)
from cloche.history import DEFAULT_TENANT, RunKey
from cloche.history.ids import run_key
from cloche.store import MemoryStore
from cloche.testing import TestApp, VirtualTime, VirtualWorld, crash_everywhere

ENGINES: dict[str, Callable[[], Any]] = {"sandbox": SandboxEngine, "direct": DirectEngine}
each_engine = pytest.mark.parametrize("engine", list(ENGINES))


class Declined(Exception):
    pass


class Answer(BaseModel):
    n: int


@step
async def note(what: str) -> str:
    return what


@cloche.workflow
async def pays(order: str) -> str:
    try:
        return str(await wait_for_event("paid", timeout=timedelta(days=3)))
    except (Declined, Failure) as error:
        return await note(f"{type(error).__name__}: {error}")


@cloche.workflow
async def beats(order: str) -> str:
    try:
        return str(await wait_for_event("done", heartbeat=timedelta(minutes=5)))
    except HeartbeatTimeout as error:
        return f"silent: {error}"


@cloche.workflow
async def collects(token: str | None) -> list[Any]:
    hook = create_hook(schema=Answer, token=token, name="answers")
    await note(hook.token)
    found = [(await hook).n]
    async for answer in hook:
        found.append(answer.n)
        if answer.n == 0:
            hook.close()
    return found


@cloche.workflow
async def conflicts(token: str) -> str:
    hook = create_hook(token=token)
    try:
        return str(await hook)
    except HookConflict as error:
        return f"conflict: {error}"


@cloche.workflow
async def overdue(hours: int) -> str:
    set_deadline(hours=hours)
    try:
        await sleep(days=30)
    finally:
        await note("cleaned up")
    return "never"


@cloche.workflow
async def in_time(hours: int) -> str:
    set_deadline(hours=hours)
    await sleep(minutes=1)
    set_deadline(None)
    await sleep(days=30)
    return "in time"


@cloche.workflow
async def tagged(customer: str) -> str:
    set_tags(customer=customer, urgent=True, open=True)
    await note("a")
    set_tags(open=None)
    return customer


WORKFLOWS = [pays, beats, collects, conflicts, overdue, in_time, tagged]


# ---- failures from outside ----


def test_a_failure_from_outside_is_raised_as_what_it_is() -> None:
    needs_python()
    report = crash_everywhere(pays, "o-1", events={"paid": Declined("no money")})
    assert report.result.unwrap() == "Declined: no money"
    assert report.result.steps["paid"].error is not None
    assert report.result.steps["paid"].error.message == "no money"


@each_engine
@in_loop
async def test_a_failure_may_be_a_text(engine: str) -> None:
    needs_python()
    async with Cloche("memory:", workflows=WORKFLOWS, engine=ENGINES[engine]()) as app:
        run = await app.start(pays, "o-1")
        await app.send_event(run.id, "paid", error="the bank is closed", idempotency_key="k")
        assert (await run.result()).unwrap() == "Failure: the bank is closed"
        assert (await app.replay(run.id)).divergence is None
        assert Kind.HOOK_FAILED in [record.kind for record in await run.history()]


@in_loop
async def test_a_failure_fails_a_wait_of_the_builder() -> None:
    workflow = create_workflow(id="w").wait_for_event("paid").commit()
    async with Cloche("memory:", workflows=[workflow]) as app:
        run = await app.start(workflow, {})
        await app.send_event(run.id, "paid", error=Declined("no money"))
        result = await run.result()
        assert (result.status, result.error and result.error.name) == ("failed", "Declined")
        with pytest.raises(UsageError):
            await app.send_event(run.id, "paid", 1, error="both")


# ---- signs of life ----


async def _beaten(app: TestApp, times: int) -> str:
    run = await app.start(beats, "o-1", run_id="r1")
    for _ in range(times):
        await asyncio.sleep(240)
        await app.heartbeat_event("r1", "done")
    result: str = (await run.result()).unwrap()
    return result


@each_engine
def test_who_is_silent_for_too_long_fails_the_wait(engine: str) -> None:
    needs_python()

    async def lived() -> None:
        async with TestApp(*WORKFLOWS, engine=ENGINES[engine](), world=VirtualWorld()) as app:
            began = asyncio.get_running_loop().time()
            assert (await _beaten(app, 3)).startswith("silent: nobody was heard of for 300000 ms")
            assert 1019 <= asyncio.get_running_loop().time() - began <= 1023  # three beats, then five minutes
            kinds = [record.kind for record in await (await app.get("r1")).history()]
            assert kinds.count(Kind.HOOK_FAILED) == 1  # a beat is no record
            assert (await app.replay("r1")).divergence is None
            assert await app.store.requests(run_key("r1", DEFAULT_TENANT)) == []

    VirtualTime().run(lived())


def test_an_event_in_time_is_no_silence() -> None:
    needs_python()
    report = crash_everywhere(beats, "o-1", events={"done": "well"})
    assert report.result.unwrap() == "well"


def test_silence_is_found_by_whoever_takes_the_run_up() -> None:
    needs_python()
    assert "silent" in crash_everywhere(beats, "o-1").result.unwrap()


# ---- hooks ----


@each_engine
@in_loop
async def test_a_hook_takes_many_payloads_from_any_process(engine: str) -> None:
    needs_python()
    store = MemoryStore()
    async with TestApp(*WORKFLOWS, on=store, engine=ENGINES[engine]()) as app:
        run = await app.start(collects, "mine")
        await _opened(store, "mine")
        async with Client(store) as client:
            for n in (3, 2, 1):
                assert await client.resume_hook("mine", {"n": n}) == run.id
            await client.resume_hook("mine", {"n": 0}, idempotency_key="last")
        assert (await run.result()).unwrap() == [3, 2, 1, 0]
        assert (await app.replay(run.id)).divergence is None
        with pytest.raises(NotFound, match="no open hook has this token"):
            await app.resume_hook("mine", {"n": 0})


async def _opened(store: MemoryStore, token: str) -> RunKey:
    await until(lambda: store.waiting_for(DEFAULT_TENANT, token))
    return (await store.waiting_for(DEFAULT_TENANT, token))[0]


def test_a_hook_is_crashed_everywhere() -> None:
    needs_python()
    report = crash_everywhere(conflicts, "one", events={"one": "hello"})
    assert report.result.unwrap() == "hello"


def is_noted(seen: RunView) -> bool:
    steps = seen.result.steps
    return "note" in steps and steps["note"].output is not None


@in_loop
async def test_a_token_of_cloches_own_is_128_bits_and_another_in_each_run() -> None:
    needs_python()
    async with Cloche("memory:", workflows=WORKFLOWS) as app:
        tokens = set()
        for name in ("a", "b"):
            run = await app.start(collects, None, run_id=name)
            await until(partial(app.view, name), is_noted)
            token = (await app.view(name)).result.steps["note"].output
            assert len(bytes.fromhex(token)) == 16
            tokens.add(token)
            await app.resume_hook(token, {"n": 1})
            await app.resume_hook(token, {"n": 0})
            assert (await run.result()).unwrap() == [1, 0]
            assert (await app.replay(name)).divergence is None
        assert len(tokens) == 2


def clock() -> int:
    return time.time_ns() // 1_000_000


@each_engine
@in_loop
async def test_a_live_token_is_taken_once(engine: str) -> None:
    needs_python()
    store = MemoryStore()
    async with TestApp(*WORKFLOWS, on=store, engine=ENGINES[engine]()) as app:
        first = await app.start(conflicts, "door", run_id="z-first")
        await _opened(store, "door")
        opened = clock()
        await until(lambda: clock() > opened)
        second = await app.start(conflicts, "door", run_id="a-second")
        told = "conflict: another run waits with a hook that has the token 'door'"
        assert (await second.result()).unwrap() == told
        assert await app.resume_hook("door", "in") == first.id
        assert (await first.result()).unwrap() == "in"


# ---- deadlines and tags ----


def test_a_run_cleans_up_at_its_deadline_and_fails() -> None:
    needs_python()
    result = crash_everywhere(overdue, 8).result
    assert (result.status, result.error and result.error.name) == ("failed", "DeadlineExceeded")
    assert result.steps["note"].output == "cleaned up"


def test_a_deadline_that_is_taken_back_passes() -> None:
    needs_python()
    assert crash_everywhere(in_time, 8).result.unwrap() == "in time"


@each_engine
def test_tags_and_deadlines_are_seen(engine: str) -> None:
    needs_python()

    async def lived() -> None:
        async with TestApp(*WORKFLOWS, engine=ENGINES[engine](), world=VirtualWorld()) as app:
            result = await (await app.start(tagged, "c-17", run_id="r1")).result()
            assert result.tags == {"customer": "c-17", "urgent": True}
            late = await (await app.start(overdue, 8, run_id="r2")).result()
            assert (late.status, late.error and late.error.name) == ("failed", "DeadlineExceeded")
            assert late.deadline is not None
            for id in ("r1", "r2"):
                assert (await app.replay(id)).divergence is None

    VirtualTime().run(lived())
