"""The picture of a graph: well-formed, the same every time, and nothing in it overlaps."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree

from codegen.steps_for_tests import free
from codegen.strategies import workflows
from hypothesis import HealthCheck, given, settings

from cloche_codegen import Workflow, create_workflow, load_workflow, path

SVG = "{http://www.w3.org/2000/svg}"
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom


def rectangles(picture: str) -> tuple[Rectangle, list[tuple[str, Rectangle]]]:
    """The whole picture, and its boxes, frames and chips in the order in which they are drawn."""
    root = ElementTree.fromstring(picture)
    found = []
    for rect in root.iter(f"{SVG}rect"):
        x, y, width, height = (int(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
        found.append((str(rect.get("class")).split()[0], (x, y, x + width, y + height)))
    return found[0][1], found[1:]


def apart(one: Rectangle, other: Rectangle) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def inside(inner: Rectangle, outer: Rectangle) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def check_layout(workflow: Workflow, picture: str) -> None:
    whole, drawn = rectangles(picture)
    assert all(inside(rectangle, whole) for _, rectangle in drawn)
    for (first, one), (_, other) in combinations(drawn, 2):
        assert apart(one, other) or (first == "frame" and inside(other, one)), (workflow, one, other)
    root = ElementTree.fromstring(picture)
    for text in root.iter(f"{SVG}text"):
        x, y = int(text.get("x", "0")), int(text.get("y", "0"))
        assert 0 <= x <= whole[2]
        assert 0 <= y <= whole[3]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(workflows())
def test_nothing_overlaps(workflow: Workflow) -> None:
    picture = workflow.to_svg()
    check_layout(workflow, picture)
    status = {node.id: "suspended" for node in workflow.graph.nodes}
    check_layout(workflow, workflow.to_svg(status))
    assert load_workflow(workflow.graph.to_json(), workflow.steps)._repr_svg_() == picture


def test_texts_are_data() -> None:
    id = "<script>&amp;\"'"
    workflow = create_workflow(id=id).then(free("<b title=1>"), description="]]>\u202e\x00 -- ").commit()
    picture = workflow.to_svg({"<b title=1>": "<i>"})
    texts = ["".join(one.itertext()) for one in ElementTree.fromstring(picture).iter(f"{SVG}text")]
    assert texts == ["input", "<b title=1><b title=1>\nstep\n]]>\\u202e\\u0000 --", "● <i> · step", "result"]
    assert "\u202e" not in picture


def test_long_and_wide_texts_are_cut_and_whole_in_the_tooltip() -> None:
    id = "猫" * 60
    workflow = create_workflow(id="w").then(free(id)).commit()
    title = next(one for one in ElementTree.fromstring(workflow.to_svg()).iter(f"{SVG}text") if one.get("class") == "t")
    assert title.text == "猫" * 16 + "…"
    assert title[0].text == f"{id}\nstep"


def test_status_colours_nodes_by_id_and_by_path() -> None:
    inner = create_workflow(id="W").then(free("a")).commit()
    workflow = create_workflow(id="w").then(inner).parallel([free("b"), free("c")], id="p").commit()
    status = {"W": "success", "W/a": "failed", "p": "running", "b": "suspended", "c": "waiting"}
    picture = workflow.to_svg(status)
    classes = re.findall(r'<rect class="(?:box|frame) ([a-z]+)"', picture)
    assert classes == ["success", "failed", "running", "suspended", "waiting"]
    assert [word.strip("● ") for word in re.findall(r"● [a-z]+", picture)] == classes
    sizes = {workflow.to_svg(one).split("\n", 1)[0] for one in ({}, status, {"p": "paused"})}
    assert len(sizes) == 1  # a picture that follows a run stays where it is


def test_workflows_in_workflows_are_not_opened_without_end() -> None:
    workflow = create_workflow(id="w0").then(free("a")).commit()
    for number in range(1, 12):
        outer = create_workflow(id=f"w{number}")
        workflow = outer.then(workflow, id="left").then(workflow, id="right").commit()
    picture = workflow.to_svg()
    assert "not opened here" in picture
    assert len(picture) < 3_000_000


def test_conditions_stand_on_the_lines() -> None:
    test = (path("inputData.amount") > 100) & (path("initData.country") == "DE")
    workflow = create_workflow(id="w").branch([(test, free("a"))]).commit()
    texts = [one.text for one in ElementTree.fromstring(workflow.to_svg()).iter(f"{SVG}text")]
    assert texts[3:5] == ["inputData.amount > 100 and", 'initData.country = "DE"']
