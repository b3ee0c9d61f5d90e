"""Importing Mastra's graphs: three generations, and every trap on the way."""
# ruff: noqa: E501  graphs are shown as they come

from __future__ import annotations

import json
from typing import Any

import pytest
from codegen.steps_for_tests import free
from host.engines.twins import commands_of, engines, opened, started

from cloche import create_workflow, from_mastra
from cloche.engines import Code
from cloche_codegen import GraphError, Workflow

STEPS = {id: free(id) for id in ("a", "b", "c", "d")}


def step(id: str, **more: Any) -> dict[str, Any]:
    return {"type": "step", "step": {"id": id, **more}}


def definition(*entries: Any, **more: Any) -> dict[str, Any]:
    return {"id": "w", "graph": list(entries), **more}


def mapping(id: str = "m", **fields: Any) -> dict[str, Any]:
    return {"type": "mapping", "id": id, "mapConfig": json.dumps(fields)}


def problems(data: Any, steps: Any = STEPS, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(GraphError) as caught:
        from_mastra(data, steps=steps, **options)
    return [(problem.code, problem.path) for problem in caught.value.problems]


def result(made: Workflow, value: Any = None, **given: Any) -> Any:
    """Of a workflow that asks for nothing, on DirectEngine."""
    source = made.source("javascript") if made.language == "javascript" else made.source()
    code = Code(made.id, engines()[0].guest()[0], source.code, {}, made.graph.to_json(), made.language)
    *_, [kind, outcome] = commands_of(opened(engines()[1], code).turn([started(value, **given)]))
    assert kind == 7, outcome
    return outcome


# ---- the three generations -----------------------------------------------------------------------------------------------


def test_a_stored_definition_is_a_workflow() -> None:
    score = {"gt": {"left": {"path": "inputData.score"}, "right": {"literal": 80}}}
    made = from_mastra(
        definition(
            step("a", description="first", metadata={"k": 1}),
            mapping(score={"step": "a", "path": "n"}, kind={"value": "x"}, t={"template": "${initData.id}"}),
            {"type": "sleep", "id": "sleep_8f2c", "duration": 1500},
            {"type": "sleepUntil", "id": "sleep_77", "date": "2030-01-01T00:00:00.000Z"},
            {"type": "conditional", "steps": [step("b")], "predicates": [score], "serializedConditions": [{"id": "b-condition", "fn": "score > 80"}]},
            {"type": "loop", "step": step("c"), "loopType": "dountil", "predicate": {"truthy": {"value": {"path": "inputData.done"}}},
             "serializedCondition": {"id": "c-condition", "fn": "inputData.done"}},
            description="d", inputSchema={"type": "object"}, outputSchema={}, metadata={"team": "x"},
        ),
        steps=STEPS,
    )  # fmt: skip
    expected = (
        create_workflow(
            id="w", description="d", input_schema={"type": "object"}, output_schema={}, metadata={"team": "x"}
        )
        .then(STEPS["a"], description="first", metadata={"k": 1})
        .map({"score": {"step": "a", "path": "n"}, "kind": {"value": "x"}, "t": {"template": "${initData.id}"}}, id="m")
        .sleep(1.5)
        .sleep_until(__import__("datetime").datetime.fromisoformat("2030-01-01T00:00:00+00:00"))
        .branch([({"predicate": score}, STEPS["b"])])
        .dountil(STEPS["c"], {"predicate": {"truthy": {"value": {"path": "inputData.done"}}}})
        .commit()
    )
    assert made.graph.to_json() == expected.graph.to_json()
    assert from_mastra(json.dumps(definition(step("a"))), steps=STEPS.values()).graph.nodes[0].id == "a"


def test_a_serialized_graph_of_today() -> None:
    made = from_mastra(
        {"name": "w", "serializedStepGraph": [
            step("a", canSuspend=True),
            {"type": "agent", "id": "writer", "agentId": "agent-1"},
            {"type": "tool", "id": "search", "toolId": "t"},
            {"type": "parallel", "steps": [step("b"), {"type": "workflow", "id": "call", "workflowId": "inner", "serializedStepFlow": [step("c")]}]},
            step("a2"),
            {"type": "foreach", "step": {"type": "workflow", "id": "inner2", "workflowId": "inner", "serializedStepFlow": [step("c")]},
             "opts": {"concurrency": 3}},
        ]},
        steps={**STEPS, "writer": lambda data: data, "t": free("t"), "a2": free("a2")},
    )  # fmt: skip
    _, agent, tool, block, _, each = made.graph.nodes
    assert (agent.id, tool.id) == ("writer", "search")
    assert [arm.id for arm in block.arms] == ["b", "call"]  # type: ignore[union-attr]
    assert each.concurrency == 3  # type: ignore[union-attr]
    assert sorted(made.graph.workflows) == ["call", "inner2"]


def test_the_shapes_of_version_0_20() -> None:
    made = from_mastra(
        [
            {"type": "step", "step": {"id": "mapping_1", "mapConfig": '{"n": {"initData": "w", "path": "n"}}'}},
            {"type": "step", "step": {"id": "inner", "component": "WORKFLOW", "serializedStepFlow": [step("a")]}},
            {"type": "loop", "step": {"id": "b", "description": "again"}, "loopType": "dowhile", "serializedCondition": {"id": "b-condition", "fn": "async ({ inputData }) => inputData.n < 3"}},
            {"type": "foreach", "step": {"id": "c"}, "opts": {"concurrency": 1}},
        ],
        steps=STEPS,
        id="w",
        functions={"b-condition": lambda data: data.n < 3},
    )  # fmt: skip
    assert [node.id for node in made.graph.nodes] == ["mapping_1", "inner", "dowhile_1", "foreach_1"]
    assert [node.id for node in made.graph.workflows["inner"].nodes] == ["a"]


def test_an_event_of_version_0_20_is_refused() -> None:
    assert problems(definition({"type": "waitForEvent", "event": "e", "step": {"id": "a"}})) == [
        ("not_importable", "graph[0]")
    ]


# ---- traps ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicate", "value", "answer"),
    [
        ({"truthy": {"value": {"path": "inputData.x"}}}, {"x": []}, True),
        ({"truthy": {"value": {"path": "inputData.x"}}}, {"x": {}}, True),
        ({"eq": {"left": {"path": "inputData.x"}, "right": {"literal": 1}}}, {"x": True}, False),
        ({"eq": {"left": {"path": "inputData.x"}, "right": {"literal": 1}}}, {"x": 1.0}, True),
        ({"eq": {"left": {"path": "inputData.x"}, "right": {"path": "initData.x"}}}, {"x": {}}, True),
        ({"eq": {"left": {"path": "inputData.x"}, "right": {"path": "inputData.y"}}}, {"x": {}, "y": {}}, False),
        ({"exists": {"path": "inputData.x"}}, {"x": None}, True),
        ({"exists": {"path": "inputData.x"}}, {}, False),
        ({"ne": {"left": {"path": "inputData.x"}, "right": {"literal": 1}}}, {}, False),
        ({"eq": {"left": {"path": "inputData.x"}, "right": {"literal": None}}}, {}, False),
    ],
)
def test_predicates_keep_the_rules_of_javascript(predicate: Any, value: Any, answer: bool) -> None:
    yes = create_workflow(id="yes").map({"taken": {"value": True}}).commit()
    condition = {"type": "conditional", "steps": [{"type": "workflow", "id": "yes", "workflowId": "yes"}], "predicates": [predicate], "serializedConditions": [{"id": "yes-condition", "fn": "…"}]}  # fmt: skip
    made = from_mastra(definition(condition), steps={"yes": yes})
    assert result(made, value) == ({"yes": {"taken": True}} if answer else {})


def test_a_missing_last_key_leaves_its_field_out() -> None:
    made = from_mastra(definition(mapping(a={"initData": True, "path": "a"}, b={"value": None})))
    assert result(made, {}) == {"b": None}


def test_numbers_are_doubles() -> None:
    entry = {"type": "mapping", "id": "m", "mapConfig": '{"big": {"value": 9007199254740993}, "zero": {"value": -0}, "t": {"template": "${inputData.x} ${inputData.y}"}}'}  # fmt: skip
    made = from_mastra(definition(entry))
    found = result(made, {"x": 1.0, "y": True})
    assert found == {"big": 9007199254740992.0, "zero": 0, "t": "1 true"}
    assert str(found["zero"]) == "-0.0"
    assert problems('{"id": "w", "graph": [{"type": "sleep", "duration": NaN}]}') == [("bad_graph", "graph")]


def test_a_map_that_was_cut_is_refused() -> None:
    text = json.dumps({f"field{i}": {"value": "x" * 20} for i in range(40)}, indent=2)[:996] + "...}"
    entry = {"type": "mapping", "id": "m", "mapConfig": text}
    assert problems(definition(entry)) == [("cut", "graph[0].mapConfig")]
    assert from_mastra(definition(entry), functions={"m": {"a": {"value": 1}}}).graph.nodes[0].id == "m"


def test_a_map_that_is_source_or_has_lost_its_step_is_refused() -> None:
    source = {"type": "mapping", "id": "m", "mapConfig": "async ({ inputData }) => ({ n: inputData.n })"}
    lost = mapping("l", a={"path": "n"}, b={"value": 1, "schema": {"_def": {}}}, c={}, d={"fn": "() => 1"})
    assert problems(definition(source, lost)) == [
        ("javascript", "graph[0].mapConfig"),
        ("lost_step", "graph[1].mapConfig.a"),
        ("bad_value", "graph[1].mapConfig.c"),
        ("javascript", "graph[1].mapConfig.d.fn"),
    ]
    bound = from_mastra(definition(source), functions={"m": lambda data: {"n": data.n + 1}})
    assert result(bound, {"n": 1}) == {"n": 2}


SOURCES = definition(
    {"type": "conditional", "steps": [step("a"), step("b")], "serializedConditions": [{"id": "a-condition", "fn": "x"}, {"id": "b-condition", "fn": "y"}]},
    {"type": "sleep", "id": "sleep_1a2b", "fn": "() => 5"},
    step("d"),
    {"type": "sleepUntil", "id": "sleep_3c", "fn": "() => new Date()"},
    {"type": "foreach", "step": step("c"), "opts": {"fn": "() => 2"}},
)  # fmt: skip


def test_sources_are_refused_by_path_all_at_once() -> None:
    assert problems(SOURCES) == [
        ("javascript", "graph[0].serializedConditions[0].fn"),
        ("javascript", "graph[0].serializedConditions[1].fn"),
        ("javascript", "graph[1].fn"),
        ("javascript", "graph[3].fn"),
        ("javascript", "graph[4].opts.fn"),
    ]
    with pytest.raises(GraphError, match=r"give a Python function for it: functions=\{'a-condition': …\}"):
        from_mastra(SOURCES, steps=STEPS)


def test_sources_are_bound_by_path_or_by_id() -> None:
    functions = {
        "a-condition": lambda data: str(data.x) > "1",
        "graph[0].serializedConditions[1].fn": "inputData.y",
        "graph[1].fn": 5,
        "sleep_3c": "new Date()",
        "graph[4].opts.fn": 2,
    }
    with pytest.raises(GraphError, match="function_in_javascript"):  # code strings and Python in one graph
        from_mastra(SOURCES, steps=STEPS, functions=functions)
    made = from_mastra(SOURCES, steps=STEPS, functions={**functions, "a-condition": "inputData.x > 1"})
    assert [node.id for node in made.graph.nodes] == ["branch_1", "sleep_1", "d", "sleep_until_1", "foreach_1"]


def test_a_binding_that_nothing_asks_for_is_told() -> None:
    assert problems(definition(step("a")), functions={"sleep_9": 1}) == [("unknown_reference", "sleep_9")]


def test_the_call_site_keys_the_result_and_the_reference_finds_the_definition() -> None:
    inner = {"id": "inner", "graph": [mapping(n={"value": 1})]}
    call = {"type": "workflow", "id": "call", "workflowId": "inner"}
    made = from_mastra(definition(call, mapping("m2", got={"step": "call", "path": "n"})), workflows={"inner": inner})
    assert result(made) == {"got": 1}
    assert problems(definition(call)) == [("unknown_reference", "graph[0]")]
    broken = {"id": "inner", "graph": [step("nobody")]}
    assert problems(definition(call), workflows={"inner": broken}) == [
        ("unknown_reference", "workflows.inner.graph[0]")
    ]
    around = {"id": "inner", "graph": [call]}
    assert problems(definition(call), workflows={"inner": around}) == [("workflow_cycle", "workflows.inner.graph[0]")]


def test_ids_of_sleeps_do_not_matter_unless_somebody_refers_to_them() -> None:
    first, second = (
        definition({"type": "sleep", "id": f"sleep_{id}", "duration": 5}, step("a")) for id in ("1f", "2e")
    )
    assert from_mastra(first, steps=STEPS).graph == from_mastra(second, steps=STEPS).graph
    named = definition({"type": "sleep", "id": "nap", "duration": 5}, mapping(x={"step": "nap", "path": "."}))
    assert [node.id for node in from_mastra(named).graph.nodes] == ["nap", "m"]


def test_steps_have_to_be_given() -> None:
    assert problems(definition(step("a"), step("z")), steps={"a": STEPS["a"]}) == [("unknown_reference", "graph[1]")]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("nothing", [("bad_graph", "graph")]),
        ({"graph": []}, [("bad_id", "graph")]),
        ({"id": "w"}, [("bad_graph", "graph")]),
        (definition({"type": "teleport"}), [("bad_graph", "graph[0]")]),
        (definition(7), [("bad_graph", "graph[0]")]),
        (definition({"type": "parallel", "steps": [{"type": "sleep", "duration": 1}]}), [("not_importable", "graph[0].steps[0]")]),
        (definition({"type": "parallel", "steps": [mapping()]}), [("not_importable", "graph[0].steps[0]")]),
        (definition({"type": "loop", "step": step("a"), "loopType": "forever", "predicate": {"truthy": {"value": {"literal": 1}}}}), [("bad_graph", "graph[0].loopType")]),
        (definition({"type": "sleep", "duration": "1 s"}), [("bad_value", "graph[0].duration")]),
        (definition({"type": "sleepUntil", "date": "tomorrow"}), [("bad_value", "graph[0].date")]),
        (definition({"type": "conditional", "steps": [step("a")]}), [("bad_graph", "graph[0].serializedConditions[0]")]),
    ],
)  # fmt: skip
def test_what_is_no_graph_is_refused_by_path(data: Any, found: list[tuple[str, str]]) -> None:
    assert problems(data) == found
