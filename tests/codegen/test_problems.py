"""How many problems are told at once, and schemas that are refused with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from codegen.steps_for_tests import free

from cloche_codegen import Graph, GraphError, create_workflow, load_workflow


def test_twenty_problems_are_told_and_all_are_kept() -> None:
    workflow = create_workflow(id="w")
    for number in range(30):
        workflow.map({"x": {"step": f"zzz{number}"}})
    with pytest.raises(GraphError) as caught:
        workflow.commit()
    headline, *told = str(caught.value).split("\n  ")
    assert (headline, told[-1]) == ("workflow 'w' cannot be committed: 30 problems", "and 10 more")
    assert told[:-1] == [str(problem) for problem in caught.value.problems[:20]]
    assert len(caught.value.problems) == 30
    assert "there is" in told[-2]
    assert "there is" not in str(caught.value.problems[20])


def test_a_stored_text_is_read_once_for_all_of_its_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    text, read = json.dumps({"id": "w", "nodes": [{"type": "nonsense"}] * 50}), json.loads
    reads = []

    def counted(given: str) -> Any:
        reads.append(given)
        return read(given)

    monkeypatch.setattr(json, "loads", counted)
    with pytest.raises(GraphError, match="50 problems"):
        Graph.from_json(text)
    assert reads == [text]


LOOKS_AHEAD = {"type": "string", "pattern": "(?=a)b"}


def test_a_schema_that_cannot_be_checked_is_refused_at_commit() -> None:
    with pytest.raises(GraphError, match="w: its JSON Schema cannot be used: pattern: the pattern"):
        create_workflow(id="w", input_schema=LOOKS_AHEAD).then(free("a")).commit()
    with pytest.raises(GraphError, match="look-around"):
        create_workflow(id="w").then(free("a")).wait_for_event("e", schema=LOOKS_AHEAD).commit()


def test_a_stored_graph_is_refused_for_its_schemas() -> None:
    stored = json.loads(
        create_workflow(id="w").then(free("a")).wait_for_event("e", schema={"type": "string"}).commit().graph.to_json()
    )
    stored |= {"input_schema": LOOKS_AHEAD}
    stored["nodes"][1]["payload_schema"] = LOOKS_AHEAD
    with pytest.raises(GraphError) as caught:
        load_workflow(json.dumps(stored), [free("a")])
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [
        ("bad_schema", "w"),
        ("bad_schema", f"w/{stored['nodes'][1]['id']}"),
    ]
