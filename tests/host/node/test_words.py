"""Code as the compilers of "use workflow" emit it: its words, the values that cross, its steps on Node. Every run replays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.node import needs_node

from cloche import Cloche, NodeSteps, NotFound, Policy, create_step
from cloche.history import Kind

pytestmark = [needs_node, pytest.mark.anyio]
HERE = Path(__file__).parent
SOURCE = (HERE / "flow.js").read_text()
Play = Callable[..., Awaitable[Any]]


@pytest.fixture
async def app() -> AsyncIterator[Cloche]:
    async with Cloche("memory:", steps=[NodeSteps(HERE / "steps.mjs")], policy=Policy()) as app:
        yield app


async def play(app: Cloche, name: str, *args: Any, run_id: str | None = None) -> Any:
    """The result of a run of the workflow, which then replays from its log alone."""
    tenant = app.tenant("acme")
    await app.deploy("acme", SOURCE, workflow=name, language="javascript")
    run = await tenant.start(name, list(args), run_id=run_id)
    result = (await run.result()).unwrap()
    assert (await tenant.replay(run.id)).ok
    return result


async def give(app: Cloche, token: str, payload: Any) -> None:
    """To the hook with this token, once there is one."""
    while True:
        try:
            await app.tenant("acme").resume_hook(token, payload)
            return
        except NotFound:
            await asyncio.sleep(0.02)


async def test_steps_get_all_their_arguments(app: Cloche) -> None:
    assert await play(app, "sums", 40, 2) == [43, 44]


async def test_values_that_only_javascript_knows_cross_and_come_back(app: Cloche) -> None:
    assert await play(app, "values") == {
        "map": True, "one": 1, "none": True, "pattern": "/x/gi", "late": True, "floats": [1, 2], "tilde": "mine",
        "big": True, "error": "told", "query": "1",
    }  # fmt: skip


async def test_requests_responses_and_forms_are_values(app: Cloche) -> None:
    assert await play(app, "web") == [201, "body", "1", "text", "POST", "k=v"]


async def test_a_stream_that_a_step_gives_is_read_by_another_and_lies_in_the_log(app: Cloche) -> None:
    assert await play(app, "streams", 3, run_id="wrun_1") == [True, [2, 4, 6]]

    history = await (await app.tenant("acme").get("wrun_1")).history()
    written = [record.content()["value"] for record in history if record.kind is Kind.STEP_WROTE]
    assert [one["chunk"]["i"] for one in written if "chunk" in one and isinstance(one["chunk"], dict)] == [1, 2, 3]
    assert {"stream": "strm_1_user_bG9n", "chunk": "hello"} in written
    assert sum(one.get("closed", False) for one in written) == 2


async def test_aborting_a_signal_reaches_the_step_that_holds_it(app: Cloche) -> None:
    assert await play(app, "aborts") == "aborted: enough"


async def test_a_step_that_holds_the_controller_aborts_it_everywhere(app: Cloche) -> None:
    assert await play(app, "aborted by a step") == ["aborted: enough", "enough", True]
    assert await play(app, "aborted by nobody") == [True, "mine"]


async def test_a_step_writes_the_stream_of_its_run_and_another_run_reads_it(app: Cloche) -> None:
    await app.deploy("acme", SOURCE, workflow="writing", language="javascript")

    assert await play(app, "reading", [{"line": 1}, "two"]) == [[{"line": 1}, "two"], []]


async def test_a_step_of_an_older_sdk_writes_streams_as_it_frames_them(app: Cloche) -> None:
    await app.deploy("acme", SOURCE, workflow="framing", language="javascript")
    date, rich = '["Date","1970-01-01T00:00:01.000Z"]', '{"when":1,"map":2,"self":-1}'
    texts = ['["last"]', f'[{rich},{date},["Map",3,4],"a",["Set",5],2]', "[[1,1],[2],{}]".replace("{}", "7")]

    told = await play(app, "reading frames", texts)

    assert told == [3, 1000, True, None, [[7], [7]], "last"]


async def test_a_run_is_woken_from_its_sleep(app: Cloche) -> None:
    await app.deploy("acme", SOURCE, workflow="sleeping", language="javascript")

    assert await play(app, "waking") == [1, "awake"]


async def test_captured_variables_and_receivers_cross(app: Cloche) -> None:
    registered = "step//./flow//Point#scaled"
    seen: list[Any] = []

    def scaled(by: int, **given: Any) -> int:
        seen.append(given)
        return by * int(given["this"]["x"])

    async with Cloche(
        "memory:", steps=[create_step(id=registered, execute=scaled), NodeSteps(HERE / "steps.mjs")], policy=Policy()
    ) as own:
        assert await play(own, "captured", 10) == [11, 8]
    assert seen == [{"this": {"x": 4}}]


async def test_a_step_that_failed_for_good_is_a_fatal_error_with_its_cause(app: Cloche) -> None:
    assert await play(app, "failing") == ["FatalError", "too much", True, "RangeError", True, 3, "because"]


async def test_a_hook_takes_many_payloads_in_order(app: Cloche) -> None:
    running = asyncio.ensure_future(play(app, "hooked", "tok", 3))
    for payload in ({"n": 1}, {"n": 2}, {"n": 3}):
        await give(app, "tok", payload)

    assert await running == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_a_token_that_another_run_waits_with_is_a_conflict(app: Cloche) -> None:
    first = asyncio.ensure_future(play(app, "hooked", "tok", 2, run_id="first"))
    await give(app, "tok", 1)

    assert await play(app, "hooked", "tok", 1, run_id="second") == {"conflict": "first"}
    assert await play(app, "awaiting", "tok", run_id="third") == ["HookConflictError", True]

    await give(app, "tok", 2)
    assert await first == [1, 2]
    again = asyncio.ensure_future(play(app, "hooked", "tok", 1, run_id="fourth"))  # it is free once the first has ended
    await give(app, "tok", "free")
    assert await again == ["free"]


async def test_a_webhook_gives_a_request(app: Cloche) -> None:
    running = asyncio.ensure_future(play(app, "webhook", run_id="wrun_w"))
    while True:
        try:
            history = await (await app.tenant("acme").get("wrun_w")).history()
        except NotFound:
            history = []
        opened = [record.content()[3] for record in history if record.kind is Kind.HOOK_OPENED]
        if opened:
            break
        await asyncio.sleep(0.02)
    await give(app, opened[0], {"paid": True})

    assert await running == ["POST", {"paid": True}, True]
    assert len(opened[0]) == 32  # 128 bits that nobody can compute


async def test_a_workflow_starts_another_and_reads_how_it_stands(app: Cloche) -> None:
    await app.deploy("acme", SOURCE, workflow="leaf", language="javascript")

    assert await play(app, "parent", 21) == [42, "completed", True, "leaf", True]


async def test_a_run_knows_its_id_and_when_it_began(app: Cloche) -> None:
    assert await play(app, "metadata", run_id="wrun_m") == ["workflow//./flow//metadata", "wrun_m", True]


async def test_what_cannot_cross_is_refused_by_its_place(app: Cloche) -> None:
    assert await play(app, "refused") == [
        "arguments[0] is a function, and neither a step, a workflow nor a class that crosses",
        "arguments[0] is a symbol",
        "arguments[0] is a stream that was made in the workflow: make it in a step, or pass getWritable()",
        "arguments[0] is a WeakMap",
    ]
