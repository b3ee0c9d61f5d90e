"""What a page draws of code: nodes as a tree, and of native Python its steps, branches and loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from codegen.strategies import workflows
from hypothesis import HealthCheck, given, settings

import cloche
from cloche import clone_step, create_workflow, gather, path, scope, sleep, step
from cloche_codegen import Graph, Workflow
from cloche_codegen.builder_text import builder_text
from cloche_codegen.native_shapes import native_shapes
from cloche_codegen.shape_data import NOTHING, shape_data
from cloche_codegen.shapes import Shape, shapes_of

GOLDEN = Path(__file__).with_name("golden")


@step
def reserve(item: str) -> str:
    return item


@step
def undo(item: str) -> str:
    return item


def drawn(shapes: tuple[Shape, ...]) -> list[Any]:
    """`(kind, place or id, arms)`, arms with their texts."""
    return [
        (one.kind, one.place or one.id, *[(arm.text, drawn(arm.items)) for arm in one.arms]) if one.arms
        else (one.kind, one.place or one.id)
        for one in shapes
    ]  # fmt: skip


def test_nodes_have_the_places_of_their_calls() -> None:
    inner = create_workflow(id="inner").then(reserve).commit()
    workflow = (
        create_workflow(id="w")
        .foreach(inner, id="each")
        .map("inputData[0]", id="m")
        .choose([(path("inputData.a") > 1, undo)])
        .commit()
    )
    assert drawn(shapes_of(workflow.graph)) == [
        ("foreach", "inner", ("", [("step", "inner/reserve")])),
        ("map", "m"),
        ("choose", "choose_1", ("inputData.a > 1", [("step", "undo")])),
    ]


def test_a_shape_knows_the_node_whose_lines_it_has() -> None:
    each_of = clone_step(reserve, id="each-of")
    workflow = (
        create_workflow(id="w").parallel([reserve, undo], id="both").map("['a']").foreach(each_of, id="each").commit()
    )
    both, _, each = shapes_of(workflow.graph)
    assert [item.node for arm in both.arms for item in arm.items] == ["both", "both"]
    assert (each.place, each.node) == ("each-of", "each")


@cloche.workflow(id="order")
async def order(items: list[str]) -> Any:
    await gather(*[reserve(item) for item in items], limit=2)
    for item in items:
        if item == "a":
            await undo(item)
        elif item:
            await sent(item)
    with scope("end"):
        try:
            await sleep(days=1)
        except ValueError:
            await undo("all")


async def sent(item: str) -> None:
    await reserve(item)


def test_native_code_says_what_it_does() -> None:
    loop = ("loop", "loop", ("", [("step", "reserve")]))
    arms = [("if item == 'a'", [("step", "undo")]), ("elif item", [("function", "sent", ("", [("step", "reserve")]))])]
    tried = ("try", "try", ("try", [("sleep", "end/sleep")]), ("except ValueError", [("step", "end/undo")]))
    assert order.graph.native is not None
    assert drawn(native_shapes(order.graph.native.source, order.graph.native.name)) == [
        ("gather", "gather", ("", [loop])),
        ("loop", "loop", ("", [("if", "if", *arms)])),
        ("scope", "end", ("", [tried])),
    ]


def test_lines_are_those_of_the_whole_source() -> None:
    source = order.source().code
    assert order.graph.native is not None
    found = shape_data("python", order.graph.to_json(), source)["items"][0]["arms"][0]["items"][0]["arms"][0]["items"][
        0
    ]
    assert "reserve(item) for item in items" in source.split("\n")[found["line"] - 1]


MARKED = "@cloche.workflow(id='x')\nasync def w(d):\n    await cloche.sleep(3)\n\nasync def later(d): ...\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def w(d):\n    return await step('charge')(d)\n", [("step", "charge")]),
        (MARKED, [("sleep", "sleep")]),
        ("async def w(d):\n    for i in d: pass\n", []),
        ("x = 1\n", []),
    ],
)
def test_source_of_any_kind_is_read(source: str, expected: list[Any]) -> None:
    assert drawn(native_shapes(source)) == expected


def test_functions_that_call_each_other_end() -> None:
    source = "async def a(d):\n    await b(d)\nasync def b(d):\n    await a(d)\n    await sleep(1)\n"
    assert drawn(native_shapes(source, "a")) == [("function", "b", ("", [("sleep", "sleep")]))]


@pytest.mark.parametrize("source", ["async def w(:\n", "(" * 5_000, "\x00", "async def w(d):\n" + " " * 5 + "x\n  y"])
def test_what_is_no_python_has_no_shape(source: str) -> None:
    assert shape_data("python", "", source) == NOTHING


def test_javascript_that_somebody_wrote_is_known_by_its_calls() -> None:
    assert shape_data("javascript", "", "export default async (d) => d;") == NOTHING
    assert shape_data("javascript", "{", "") == NOTHING


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(workflows())
def test_any_graph_has_a_shape_and_a_text(workflow: Workflow) -> None:
    graph = workflow.graph
    data = shape_data("javascript", graph.to_json(), "")
    assert (data["is_read"], len(data["items"])) == (True, len(graph.nodes))
    text = builder_text(graph)
    assert text == builder_text(Graph.from_json(graph.to_json()))
    nodes = {node.id for node in graph.nodes} | {
        f"{id}/{node.id}" for id, one in graph.workflows.items() for node in one.nodes
    }
    assert set(text.map.values()) <= nodes


def test_the_builders_calls_are_readable() -> None:
    workflow = create_workflow(id="ship").then(reserve).sleep(2).branch([(path("inputData") > "a", undo)]).commit()
    assert builder_text(workflow.graph).code == (
        'ship = (\n    create_workflow(id="ship")\n    .then(reserve)\n    .sleep(2, id="sleep_1")\n    .branch([\n'
        '        (inputData > "a", undo),\n    ], id="branch_1")\n    .commit()\n)\n'
    )
