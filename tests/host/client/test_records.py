"""What streams and histories give: records with a path each, typed, and ready for JSON."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any, get_args

from support.apps import in_loop

from cloche import Cloche, Kind, RunRecord, create_workflow, records, step
from cloche.records import StepCompleted


@step
async def image(name: str) -> bytes:
    return name.encode()


@step
async def size(data: bytes) -> Any:
    return {"size": len(data), "odd": float("nan"), "data": data}


flow = create_workflow(id="flow", input_schema=str).then(image).then(size).commit()


async def run_of(app: Cloche) -> Any:
    run = await app.start(flow, "cat", run_id="r-1")
    (await run.result()).unwrap()
    return run


@in_loop
async def test_each_record_of_a_call_has_its_path() -> None:
    async with Cloche() as app:
        history = await (await run_of(app)).history()
    by_kind = {kind: [one.path for one in history if one.kind is kind] for kind in Kind}
    assert (
        by_kind[Kind.STEP_CALLED] == by_kind[Kind.STEP_COMPLETED] == by_kind[Kind.ATTEMPT_STARTED] == ["image", "size"]
    )
    assert by_kind[Kind.RUN_CREATED] == by_kind[Kind.RUN_COMPLETED] == [""]
    assert all(type(one) is RunRecord and one.at.tzinfo is UTC for one in history)


@in_loop
async def test_a_path_is_known_wherever_one_begins_to_read() -> None:
    async with Cloche() as app:
        run = await run_of(app)
        whole = await run.history()
        for number in range(len(whole)):
            assert await run.history(number) == whole[number:]
            assert [one async for one in run.stream(number)] == whole[number:]


@in_loop
async def test_a_record_is_ready_for_json() -> None:
    async with Cloche() as app:
        history = await (await run_of(app)).history()
    data = [json.loads(json.dumps(one.to_data(), allow_nan=False)) for one in history]
    completed = next(one for one in data if (one["kind"], one["path"]) == ("step_completed", "image"))
    assert {"seq", "kind", "time", "call", "path", "size", "hash", "times", "body", "message"} == set(completed)
    assert set(completed["times"]) == {"queue_ms", "work_ms", "retry_wait_ms", "suspended_ms"}
    assert "hex:636174" in json.dumps(completed["body"])


@in_loop
async def test_a_record_has_its_message_as_an_object() -> None:
    async with Cloche() as app:
        history = await (await run_of(app)).history()
    messages = [one.message for one in history]
    assert next(one.value for one in messages if isinstance(one, StepCompleted)) == b"cat"


def test_every_class_of_a_message_is_in_one_place() -> None:
    assert {one.__name__ for one in get_args(records.Message)} | {"Kind", "Message", "RunRecord"} == set(
        records.__all__
    )


@in_loop
async def test_what_a_record_says_is_there_by_name_for_json() -> None:
    async with Cloche() as app:
        history = await (await run_of(app)).history()
    said = {(one.path, one.kind): json.loads(json.dumps(one.to_data()))["message"] for one in history}
    assert said["image", Kind.STEP_COMPLETED] == {"value": "hex:636174", "state": None}
    assert said["size", Kind.STEP_COMPLETED]["value"] == {"size": 3, "odd": "NaN", "data": "hex:636174"}
