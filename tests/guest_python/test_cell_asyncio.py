"""`asyncio` in a workflow: Python's own package on the run's loop, whose timers are durable."""

from __future__ import annotations

from typing import Any

import pytest
from guest.cells import COMPLETE, FAIL, LOG, NOW, STEP, TIMER, Cell
from guest_python.python_cells import outcome, python_cell, workflow

HEAD = "import asyncio\n"


def started(body: str, head: str = HEAD) -> tuple[Cell, list[Any]]:
    cell = python_cell(workflow(body, head=head))
    return cell, cell.start()


def asked(commands: list[Any]) -> list[Any]:
    """Kind, number and path of the calls."""
    return [command[:3] for command in commands if command[0] in (STEP, TIMER)]


def test_gather_asks_for_its_steps_at_once() -> None:
    cell, commands = started("return await asyncio.gather(step('a')(1), step('b')(2))")

    assert asked(commands) == [[STEP, 1, "a"], [STEP, 2, "b"]]
    assert cell.complete(2, "two") == []
    assert cell.complete(1, "one") == [[COMPLETE, ["one", "two"]]]


def test_a_sleep_is_a_durable_timer() -> None:
    cell, [timer] = started("await asyncio.sleep(90)\nreturn asyncio.get_running_loop().time()")

    assert timer[:4] == [TIMER, 1, "sleep", NOW + 90_000]
    assert cell.turn([4, NOW + 90_000, 1]) == [[COMPLETE, (NOW + 90_000) / 1000]]


def test_a_timeout_cancels_what_takes_too_long() -> None:
    body = (
        "try:\n    async with asyncio.timeout(5):\n        await step('slow')()\n"
        "except TimeoutError:\n    return 'too late'"
    )
    cell, commands = started(body)

    assert asked(commands) == [[TIMER, 1, "sleep"], [STEP, 2, "slow"]]
    assert cell.turn([4, NOW + 5_000, 1])[-1] == [COMPLETE, "too late"]


def test_a_timeout_that_is_not_met_is_dropped() -> None:
    cell, _ = started("return await asyncio.wait_for(step('quick')(), 5)")

    assert [command[0] for command in cell.complete(2, "done")] == [9, COMPLETE]


def test_a_call_of_a_step_is_a_task_as_it_is() -> None:
    """A step is no coroutine function here, and is one where the workflow's author has learnt asyncio."""
    cell, commands = started(
        "first, other = asyncio.create_task(step('a')(1)), asyncio.create_task(step('b')(2))\n"
        "async with asyncio.TaskGroup() as group:\n    third = group.create_task(step('c')(3))\n"
        "return [await first, await other, third.result()]"
    )
    assert [path for _, _, path in asked(commands)] == ["a", "b", "c"]
    cell.complete(3, "three")
    cell.complete(1, "one")
    assert cell.complete(2, "two") == [[COMPLETE, ["one", "two", "three"]]]


@pytest.mark.parametrize("begin", ["asyncio.create_task", "cloche.create_task", "asyncio.ensure_future"])
def test_what_was_begun_is_waited_for_by_asyncio(begin: str) -> None:
    body = (
        f"tasks = [{begin}(step('a')()), {begin}(step('b')())]\n"
        "done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)\n"
        "assert done == {tasks[1]} and pending == {tasks[0]}\n"
        "return [await tasks[1], await tasks[0]]"
    )
    cell, _ = started(body, "import asyncio, cloche\n")
    assert cell.complete(2, "two") == []
    assert cell.complete(1, "one") == [[COMPLETE, ["two", "one"]]]


def test_asyncio_waits_for_several_and_says_so() -> None:
    _, commands = started("await asyncio.wait(step('a')())")
    assert commands[-1][1]["message"] == "asyncio.wait takes several tasks, not one StepCall"


def test_a_task_that_lost_a_race_says_why_it_is_canceled() -> None:
    body = (
        "slow = cloche.create_task(step('slow')())\n"
        "await cloche.race(quick=step('quick')(), slow=slow)\nreturn await slow"
    )
    cell, _ = started(body, "import cloche\n")
    failed = cell.complete(2, 1)[-1]
    assert (failed[0], failed[1]["name"]) == (FAIL, "Canceled")
    assert failed[1]["message"].startswith("this task was canceled: by its cancel(), or by a race")


def test_a_task_of_cloche_names_what_asyncio_has() -> None:
    _, commands = started("cloche.create_task(step('a')()).result()", "import cloche\n")
    assert "asyncio.create_task gives a task that has all of asyncio's" in commands[-1][1]["message"]


@pytest.mark.parametrize("duration", ["float('nan')", "float('inf')", "1e300", "-1e300", "10**400"])
@pytest.mark.parametrize("call", ["await cloche.sleep({})", "cloche.set_deadline({})"])
def test_what_is_no_time_to_wait_is_told(call: str, duration: str) -> None:
    _, commands = started(call.format(duration), "import cloche\n")
    assert commands[-1][0] == FAIL
    assert commands[-1][1]["name"] == "ValueError"
    assert commands[-1][1]["message"].startswith("a time to wait is a number of seconds")


def test_a_task_group_cancels_the_others() -> None:
    body = (
        "async def fails():\n    await step('a')()\n    raise ValueError('no')\n"
        "async def waits():\n    try:\n        await step('b')()\n    except asyncio.CancelledError:\n"
        "        seen.append('canceled')\n        raise\n"
        "seen = []\n"
        "try:\n    async with asyncio.TaskGroup() as group:\n        group.create_task(fails())\n"
        "        group.create_task(waits())\n"
        "except* ValueError as error:\n    seen.append(str(error.exceptions[0]))\nreturn seen"
    )
    cell, _ = started(body)

    assert cell.complete(1)[-1] == [COMPLETE, ["canceled", "no"]]


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (
            "queue = asyncio.Queue(2)\nasync def put():\n    for i in range(5): await queue.put(i)\n"
            "task = asyncio.create_task(put())\nfound = [await queue.get() for _ in range(5)]\nawait task\nreturn found",
            [0, 1, 2, 3, 4],
        ),
        (
            "lock, seen = asyncio.Lock(), []\nasync def use(n):\n    async with lock:\n        seen.append(n)\n"
            "        await asyncio.sleep(0)\n        seen.append(n)\nawait asyncio.gather(use(1), use(2))\nreturn seen",
            [1, 1, 2, 2],
        ),
        (
            "gate = asyncio.Event()\nasync def wait():\n    await gate.wait()\n    return 'open'\n"
            "task = asyncio.create_task(wait())\nawait asyncio.sleep(0)\ngate.set()\nreturn await task",
            "open",
        ),
        (
            "few, most, now = asyncio.Semaphore(2), 0, 0\nasync def use():\n    nonlocal most, now\n    async with few:\n"
            "        now += 1; most = max(most, now)\n        await asyncio.sleep(0)\n        now -= 1\n"
            "await asyncio.gather(*(use() for _ in range(6)))\nreturn most",
            2,
        ),
        (
            "async def one(): return 1\nasync def bad(): raise KeyError('k')\n"
            "return [repr(x) for x in await asyncio.gather(one(), bad(), return_exceptions=True)]",
            ["1", "KeyError('k')"],
        ),
        (
            "async def main(n):\n    await asyncio.sleep(0)\n    return n\n"
            "return sorted([await x for x in asyncio.as_completed([main(2), main(1)])])",
            [1, 2],
        ),
        ("return asyncio.current_task().get_name()[:5]", "Task-"),
        (
            "task = asyncio.create_task(asyncio.sleep(0, 'x'))\ndone, pending = await asyncio.wait([task])\n"
            "return [task.result() for task in done]",
            ["x"],
        ),
    ],
    ids=["queue", "lock", "event", "semaphore", "gather", "as_completed", "current_task", "wait"],
)
def test_what_asyncio_has_works(body: str, result: Any) -> None:
    assert outcome(body, head=HEAD) == result


def test_a_task_and_a_workflow_of_cloche_await_each_other() -> None:
    body = (
        "async def inner(n):\n    return await step('double')(n)\n"
        "return await gather(asyncio.create_task(inner(1)), inner(2), asyncio.ensure_future(inner(3)))"
    )
    cell, commands = started(body)

    assert sorted(command[1] for command in commands if command[0] == STEP) == [1, 2, 3]
    for call in (1, 2, 3):
        last = cell.complete(call, call * 10)
    assert sorted(last[-1][1]) == [10, 20, 30]


def test_the_error_of_a_step_is_raised_in_a_task() -> None:
    body = "async def charge():\n    await step('charge')()\ntry:\n    await asyncio.create_task(charge())\nexcept ValueError as e:\n    return str(e)"  # noqa: E501
    cell, _ = started(body)

    failure = {"name": "ValueError", "message": "no funds", "bases": ["builtins.ValueError"]}
    assert cell.turn([2, NOW, 1, failure]) == [[COMPLETE, "no funds"]]


def test_a_canceled_run_cleans_up_in_its_tasks() -> None:
    body = (
        "async def work():\n    try:\n        await step('a')()\n    finally:\n        print('cleaned')\n"
        "async with asyncio.TaskGroup() as group:\n    group.create_task(work())"
    )
    cell, _ = started(body)

    commands = cell.turn([7, NOW, "enough"])
    assert [LOG, 2, "cleaned"] in commands
    assert commands[-1][0] == FAIL
    assert commands[-1][1]["name"] == "Canceled"


def test_a_task_that_nobody_awaits_says_what_it_raised() -> None:
    body = "async def lost(): raise KeyError('k')\nasyncio.create_task(lost())\nawait asyncio.sleep(0)\nawait asyncio.sleep(0)\nimport gc; gc.collect()"  # noqa: E501
    _, commands = started(body)

    assert [LOG, 4, "Task exception was never retrieved: KeyError: 'k'"] in commands


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("await asyncio.to_thread(print)", "asyncio.to_thread"),
        ("await asyncio.open_connection('localhost', 1)", "asyncio's create_connection"),
        ("asyncio.get_running_loop().run_in_executor(None, print)", "asyncio's run_in_executor"),
        ("asyncio.new_event_loop()", "asyncio.new_event_loop"),
    ],
)
def test_threads_and_sockets_say_make_it_a_step(body: str, name: str) -> None:
    assert outcome(body, head=HEAD) == ("OutsideError", f"{name} is outside of a workflow: make it a step")


def test_the_same_events_give_the_same_commands_and_state() -> None:
    body = (
        "async def one(n):\n    async with asyncio.timeout(60):\n        return await step('a')(n)\n"
        "return await asyncio.gather(*(one(n) for n in range(5)))"
    )
    cells = [started(body) for _ in range(2)]
    assert cells[0][1] == cells[1][1]
    for call in (2, 4, 6, 8, 10):
        assert cells[0][0].complete(call, call) == cells[1][0].complete(call, call)
    assert cells[0][0].state() == cells[1][0].state()
    assert cells[0][0].store.get_fuel() == cells[1][0].store.get_fuel()


def test_memory_does_not_depend_on_the_batch() -> None:
    source = workflow("return await asyncio.gather(*(step('a')(n) for n in range(3)), asyncio.sleep(1))", head=HEAD)
    one, all_ = python_cell(source), python_cell(source)
    events = [[0, NOW, bytes(16), None, {}], [1, NOW, 1, "x"], [1, NOW, 2, "y"], [4, NOW + 1000, 4], [1, NOW, 3, "z"]]
    for event in events:
        one.turn(event)
    all_.turn(*events)

    assert one.state() == all_.state()
