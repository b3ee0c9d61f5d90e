"""Graphs, schemas and files that somebody has thought of to do harm: each is refused in words, or taken, and never a raw error.

Some of them found holes: defaults that are filled in a million times, items of a file that are no pairs, refusals as long as
what they refuse. The first took the event loop for four seconds, for a value of twenty kilobytes.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Any

import pytest
from hostile.platform import ENGINES, LIMITS, Mode
from hostile.test_outsiders import sealed
from hostile.test_texts import graph, nested
from support.apps import AppOn, in_loop

from cloche import Policy
from cloche.engines import SandboxEngine
from cloche.errors import ClocheError, DeployRefused, ForeignFile, HistoryError, InvalidInput, LimitExceeded
from cloche.history.check import decode_sequence
from cloche.operations.deploy import WHY_CHARS
from cloche.store import MemoryStore

TEXT = {"type": "string"}


def app_on(mode: Mode) -> AppOn:
    return AppOn(MemoryStore(), engine=ENGINES[mode](LIMITS["javascript"]), policy=Policy())


def within(item: str, around: str, depth: int) -> str:
    """JSON in itself, deeper than any writer of JSON goes."""
    before, behind = around.split("…")
    return before * depth + item + behind * depth


def with_nodes(nodes: str) -> str:
    return graph(nodes="here").replace('"here"', nodes)


def mapped(value: dict[str, Any]) -> str:
    return graph(nodes=[{"type": "map", "id": "m", "value": value}])


def calls(*ids: str) -> list[dict[str, str]]:
    return [{"type": "workflow", "id": f"n{number}", "workflow": id} for number, id in enumerate(ids)]


def workflows(count: int, times: int) -> dict[str, Any]:
    """Each enters the next one so often."""
    made = {f"w{n}": {"id": f"w{n}", "nodes": calls(*[f"w{n + 1}"] * times)} for n in range(count)}
    return {"workflows": made, "nodes": calls("w0")}


GRAPHS = {
    "a node that is a list": graph(nodes=[[1, 2], ["a"]]),
    "one id ten thousand times": graph(nodes=[{"type": "wait_for_event", "id": "e", "event": "e"}] * 10_000),
    "a workflow in itself": graph(workflows={"a": {"id": "a", "nodes": calls("a")}}, nodes=calls("a")),
    "a thousand workflows in each other": graph(**workflows(1_000, 1)),
    "workflows that double, forty deep": graph(**workflows(40, 2)),
    "a key of a megabyte": graph(**{"k" * 900_000: 1}),
    "one key ten thousand times": "{" + ",".join(['"id":"g"'] * 10_000) + "}",
    "a number of many digits": with_nodes('[{"type": "sleep", "id": "s", "ms": ' + "9" * 4_000 + "}]"),
    "no number": with_nodes('[{"type": "sleep", "id": "s", "ms": NaN}]'),
    "a time before all time": graph(nodes=[{"type": "sleep", "id": "s", "ms": -1}]),
    "brackets a hundred thousand deep": "[" * 100_000,
    "nodes three thousand deep": with_nodes(
        "[" + within('{"type":"step","id":"s","step":"s"}', '{"type":"parallel","id":"p","entries":[…]}', 3_000) + "]"
    ),
    "parentheses five hundred deep": mapped(
        {"type": "function", "name": "f", "source": "f = lambda d: " + "(" * 500 + "d" + ")" * 500, "parameters": 1}
    ),
    "a template of braces": mapped({"type": "template", "template": "${" * 50_000}),
    "nothing where a mapping is": graph(steps=None, workflows=None),
    "halves of characters": graph(nodes=[{"type": "wait_for_event", "id": "\ud800", "event": "\udfff"}]),
}


@pytest.mark.parametrize("text", GRAPHS.values(), ids=GRAPHS)
def test_a_graph_that_means_harm_is_refused_in_words(mode: Mode, text: str) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            with pytest.raises(DeployRefused) as refused:
                await app.deploy("mallory", text)
            assert len(refused.value.message) < WHY_CHARS + 200
            assert await app.tenant("mallory").versions() == []

    live()


SCHEMAS: dict[str, Any] = {
    "four thousand in allOf": {"allOf": [TEXT] * 4_000},
    "an enum of ninety thousand": {"enum": list(range(90_000))},
    "thousands of properties": {"type": "object", "properties": {f"p{n}": TEXT for n in range(4_900)}},
    "a chain of references": {
        "$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(4_000)} | {"a4000": TEXT},
        "$ref": "#/$defs/a0",
    },
    "references to each other": {
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
        "$ref": "#/$defs/a",
    },
    "repeats of repeats": {"type": "string", "pattern": "((((a{1,100}){1,100}){1,100}){1,100}){1,100}"},
    "a thousand patterns": {
        "type": "object",
        "properties": {f"p{n}": {"type": "string", "pattern": f"^[a-z]{{1,{n}}}$"} for n in range(1, 1_000)},
    },
    "a bound of many digits": {"type": "integer", "minimum": 10**4_000},
    "lengths below nothing": {"type": "string", "minLength": -5, "maxLength": -10},
    "hundreds of alternatives in each other": {
        "$defs": {
            "A": {
                "anyOf": [
                    {"type": "object", "properties": {"in": {"$ref": "#/$defs/A"}, f"k{n}": TEXT}, "required": [f"k{n}"]}
                    for n in range(500)
                ]
            }
        },
        "$ref": "#/$defs/A",
    },
    "a type that is a number": {"type": 5},
    "a reference to elsewhere": {"$ref": "https://example.com/schema"},
}  # fmt: skip
VALUES: list[Any] = [None, 1, "a" * 900, [{}] * 2_000, [[1]] * 2_000, nested(60), {"a": 1}]


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_schema_that_means_harm_is_refused_or_bounded(mode: Mode, schema: Any) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            try:
                await app.deploy("mallory", graph(schema))
            except DeployRefused:
                return
            for value in VALUES:
                with suppress(InvalidInput):
                    await (await app.tenant("mallory").start("g", value)).cancel()

    live()


def test_defaults_are_filled_in_so_much(mode: Mode) -> None:
    """Ten thousand items with a default of 100 kB each were a gigabyte, before anybody counted it."""
    item = {"type": "object", "properties": {"a": {"type": "string", "default": "x" * 100_000}}}

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            await app.deploy("mallory", graph({"type": "array", "items": item}))
            mallory = app.tenant("mallory")
            with pytest.raises(InvalidInput, match="more than 4 MiB of defaults would be filled in"):
                await mallory.start("g", [{}] * 10_000)
            await (await mallory.start("g", [{}] * 10)).cancel()
            strict = AppOn(MemoryStore(), engine=ENGINES[mode](LIMITS["javascript"]))
            async with strict as app:
                await app.deploy("mallory", graph({"type": "array", "items": item}))
                with pytest.raises(LimitExceeded):
                    await app.tenant("mallory").start("g", [{}] * 20)

    live()


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported() -> bytes:
    files: list[bytes] = []

    @in_loop
    async def export() -> None:
        async with AppOn(MemoryStore(), engine=SandboxEngine(), policy=Policy()) as app:
            await app.deploy("mallory", graph())
            mallory = app.tenant("mallory")
            run = await mallory.start("g", 1, run_id="r1")
            await mallory.send_event("r1", "paid", {"a": 1})
            assert (await run.result()).status == "success"
            files.append(await mallory.export("r1"))

    export()
    return files[0]


def _changed(header: Any, code: Any, guest: Any, records: list[Any]) -> dict[str, bytes]:
    return {
        "nothing": b"",
        "one byte": b"\xff",
        "a length that there is not": b"\x5b\x7f" + b"\xff" * 7,
        "a header that is a list": sealed([[1], code, guest, *records]),
        "a header of many keys": sealed([{**header, **{f"k{n}": n for n in range(10_000)}}, code, guest]),
        "records in another order": sealed([header, code, guest, *records[::-1]]),
        "one record ten thousand times": sealed([header, code, guest, *records[:1] * 10_000]),
        "no record": sealed([header, code, guest]),
        "records that are texts": sealed([header, code, guest, *["a"] * 1_000]),
        "records of three": sealed([header, code, guest, *[[*record, 1] for record in records]]),
        "a record that is a number": sealed([header, code, guest, 1]),
        "a request of no kind": sealed([header, code, guest, *records, ["granted", ["event"], "t", 1]]),
        "code that inflates": sealed([header, zlib.compress(bytes(80 << 20)), guest, *records]),
        "code that is a text": sealed([header, "code", guest, *records]),
        "a guest that is none": sealed([header, code, zlib.compress(b"\0asm"), *records]),
        "a tenant that is a list": sealed([{**header, "tenant": ["a"]}, code, guest, *records]),
        "a run that speaks to a terminal": sealed([{**header, "run": "\u202e\x1b[31m"}, code, guest, *records]),
        "a version that is true": sealed([{**header, "version": True}, code, guest, *records]),
        "a version that is no number": sealed([{**header, "version": float("nan")}, code, guest, *records]),
        "parts that nobody needs": sealed([header, code, guest, *[[0, b"p%d" % n] for n in range(5_000)], *records]),
        "another workflow": sealed([{**header, "workflow": "risk"}, code, guest, *records]),
    }


FILES = list(_changed({}, b"", b"", []))


@pytest.mark.parametrize("name", FILES)
@in_loop
async def test_a_file_that_means_harm_is_refused_in_words(exported: bytes, name: str) -> None:
    header, code, guest, *records = decode_sequence(exported)[:-1]
    file = _changed(header, code, guest, records)[name]
    async with AppOn(MemoryStore(), policy=Policy()) as app:
        with pytest.raises((ForeignFile, HistoryError)) as refused:
            await app.import_(file)
        assert isinstance(refused.value, ClocheError)
        assert len(refused.value.message) < 1_000
        assert await app.store.runs() == []
