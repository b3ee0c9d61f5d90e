"""Texts that a tenant brings: graphs, schemas and sources that are large, slow or ambiguous to whoever reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hostile.platform import ENGINES, LIMITS, Mode
from support.apps import AppOn, in_loop

from cloche import Cloche, create_workflow
from cloche.errors import DeployRefused, InvalidInput
from cloche.store import MemoryStore
from cloche_codegen.conditions.functions.subset import SIZE_MAX, expression_of
from cloche_codegen.json_schemas import PARTS_MAX
from cloche_codegen.schemas import Pairs, misfit


def app_on(mode: Mode, **options: Any) -> AppOn:
    return AppOn(MemoryStore(), engine=ENGINES[mode](LIMITS["javascript"]), **options)


def graph(input_schema: Any = None, payload_schema: Any = None, **parts: Any) -> str:
    """One that takes an input, and then an event."""
    made = json.loads(create_workflow(id="g").wait_for_event("paid").commit().graph.to_json())
    made |= parts
    if input_schema is not None:
        made["input_schema"] = input_schema
    if payload_schema is not None:
        made["nodes"][0]["payload_schema"] = payload_schema
    return json.dumps(made)


async def refusal(app: Cloche, text: str) -> DeployRefused:
    with pytest.raises(DeployRefused) as refused:
        await app.deploy("mallory", text)
    return refused.value


# ---- schemas, and values held against them ---------------------------------------------------------------------------

_KINDS = [{"type": "object", "properties": {"in": {"$ref": "#/$defs/A"}, f"x{n}": {"type": "integer"}}} for n in (1, 2)]
_REQUIRED = [{**kind, "required": list(kind["properties"])} for kind in _KINDS]
ALTERNATIVES: dict[str, Any] = {
    "that refer to themselves": {"$defs": {"A": {"anyOf": _REQUIRED}}, "$ref": "#/$defs/A"},
    "that all fit": {"$defs": {"A": {"anyOf": [*_KINDS, {"type": "integer"}]}}, "$ref": "#/$defs/A"},
    "of alternatives": {
        "$defs": {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)}
        | {"a60": {"type": "null"}},
        "$ref": "#/$defs/a0",
    },
}


def nested(depth: int) -> Any:
    """A number as text, so that no alternative fits exactly."""
    value: Any = "1"
    for _ in range(depth):
        value = {"in": value}
    return value


@pytest.mark.parametrize("schema", ALTERNATIVES.values(), ids=ALTERNATIVES)
def test_a_value_meets_too_many_alternatives(mode: Mode, schema: Any) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            mallory = app.tenant("mallory")
            await app.deploy("mallory", graph(schema))
            with pytest.raises(InvalidInput, match="too many ways in which it could be meant"):
                await mallory.start("g", nested(60))
            await app.deploy("mallory", graph(None, schema))
            run = await mallory.start("g", 1)
            with pytest.raises(InvalidInput, match="too many ways in which it could be meant"):
                await mallory.send_event(run.id, "paid", nested(60))
            await mallory.cancel(run.id)

    live()


def test_a_type_that_is_named_twice_is_built_once(mode: Mode) -> None:
    schema: Any = {"type": "string"}
    for _ in range(60):
        schema = {"type": ["object", "object"], "properties": {"in": schema}}

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            await app.deploy("mallory", graph(schema))
            with pytest.raises(InvalidInput, match=r"valid string"):
                await app.tenant("mallory").start("g", _deep(60))

    live()


def _deep(depth: int) -> Any:
    value: Any = 7
    for _ in range(depth):
        value = {"in": value}
    return value


def test_a_schema_of_too_many_parts_is_refused(mode: Mode) -> None:
    schema = {"type": "object", "properties": {f"p{n}": {} for n in range(PARTS_MAX)}}

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            error = await refusal(app, graph(schema))
            assert f"it has more than {PARTS_MAX:,} parts" in error.message

    live()


REFERENCES: dict[str, Any] = {
    "itself": {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "each other": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
}


@pytest.mark.parametrize("schema", REFERENCES.values(), ids=REFERENCES)
def test_a_reference_to_itself_is_a_typed_error(mode: Mode, schema: Any) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            for text in (graph(schema), graph(None, schema)):
                assert [one["code"] for one in (await refusal(app, text)).problems] == ["bad_schema"]

    live()


def test_twenty_problems_of_a_value_are_told(mode: Mode) -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(30)}}

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            await app.deploy("mallory", graph(schema))
            with pytest.raises(InvalidInput, match="and 10 more") as refused:
                await app.tenant("mallory").start("g", {f"p{n}": "x" for n in range(30)})
            assert (len(refused.value.problems), refused.value.problem_count) == (20, 30)
            await app.deploy("mallory", graph({"type": "array", "items": {"type": "integer"}}))
            with pytest.raises(InvalidInput, match="0: Input should be a valid integer") as refused:
                await app.tenant("mallory").start("g", ["x"] * 100_000)
            assert refused.value.problem_count == 1

    live()


# ---- graphs ----------------------------------------------------------------------------------------------------------


def test_unions_of_unions_are_compared_once_a_pair() -> None:
    gives: Any = {"type": "string"}
    takes: Any = {"type": "array"}
    for _ in range(5):
        gives, takes = {"anyOf": [dict(gives) for _ in range(6)]}, {"anyOf": [takes] * 6}
    pairs = Pairs()
    before = pairs.left
    assert misfit(gives, takes, pairs) == "the value is string, not array"
    assert before - pairs.left < 20_000
    pairs.left = 0
    assert misfit(gives, takes, pairs) is None


def test_constants_are_written_out_so_often() -> None:
    constant = f"k = [{', '.join(['1'] * 5_000)}]\n"
    few, many = (f"{constant}f = lambda d: {' or '.join(['d in k'] * count)}\n" for count in (2, 200))
    assert expression_of(few, "f", 1) is not None
    assert expression_of(many, "f", 1) is None
    text = f"k = '{'x' * SIZE_MAX}'\nf = lambda d: {' or '.join(['d == k'] * 20)}\n"
    assert expression_of(text, "f", 1) is None


def test_what_was_meant_is_looked_for_among_few(mode: Mode) -> None:
    known: dict[str, Any] = {f"known{n}": {} for n in range(5_000)} | {"y" * 180: {}}
    nodes = [{"type": "step", "id": f"n{n}", "step": f"known_{n}"} for n in range(5_000)]

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            error = await refusal(app, graph(nodes=nodes, steps=known))
            assert "did you mean 'known1'?" in error.problems[1]["message"]
            assert (len(error.problems), error.problem_count) == (20, 5_000)
            nodes[0]["step"] = "y" * 181
            error = await refusal(app, graph(nodes=nodes[:1], steps=known))
            assert "did you mean" not in error.message

    live()
