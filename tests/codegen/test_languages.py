"""Which guest a workflow is for."""

from __future__ import annotations

import pytest
from codegen.steps_for_tests import free

from cloche_codegen import GraphError, create_workflow, load_workflow, path


def test_where_nothing_is_said_a_workflow_is_for_the_javascript_guest() -> None:
    workflow = create_workflow(id="w").then(free("a")).commit()
    assert workflow.language == "javascript"
    assert workflow.source() == workflow.source("javascript")


def test_a_workflow_can_be_for_the_python_guest_and_stays_so_in_its_stored_graph() -> None:
    workflow = create_workflow(id="w", guest="python").branch([(path("inputData.v") > 1, free("a"))]).commit()
    loaded = load_workflow(workflow.graph.to_json(), workflow.steps)
    assert (workflow.language, loaded.language) == ("python", "python")
    assert loaded.source() == workflow.source() == workflow.source("python")
    assert workflow.source("javascript").code.startswith("// Workflow")


def test_code_strings_are_refused_where_the_python_guest_is_wanted_and_each_is_named() -> None:
    inner = create_workflow(id="inner").map({"v": {"fn": "inputData.v * 2"}}, id="twice").commit()
    workflow = create_workflow(id="w", guest="python").then(inner).branch([("inputData.v > 1", free("a"))], id="big")
    with pytest.raises(GraphError) as refused:
        workflow.commit()
    assert [(problem.code, problem.path) for problem in refused.value.problems] == [
        ("code_in_python", "w/big"),
        ("code_in_python", "inner/twice"),
    ]
    assert "a code string is JavaScript" in str(refused.value)


def test_no_python_is_made_of_a_code_string() -> None:
    workflow = create_workflow(id="w").branch([("inputData.v > 1", free("a"))], id="big").commit()
    with pytest.raises(GraphError) as refused:
        workflow.source("python")
    assert (refused.value.code, refused.value.path) == ("code_in_python", "w/big/a")


def test_another_language_there_is_not() -> None:
    with pytest.raises(ValueError, match="'lua'; use 'javascript' or 'python'"):
        create_workflow(id="w").then(free("a")).commit().source("lua")  # type: ignore[arg-type]
