"""`Code`: the bundle that a run is pinned to, how it is made of a workflow, and what its stored graph says of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from cloche.history.values import ABI, decode, encode

if TYPE_CHECKING:
    from cloche_codegen import Graph, Workflow

Language = Literal["javascript", "python"]


@dataclass(frozen=True, slots=True)
class Code:
    """What a run is pinned to, and all that is needed to go on with it: its bundle is a blob of the store.

    `guest` is the digest of the guest's wasm, a blob of its own. `lines` gives for a line of `source` its graph node.
    `language` is what `source` is written in. `abi` is the version of the boundary that the guest speaks: what the run is
    told is packed for it.
    """

    workflow: str
    guest: str
    source: str
    lines: dict[int, str]
    graph: str  # JSON
    language: Language = "javascript"
    owner: str = ""  # the tenant that brought it; none for the host's own
    abi: int = ABI

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
        return encode(wire)

    @classmethod
    def unpack(cls, data: bytes) -> Code:
        """What `pack` made, by this version or an older one."""
        wire: dict[str, Any] = decode(data)
        language = wire.get("language", "javascript")
        lines, owner = dict(wire["lines"]), wire.get("owner", "")
        return cls(
            wire["workflow"], wire["guest"], wire["source"], lines, wire["graph"], language, owner, wire.get("abi", 1)
        )


def bundle_of(workflow: Workflow, guest: str, abi: int) -> Code:
    """The code of a run of `workflow` that begins now, under the guest of this digest."""
    source, graph = workflow.source(), workflow.graph.to_json()
    return Code(workflow.id, guest, source.code, dict(source.map), graph, workflow.language, abi=abi)


def graph_of(code: Code) -> Graph | None:
    """The graph that a run's code was made from; None for hand-written code."""
    from cloche_codegen import Graph

    return Graph.from_json(code.graph) if code.graph else None


def is_native(code: Code) -> bool:
    """Whether the code is a workflow that its author wrote as Python: such code is told when its run is canceled."""
    return code.language == "python" and (not code.graph or _mode_and_nativeness(code.graph)[1])


def is_written(code: Code) -> bool:
    """Whether somebody wrote the code, in any language; else it was generated from a graph."""
    return not code.graph or _mode_and_nativeness(code.graph)[1]


def mode_of(code: Code) -> str:
    """What its author allowed functions to do: `strict`, also of hand-written code, or `host-closures`."""
    return _mode_and_nativeness(code.graph)[0] if code.graph else "strict"


@lru_cache(1_000)
def _mode_and_nativeness(graph: str) -> tuple[str, bool]:
    """Of a graph as JSON: its mode, and whether it is a native workflow."""
    read = json.loads(graph)
    return read.get("mode", "strict"), read.get("native") is not None
