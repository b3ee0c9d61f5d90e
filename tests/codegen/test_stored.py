"""Graphs as older versions stored them load for ever: add files to `stored`, never edit one.

A name begins with the format's number. New fields may have joined a graph since; what it says itself stays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from codegen.steps_for_tests import free

from cloche_codegen import load_workflow

STORED = sorted((Path(__file__).parent / "stored").glob("*.json"))


def test_there_are_stored_graphs_of_every_kind() -> None:
    assert {"1-functions.json", "1-hostile.json", "1-loops.json", "1-native.json", "1-policies.json"} <= {
        f.name for f in STORED
    }


@pytest.mark.parametrize("file", STORED, ids=lambda file: file.stem)
def test_a_stored_graph_loads_for_ever(file: Path) -> None:
    data = json.loads(file.read_text("utf-8"))
    made = load_workflow(file.read_bytes(), [free(id) for id in data["steps"]])
    assert_holds(json.loads(made.graph.to_json()), data)
    assert made.source().code
    assert made.to_mermaid()


def assert_holds(now: Any, then: Any) -> None:
    """Everything that was said then is said now."""
    if isinstance(then, dict):
        assert set(then) <= set(now)
        for key, one in then.items():
            assert_holds(now[key], one)
    elif isinstance(then, list):
        assert len(now) == len(then)
        for one, other in zip(now, then, strict=True):
            assert_holds(one, other)
    else:
        assert (type(now), now) == (type(then), then)
