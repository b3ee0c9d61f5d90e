"""`Code`: the bundle that a run is pinned to, how it is made of a workflow, and what its stored graph says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cloche.history.values import ABI, decode, encode
from cloche.tenancy.cache import TenantCache

if TYPE_CHECKING:
    from cloche_codegen import Graph, Workflow

Language = Literal["javascript", "python"]
SourceLanguage = Literal["javascript", "python", "typescript"]  # what is brought; TypeScript becomes JavaScript then
OUTLINES_BYTES_MAX = 128 << 20


@dataclass(frozen=True, slots=True)
class Code:
    """What a run is pinned to, and all that is needed to go on with it: its bundle is a blob of the store.

    `guest` is the digest of the guest's wasm, a blob of its own. `lines` gives for a line of `source` its graph node.
    `language` is what `source` is written in. `abi` is the version of the boundary that the guest speaks: what the run is
    told is packed for it. `typed` runs hold what comes back to its annotations; older ones began without.
    """

    workflow: str
    guest: str
    source: str
    lines: dict[int, str]
    graph: str  # JSON
    language: Language = "javascript"
    owner: str = ""  # the tenant that brought it; none for the host's own
    abi: int = ABI
    typed: bool = True
    is_bundle: bool = field(init=False, default=False, compare=False, repr=False)  # made of `source`

    def __post_init__(self) -> None:
        holds = self.language == "javascript" and not self.graph and "__private_workflows" in self.source
        object.__setattr__(self, "is_bundle", holds)

    def pack(self) -> bytes:
        """The bundle as CBOR, as it is stored: the same code gives the same bytes."""
        lines = [[line, node] for line, node in sorted(self.lines.items())]
        wire: dict[str, Any] = {
            "workflow": self.workflow,
            "guest": self.guest,
            "source": self.source,
            "lines": lines,
            "graph": self.graph,
        }
        if self.language != "javascript":  # bundles from before there was another stay as they are
            wire["language"] = self.language
        if self.owner:
            wire["owner"] = self.owner
        if self.abi != 1:
            wire["abi"] = self.abi
        if self.typed:
            wire["typed"] = True
        return encode(wire)

    @classmethod
    def unpack(cls, data: bytes) -> Code:
        """What `pack` made, by this version or an older one."""
        wire: dict[str, Any] = decode(data)
        language = wire.get("language", "javascript")
        lines, owner = dict(wire["lines"]), wire.get("owner", "")
        abi, typed = wire.get("abi", 1), wire.get("typed", False)
        return cls(wire["workflow"], wire["guest"], wire["source"], lines, wire["graph"], language, owner, abi, typed)


def bundle_of(workflow: Workflow, guest: str, abi: int) -> Code:
    """The code of a run of `workflow` that begins now, under the guest of this digest."""
    source, graph = workflow.source(), "" if workflow.is_script else workflow.graph.to_json()
    return Code(workflow.id, guest, source.code, dict(source.map), graph, workflow.language, abi=abi)


def graph_of(code: Code) -> Graph | None:
    """The graph that a run's code was made from; None for hand-written code."""
    from cloche_codegen import Graph

    return Graph.from_json(code.graph) if code.graph else None


@dataclass(frozen=True, slots=True)
class GraphOutline:
    """What the host asks of a stored graph again and again. `nodes` are those of its top level, in order."""

    mode: str
    is_native: bool
    nodes: tuple[OutlineNode, ...]
    exceptions: frozenset[str] = frozenset()  # qualified names of those that it may catch beside Python's and cloche's


@dataclass(frozen=True, slots=True)
class OutlineNode:
    """`names` are the ids under which its calls stand: its own, and those of its arms or its body."""

    type: str
    names: tuple[str, ...]


def is_native(code: Code) -> bool:
    """Whether the code is a workflow that its author wrote as Python: such code is told when its run is canceled."""
    return code.language == "python" and (not code.graph or graph_outline(code).is_native)


def has_hooks(code: Code) -> bool:
    """Whether it may make hooks of its own, and so needs a key for their tokens."""
    return is_native(code) and "create_hook" in code.source


def holds_several(code: Code) -> bool:
    """Whether it is compiled from "use workflow" functions: a run is told which of them it is of."""
    return code.is_bundle


def is_written(code: Code) -> bool:
    """Whether somebody wrote the code, in any language; else it was generated from a graph."""
    return not code.graph or graph_outline(code).is_native


def exceptions_of(code: Code) -> frozenset[str] | None:
    """The qualified names of exceptions that the code holds the classes of. None of a tenant's, which is told of Python's and
    cloche's alone: see `Failure.told_to`."""
    return None if code.owner else graph_outline(code).exceptions


def mode_of(code: Code) -> str:
    """What its author allowed functions to do: `strict`, also of hand-written code, or `host-closures`."""
    return graph_outline(code).mode


_outlines: TenantCache[str, GraphOutline] = TenantCache(OUTLINES_BYTES_MAX)
_NO_GRAPH = GraphOutline("strict", False, ())


def graph_outline(code: Code) -> GraphOutline:
    """That of the graph that the code was made of; of hand-written code one without nodes.

    The graph may be a stranger's: it is read as JSON, and nothing is made of its nodes.
    """
    if not code.graph:
        return _NO_GRAPH
    found = _outlines.get(code.graph)
    if found is None:
        found = _outline(code.graph)
        _outlines.put(code.graph, found, 2 * len(code.graph), code.owner)
    return found


def _outline(graph: str) -> GraphOutline:
    """What does not look like a graph has no nodes: an imported file may hold anything."""
    try:
        read = json.loads(graph)
        nodes = tuple(OutlineNode(node["type"], tuple(_names(node))) for node in read.get("nodes", ()))
        native = read.get("native")
        exceptions = frozenset((native or {}).get("exceptions", {}).values())
        return GraphOutline(str(read.get("mode", "strict")), native is not None, nodes, exceptions)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return GraphOutline("host-closures", False, ())


def _names(node: dict[str, Any]) -> Iterator[str]:
    yield str(node["id"])
    arms = [arm.get("body", arm) for arm in node.get("arms", ())]
    yield from (str(body["id"]) for body in (*arms, node.get("otherwise"), node.get("body")) if body is not None)
