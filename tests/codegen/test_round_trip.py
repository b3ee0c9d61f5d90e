"""Random graphs survive storage, and give the same code before and after."""

from __future__ import annotations

import re

from codegen.strategies import workflows
from hypothesis import HealthCheck, given, settings

from cloche_codegen import Graph, Workflow, javascript, load_workflow, lower, mermaid

# Every line end but \n, controls, and the marks that turn the direction of text.
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(workflows())
def test_a_graph_is_what_its_json_says(workflow: Workflow) -> None:
    graph = workflow.graph
    text = graph.to_json()
    loaded = Graph.from_json(text)
    assert loaded == graph
    assert loaded.to_json() == text
    assert loaded.digest == graph.digest
    again = load_workflow(text, workflow.steps)
    assert again.source().code == workflow.source().code == javascript(lower(loaded)).code
    assert mermaid(loaded) == workflow.to_mermaid()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(workflows())
def test_data_never_breaks_a_line_of_code(workflow: Workflow) -> None:
    source = workflow.source()
    assert max(source.map) <= source.code.count("\n")
    assert UNSEEN.findall(source.code) == []
