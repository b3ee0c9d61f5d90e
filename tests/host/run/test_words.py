"""What native workflows say: tasks, batches, races, scopes, hooks, tags, deadlines. Replayed, crashed, on each engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.apps import in_loop
from support.guests import needs_python

import cloche
from cloche import (
    Cloche,
    CompletionError,
    DirectEngine,
    ProcessEngine,
    SandboxEngine,
    create_task,
    gather,
    race,
    scope,
    sleep,
    step,
)
from cloche.testing import crash_everywhere

ENGINES: dict[str, Callable[[], Any]] = {
    "sandbox": SandboxEngine,
    "process": ProcessEngine,
    "direct": DirectEngine,
}
each_engine = pytest.mark.parametrize("engine", list(ENGINES))


class Declined(Exception):
    pass


@step
async def double(n: int) -> int:
    return 2 * n


@step
async def odd_only(n: int) -> int:
    if n % 2 == 0:
        raise Declined(f"{n} is even")
    return n


@step
async def undo(what: str) -> str:
    return f"undone: {what}"


async def twice(n: int) -> int:
    return await double(await double(n))


@cloche.workflow
async def tasks(n: int) -> list[Any]:
    begun = create_task(twice(n), name="early")
    late = create_task(double(100))
    await sleep(hours=1, name="cool-off")
    unwanted = create_task(sleep(days=400, name="never"))
    was_canceled = unwanted.cancel()
    return [await begun, await begun, await late, begun.name, late.name, was_canceled, unwanted.cancel()]


@cloche.workflow
async def batches(n: int) -> dict[str, Any]:
    done = await gather(*[odd_only(one) for one in range(n)], settle=True, limit=2)
    caught = []
    for one in done.failed:
        try:
            raise one.error
        except Declined as error:
            caught.append(f"{one.index} {one.name} {error}")
    enough = await gather(odd_only(1), odd_only(3), sleep(days=900), min_successes=2)
    try:
        await gather(odd_only(1), odd_only(2), odd_only(4), tolerated_failures=1)
    except CompletionError as error:
        lost = {"text": str(error), "kept": error.batch.values, "reason": error.batch.reason}
    return {
        "values": done.values,
        "caught": caught,
        "reason": done.reason,
        "first": [done[0]["status"], done[1].ok, done[1].value],
        "enough": [enough.reason, enough.values, enough[2].status],
        "lost": lost,
        "done": done,
    }


@cloche.workflow
async def named(n: int) -> list[Any]:
    name, value = await race(card=sleep(days=30), wire=double(n))
    with scope("refund"):
        both = await gather(double(1), twice(2))
        with scope("last"):
            again = await double(3)
    return [name, value, both, again, await double(4)]


@cloche.workflow
async def in_turns(n: int) -> list[int]:
    with scope("pages"):
        done = await gather(*[double(x) for x in range(n)], limit=2)
    return [*done, await double(n)]


@cloche.workflow
async def cleans_up(n: int) -> str:
    create_task(cleaned(), name="left")
    return f"{await double(n)}"


async def cleaned() -> None:
    try:
        await sleep(days=90)
    finally:
        await undo("left")


EXPECTED: dict[str, Any] = {
    "tasks": [40, 40, 200, "early", "double", True, False],
    "named": ["wire", 2, [2, 8], 6, 8],
    "cleans_up": "2",
}


@each_engine
@in_loop
async def test_each_word_runs_and_replays(engine: str) -> None:
    needs_python()
    async with Cloche("memory:", workflows=[tasks, named, cleans_up], engine=ENGINES[engine]()) as app:
        for one, value in ((named, 1), (cleans_up, 1)):
            run = await app.start(one, value, run_id=one.id)
            assert (await run.result()).unwrap() == EXPECTED[one.id]
            assert (await app.replay(run.id)).divergence is None


def test_tasks_are_begun_now_awaited_later_and_canceled() -> None:
    needs_python()
    report = crash_everywhere(tasks, 10)
    assert report.result.unwrap() == EXPECTED["tasks"]
    assert report.crashes == 8  # four commits: the start, a step, another, the sleep
    assert {"early/double", "early/double#2", "cool-off", "double"} <= set(report.result.steps)


def test_a_batch_has_what_succeeded_what_failed_and_why() -> None:
    needs_python()
    result = crash_everywhere(batches, 4).result.unwrap()
    assert result["values"] == [1, 3]
    assert result["caught"] == ["0 odd_only 0 is even", "2 odd_only 2 is even"]
    assert (result["reason"], result["first"]) == ("completed", ["failed", True, 1])
    assert result["enough"] == ["min_successes", [1, 3], "canceled"]
    told = "of 3, 1 have succeeded and 2 have failed; the first: Declined: 2 is even"
    assert result["lost"] == {"text": told, "kept": [1], "reason": "tolerated_failures"}
    assert [one["status"] for one in result["done"]] == ["failed", "success", "failed", "success"]


def test_a_race_says_who_has_won_and_a_scope_is_a_part_of_paths() -> None:
    needs_python()
    result = crash_everywhere(named, 1).result
    assert result.unwrap() == EXPECTED["named"]
    paths = ["double", "refund/double", "refund/double#2", "refund/double#3", "refund/last/double", "double#2"]
    assert [path for path in result.steps if "double" in path] == paths


@each_engine
@in_loop
async def test_calls_that_wait_for_their_turn_keep_their_scope(engine: str) -> None:
    needs_python()
    async with Cloche("memory:", workflows=[in_turns], engine=ENGINES[engine]()) as app:
        result = await (await app.start(in_turns, 4)).result()
    assert result.unwrap() == [0, 2, 4, 6, 8]
    assert sorted(result.steps) == ["double", "pages/double", *(f"pages/double#{number}" for number in (2, 3, 4))]


def test_a_task_that_nobody_has_awaited_is_canceled_and_cleans_up() -> None:
    needs_python()
    result = crash_everywhere(cleans_up, 1).result
    assert result.unwrap() == "2"
    assert result.steps["left/undo"].output == "undone: left"
