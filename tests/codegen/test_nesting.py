"""Which workflow of a graph a call path stands in."""

from __future__ import annotations

from typing import Any

import pytest

from cloche_codegen import create_step, create_workflow
from cloche_codegen.nesting import workflows_around

ask = create_step(id="ask", execute=lambda data: data)
inner: Any = create_workflow(id="Inner").then(ask).commit()
outer: Any = create_workflow(id="Outer").foreach(inner).then(inner, id="again").commit()
whole: Any = create_workflow(id="w").dowhile(outer, "false").branch([("true", inner)]).commit()


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("ask", ["w"]),
        ("Outer[1]/Inner[0]/ask", ["w", "Outer", "Inner"]),
        ("Outer[1]/again/ask", ["w", "Outer", "Inner"]),
        ("Outer[1]/Inner[0]", ["w", "Outer"]),
        ("Inner/ask", ["w", "Inner"]),
        ("nobody/ask", ["w"]),
    ],
)
def test_a_path_stands_in_the_workflows_around_it(path: str, ids: list[str]) -> None:
    assert [definition.id for definition in workflows_around(whole.graph, path)] == ids
