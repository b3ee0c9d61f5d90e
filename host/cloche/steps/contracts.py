"""What the host needs of a graph that a tenant has deployed: schemas of what comes in, and how often steps are tried again.

The graph was read and checked when it was deployed, in a process of its tenant (`operations.deploy`). Here it is JSON in which
a few places are looked up: nothing is made of its nodes, and of its schemas no more than `json_schemas.Room` has place for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cloche.tenancy.cache import TenantCache

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from cloche.engines import Code

CONTRACTS_BYTES_MAX: Final = 128 << 20
_BYTES_EACH: Final = 4  # that a contract takes for each byte of its graph, at most: JSON as Python has it, validators

log = logging.getLogger("cloche")


@dataclass(frozen=True, slots=True)
class _Nested:
    """A workflow of the graph: its attempts, where it says, and which workflow stands behind which of its names."""

    id: str
    retries: int | None
    nested: dict[str, str]
    checks_input: bool

    @classmethod
    def of(cls, id: str, definition: Mapping[str, Any]) -> _Nested:
        found: dict[str, str] = {}
        for body in _bodies(definition):
            if body.get("type") == "workflow":
                found[str(body.get("id"))] = str(body.get("workflow"))
        return cls(id, _attempts(definition.get("retry_config")), found, definition.get("checks_input") is True)


class Contract:
    """That of one graph. It has what `client.Workflow` has for whoever starts a run."""

    validate_inputs = True
    on_start = None

    def __init__(self, graph: str) -> None:
        from cloche_codegen.json_schemas import Room

        read = _read(graph)
        self.id: str = str(read.get("id", ""))
        self._room = Room()
        self._input = self._adapter("input_schema", read.get("input_schema"))
        self._state = self._adapter("state_schema", read.get("state_schema"))
        self._events: dict[str, TypeAdapter[Any] | None] = {}
        for node in _waits(read):
            if node["event"] not in self._events:
                self._events[node["event"]] = self._adapter(f"event '{node['event']}'", node["payload_schema"])
        self._steps = {id: one for id, one in _mapping(read.get("steps")).items() if isinstance(one, Mapping)}
        nested = {id: _mapping(one) for id, one in _mapping(read.get("workflows")).items()}
        self._workflows = {id: _Nested.of(id, one) for id, one in nested.items()}
        self._whole = _Nested.of(self.id, read)
        self._entries = {
            id: self._adapter(f"input_schema of '{id}'", one.get("input_schema"))
            for id, one in nested.items()
            if self._workflows[id].checks_input
        }

    def input_adapter(self) -> TypeAdapter[Any] | None:
        return self._input

    def state_adapter(self) -> TypeAdapter[Any] | None:
        return self._state

    def event_adapter(self, name: str) -> TypeAdapter[Any] | None:
        return self._events.get(name)

    def entry(self, path: str) -> tuple[str, TypeAdapter[Any] | None] | None:
        """The nested workflow that a call at `path` enters and the validator of its input, if that is to be checked."""
        *_, last = self._around(path)
        return (last.id, self._entries[last.id]) if last.id in self._entries else None

    def retries(self, step: str, path: str) -> int | None:
        """How often the graph wants a step that is called at `path` tried again; None if it does not say."""
        spec = self._steps.get(step, {})
        own = spec.get("retries")
        if isinstance(own, int):
            return max(0, own)
        of_step = _attempts(spec.get("retry_config"))
        return self._retries_around(path) if of_step is None else of_step

    def _retries_around(self, path: str) -> int | None:
        """What the innermost workflow around `path` says that says something."""
        said = [one.retries for one in self._around(path) if one.retries is not None]
        return said[-1] if said else None

    def _around(self, path: str) -> Iterator[_Nested]:
        """The workflows that a call at `path` stands in, the outermost first; as `cloche_codegen.nesting`."""
        around = self._whole
        yield around
        for part in path.split("/")[:-1]:
            nested = self._workflows.get(around.nested.get(part.partition("[")[0], ""))
            if nested is None:
                break
            around = nested
            yield around

    def _adapter(self, what: str, schema: Any) -> TypeAdapter[Any] | None:
        """Of what was deployed before there were bounds, what is beyond them says nothing."""
        from cloche_codegen.schemas import accepted_adapter, adapter_or_flaw

        if not isinstance(schema, Mapping):
            return None
        before = copy(self._room)
        adapter, flaw = adapter_or_flaw(dict(schema), self._room)
        if flaw is not None:
            log.warning("a deployed graph is not checked by all of its schema: %s: %s", what, flaw[:500])
            self._room = before
            adapter = accepted_adapter(dict(schema), self._room)
        return adapter


_contracts: TenantCache[str, Contract] = TenantCache(CONTRACTS_BYTES_MAX)


def contract_of(code: Code) -> Contract:
    """That of the graph of deployed code, which has one."""
    found = _contracts.get(code.graph)
    if found is None:
        found = Contract(code.graph)
        _contracts.put(code.graph, found, _BYTES_EACH * len(code.graph), code.owner)
    return found


def _read(graph: str) -> Mapping[str, Any]:
    from pydantic_core import from_json

    try:
        return _mapping(from_json(graph))
    except ValueError:
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _waits(graph: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The nodes that say what their event carries, those of nested workflows too, each as JSON."""
    for definition in (graph, *_mapping(graph.get("workflows")).values()):
        nodes = _mapping(definition).get("nodes")
        for node in nodes if isinstance(nodes, list) else ():
            if not isinstance(node, Mapping) or node.get("type") != "wait_for_event":
                continue
            if isinstance(node.get("event"), str) and node.get("payload_schema") is not None:
                yield node


def _bodies(definition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The single calls of its nodes: they themselves, their arms, or their bodies."""
    nodes = definition.get("nodes")
    for node in map(_mapping, nodes if isinstance(nodes, list) else ()):
        arms = node.get("arms")
        inside = [_mapping(arm).get("body", arm) for arm in arms] if isinstance(arms, list) else []
        yield from map(_mapping, (node, *inside, node.get("body"), node.get("otherwise")))


def _attempts(retry_config: Any) -> int | None:
    """What a retry configuration in JSON says of the number of attempts; None if there is none."""
    if not isinstance(retry_config, Mapping):
        return None
    attempts = retry_config.get("attempts", 0)
    return max(0, attempts) if isinstance(attempts, int) else 0
