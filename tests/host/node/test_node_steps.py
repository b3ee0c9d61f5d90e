"""Steps on Node in workflows of Python's builder: patterns, retries, timeouts, aborts, and a process that is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.node import needs_node

from cloche import Cloche, NodeSteps, RunFailed, UsageError, create_step, create_workflow
from cloche.history import Kind

pytestmark = [needs_node, pytest.mark.anyio]
FILE = Path(__file__).with_name("steps.mjs")


def on_node(name: str, **options: Any) -> Any:
    return create_step(node=f"{FILE}#{name}", **options)


async def there(file: Path) -> None:
    """Once a step has written it."""
    for _ in itertools.count():
        if file.exists():
            return
        await asyncio.sleep(0.02)


async def play(workflow: Any, value: Any) -> Any:
    async with Cloche("memory:", workflows=[workflow]) as app:
        run = await app.start(workflow, value)
        result = (await run.result()).unwrap()
        assert (await app.replay(run.id)).ok
        return result


async def test_a_step_on_node_stands_in_every_pattern() -> None:
    account, kinds = on_node("createAccount"), on_node("kinds")
    pid = on_node("pid")
    workflow = (
        create_workflow(id="w")
        .then(account)
        .map(lambda order: [{"id": order["account"]}, {"id": "b"}])
        .foreach(create_step(id="again", node=f"{FILE}#createAccount"), concurrency=2)
        .parallel([pid, kinds])
        .commit()
    )

    made = await play(workflow, {"id": "o-1"})

    assert isinstance(made["pid"], int)
    assert made["pid"] != os.getpid()
    assert made["kinds"] == {
        "map": {"a": [1]}, "when": datetime(1970, 1, 1, tzinfo=UTC), "big": 2**70, "none": [None], "bytes": b"\x01",
    }  # fmt: skip


async def test_a_branch_chooses_between_steps_on_node_and_loops_repeat_them() -> None:
    grown, inc = on_node("grown"), create_step(id="inc", execute=lambda n: n + 1)
    account = create_step(id="account", node=f"{FILE}#createAccount")
    workflow = (
        create_workflow(id="w")
        .dountil(grown, lambda n: n >= 10)
        .dowhile(create_step(id="again", node=f"{FILE}#grown"), lambda n: n < 20)
        .map(lambda n: {"id": n})
        .branch([(lambda order: order["id"] > 20, account), (lambda order: order["id"] <= 20, inc)])
        .commit()
    )

    made = await play(workflow, 1)

    assert made["account"]["account"] == "account of 22"  # 1, 4, 7, 10; 13, 16, 19, 22


async def test_python_and_node_steps_stand_in_one_workflow() -> None:
    def order(data: dict[str, Any]) -> dict[str, Any]:
        return {"id": data["id"] + "!"}

    workflow = (
        create_workflow(id="w").then(create_step(id="order", execute=order)).then(on_node("createAccount")).commit()
    )

    assert (await play(workflow, {"id": "o-1"}))["account"] == "account of o-1!"


async def test_a_use_step_function_is_tried_again_and_others_as_the_builder_says() -> None:
    assert await play(create_workflow(id="w").then(on_node("flaky", retries=2)).commit(), "f") == 3


async def test_what_it_throws_is_its_failure(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RunFailed) as failed:
        await play(create_workflow(id="w").then(on_node("fails")).commit(), "too much")

    error: Any = failed.value.__cause__
    assert (error.name, error.message, error.data) == ("RangeError", "too much", {"limit": 3})
    assert (error.cause.name, error.cause.message) == ("TypeError", "because")


async def test_a_fatal_error_is_final() -> None:
    workflow = create_workflow(id="w").then(on_node("never", retries=5)).commit()
    async with Cloche("memory:", workflows=[workflow]) as app:
        run = await app.start(workflow, None)
        assert (await run.result()).status == "failed"
        kinds = [record.kind for record in await run.history()]
    assert kinds.count(Kind.ATTEMPT_FAILED) == 1


async def test_a_process_that_is_killed_is_started_again_and_its_step_is_called_again(tmp_path: Path) -> None:
    marker = tmp_path / "was-here"

    assert await play(create_workflow(id="w").then(on_node("dies")).commit(), str(marker)) == "alive"
    assert marker.exists()


async def test_a_step_that_is_to_run_at_most_once_is_not_called_again(tmp_path: Path) -> None:
    workflow = create_workflow(id="w").then(on_node("dies", at_most_once=True)).commit()

    with pytest.raises(RunFailed) as failed:
        await play(workflow, str(tmp_path / "was-here"))

    error: Any = failed.value.__cause__
    assert error.name == "UnknownOutcome"


async def test_killed_from_outside_the_next_step_finds_a_new_process() -> None:
    node = NodeSteps(FILE)
    [step] = [one for one in await node.open_steps() if one.id == "pid"]
    workflow = create_workflow(id="w").then(step).commit()
    async with Cloche("memory:", workflows=[workflow], steps=[node]) as app:
        first = (await (await app.start(workflow, None)).result()).unwrap()
        assert first == node.pid
        os.kill(first, signal.SIGKILL)
        second = (await (await app.start(workflow, None)).result()).unwrap()
        assert second == node.pid != first


async def test_a_step_that_takes_too_long_is_told_to_abort(tmp_path: Path) -> None:
    told = tmp_path / "told"
    # The time of an attempt has the start of the process in it: on a slow machine it is a later one that begins.
    workflow = create_workflow(id="w").then(on_node("waits", timeout_s=1.0, retries=10)).commit()
    async with Cloche("memory:", workflows=[workflow]) as app:
        run = await app.start(workflow, str(told))
        await there(told)
        failed = [r.content()["failure"]["name"] for r in await run.history() if r.kind is Kind.ATTEMPT_FAILED]
        assert set(failed) == {"TimeoutError"}
        await run.cancel()


async def test_a_process_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.steps.node.SILENT_S", 0.3)
    spins, pid = on_node("spins", timeout_s=0.3), on_node("pid")
    workflow = create_workflow(id="w").then(spins).commit()
    after = create_workflow(id="after").then(pid).commit()
    async with Cloche("memory:", workflows=[workflow, after]) as app:
        assert (await (await app.start(workflow, None)).result()).status == "failed"
        assert isinstance((await (await app.start(after, None)).result()).unwrap(), int)


async def test_canceling_a_run_reaches_its_step(tmp_path: Path) -> None:
    told = tmp_path / "told"
    workflow = create_workflow(id="w").then(on_node("waits")).commit()
    async with Cloche("memory:", workflows=[workflow]) as app:
        run = await app.start(workflow, str(told))
        await there(Path(f"{told}.begun"))
        await run.cancel()
        await there(told)


async def test_what_it_writes_is_streamed() -> None:
    workflow = create_workflow(id="w").then(on_node("writes")).commit()
    async with Cloche("memory:", workflows=[workflow]) as app:
        run = await app.start(workflow, ["a", "b"])
        await run.result()
        written = [r.content()["value"] for r in await run.history() if r.kind is Kind.STEP_WROTE]
    assert written == [{"line": "a"}, {"line": "b"}]


async def test_a_file_that_is_not_there_or_does_not_load_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mjs"
    broken.write_text("export const x = ;")

    with pytest.raises(UsageError, match="there is no file"):
        await NodeSteps(tmp_path / "none.mjs").open_steps()
    with pytest.raises(UsageError, match=r"broken\.mjs cannot be imported"):
        await NodeSteps(broken).open_steps()
    with pytest.raises(UsageError, match=r"Node\.js cannot be started"):
        await NodeSteps(FILE, node=str(tmp_path / "no-node")).open_steps()
    with pytest.raises(UsageError, match=r"FILE\.mjs#function"):
        create_step(node="steps.mjs")


async def test_its_process_ends_with_the_app() -> None:
    node = NodeSteps(FILE)
    async with Cloche("memory:", steps=[node]):
        pid = node.pid
        assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
