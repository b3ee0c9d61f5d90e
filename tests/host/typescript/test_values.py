"""Values that JavaScript knows and Python does not, wherever somebody reads a run: they are plain there, and whole in the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop
from support.commands import cloche as command
from support.served import served, started

import cloche
from cloche import Cloche
from cloche.steps.sdk_values import ended, natural

FLOW = """
import { start, getWritable } from "workflow";
const all = () => ({
  map: new Map<string, unknown>([["a", new Set([1, undefined])]]), pairs: new Map([[1, 2]]), none: [undefined], pattern: /x/g,
  late: new Date(NaN), when: new Date(0), big: 2n ** 70n, bytes: new Uint16Array([1]), url: new URL("https://a.example/?q"),
  mine: { "~": "mine" }, error: new RangeError("too much"), stream: getWritable(), step: note, workflow: values,
});
async function note(given: unknown): Promise<unknown> {
  "use step";
  return given;
}
export async function values() {
  "use workflow";
  return all();
}
export async function parent() {
  "use workflow";
  const run = await start(values);
  const value = (await run.returnValue) as ReturnType<typeof all>;
  return [value.map instanceof Map, value.url instanceof URL, value.none.length];
}
export async function fails(): Promise<void> {
  "use workflow";
  throw Object.assign(new Error("no"), { seen: new Set(["a"]) });
}
"""
PLAIN: dict[str, Any] = {
    "map": {"a": [1, None]}, "pairs": [[1, 2]], "none": [None], "pattern": "x", "late": None, "big": 2**70, "bytes": b"\x01\x00",
    "url": "https://a.example/?q", "mine": {"~": "mine"}, "error": {"name": "RangeError", "message": "too much"},
    "step": "step//./flow//note", "workflow": "workflow//./flow//values", "stream": "strm_r_user",
}  # fmt: skip


MINE = '"mine": {"~": "mine"}'


def shown() -> dict[str, Any]:
    """As JSON has it."""
    return {**PLAIN, "bytes": "hex:0100", "when": "1970-01-01T00:00:00+00:00"}


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "flow.ts").write_text(FLOW)
    return tmp_path / "flow.ts"


@in_loop
async def test_a_program_reads_plain_values_and_the_log_keeps_what_there_was(flow: Path) -> None:
    async with Cloche(workflows=cloche.load_bundle(flow).workflows) as app:
        run = await app.start("values", [], run_id="r")
        result = (await run.result()).unwrap()
        when = result.pop("when")
        assert (result, when.timestamp()) == (PLAIN, 0)
        last = (await run.history())[-1]
        assert last.message.value["map"] == {"a": [1, None]}  # type: ignore[union-attr]
        assert last.content()[1]["map"] == {
            "~": "map",
            "entries": [["a", {"~": "set", "items": [1, {"~": "undefined"}]}]],
        }
        assert (await app.replay("r")).ok


@in_loop
async def test_a_run_that_asks_another_for_its_result_has_it_as_it_was(flow: Path) -> None:
    async with Cloche(workflows=cloche.load_bundle(flow).workflows) as app:
        run = await app.start("parent", [])
        assert (await run.result()).unwrap() == [True, True, 1]


@in_loop
async def test_what_an_error_has_of_its_own_is_plain(flow: Path) -> None:
    async with Cloche(workflows=cloche.load_bundle(flow).workflows) as app:
        error = (await (await app.start("fails", [])).result()).error
        assert error is not None
        assert error.data == {"seen": ["a"]}


@in_loop
async def test_a_python_workflow_gets_plain_values_of_a_child_in_typescript(flow: Path) -> None:
    @cloche.workflow
    async def outer() -> Any:
        value = await cloche.start_child("values", [])
        return [value["map"], value["none"]]

    async with Cloche(workflows=[*cloche.load_bundle(flow).workflows, outer]) as app:
        run = await app.start(outer)
        assert (await run.result()).unwrap() == [{"a": [1, None]}, [None]]
        assert (await app.replay(run.id)).ok


@in_loop
async def test_a_plain_workflow_may_have_objects_that_look_like_values_of_javascript() -> None:
    @cloche.workflow
    async def odd() -> Any:
        return {"~": "set", "items": [1]}

    async with Cloche(workflows=[odd]) as app:
        run = await app.start(odd)
        assert (await run.result()).unwrap() == {"~": "set", "items": [1]}
        assert (await run.history())[-1].message.value == {"~": "set", "items": [1]}  # type: ignore[union-attr]


def test_the_command_line_shows_plain_values(flow: Path, tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "s.db")]
    assert json.loads(command("run", f"{flow}:values", "--run-id", "r", *store).out) == shown()
    assert command("show", "r", "--json", *store).json()["result"] == shown()
    assert '"map": {"a": [1, null]}' in command("log", "r", *store).out
    [*_, last] = command("log", "r", "--json", *store).lines()
    assert last["message"]["value"] == shown()
    assert last["body"][1]["none"] == [{"~": "undefined"}]


@in_loop
async def test_a_server_shows_plain_values_and_gives_the_bytes_of_the_log() -> None:
    async with served() as (ask, _):
        made = await ask.post("/v1/workflows/values/versions", json={"source": FLOW, "language": "typescript"})
        assert made.status_code == 201, made.text
        await started(ask, "values", [], "r")
        result = (await ask.get("/v1/runs/r/result")).json()
        assert result["result"] == shown()
        records = (await ask.get("/v1/runs/r/log?bodies=full")).json()["records"]
        assert records[-1]["body"][1] == shown()
        number = records[-1]["seq"]
        assert (await ask.get(f"/v1/runs/r/records/{number}")).json()["body"][1] == shown()
        bodies = f"/v1/runs/r/records/{number}/body"
        assert (await ask.get(bodies, headers={"Accept": "application/json"})).json()[1] == shown()
        assert b"\x61~" in (await ask.get(bodies, headers={"Accept": "application/cbor"})).content
        heads = (await ask.get("/v1/runs/r/heads?texts=true")).json()["heads"]
        assert '{"~": ' not in heads[-1][-1].replace(MINE, "")
        events = (await ask.get("/v1/runs/r/events?bodies=full")).text
        assert '"map": {"a": [1, null]}' in events


MALFORMED: list[Any] = [
    {"~": "map"}, {"~": "map", "entries": 1}, {"~": "map", "entries": [[1]]}, {"~": "set"}, {"~": "set", "items": None},
    {"~": "object", "value": 1}, {"~": "error"}, {"~": 1}, {"~": "file"}, {"~": "nothing", "a": 1}, {"~": None}, {"~": "view"},
]  # fmt: skip


@pytest.mark.parametrize("value", MALFORMED, ids=str)
def test_what_only_looks_like_such_a_value_is_a_plain_object(value: Any) -> None:
    assert natural(value) == value
    assert ended(value) == (value if value != {"~": "file"} else {})


def test_a_handle_stays_one_for_a_step_and_is_named_in_a_result() -> None:
    handle = {"~": "stream", "name": "s", "mode": "readable"}
    assert natural([handle]) == [handle]
    assert ended([handle]) == ["s"]
    assert ended({"~": "response", "status": 200, "headers": [["a", "b"]]}) == {"status": 200, "headers": [["a", "b"]]}
