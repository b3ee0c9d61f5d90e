"""Texts that a tenant brings: graphs, schemas and sources that are large, slow or ambiguous to whoever reads them."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hostile.platform import AROUND, ENGINES, LIMITS, Mode, Neighbour
from support.apps import AppOn, in_loop

from cloche import Cloche, Limits, create_workflow
from cloche.engines import Code
from cloche.errors import DeployRefused, InvalidInput
from cloche.history import TenantId
from cloche.run.lanes import Lanes
from cloche.sandbox import images
from cloche.sandbox.process import grants, readers
from cloche.store import MemoryStore
from cloche.tenancy import Policy
from cloche.tenancy.cache import TenantCache
from cloche_codegen.conditions.functions.subset import SIZE_MAX, expression_of
from cloche_codegen.json_schemas import PARTS_MAX
from cloche_codegen.schemas import Pairs, misfit


def app_on(mode: Mode, **options: Any) -> AppOn:
    options.setdefault("policy", Policy())  # texts of up to 4 MiB
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
            assert f"there are more than {PARTS_MAX:,} parts" in error.message

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


def test_nodes_that_are_wrong_are_told_in_one_reading(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole text was read again for each of them: 17 s for 342 KiB."""

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            error = await refusal(app, graph(nodes=[{"type": "?"}] * 9_000))
            assert (len(error.problems), error.problem_count) == (20, 9_000)
            child = app._running.services.lanes.readers.processes()[TenantId("mallory")]
            assert not child.has_ended  # its clock did not end it

    monkeypatch.setattr(readers, "READ_S", 5.0)
    live()


# ---- reading ---------------------------------------------------------------------------------------------------------

COSTLY = f"k = [{'1,' * 400_000}]\nf = lambda d: d\n"  # 0.8 MB: two seconds and 300 MB for Python's parser


def mapping(*sources: str) -> str:
    values = [{"type": "function", "name": "f", "source": source, "parameters": 1} for source in sources]
    return graph(nodes=[{"type": "map", "id": f"m{n}", "value": value} for n, value in enumerate(values)])


def test_a_text_that_is_slow_to_read_holds_up_nobody(mode: Mode) -> None:
    """Python's parser holds the interpreter's lock: in this process nothing else would run."""

    @in_loop
    async def live() -> None:
        neighbour = Neighbour("javascript")
        async with app_on(mode, workflows=[neighbour.workflow], tenant="neighbour") as app:
            working = await app.start("neighbour", {"n": 0, "left": 1})
            await neighbour.makes(AROUND)
            before = len(neighbour.steps)
            await refusal(app, mapping(COSTLY + "f = \n"))
            assert len(neighbour.steps) - before > 50
            await neighbour.ends(app, working)

    live()


COSTS = {
    "cpu": (mapping(COSTLY, COSTLY + "\n", COSTLY + "\n\n"), readers, "READ_S", 1.0),
    "memory": (
        graph(nodes=[{"type": "sleep", "id": f"n{n}", "ms": 1} for n in range(80_000)]),
        grants,
        "OWN_BYTES",
        96 << 20,
    ),
}


@pytest.mark.parametrize(("text", "module", "bound", "value"), COSTS.values(), ids=COSTS)
def test_a_text_that_takes_too_much_is_refused(
    mode: Mode, text: str, module: Any, bound: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, bound, value)

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            assert (await refusal(app, text)).reason == "too-costly"
            monkeypatch.undo()
            await app.deploy("mallory", graph())

    live()


def test_a_top_level_is_evaluated_in_a_process_of_its_tenant(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            held = dict(images.kept.sizes)
            for n in range(3):
                source = f"const a = new Uint8Array({n} + (4 << 20)).fill(7); export default async () => a.length;"
                await app.deploy("mallory", source, workflow=f"w{n}", language="javascript")
            assert images.kept.sizes == held
            assert set(app._running.services.lanes.readers.processes()) == {"mallory"}

    live()


def test_no_process_reads_for_two_tenants(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            for tenant in ("mallory", "other", "mallory"):
                await app.deploy(tenant, graph())
            found = app._running.services.lanes.readers.processes()
            assert len({child.pid for child in found.values()}) == len(found) == 2

    live()


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_a_tenant_has_a_share_of_what_is_kept() -> None:
    kept: TenantCache[int, str] = TenantCache(400)
    kept.put(0, "host's", 90, "")
    kept.put(1, "other's", 90, "other")
    for n in range(2, 50):
        kept.put(n, "mallory's", 30, "mallory")
    assert (kept.get(0), kept.get(1), kept.sizes) == ("host's", "other's", {"": 90, "other": 90, "mallory": 90})
    kept.put(50, "too large", 101, "mallory")
    assert 50 not in kept
    assert kept.sizes["mallory"] == 90
    for n in range(51, 60):
        kept.put(n, "others'", 90, f"t{n}")
    assert sum(kept.sizes.values()) <= 400


def test_a_language_that_there_is_not_is_refused(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            with pytest.raises(DeployRefused, match="not in 'ruby'") as refused:
                await app.deploy("mallory", "puts 1", workflow="w", language="ruby")  # type: ignore[arg-type]
            assert refused.value.reason == "bad-language"

    live()


@in_loop
async def test_what_is_not_kept_is_loaded_beside_the_loop() -> None:
    """A tenant could have its own image displaced, and the next cell of it evaluate its top level on the loop's thread."""
    lanes, threads = Lanes(), list[str]()

    def make() -> Any:
        threads.append(threading.current_thread().name)

    code = Code("w", "guest", "source", {}, "", owner="mallory")
    for is_kept in (True, True, False):
        await lanes.open(TenantId("mallory"), code, Limits(), make, lambda is_kept=is_kept: is_kept)  # type: ignore[misc]
    assert [name.startswith("cloche-turn") for name in threads] == [True, False, True]
    lanes.close()


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_half_of_a_character_is_no_source(mode: Mode, language: Any) -> None:
    """It was met when the source was stored: an error of Python's, and over HTTP a fault of the server."""

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            with pytest.raises(DeployRefused, match="line 2: it has half of a character") as refused:
                await app.deploy("mallory", "\n'\ud800'", workflow="w", language=language)
            assert refused.value.reason == "bad-text"

    live()
