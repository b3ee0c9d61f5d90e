"""What a run's code says of what it waits for: the form of the answer, and how many attempts a step has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloche.engines import Code
from cloche.steps.contracts import contract_of

if TYPE_CHECKING:
    from cloche.history.calls import OpenCall

GRAPH_CHARS_MAX = 1 << 20  # of a larger graph nothing is said: it would take some 10 ms to read


def step_schema(code: Code, step: str) -> Mapping[str, Any] | None:
    """The JSON Schema of what the step is resumed with, by its id; None: anything, or not known."""
    found = _read(code.graph).get("steps", {}).get(step, {}).get("resume_schema")
    return found if isinstance(found, dict) else None


def event_schema(code: Code, name: str) -> Mapping[str, Any] | None:
    """The JSON Schema of the payload of an event that a graph waits for. Native code checks it itself: None."""
    for node in _nodes(_read(code.graph)):
        if node.get("type") == "wait_for_event" and node.get("event") == name:
            found = node.get("payload_schema")
            return found if isinstance(found, dict) else None
    return None


def attempts_of(code: Code, call: OpenCall, step: str) -> int | None:
    """How many attempts a call of the step has, as the run's graph says; None: it does not."""
    if not code.graph or len(code.graph) > GRAPH_CHARS_MAX:
        return None
    retries = contract_of(code).retries(step, call.path)
    return None if retries is None else retries + 1


@lru_cache(maxsize=64)
def _read(graph: str) -> dict[str, Any]:
    if not graph or len(graph) > GRAPH_CHARS_MAX:
        return {}
    found = json.loads(graph)
    return found if isinstance(found, dict) else {}


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _nodes(one)
    elif isinstance(value, list):
        for one in value:
            yield from _nodes(one)
