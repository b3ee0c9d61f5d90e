"""What graphs look like and what becomes of them, as files people can read.

Each directory of `golden` holds a builder script and its outputs. After a wanted change of emission, write them anew
with `CLOCHE_GOLDEN=write python -m pytest tests/codegen/test_golden.py` and read the difference.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from cloche_codegen import Graph, GraphError, Source, Workflow, load_workflow

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/workflow.py"))


def workflow_of(case: str) -> Workflow:
    workflow = runpy.run_path(str(GOLDEN / case / "workflow.py"))["workflow"]
    assert isinstance(workflow, Workflow)
    return workflow


def outputs_of(workflow: Workflow) -> dict[str, str]:
    source = workflow.source("javascript")
    made = {
        "graph.json": workflow.graph.to_json(indent=2) + "\n",
        "source.js": source.code,
        "map.json": map_of(source),
        "graph.mmd": workflow.to_mermaid(),
        "graph.svg": workflow.to_svg(),
    }
    python = python_of(workflow)
    return made if python is None else {**made, "source.py": python.code, "map.py.json": map_of(python)}


def map_of(source: Source) -> str:
    lines = {str(line): node for line, node in source.map.items()}
    return json.dumps({"digest": source.digest, "lines": lines}, indent=1, ensure_ascii=False) + "\n"


def python_of(workflow: Workflow) -> Source | None:
    """The Python of a graph, if it is without code strings."""
    try:
        return workflow.source("python")
    except GraphError as error:
        if error.code == "code_in_python":
            return None
        raise


@pytest.mark.parametrize("case", CASES)
def test_a_graph_becomes_what_it_was_when_last_read(case: str) -> None:
    made = outputs_of(workflow_of(case))
    if os.environ.get("CLOCHE_GOLDEN") == "write":
        for name, text in made.items():
            (GOLDEN / case / name).write_bytes(text.encode())
    assert made == {name: (GOLDEN / case / name).read_bytes().decode() for name in made}


@pytest.mark.parametrize("case", CASES)
def test_a_stored_graph_is_the_graph_and_gives_the_same_code(case: str) -> None:
    built = workflow_of(case)
    loaded = load_workflow((GOLDEN / case / "graph.json").read_bytes(), built.steps)
    assert loaded.graph == built.graph
    assert outputs_of(loaded) == outputs_of(built)


@pytest.mark.parametrize("case", CASES)
def test_every_node_has_lines_and_every_line_of_the_map_is_there(case: str) -> None:
    workflow = workflow_of(case)
    sources = [source for source in (workflow.source("javascript"), python_of(workflow)) if source is not None]
    named = {node.id for node in workflow.graph.nodes}
    named |= {f"{id}/{node.id}" for id, one in workflow.graph.workflows.items() for node in one.nodes}
    for source in sources:
        assert named <= set(source.map.values())
        assert max(source.map) <= source.code.count("\n")


def test_emission_does_not_depend_on_hashing() -> None:
    script = (
        "import sys, runpy, hashlib\n"
        "for path in sys.argv[1:]:\n"
        "    workflow = runpy.run_path(path)['workflow']\n"
        "    print(workflow.source().digest, workflow.graph.digest, hash('x') and '')\n"
    )
    paths = [str(GOLDEN / case / "workflow.py") for case in CASES]
    answers = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        ran = subprocess.run(
            [sys.executable, "-c", script, *paths], env=environment, capture_output=True, text=True, check=True
        )
        answers.append(ran.stdout)
    expected = "".join(f"{w.source().digest} {w.graph.digest} \n" for w in map(workflow_of, CASES))
    assert answers == [expected, expected]


def test_the_golden_graphs_use_every_kind_of_node() -> None:
    used = {
        node["type"]
        for case in CASES
        for node in json.loads((GOLDEN / case / "graph.json").read_text("utf-8"))["nodes"]
    }
    field = Graph.model_json_schema()["properties"]["nodes"]["items"]["discriminator"]["mapping"]
    assert used == set(field)
