"""The words of native code, asked for in ways that nobody means: hooks, tags, deadlines, scopes, tasks, next histories.

Each ends its own run with a failure that says what, or goes on within its policy; and the next run of the tenant is served.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile.platform import ENGINES, Mode, javascript, python
from support.apps import AppOn, Journal, in_loop, until
from support.guests import needs_python

from cloche import Grant, Limits, Policy
from cloche.status import FINAL
from cloche.store import SqliteStore

MESSAGE_MAX = 70_000  # a failure's text is cut at 64 Ki characters in the guest
HEAD = (
    "import contextlib\nfrom cloche import continue_as_new, create_hook, create_task, patched, scope, set_deadline, set_tags\n"
    "from cloche import sleep, start_child, wait_for_event"
)
TOO_MUCH = {"LimitExceeded", "FuelExhausted", "MemoryExhausted", "OutputTooLarge", "TimeExhausted", "GuestTrapped"}

PYTHON = {
    "hooks by the ten thousand": ("return len([create_hook(token=f't{i}') for i in range(10000)])", TOO_MUCH),
    "hooks that are awaited by the thousand": ("await gather(*[create_hook() for i in range(5000)])", TOO_MUCH),
    "a token of a megabyte": ("await create_hook(token='x' * 1_000_000)", {"ValueError"}),
    "a token that speaks to the terminal": ("await create_hook(token='a\\x1b[31m')", {"ValueError"}),
    "a token that is taken": ("await gather(create_hook(token='same'), create_hook(token='same'))", {"HookConflict"}),
    "a hook that opens and closes": (
        "for i in range(5000):\n    create_hook(token='same').close()",
        TOO_MUCH | {"HookConflict"},
    ),
    "tags without end": ("for i in range(50000):\n    set_tags(**{f'k{i}': i})", TOO_MUCH | {"ValueError"}),
    "tags that speak to the terminal": ("set_tags(a='\\x1b]0;owned\\x07')", {"ValueError"}),
    "deadlines without end": ("for i in range(100000):\n    set_deadline(hours=i + 1)", TOO_MUCH),
    "a deadline beyond all time": ("set_deadline(1e300)", {"OverflowError", "ValueError"}),
    "a deadline that is no number": ("set_deadline(float('nan'))", {"ValueError"}),
    "scopes within scopes": (
        "with contextlib.ExitStack() as stack:\n    for i in range(20000):\n        stack.enter_context(scope(f's{i}'))",
        TOO_MUCH | {"ValueError"},
    ),
    "a scope of a megabyte": ("with scope('x' * 1_000_000):\n    pass", {"ValueError"}),
    "a scope that is a path": ("with scope('a/b[0]'):\n    pass", {"ValueError"}),
    "tasks by the hundred thousand": ("await gather(*[create_task(sleep(0)) for _ in range(100000)])", TOO_MUCH),
    "a race of thousands": ("await race(**{f'n{i}': sleep(1000 + i) for i in range(5000)})", TOO_MUCH),
    "a sleep that is no time": ("await sleep(float('nan'))", {"ValueError", "OverflowError"}),
    "a sleep beyond all time": ("await sleep(10**400)", {"ValueError", "OverflowError"}),
    "a failure of megabytes": ("raise ValueError('x' * 10_000_000)", TOO_MUCH | {"ValueError"}),
    "a chain of thousands of causes": (
        "error = None\nfor i in range(5000):\n    n = ValueError(str(i)); n.__cause__ = error; error = n\nraise error",
        {"ValueError"},
    ),
    "a failure that cannot be told": (
        "class E(Exception):\n    def __str__(self): raise RuntimeError('no')\n    __repr__ = __str__\nraise E()",
        {"E"},
    ),
    "a group of thousands": (
        "raise ExceptionGroup('g', [ValueError('x' * 1000) for _ in range(5000)])",
        {"ExceptionGroup"},
    ),
    "failures by the hundred, each large": (
        "async def bad(i):\n    raise ValueError('x' * 100_000)\n"
        "await gather(*[bad(i) for i in range(500)], min_successes=1)",
        TOO_MUCH | {"CompletionError"},
    ),
    "a limit that is none": ("await gather(sleep(0), limit=-1)", {"ValueError"}),
    "more successes than there are": ("await gather(sleep(0), min_successes=10**9)", {"ValueError", "CompletionError"}),
    "lines of a megabyte": (
        "import logging\nfor i in range(200):\n    logging.getLogger('x').warning('y' * 1_000_000)",
        TOO_MUCH,
    ),
    "patches by the thousand": ("for i in range(20000):\n    patched(f'p{i}')", TOO_MUCH),
    "a result within itself": (
        "b = await gather(sleep(0), settle=True)\nl = [b]; l.append(l)\nreturn l",
        {"TypeError"},
    ),
}
JAVASCRIPT = {
    "tags whose keys spin": (
        "cloche.setTags(new Proxy({}, { ownKeys() { for (;;); } }))",
        {"FuelExhausted", "TypeError"},
    ),
    "a next history within itself": ("const a = {}; a.a = a; await cloche.continueAsNew(a)", {"TypeError"}),
    "an error whose name throws": (
        "throw { get name() { throw 1 }, get message() { return 'x'.repeat(1e7) } }",
        {"Error"},
    ),
    "a token that is an object": ("await cloche.createHook({ token: { toString() { return 'x' } } })", {"TypeError"}),
    "deadlines without end": ("for (let i = 0; i < 1e5; i++) cloche.setDeadline(new Date(8.64e15))", TOO_MUCH),
    "hooks that are awaited by the thousand": (
        "await Promise.all(Array.from({ length: 5000 }, (_, i) => cloche.createHook({ token: 'j' + i })))",
        TOO_MUCH,
    ),
}
GOES_ON = {
    "continues for ever": "return await continue_as_new((input or 0) + 1)",
    "continues with half a megabyte": "return await continue_as_new('x' * 500_000)",
    "sleeps of nothing for ever": "while True:\n    await sleep(0)",
    "sleeps of a millisecond, many at once": (
        "async def one():\n    while True:\n        await sleep(0.001)\nawait gather(*[one() for _ in range(300)])"
    ),
    "heartbeats of a millisecond": (
        "async def one(i):\n    while True:\n        with contextlib.suppress(Exception):\n"
        "            await wait_for_event(f'e{i}', heartbeat=0.001)\nawait gather(*[one(i) for i in range(100)])"
    ),
}


def app_on(mode: Mode, path: Path, policy: Policy) -> AppOn:
    steps = [Journal().step("echo")]
    return AppOn(SqliteStore(path), engine=ENGINES[mode](Limits()), policies={"mallory": policy}, steps=steps)


@pytest.mark.parametrize("name", [*PYTHON, *(f"{name}, in JavaScript" for name in JAVASCRIPT)])
def test_what_nobody_means_ends_its_own_run(mode: Mode, name: str, tmp_path: Path) -> None:
    needs_python()
    of_python = name in PYTHON
    body, ends = PYTHON[name] if of_python else JAVASCRIPT[name.removesuffix(", in JavaScript")]
    source = python(body, HEAD) if of_python else javascript(body)

    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db", Policy.strict(steps=[Grant(step="echo")])) as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(source, workflow="w", language="python" if of_python else "javascript")
            result = await (await mallory.start("w", 1)).result()
            assert result.status == "failed"
            assert result.error is not None
            assert result.error.name in ends
            assert len(result.error.message) < MESSAGE_MAX
            await mallory.deploy(javascript("return await step('echo')(7);"), workflow="next", language="javascript")
            assert (await (await mallory.start("next", 1)).result()).unwrap() == 7
            assert (await app.verify()).ok

    live()


@pytest.mark.parametrize("name", GOES_ON)
def test_what_never_ends_is_canceled(mode: Mode, name: str, tmp_path: Path) -> None:
    needs_python()

    @in_loop
    async def live() -> None:
        async with app_on(mode, tmp_path / "store.db", Policy.strict()) as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(python(GOES_ON[name], HEAD), workflow="w", language="python")
            run = await mallory.start("w", 0, run_id="r")
            calm = app.tenant("calm")
            await calm.deploy(javascript("for (let i = 0; i < 5; i++) await cloche.sleep('s' + i, 1, 0); return 7;"),
                              workflow="calm", language="javascript")  # fmt: skip
            assert (await (await calm.start("calm", 1)).result()).unwrap() == 7
            await run.cancel()
            await until(run.status, lambda status: status in FINAL)
            assert await run.status() == "canceled"

    live()


BEARS = (
    "if input == 'again':\n    ended = await gather(*[start_child('w', 1) for _ in range(3)], settle=True)\n"
    "    return [one.error.data for one in ended if one.error and one.error.name == 'LimitExceeded']\n"
    "return await continue_as_new('again')"
)


def test_a_child_that_goes_on_has_no_more_below_it(mode: Mode, tmp_path: Path) -> None:
    """Each next history of a child was a root of its own: with as many runs below it as one that somebody has started."""
    needs_python()
    most = 12

    @in_loop
    async def live() -> None:
        policy = Policy.strict(child_workflows=["w"]).model_copy(update={"descendants": most})
        async with app_on(mode, tmp_path / "store.db", policy) as app:
            mallory = app.tenant("mallory")
            await mallory.deploy(python(BEARS, HEAD), workflow="w", language="python")
            await (await mallory.start("w", 1, run_id="r")).result()
            rows = [row.key.run for row in await mallory.list(limit=500)]
            # What was begun before the bound, and the next history of each.
            assert most // 2 < sum(run != "r" for run in rows) <= 2 * most + 1

    live()
